"""The wire's shapes of jobs and of what starts them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast
from uuid import UUID

from pydantic import AfterValidator, BaseModel, FailFast, Field, SecretStr, model_validator

from citewell.api.deps import CleanJson, CleanText, CollectionName, Password
from citewell.api.readers import Readers
from citewell.api.schemas import Request, Wire
from citewell.domain import DEFAULT_COLLECTION, JobKind, JobStatus


def plain(password: SecretStr | None) -> str | None:
    """Return a password's characters; an empty one is none."""
    return (password.get_secret_value() or None) if password else None


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema with its inner models in their places."""
    schema = model.model_json_schema()
    inner: dict[str, Any] = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            if "$ref" in fields:
                return resolve(inner[fields["$ref"].rpartition("/")[2]])
            return {key: resolve(item) for key, item in fields.items()}
        if isinstance(value, list):
            return [resolve(item) for item in cast("list[Any]", value)]
        return value

    return resolve(schema)


class Step(Wire):
    """One step of a job; ``skipped`` is one that an ended job did not come to."""

    step_id: UUID
    name: Literal["parse", "chunk", "embed", "publish"]
    status: Literal["queued", "running", "done", "failed", "cancelled", "skipped"]
    seconds: float | None
    progress: float


class Job(Wire):
    """A background job; ``share`` is how much of it is done, from 0 to 1."""

    job_id: UUID
    kind: JobKind
    status: JobStatus
    reason: str | None
    message: str | None
    attempt: int
    share: float
    progress: dict[str, Any]
    parent_id: UUID | None
    part_count: int
    open_parts: int
    failed_parts: int
    document_id: UUID | None
    document_name: str | None
    collection: str | None
    chunk_count: int | None
    request_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobDetail(Job):
    """A job with its steps."""

    steps: list[Step]


class JobPage(Wire):
    """One page of jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None


class RetryRequest(Request):
    """What a retried job may need anew: the password is forgotten when a job ends."""

    password: Password | None = None


class ReindexReply(Wire):
    """The job of a reindexing, and how many documents it reads anew."""

    job_id: UUID
    status: JobStatus
    documents: int


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("must hold more than white space")
    return text


WrittenText = Annotated[CleanText, AfterValidator(_written)]


class NewText(Request):
    """A text that becomes a document."""

    text: WrittenText
    name: CleanText | None = Field(None, min_length=1, max_length=255)
    title: CleanText | None = Field(None, max_length=1000)
    metadata: CleanJson | None = None


class NewTexts(Request):
    """Texts to ingest; ``metadata`` and ``readers`` hold for all of them."""

    texts: Annotated[list[WrittenText | NewText], FailFast()] = Field(min_length=1)
    collection: CollectionName = DEFAULT_COLLECTION
    metadata: CleanJson | None = None
    readers: Readers | None = None


class TextState(Wire):
    """One text: the document that it became, and how far it is."""

    document_id: UUID
    name: str | None
    job_id: UUID | None
    status: Literal["queued", "running", "done", "failed", "cancelled", "unchanged"]
    reason: str | None
    message: str | None


class TextsReply(Wire):
    """The texts of one request, in their order."""

    job_id: UUID
    status: JobStatus
    reason: str | None
    message: str | None
    total: int
    chunks_ok: int
    failed: int
    texts: list[TextState]


class PipelineRequest(Request):
    """A file of the inbox, or the id of a document that is here."""

    file_name: CleanText | None = Field(
        None, min_length=1, max_length=1024, examples=["reports/may.pdf"]
    )
    document_id: UUID | None = None
    collection: CollectionName | None = None
    metadata: CleanJson | None = None
    password: Password | None = None
    readers: Readers | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file_name is None) == (self.document_id is None):
            raise ValueError("must have either file_name or document_id")
        return self


class StepName(Wire):
    """A step and its id."""

    step_id: UUID
    name: str


class PipelineReply(Wire):
    """The job, and the ids of its steps; ``GET /jobs/{job_id}`` says how far each is."""

    job_id: UUID
    document_id: UUID
    status: Literal["queued", "unchanged"]
    steps: list[StepName]
