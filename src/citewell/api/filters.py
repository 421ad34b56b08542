"""Read a request's filters into a scope."""

from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from citewell.domain import CollectionId, DocumentId, Scope, WorkspaceId
from citewell.errors import Unprocessable
from citewell.records.collections import get_collection_id
from citewell.wiring import Services

MOST_CHOICES = 1000
MOST_FIELDS = 50


async def read_scope(
    services: Services,
    workspace_id: WorkspaceId,
    collection: str | None,
    filters: dict[str, Any] | None,
) -> Scope:
    """Resolve a collection's name and check the filters.

    Raises:  NotFound – no such collection.  Unprocessable – a filter is not understood.
    """
    collection_id: CollectionId | None = None
    if collection is not None:
        async with services.database.transaction(workspace_id) as connection:
            collection_id = await get_collection_id(connection, workspace_id, collection)
    return replace(read_filters(filters), collection_id=collection_id)


def read_filters(filters: dict[str, Any] | None) -> Scope:
    """Check the filters of a request; the scope that they make is in all collections.

    Raises:  Unprocessable – a filter is not understood.
    """
    given = dict(filters or {})
    ids = _choices(given.pop("document_id", None), "document_id")
    names = _choices(given.pop("document_name", None), "document_name")
    metadata: Any = given.pop("metadata", {})
    if not isinstance(metadata, dict):
        raise Unprocessable("The field filters.metadata must be an object of fields and values.")
    fields: dict[str, Any] = {**given, **metadata}
    lists = [cast("list[Any]", value) for value in fields.values() if isinstance(value, list)]
    choices = len(fields) + sum(map(len, lists))
    if len(fields) > MOST_FIELDS or choices > MOST_CHOICES:
        raise Unprocessable("There are too many filters: at most 50 fields and 1000 values.")
    return Scope(
        document_ids=None if ids is None else tuple(_document_id(value) for value in ids),
        document_names=None if names is None else tuple(names),
        metadata=fields,
    )


def _choices(value: Any, name: str) -> list[str] | None:
    if value is None:
        return None
    choices: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    if len(choices) > MOST_CHOICES or not all(isinstance(item, str) for item in choices):
        raise Unprocessable(
            f"The field filters.{name} must be a text or a list of at most 1000 texts."
        )
    return choices


def _document_id(value: str) -> DocumentId:
    try:
        return DocumentId(UUID(value))
    except ValueError as error:
        raise Unprocessable("The field filters.document_id must hold ids of documents.") from error
