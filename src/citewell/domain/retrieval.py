"""What is searched, and what is found."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from citewell.domain.filters import Filter
from citewell.domain.ids import ChunkId, CollectionId, DocumentId, Json, VersionId


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a search may look. ``None`` means everywhere in the workspace.

    ``metadata`` holds values that a field must equal, or of a list one; all of ``where`` must hold.
    """

    collection_id: CollectionId | None = None
    document_ids: tuple[DocumentId, ...] | None = None
    document_names: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    where: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class LegResult:
    """One retrieval leg's ranking, best first.

    The lexical leg adds its terms' idf by stem, and each collection's generation, which differs
    whenever what is seen of it has changed. ``first`` are chunks that come before all others,
    because they hold a phrase or an identifier that the question names. ``skipped`` says why a leg
    found nothing although there is something: its vectors are of another model.
    """

    scores: Mapping[ChunkId, float]
    term_idf: Mapping[str, float] = field(default_factory=dict[str, float])
    generations: Mapping[str, int] = field(default_factory=dict[str, int])
    first: frozenset[ChunkId] = frozenset()
    skipped: Literal["other_model"] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that was found, with the place it comes from and its scores per leg.

    ``page`` is where the chunk begins, ``page_breaks`` the offsets inside it where a page begins;
    ``section_number`` is its section's, or that of the nearest numbered section around it.
    """

    chunk_id: ChunkId
    document_id: DocumentId
    document_name: str
    document_title: str
    version_id: VersionId
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    section_number: str | None
    section_title: str | None
    section_path: tuple[str, ...]
    anchor: str | None
    metadata: Json
    page_breaks: tuple[int, ...] = ()
    score: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict[str, float])

    def page_at(self, offset: int) -> int | None:
        """Return the page that an offset inside the chunk lies on."""
        return None if self.page is None else self.page + bisect_right(self.page_breaks, offset)

    @property
    def section(self) -> str | None:
        """The section's number where it has one, else its title."""
        return self.section_number or self.section_title or None
