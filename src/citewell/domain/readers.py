"""Who may read a document: everyone in the workspace, or those whom its list names."""

import re
from collections.abc import Sequence

READER = re.compile(r"role:(?:viewer|editor|admin)|group:[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""One entry of a list: whoever has that role or a higher one, or whose key is of that group."""
MOST_READERS = 32
"""Entries of one list; PostgreSQL keeps lists in an index, whose rows are small."""
EVERYONE = "role:viewer"
"""Every role includes it: a list that names it limits nothing."""


def kept_readers(given: Sequence[str]) -> list[str] | None:
    """Return a list as it is stored: sorted, each entry once; None where everyone is named."""
    return None if EVERYONE in given else sorted(set(given))


def is_reader(readers: Sequence[str] | None, tags: Sequence[str] | None) -> bool:
    """Say whether a caller with these tags is among a document's readers; no tags see all."""
    return readers is None or tags is None or not set(readers).isdisjoint(tags)


def sees_as_much(tags: Sequence[str] | None, others: Sequence[str] | None) -> bool:
    """Say whether a caller sees at least every document that another one sees."""
    return tags is None or (others is not None and set(others) <= set(tags))
