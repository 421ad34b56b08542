"""Models: of vectors, of language, of order."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from citewell.domain import Candidate, DraftSentence, Message, Usage, WorkspaceId

ShapeT = TypeVar("ShapeT", bound=BaseModel)
Vectors = NDArray[np.float32]
Purpose = Literal["query", "document"]


class Embedder(Protocol):
    """Turns texts into vectors that lie close when the texts mean the same."""

    name: str
    dimension: int
    window_tokens: int

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts.

        Shapes:  n texts → (n, dimension) float32, each row of unit length; n = 0 is allowed.
        Raises:  ProviderError – the model failed or returned a wrong shape or NaN.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as the model sees them, without its special tokens."""
        ...


@dataclass(frozen=True, slots=True)
class WritingTask:
    """What an answer is to be written from.

    ``term_idf`` weighs the question's terms by their rarity in the workspace; ``question`` is the
    standalone form, ``history`` what was said before it.
    """

    workspace_id: WorkspaceId
    question: str
    evidence: Sequence[Candidate]
    term_idf: Mapping[str, float]
    deadline_seconds: float
    history: Sequence[Message] = ()


class ChatModel(Protocol):
    """Writes an answer from evidence, sentence by sentence."""

    name: str

    def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        """Yield the answer's sentences with the spans they rest on; none means "cannot answer".

        Holds:   usage comes once, when it is known; closing the generator ends the model's work.
        Raises:  ProviderError – the model failed, at any time until the last sentence.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a language model; ``workspace_id`` is whose turn it takes."""

    workspace_id: WorkspaceId
    messages: Sequence[Message]
    max_output_tokens: int
    deadline_seconds: float


class LanguageModel(Protocol):
    """A hosted or local model that continues a conversation.

    Raises:  ProviderTimeout – nothing, or not all, until the deadline.  ProviderBusy – the model or
             our own limit has no turn; carries when to come again.  ProviderBadReply – what came is
             not what was asked for.  ProviderError – any other failure.
    """

    name: str
    window_tokens: int

    def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """Yield pieces of text as they come, and the usage last.

        Holds:   a call that fails before its first piece is tried again until the deadline; closing
                 the generator closes the connection.
        """
        ...

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        """Return the reply as a validated value of ``shape``."""
        ...

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost in US dollars; None where no price is known."""
        ...


class Reranker(Protocol):
    """Says how well texts answer a question, better and slower than search does."""

    name: str

    async def score(
        self,
        workspace_id: WorkspaceId,
        question: str,
        texts: Sequence[str],
        deadline_seconds: float,
    ) -> tuple[Sequence[float], Usage]:
        """Score n texts.

        Shapes:  n texts → n scores, higher is better; they compare only within one call.
        Raises:  ProviderError – the model failed or returned something else.
        """
        ...
