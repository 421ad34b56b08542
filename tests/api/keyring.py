"""Keys for the API's tests: an application that asks for one, and who calls it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import text

from api.stage import Api, open_api
from canaries import hide
from citewell.domain import WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import AuthSettings, LimitSettings, Settings

PEPPER = SecretStr(hide("a pepper for the tests, 32 characters or more"))
LOCAL_KEY = hide("what the command line would send")
REQUIRED = AuthSettings(
    mode="required", pepper=PEPPER, local_key=SecretStr(LOCAL_KEY), cache_seconds=0
)


UNLIMITED = LimitSettings(requests_per_minute=0, questions_per_minute=0, failures_per_minute=0)


def bearer(key: str, workspace: UUID | None = None) -> dict[str, str]:
    """Return the headers of a caller."""
    named = {} if workspace is None else {"X-Workspace-ID": str(workspace)}
    return {"Authorization": f"Bearer {key}", **named}


OWNER = bearer(LOCAL_KEY)


@asynccontextmanager
async def open_guarded(settings: Settings, ingest: IngestPipeline) -> AsyncIterator[Api]:
    """Open an application in which every request needs a key; its client sends none by itself."""
    guarded = settings.model_copy(update={"auth": REQUIRED, "limits": UNLIMITED})
    async with open_api(guarded, ingest) as opened:
        yield opened


async def make_key(api: Api, role: str, *workspaces: UUID, **more: Any) -> str:
    """Make a key of a role and return it."""
    body = {"name": f"a {role}", "role": role, "workspaces": [str(w) for w in workspaces] or None}
    reply = await api.client.post("/keys", json=body | more, headers=OWNER)
    assert reply.status_code == 201, reply.text
    return hide(reply.json()["key"])


async def make_workspace(api: Api, name: str | None = None) -> WorkspaceId:
    """Make a workspace with its default collection."""
    workspace_id = WorkspaceId(uuid4())
    async with api.services.database.system_transaction() as connection:
        await connection.execute(
            text("INSERT INTO workspaces (id, name) VALUES (:id, :name)"),
            {"id": workspace_id, "name": name or str(workspace_id)},
        )
        await connection.execute(
            text(
                "INSERT INTO collections (workspace_id, id, name) "
                "VALUES (:id, gen_random_uuid(), 'default')"
            ),
            {"id": workspace_id},
        )
    return workspace_id
