"""The wire's shapes of workspaces: made, listed, archived in bulk, purged."""

import unicodedata
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from citewell.api.deps import CleanText, storable
from citewell.api.schemas import Request, Wire
from citewell.domain import Role
from citewell.records.archiving import Change
from citewell.records.workspaces import MOST_NAME_CHARACTERS, WorkspaceStatus

MOST_IDS = 1000
StatusFilter = WorkspaceStatus | Literal["all"]
SearchText = Annotated[CleanText, StringConstraints(min_length=1, max_length=200)]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000),
    AfterValidator(storable),
]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(storable),
]


def _nameable(value: str) -> str:
    """Refuse a name that a header cannot hold, or that reads like an id."""
    if any(unicodedata.category(character).startswith("C") for character in value):
        raise ValueError("must not contain control characters")
    try:
        UUID(value)
    except ValueError:
        return value
    raise ValueError("must not look like an id")


WorkspaceName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_NAME_CHARACTERS),
    AfterValidator(storable),
    AfterValidator(_nameable),
]


class NewWorkspace(Request):
    """A workspace to make."""

    name: WorkspaceName
    description: Description = ""


class WorkspaceChange(Request):
    """What is to be changed; what is absent or null stays."""

    name: WorkspaceName | None = None
    description: Description | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and self.description is None:
            raise ValueError("must name what is to be changed: name, description, or both")
        return self


class ArchiveRequest(Request):
    """Why a workspace is archived: those who read it later see it."""

    reason: Reason


class PurgeRequest(Request):
    """The workspace's name, as a proof that this one is meant."""

    confirm: CleanText = Field(max_length=MOST_NAME_CHARACTERS)


class Workspace(Wire):
    """A workspace; it is removed after ``purge_after``, where that is set."""

    id: UUID
    name: str
    description: str
    status: WorkspaceStatus
    created_at: datetime
    archived_at: datetime | None
    archived_reason: str | None
    purge_after: datetime | None


class ListedWorkspace(Workspace):
    """A workspace, and the caller's role in it."""

    role: Role


class WorkspacePage(Wire):
    """One page of workspaces, newest first."""

    workspaces: list[ListedWorkspace]
    next_cursor: str | None


class Used(Wire):
    """What questions used, and an estimate of what it cost."""

    questions: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class WorkspaceUsage(Wire):
    """What was used today (UTC), and in the last 30 days with today."""

    today: Used
    last_30_days: Used


class WorkspaceDetail(ListedWorkspace):
    """A workspace with what it holds; ``bytes`` are those of all kept versions' files.

    ``usage`` is null for callers who are no admins of it.
    """

    documents: int
    collections: int
    chunks: int
    bytes: int
    sessions: int
    answers: int
    open_jobs: int
    keys: int
    people: int
    usage: WorkspaceUsage | None


class ChangedWorkspace(Wire):
    """What was done: ``changed`` is false where it was so already; ``message`` says it."""

    changed: bool
    message: str
    workspace: Workspace


class BulkFilter(Request):
    """Which workspaces are meant; without fields all of them."""

    search: SearchText | None = None
    status: StatusFilter = "all"


class BulkRequest(Request):
    """Archive or restore many: by ``ids``, or by ``filter``, whose total has to be known before."""

    action: Literal["archive", "restore"]
    reason: Reason | None = None
    ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MOST_IDS)
    filter: BulkFilter | None = None
    preview: bool = False
    expected_total: int | None = Field(default=None, ge=0)
    confirm: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("must have either ids or filter")
        if self.action == "archive" and self.reason is None and not self.preview:
            raise ValueError("The field reason is missing. Say why the workspaces are archived.")
        if self.ids is not None and (self.preview or self.expected_total is not None):
            raise ValueError("The fields preview and expected_total go with filter, not with ids")
        if (
            self.filter is not None
            and not self.preview
            and (self.expected_total is None or not self.confirm)
        ):
            raise ValueError(
                "must have expected_total and confirm: true where it has filter. Ask with preview: "
                "true first, which says the total"
            )
        return self


class BulkResult(Wire):
    """What became of one workspace."""

    id: UUID
    outcome: Change


class BulkReply(Wire):
    """How many are meant, and what became of each; a preview has a ``sample`` instead."""

    total: int
    preview: bool
    done: int = 0
    unchanged: int = 0
    not_found: int = 0
    results: list[BulkResult] = Field(default_factory=list[BulkResult])
    sample: list[Workspace] = Field(default_factory=list[Workspace])


class Purge(Wire):
    """A purge, and its proof: once it is finished, all of ``rows_left`` is 0.

    ``bytes_removed`` are those of the rows, by table; ``blob_bytes_removed`` those of files that
    no other workspace has.
    """

    id: UUID
    workspace_id: UUID
    name_sha256: str
    requested_by: str
    requested_at: datetime
    created_at: datetime
    finished_at: datetime | None
    rows_removed: dict[str, int]
    bytes_removed: dict[str, int]
    rows_left: dict[str, int]
    blobs_removed: int
    blob_bytes_removed: int
    blobs_left: int | None
    keys_revoked: int


class PurgePage(Wire):
    """One page of purges, newest first."""

    purges: list[Purge]
    next_cursor: str | None
