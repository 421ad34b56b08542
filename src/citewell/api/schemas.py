"""The wire's shapes: what requests hold and what replies look like."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from citewell.api.deps import CleanJson, CleanText, CollectionName
from citewell.api.patterns import SHA256
from citewell.api.refusals import UNKNOWN_FIELD
from citewell.domain import DEFAULT_COLLECTION, JobStatus

ModeName = Annotated[CleanText, StringConstraints(min_length=1, max_length=100)]
MOST_FIELDS = 100
"""More than any request has; each unknown one would become an error of a kilobyte."""


class Wire(BaseModel):
    """A reply, read from a record or a value by its field names."""

    model_config = ConfigDict(from_attributes=True)


class Request(BaseModel):
    """A request's body; unknown fields are an error, so that a typing mistake is seen."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        """Name the fields that there are, as the validator itself does not."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[Any, Any]", value)
        if len(given) > MOST_FIELDS:
            raise ValueError(f"must have at most {MOST_FIELDS} fields")
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for name in given:
            if name not in known:
                context = {"field": str(name), "known": known}
                raise PydanticCustomError(UNKNOWN_FIELD, "is not known", context)
        return given


class UploadedDocument(Wire):
    """One uploaded file: what became of it."""

    name: str
    document_id: UUID | None
    job_id: UUID | None
    status: Literal["queued", "unchanged", "rejected"]
    reason: str | None = None
    message: str | None = None


class UploadReply(Wire):
    """The uploaded files, in their order."""

    documents: list[UploadedDocument]


class Document(Wire):
    """A document; ``metadata`` joins what was read from the file with what was given."""

    document_id: UUID
    name: str
    source: str
    collection: str
    status: Literal["ready", "queued", "running", "failed", "cancelled"]
    reason: str | None
    message: str | None
    job_id: UUID | None
    version_id: UUID | None
    version: int | None
    media_type: str | None
    size_bytes: int | None
    sha256: str | None
    title: str | None
    chunk_count: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class DocumentDetail(Document):
    """A document with its truth report: what was read, and what was not.

    ``readers`` is who may see it; null is everyone in the workspace. ``language`` is the one that
    its words are stemmed in.
    """

    readers: list[str] | None
    language: str | None
    report: dict[str, Any] | None


class DocumentPage(Wire):
    """One page of documents, newest first."""

    documents: list[Document]
    next_cursor: str | None


class Result(Wire):
    """A chunk that was found: its exact span, its place, its scores."""

    document_id: UUID
    document_name: str
    document_title: str | None
    version_id: UUID
    chunk_id: UUID
    score: float
    scores: dict[str, float]
    text: str
    start: int
    end: int
    page: int | None
    section: str | None
    section_title: str | None
    section_path: list[str]
    anchor: str | None
    metadata: dict[str, Any]


class Chunk(Result):
    """A chunk of one document, by its place."""

    ordinal: int


class ChunkPage(Wire):
    """Chunks of one document in order; ``next_after`` continues."""

    chunks: list[Chunk]
    next_after: int | None


class VersionInfo(Wire):
    """One version of a document; ``active`` is the one that search sees."""

    version_id: UUID
    number: int
    sha256: str
    size_bytes: int
    media_type: str
    created_at: datetime
    published_at: datetime | None
    active: bool


class Versions(Wire):
    """A document's kept versions, newest first."""

    versions: list[VersionInfo]


class FileHash(Request):
    """A file by the path that it would be uploaded under, and its bytes."""

    source: CleanText = Field(max_length=1024, examples=["part1/report.pdf"])
    sha256: str = Field(pattern=SHA256)


class KnownRequest(Request):
    """Files that may be uploaded."""

    collection: CollectionName = DEFAULT_COLLECTION
    files: list[FileHash] = Field(max_length=1000)


class KnownFile(Wire):
    """A file whose upload would change nothing."""

    source: str
    document_id: UUID
    job_id: UUID
    status: JobStatus
    chunk_count: int


class KnownReply(Wire):
    """Those of the files whose upload would change nothing."""

    files: list[KnownFile]


class Collection(Wire):
    """A collection with what it holds."""

    id: UUID
    name: str
    document_count: int
    chunk_count: int
    created_at: datetime


class Collections(Wire):
    """All collections, by name."""

    collections: list[Collection]


class NewCollection(Request):
    """A collection to make."""

    name: CollectionName = Field(examples=["handbooks"])


class Budget(Request):
    """What one question may take; the settings' limits stay."""

    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    cost_usd: float | None = Field(None, ge=0, allow_inf_nan=False)


class AskRequest(Request):
    """What every question may say of how it is answered.

    ``mode`` is one of ``standard``, ``crag``, ``structured``, or several joined with ``+``; the
    workspace's policy gives it if absent. ``async`` leaves the answer to a worker.
    """

    mode: ModeName | None = Field(None, examples=["crag+structured"])
    limit: int | None = Field(None, ge=1, le=50, description="Most evidence chunks.")
    collection: CollectionName | None = None
    filters: CleanJson | None = None
    session_id: UUID | None = Field(None, description="A conversation that this belongs to.")
    budget: Budget | None = None
    min_similarity: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Least cosine; the policy's holds too."
    )
    respond_async: bool = Field(False, alias="async")


class QueryRequest(AskRequest):
    """A question; ``q`` and ``mode`` may stand in the address instead."""

    question: CleanText | None = Field(None, examples=["Who built the first pendulum clock?"])


class ChatRequest(AskRequest):
    """A message; without a ``session_id`` it begins a session."""

    message: CleanText = Field(examples=["Who built the first pendulum clock?"])


class Citation(Wire):
    """An exact span: ``quote`` is ``GET /documents/{id}/text``'s ``[start:end]``."""

    marker: str
    document_id: UUID
    document_name: str
    version_id: UUID
    chunk_id: UUID
    start: int
    end: int
    quote: str
    page: int | None
    section: str | None
    section_title: str | None
    anchor: str | None


class Usage(Wire):
    """Tokens that the language model took and wrote, and an estimate of what they cost."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


class Sentence(Wire):
    """One sentence with its citations; ``problems`` names what did not check, where it is shown."""

    text: str
    citations: list[Citation]
    problems: list[str] = []


class Grade(Wire):
    """How well a chunk fits the question."""

    chunk_id: UUID
    grade: Literal["correct", "ambiguous", "incorrect"]
    score: float


class Dropped(Wire):
    """A sentence that was not shown."""

    problems: list[str]


class Skipped(Wire):
    """A stage that was left out, and why."""

    stage: str
    why: Literal["time", "money", "failed", "other_model"]


class Answer(Wire):
    """An answer with its exact citations, or a refusal with its reason.

    ``status`` is ``incomplete`` when it broke off; ``reason`` and ``message`` then say why.
    """

    answer_id: UUID
    session_id: UUID | None = None
    status: Literal["complete", "incomplete"] = "complete"
    question: str
    answer: str
    sentences: list[Sentence] = []
    citations: list[Citation]
    sources: list[Result]
    refused: bool
    reason: str | None
    message: str | None
    mode: str
    model: str
    standalone: str | None = None
    queries: list[str] = []
    strategy: str | None = None
    rephrased: str | None = None
    grades: list[Grade] = []
    confidence: float | None = None
    cannot_answer: bool | None = None
    reasoning: str | None = None
    dropped: list[Dropped] = []
    skipped: list[Skipped] = []
    timings_ms: dict[str, float]
    usage: Usage
