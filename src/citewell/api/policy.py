"""/policy: what the workspace wants of its answers."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from citewell.answer.modes import read_mode
from citewell.api import chat_schemas
from citewell.api.context import request_id
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.guarding import refuse, try_policy
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


@router.put("", response_model=chat_schemas.Policy)
async def replace(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: chat_schemas.PolicyRequest,
    force: Annotated[
        bool, Query(description="Change it although the workspace's guard says it is worse.")
    ] = False,
) -> chat_schemas.Policy | Response:
    """Replace the policy; fields that are absent or null come from the settings.

    In a workspace with a guard (``PUT /evals/guard``) the change is tried first: 409 with the
    figures when it makes answers worse.
    """
    own = body.model_dump(mode="json", exclude_none=True)
    if body.mode is not None:
        own["mode"] = read_mode(body.mode).name
    if body.off_topics is not None:
        own["off_topics"] = list(dict.fromkeys(body.off_topics))
    worse = [] if force else await try_policy(services, workspace_id, own)
    if worse:
        return refuse(worse)
    action = "policy.force" if force else "policy.change"
    async with services.database.transaction(workspace_id) as connection:
        await set_policy(connection, workspace_id, own)
        await add_audit(connection, workspace_id, action, str(workspace_id), request_id())
    return _wire(services, own)


def _wire(services: Services, own: Json) -> chat_schemas.Policy:
    merged = asdict(merge_policy(services.settings.answer, own))
    return chat_schemas.Policy.model_validate({**merged, "own": sorted(own)})
