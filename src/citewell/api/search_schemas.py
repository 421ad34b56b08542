"""What /search and /suggest take and return."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from citewell.api.deps import CleanJson, CleanText, CollectionName
from citewell.api.schemas import Request, Result, Skipped, Wire


class SearchRequest(Request):
    """What to look for, and where.

    ``filters`` holds ``document_id``, ``document_name``, ``section``, ``media_type`` (one or a list
    each), ``created``, ``updated``, ``any``, ``all``, ``not`` and ``metadata``; any other key is a
    metadata field too. A list means: one of these.
    """

    query: CleanText = Field(min_length=1, max_length=4000, examples=["pendulum clock"])
    limit: int = Field(10, ge=1, le=200)
    collection: CollectionName | None = None
    filters: CleanJson | None = Field(None, examples=[{"document_name": "book.html"}])
    min_similarity: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Least cosine of a result."
    )
    highlight: bool = Field(False, description="Say where the query's words stand.")
    explain: bool = Field(False, description="Say what each score is made of.")
    collapse_duplicates: bool = Field(
        True, description="Let near-duplicates of a better result take no place of their own."
    )


class Duplicate(Wire):
    """A chunk with nearly the same text as a result, and where it stands."""

    document_id: UUID
    document_name: str
    version_id: UUID
    chunk_id: UUID
    page: int | None
    section: str | None
    section_title: str | None


class Highlight(Wire):
    """A word of the query in a result: ``text[start:end]``."""

    start: int
    end: int


class LegShare(Wire):
    """What one leg gave: ``weight · normalised``; null where it did not find the chunk."""

    score: float | None
    rank: int | None
    found: int
    normalised: float
    weight: float


class MatchedTerm(Wire):
    """A stem of the query that the chunk holds, or its title or section, and how rare it is."""

    term: str
    idf: float


class Explanation(Wire):
    """Why a chunk was found."""

    dense: LegShare
    lexical: LegShare
    fused: float
    rerank: float | None
    terms: list[MatchedTerm]
    why: str


class Found(Result):
    """A result of a search; null is what was not asked for.

    ``duplicates`` are the near-duplicates that it stands for, best first.
    """

    highlights: list[Highlight] | None = None
    explain: Explanation | None = None
    duplicates: list[Duplicate] = Field(default_factory=list[Duplicate])


class SearchReply(Wire):
    """The chunks that were found, best first, milliseconds per stage, and what was left out."""

    results: list[Found]
    timings_ms: dict[str, float]
    skipped: list[Skipped] = Field(default_factory=list[Skipped])


class Suggestion(Wire):
    """A text that begins as somebody typed, or one of its words does.

    ``document_id`` and ``section`` are known where one document alone has it.
    """

    text: str
    kind: Literal["title", "section", "phrase", "question"]
    document_id: UUID | None
    section: str | None


class Suggestions(Wire):
    """Suggestions, best first."""

    suggestions: list[Suggestion]
