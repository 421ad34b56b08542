"""/answers/{answer_id}/replay: do an answer's search once more, and say what differs and why."""

from uuid import UUID

from fastapi import APIRouter

from citewell.answer.manifest import Replay
from citewell.api.deps import AnswerIdDep, ServicesDep, WorkspaceDep
from citewell.api.schemas import Wire
from citewell.domain import WorkspaceId
from citewell.errors import Conflict
from citewell.records.answers import get_manifest
from citewell.records.collections import list_collections
from citewell.wiring import Services

router = APIRouter(tags=["questions"])

MAKERS = {
    "embedder": "the embedding model",
    "model": "the chat model",
    "prompts": "the prompts",
    "settings": "the settings",
}


class ReplayReply(Wire):
    """How the same search compares with the one that an answer rests on.

    ``same`` means to the last bit. ``index_changed`` names the collections that changed since (one
    that is gone by its id), ``makers_changed`` what else did: embedder, model, prompts, settings.
    ``missing``, ``added`` and ``rescored`` are chunks that are found no more, newly, otherwise.
    """

    answer_id: UUID
    same: bool
    message: str
    index_changed: list[str]
    makers_changed: list[str]
    missing: list[UUID]
    added: list[UUID]
    rescored: list[UUID]


@router.post("/answers/{answer_id}/replay", response_model=ReplayReply)
async def replay(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> ReplayReply:
    """Search again with an answer's own queries, scope, limits and weights; nothing is written."""
    async with services.database.transaction(workspace_id) as connection:
        manifest = await get_manifest(connection, workspace_id, answer_id)
    if not manifest:
        raise Conflict(
            "Nothing was searched for this answer, or the workspace's policy keeps no questions. "
            "There is nothing to do again: ask anew."
        )
    found = await services.answers.replay(workspace_id, manifest)
    changed = await _name_collections(services, workspace_id, found.index_changed)
    return ReplayReply(
        answer_id=answer_id,
        same=found.same,
        message=tell(found, changed),
        index_changed=changed,
        makers_changed=list(found.makers_changed),
        missing=[UUID(each) for each in found.missing],
        added=[UUID(each) for each in found.added],
        rescored=[UUID(each) for each in found.rescored],
    )


async def _name_collections(
    services: Services, workspace_id: WorkspaceId, ids: tuple[str, ...]
) -> list[str]:
    if not ids:
        return []
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_collections(connection, workspace_id)
    names = {str(row.id): row.name for row in rows}
    return [names.get(each, each) for each in ids]


def tell(found: Replay, collections: list[str]) -> str:
    """Say in sentences what differs, and what changed since."""
    changes = [
        *([f"documents in {', '.join(collections)}"] if collections else []),
        *(MAKERS.get(maker, maker) for maker in found.makers_changed),
    ]
    since = f"Changed since: {', '.join(changes)}." if changes else ""
    if found.same:
        same = "The search finds the same chunks in the same order, with the same scores."
        return f"{same} {since or 'Nothing changed since.'}"
    counts = {
        "found no more": len(found.missing),
        "newly found": len(found.added),
        "scored otherwise": len(found.rescored),
    }
    told = ", ".join(f"{number} {how}" for how, number in counts.items() if number)
    why = since or (
        "Neither documents nor settings changed since: something was published during one of the "
        "searches, or the collection is so large that it is searched by an approximate index."
    )
    return f"The search finds something else now. Chunks: {told}. {why}"
