"""The wire's shapes of exports: what is asked for, with each kind's own filters."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body
from pydantic import Field

from citewell.api.deps import CleanText
from citewell.api.schemas import Request, Wire
from citewell.domain import Json
from citewell.records.answers import AnswerStatus
from citewell.records.audit import Outcome
from citewell.records.export_rows import ExportKind
from citewell.records.exports import ExportFormat, ExportStatus
from citewell.records.feedback import Rating

Name = Annotated[CleanText, Field(min_length=1, max_length=300)]


class ExportFilters(Request):
    """Which rows: made at ``from`` or later, and before ``to``; UTC where no zone is named."""

    from_: datetime | None = Field(default=None, alias="from")
    to: datetime | None = None

    def to_json(self) -> Json:
        """Return what is kept of the filters: those that were given."""
        for name in ("from_", "to"):
            moment: datetime | None = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                setattr(self, name, moment.replace(tzinfo=UTC))
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


class ChatLogFilters(ExportFilters):
    """Filters of chat logs."""

    session_id: UUID | None = None
    refused: bool | None = None
    status: AnswerStatus | None = None
    mode: Name | None = None
    actor: Name | None = None


class AuditFilters(ExportFilters):
    """Filters of the audit log."""

    installation: bool = Field(
        default=False, description="What concerns no workspace, such as owners' keys; for owners."
    )
    action: Name | None = None
    actor: Name | None = None
    outcome: Outcome | None = None
    request_id: Name | None = None


class DocumentFilters(ExportFilters):
    """Filters of documents."""

    collection: Name | None = None


class FeedbackFilters(ExportFilters):
    """Filters of feedback."""

    rating: Rating | None = None


class UsageFilters(ExportFilters):
    """Filters of what was used."""

    kind: Name | None = None
    collection: Name | None = None


class _Asked(Request):
    format: ExportFormat = "jsonl"


class ChatLogExport(_Asked):
    """Questions with their answers."""

    kind: Literal["chat_logs"]
    filters: ChatLogFilters = Field(default_factory=ChatLogFilters)


class AuditExport(_Asked):
    """Who did what."""

    kind: Literal["audit"]
    filters: AuditFilters = Field(default_factory=AuditFilters)


class DocumentExport(_Asked):
    """Documents, without their texts."""

    kind: Literal["documents"]
    filters: DocumentFilters = Field(default_factory=DocumentFilters)


class FeedbackExport(_Asked):
    """What readers said of answers."""

    kind: Literal["feedback"]
    filters: FeedbackFilters = Field(default_factory=FeedbackFilters)


class UsageExport(_Asked):
    """What was used: each question, upload and publication of the ledger."""

    kind: Literal["usage"]
    filters: UsageFilters = Field(default_factory=UsageFilters)


NewExport = Annotated[
    ChatLogExport | AuditExport | DocumentExport | FeedbackExport | UsageExport,
    Body(discriminator="kind"),
]


class Export(Wire):
    """An export; ``share`` is how much of it is done, from 0 to 1."""

    export_id: UUID
    kind: ExportKind
    format: ExportFormat
    filters: dict[str, Any]
    status: ExportStatus
    reason: str | None
    message: str | None
    attempt: int
    share: float
    row_count: int | None
    size_bytes: int | None
    sha256: str | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime


class ExportPage(Wire):
    """One page of exports, newest first."""

    exports: list[Export]
    next_cursor: str | None
