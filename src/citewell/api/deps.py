"""What handlers share: the open services, the caller's workspace, ids and names in paths.

All are coroutines though none waits: the framework runs plain functions in threads, and going there
and back took a quarter of a small request's time.
"""

import math
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from citewell.api.gate import Caller, Gate
from citewell.api.patterns import NAME
from citewell.domain import (
    AnswerId,
    DocumentId,
    JobId,
    PrincipalId,
    VersionId,
    WebhookId,
    WorkspaceId,
)
from citewell.errors import NotFound
from citewell.wiring import Services

DEEPEST_JSON = 32
"""Levels of an object: far below where serialisers give up."""


async def get_services(request: Request) -> Services:
    """Return the services that the application opened at its start."""
    return request.app.state.services


async def get_caller(request: Request) -> Caller:
    """Return who calls, as the gate found out."""
    return request.state.caller


async def get_workspace(request: Request) -> WorkspaceId:
    """Return the workspace that this request is about; the gate let the caller into it."""
    return request.state.caller.workspace_id


async def get_named_workspace(
    request: Request,
    workspace_id: Annotated[str, Path(description="The workspace's id.")],  # noqa: ARG001 - for OpenAPI
) -> WorkspaceId:
    """Return the workspace that the address names, as the gate read it."""
    return request.state.caller.workspace_id


async def get_gate(request: Request) -> Gate:
    """Return the gate, to make it forget what was changed."""
    return request.app.state.gate


def known_uuid(value: str) -> UUID:
    """Read an id; a malformed one is unknown.

    Raises:  NotFound – it is no UUID.
    """
    try:
        return UUID(value)
    except ValueError as error:
        raise NotFound("There is nothing with that id here. Ids look like a UUID.") from error


async def document_id(
    document_id: Annotated[str, Path(description="The document's id.")],
) -> DocumentId:
    """Read a document's id; a malformed one is unknown."""
    return DocumentId(known_uuid(document_id))


async def job_id(job_id: Annotated[str, Path(description="The job's id.")]) -> JobId:
    """Read a job's id; a malformed one is unknown."""
    return JobId(known_uuid(job_id))


async def answer_id(answer_id: Annotated[str, Path(description="The answer's id.")]) -> AnswerId:
    """Read an answer's id; a malformed one is unknown."""
    return AnswerId(known_uuid(answer_id))


async def key_id(key_id: Annotated[str, Path(description="The key's id.")]) -> PrincipalId:
    """Read a key's id; a malformed one is unknown."""
    return PrincipalId(known_uuid(key_id))


async def webhook_id(
    webhook_id: Annotated[str, Path(description="The webhook's id.")],
) -> WebhookId:
    """Read a webhook's id; a malformed one is unknown."""
    return WebhookId(known_uuid(webhook_id))


async def version_id(
    version_id: Annotated[
        str | None, Query(description="A version's id; the active one if absent.")
    ] = None,
) -> VersionId | None:
    """Read a version's id; a malformed one is unknown."""
    return None if version_id is None else VersionId(known_uuid(version_id))


def storable(value: str) -> str:
    """Refuse what PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs."""
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode, without lone surrogates") from error
    return value


def storable_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse an object that JSON or PostgreSQL cannot hold, in any of its depths."""
    level: list[Any] = [value]
    for _ in range(DEEPEST_JSON):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                storable(item)
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError("must not contain NaN or infinite numbers")
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(item, list):
                below += item
        level = below
        if not level:
            return value
    raise ValueError(f"must not be nested more than {DEEPEST_JSON} levels deep")


def storable_secret(value: SecretStr) -> SecretStr:
    """Refuse a password that PostgreSQL's text cannot hold."""
    storable(value.get_secret_value())
    return value


CleanText = Annotated[str, AfterValidator(storable)]
CleanJson = Annotated[dict[str, Any], AfterValidator(storable_json)]
Password = Annotated[SecretStr, Field(max_length=1000), AfterValidator(storable_secret)]
CollectionName = Annotated[
    str,
    StringConstraints(pattern=NAME),
]
ServicesDep = Annotated[Services, Depends(get_services)]
CallerDep = Annotated[Caller, Depends(get_caller)]
GateDep = Annotated[Gate, Depends(get_gate)]
WorkspaceDep = Annotated[WorkspaceId, Depends(get_workspace)]
NamedWorkspaceDep = Annotated[WorkspaceId, Depends(get_named_workspace)]
DocumentIdDep = Annotated[DocumentId, Depends(document_id)]
JobIdDep = Annotated[JobId, Depends(job_id)]
AnswerIdDep = Annotated[AnswerId, Depends(answer_id)]
KeyIdDep = Annotated[PrincipalId, Depends(key_id)]
WebhookIdDep = Annotated[WebhookId, Depends(webhook_id)]
VersionIdDep = Annotated[VersionId | None, Depends(version_id)]
LimitQuery = Annotated[int, Query(ge=1, le=200, description="Most items on one page.")]
CursorQuery = Annotated[
    CleanText | None, Query(max_length=200, description="next_cursor of the page before.")
]
