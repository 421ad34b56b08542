"""Read a request's filters into a scope."""

from dataclasses import replace
from typing import Any, cast

from citewell.api.conditions import (
    MOST_CHOICES,
    MOST_FIELDS,
    ConditionReader,
    ids_of,
    is_comparison,
    texts_of,
)
from citewell.domain import CollectionId, DocumentId, Scope, WorkspaceId
from citewell.errors import Unprocessable
from citewell.records.collections import get_collection_id
from citewell.wiring import Services

__all__ = ["MOST_CHOICES", "MOST_FIELDS", "read_filters", "read_scope"]
RESERVED = ("all", "any", "not", "section", "media_type", "created", "updated")


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
    special = {name: given.pop(name) for name in RESERVED if name in given}
    fields: dict[str, Any] = {**given, **metadata}
    compared = {key: wanted for key, wanted in fields.items() if is_comparison(wanted)}
    equal = {key: wanted for key, wanted in fields.items() if key not in compared}
    reader = ConditionReader()
    for wanted in equal.values():
        reader.count(len(cast("list[Any]", wanted)) if isinstance(wanted, list) else 0)
    return Scope(
        document_ids=None
        if ids is None
        else tuple(DocumentId(each) for each in ids_of(ids, "filters.document_id")),
        document_names=None if names is None else tuple(names),
        metadata=equal,
        where=tuple(reader.read({**special, "metadata": compared}, "filters")),
    )


def _choices(value: Any, name: str) -> list[str] | None:
    return None if value is None else texts_of(value, f"filters.{name}")
