"""Cursor paging: newest first, by (created_at, id), so that a page never shifts."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from citewell.errors import Unprocessable

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list, and the cursor of the next one."""

    items: list[Item]
    next_cursor: str | None


def page_of(
    rows: list[Item], limit: int, key: Callable[[Item], tuple[datetime, UUID]]
) -> Page[Item]:
    """Make a page from ``limit + 1`` fetched rows."""
    if len(rows) <= limit:
        return Page(rows, None)
    created_at, row_id = key(rows[limit - 1])
    cursor = base64.urlsafe_b64encode(f"{created_at.isoformat()}|{row_id}".encode()).decode()
    return Page(rows[:limit], cursor)


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Read a cursor that page_of made.

    Raises:  Unprocessable – it is not one.
    """
    try:
        created_at, _, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        return datetime.fromisoformat(created_at), UUID(row_id)
    except (ValueError, binascii.Error) as error:
        raise Unprocessable(
            "The cursor is not valid. Use next_cursor of the page before."
        ) from error
