"""The values that travel between the stages; frozen, and free of technology.

Offsets are Unicode code points in a version's canonical text; a span is ``[start, end)``.
Scores compare only within one call. Pages count from 1.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType
from uuid import UUID

WorkspaceId = NewType("WorkspaceId", UUID)
CollectionId = NewType("CollectionId", UUID)
DocumentId = NewType("DocumentId", UUID)
VersionId = NewType("VersionId", UUID)
ChunkId = NewType("ChunkId", UUID)
JobId = NewType("JobId", UUID)
AnswerId = NewType("AnswerId", UUID)
WebhookId = NewType("WebhookId", UUID)

PUBLIC_WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000001"))
DEFAULT_COLLECTION = "default"

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind = Literal["ingest", "reindex", "texts", "part"]
"""What a job is for: one file, all of a collection anew, several texts, a part of a large file."""
Task = Literal["ingest", "embed", "publish", "wait"]
"""What a worker does next for a job; a job that waits for its parts is nobody's task."""
Json = dict[str, Any]

QUEUES = ("default", "document", "vectorstore", "rag")
"""Maintenance and diagnostics; reading files; embedding and publishing; asynchronous questions."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the text below it, up to the next heading: ``text[start:end]``.

    ``body_start`` is where the text below the heading begins. ``number`` is the heading's own
    numbering ("2.3.1"), where it has one; ``path`` holds the titles from the top, itself last.
    """

    ordinal: int
    parent: int | None
    level: int
    number: str | None
    title: str
    anchor: str | None
    path: tuple[str, ...]
    start: int
    body_start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParseReport:
    """What was read from a file, and what was not: the truth report's first half.

    ``pages``, ``tables`` and ``images`` are None where the format does not tell them.
    """

    media_type: str
    encoding: str | None = None
    pages: int | None = None
    pages_without_text: tuple[int, ...] = ()
    pages_by_ocr: tuple[Json, ...] = ()
    characters: int = 0
    tables: int | None = 0
    images: int | None = 0
    skipped: tuple[Json, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A file's canonical text and its structure.

    Holds: sections partition the text from the first heading on; a text before it belongs to a
    section with an empty title; ``page_starts[i]`` is the offset of page i + 1 and is empty for
    formats without pages.
    """

    text: str
    title: str
    sections: tuple[Section, ...]
    page_starts: tuple[int, ...]
    metadata: Json
    report: ParseReport


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of one section, small enough for the embedder: ``text == canonical[start:end]``.

    ``context`` is the document's title and the section's path: embedded and searched with the
    text, never quoted.
    """

    ordinal: int
    start: int
    end: int
    text: str
    context: str
    section: int | None
    page: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """How text is cut: at most ``size_tokens`` a chunk, inside the embedder's window."""

    size_tokens: int
    overlap_tokens: int
    window_tokens: int


@dataclass(frozen=True, slots=True)
class DocumentHead:
    """What is known of a file once it was read: all but its text, sections and chunks."""

    title: str
    page_starts: tuple[int, ...]
    metadata: Json
    report: ParseReport
    section_count: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class ParsedPart:
    """A part of a file that was read and cut; a small file is one part, ``last`` at once.

    Holds: the texts of all parts, joined, are the canonical text; so for sections and chunks, each
    kind in its order. A part's chunks need not lie in the part's text.
    """

    head: DocumentHead
    text: str
    sections: tuple[Section, ...]
    chunks: tuple[Chunk, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a search may look. ``None`` means everywhere in the workspace."""

    collection_id: CollectionId | None = None
    document_ids: tuple[DocumentId, ...] | None = None
    document_names: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class LegResult:
    """One retrieval leg's ranking, best first; for the lexical leg also its terms' idf by stem."""

    scores: Mapping[ChunkId, float]
    term_idf: Mapping[str, float] = field(default_factory=dict[str, float])


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


@dataclass(frozen=True, slots=True)
class Quote:
    """A span that a model quotes from the evidence: ``evidence[index]``, canonical offsets."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """One sentence as a chat model wrote it, with the spans that it says it rests on."""

    text: str
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """The exact place a sentence comes from: ``quote == text[start:end]`` of the version."""

    marker: str
    document_id: DocumentId
    document_name: str
    version_id: VersionId
    chunk_id: ChunkId
    start: int
    end: int
    quote: str
    page: int | None
    section: str | None
    section_title: str | None
    anchor: str | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a question cost. The extractive model spends no tokens."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question is not answered: a code and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """A checked sentence with its citations; ``text`` ends with their markers."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's whole result: what the last event of a stream carries."""

    answer_id: AnswerId
    question: str
    answer: str
    citations: tuple[Citation, ...]
    sources: tuple[Candidate, ...]
    refused: bool
    reason: str | None
    message: str | None
    mode: str
    model: str
    timings_ms: Mapping[str, float]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Started:
    """First event: the question was accepted."""

    answer_id: AnswerId
    mode: str
    model: str


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """The evidence that the answer may rest on."""

    sources: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event: the whole result, refused or not."""

    answer: Answer


AnswerEvent = Started | EvidenceFound | AnswerSentence | Refusal | Finished
