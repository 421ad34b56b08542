"""/v1/models: each collection is a model, and ``citewell`` is all of them."""

from typing import Annotated

from fastapi import APIRouter, Path

from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.openai.conversation import EVERYTHING
from citewell.api.openai.errors import OpenAIRoute, UnknownModel
from citewell.api.openai.wire import Model, ModelList
from citewell.domain import WorkspaceId
from citewell.records.collections import list_collections
from citewell.wiring import Services

router = APIRouter(route_class=OpenAIRoute)

# A client may ask for a name with a slash in it, which is unknown like any other.
ModelId = Annotated[str, Path(description="The model's id: a collection's name.")]


@router.get("/models")
async def list_all(services: ServicesDep, workspace_id: WorkspaceDep) -> ModelList:
    """List what can be asked: all documents, then each collection by name."""
    return ModelList(data=await _list_models(services, workspace_id))


@router.get("/models/{model_id:path}")
async def get_one(services: ServicesDep, workspace_id: WorkspaceDep, model_id: ModelId) -> Model:
    """Return one model; the embedder is one too, though it is not listed among those to ask."""
    models = await _list_models(services, workspace_id)
    embedder = Model(id=services.embedder.name, created=models[0].created)
    for model in (*models, embedder):
        if model.id == model_id:
            return model
    raise UnknownModel


async def _list_models(services: Services, workspace_id: WorkspaceId) -> list[Model]:
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_collections(connection, workspace_id)
    created = {row.name: int(row.created_at.timestamp()) for row in rows}
    everything = Model(id=EVERYTHING, created=min(created.values()))
    return [
        everything,
        *(Model(id=name, created=when) for name, when in created.items() if name != EVERYTHING),
    ]
