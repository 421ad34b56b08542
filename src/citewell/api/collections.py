"""/collections: make, list, delete."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from citewell.api import schemas
from citewell.api.context import request_id
from citewell.api.deps import CleanText, ServicesDep, WorkspaceDep
from citewell.api.once import Accepted, AttemptDep, do_once
from citewell.records.audit import add_audit
from citewell.records.blobs import remove_unused_blobs
from citewell.records.collections import add_collection, list_collections, remove_collection
from citewell.records.session import Connection

router = APIRouter(prefix="/collections", tags=["collections"])


@router.get("")
async def list_all(services: ServicesDep, workspace_id: WorkspaceDep) -> schemas.Collections:
    """List all collections with what they hold."""
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_collections(connection, workspace_id)
    return schemas.Collections(collections=[schemas.Collection.model_validate(row) for row in rows])


@router.post("", status_code=201, response_model=schemas.Collection)
async def add(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    body: schemas.NewCollection,
    attempt: AttemptDep,
) -> Response:
    """Make an empty collection."""

    async def effect(connection: Connection) -> Accepted:
        row = await add_collection(connection, workspace_id, body.name)
        await add_audit(connection, workspace_id, "collection.add", body.name, request_id())
        return Accepted(schemas.Collection.model_validate(row))

    reply, _ = await do_once(services, workspace_id, attempt, body.name, 201, effect)
    return reply


@router.delete("/{name}", status_code=204)
async def delete(
    services: ServicesDep, workspace_id: WorkspaceDep, name: Annotated[CleanText, Path()]
) -> None:
    """Delete a collection with all its documents; the default one stays."""
    async with services.database.transaction(workspace_id) as connection:
        hashes = await remove_collection(connection, workspace_id, name)
        await add_audit(connection, workspace_id, "collection.delete", name, request_id())
    await remove_unused_blobs(services.database, services.blobs, hashes)
