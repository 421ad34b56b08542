"""/policy: what the workspace wants of its answers."""

from dataclasses import asdict

from fastapi import APIRouter

from citewell.answer.modes import read_mode
from citewell.api import chat_schemas
from citewell.api.context import request_id
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.domain import Json
from citewell.records.audit import add_audit
from citewell.records.policy import get_policy, merge_policy, set_policy
from citewell.wiring import Services

router = APIRouter(prefix="/policy", tags=["policy"])


@router.get("")
async def read(services: ServicesDep, workspace_id: WorkspaceDep) -> chat_schemas.Policy:
    """Return the policy that questions of this workspace are answered by."""
    async with services.database.transaction(workspace_id) as connection:
        return _wire(services, await get_policy(connection, workspace_id))


@router.put("")
async def replace(
    services: ServicesDep, workspace_id: WorkspaceDep, body: chat_schemas.PolicyRequest
) -> chat_schemas.Policy:
    """Replace the policy; fields that are absent or null come from the settings."""
    own = body.model_dump(mode="json", exclude_none=True)
    if body.mode is not None:
        own["mode"] = read_mode(body.mode).name
    if body.off_topics is not None:
        own["off_topics"] = list(dict.fromkeys(body.off_topics))
    async with services.database.transaction(workspace_id) as connection:
        await set_policy(connection, workspace_id, own)
        await add_audit(connection, workspace_id, "policy.change", str(workspace_id), request_id())
    return _wire(services, own)


def _wire(services: Services, own: Json) -> chat_schemas.Policy:
    merged = asdict(merge_policy(services.settings.answer, own))
    return chat_schemas.Policy.model_validate({**merged, "own": sorted(own)})
