"""Choose the evidence among the candidates: near enough, varied, with neighbours, in the window."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from citewell.answer.near import near
from citewell.domain import Candidate, ChunkId, WorkspaceId
from citewell.ports import ChunkIndex

SHINGLE_WORDS = 3
STEP = 0.01
"""How far a neighbour's score lies below its centre's, for each chunk between them and itself."""

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class Expansion:
    """How evidence is chosen.

    ``neighbours`` are chunks of the same section that join each of the best ones, on each side;
    ``most_tokens`` is what the model's window has room for, 0 where there is no window;
    ``same_meaning`` is the share of words from which a chunk repeats a better one, 1 = never.
    """

    neighbours: int = 0
    most_tokens: int = 0
    same_meaning: float = 1.0
    count_tokens: Callable[[Sequence[str]], list[int]] | None = None

    @property
    def widens(self) -> bool:
        """Whether more candidates than are wanted are of use."""
        return self.same_meaning < 1.0

    def take(self, texts: Sequence[str], room: int) -> tuple[int, int]:
        """Return how many of the texts fit into ``room``, from the first on, and what is left."""
        if not self.most_tokens:
            return len(texts), room
        if self.count_tokens is None:
            raise ValueError("A window needs a counter of tokens.")
        for taken, tokens in enumerate(self.count_tokens(texts) if texts else []):
            if tokens > room:
                return taken, room
            room -= tokens
        return len(texts), room


async def expand(
    workspace_id: WorkspaceId,
    candidates: Sequence[Candidate],
    limit: int,
    min_similarity: float,
    expansion: Expansion,
    index: ChunkIndex,
) -> tuple[Candidate, ...]:
    """Return at most ``limit`` candidates, best first, each followed by its neighbours.

    Shapes:  neighbours come on top of ``limit``, in the document's order, without ``scores``.
    Holds:   a chunk is never cut and comes once; all fit into the window, the best first.
    Raises:  Unavailable – the neighbours cannot be loaded.
    """
    close = near(candidates, min_similarity)
    varied = _without_repetitions(close, limit, expansion.same_meaning)
    first = next((n for n, each in enumerate(varied) if _fits_alone(each, expansion)), len(varied))
    taken, room = expansion.take([each.text for each in varied[first:]], expansion.most_tokens)
    centres = varied[first : first + taken]
    if not expansion.neighbours or not centres:
        return tuple(centres)
    ids = [each.chunk_id for each in centres]
    around = await index.neighbours(workspace_id, ids, expansion.neighbours)
    joining = _joining(centres, around)
    wanted = [each for centre in centres for each in joining[centre.chunk_id]]
    taken, _ = expansion.take([each.text for each in wanted], room)
    kept = {each.chunk_id for each in (*centres, *wanted[:taken])}
    return tuple(
        each
        for centre in centres
        for each in (centre, *joining[centre.chunk_id])
        if each.chunk_id in kept
    )


def _without_repetitions(
    candidates: Sequence[Candidate], limit: int, same_meaning: float
) -> list[Candidate]:
    """Take the best ``limit``, without those that say again what a better one says.

    A chunk repeats a better one when that holds this share of its word triples and all its numbers.
    """
    if same_meaning >= 1.0:
        return list(candidates[:limit])
    taken: list[Candidate] = []
    said: list[tuple[frozenset[tuple[str, ...]], frozenset[str]]] = []
    for each in candidates:
        if len(taken) == limit:
            break
        shingles, numbers = _shingles(each.text), frozenset(_NUMBER.findall(each.text))
        if not any(
            numbers <= known and len(shingles & better) >= same_meaning * len(shingles)
            for better, known in said
        ):
            taken.append(each)
            said.append((shingles, numbers))
    return taken


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    size = min(SHINGLE_WORDS, len(words))
    return frozenset(tuple(words[n : n + size]) for n in range(len(words) - size + 1))


def _fits_alone(candidate: Candidate, expansion: Expansion) -> bool:
    return expansion.take([candidate.text], expansion.most_tokens)[0] == 1


def _joining(
    centres: Sequence[Candidate], around: Mapping[ChunkId, Sequence[Candidate]]
) -> dict[ChunkId, list[Candidate]]:
    """Give each neighbour to the best centre that it stands beside; a centre is no neighbour."""
    seen = {each.chunk_id for each in centres}
    joining: dict[ChunkId, list[Candidate]] = {}
    for centre in centres:
        new = [each for each in around.get(centre.chunk_id, ()) if each.chunk_id not in seen]
        seen |= {each.chunk_id for each in new}
        joining[centre.chunk_id] = [
            replace(
                each,
                score=max(0.0, centre.score - STEP * abs(each.ordinal - centre.ordinal)),
                scores={},
            )
            for each in sorted(new, key=lambda each: each.ordinal)
        ]
    return joining
