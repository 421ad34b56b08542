"""Which tables a purge empties, and in which order: all that name a workspace, but for records."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from citewell.records.tables import metadata

KEPT = frozenset({"audit_log", "audit_chain", "audit_heads", "purges"})
"""Records of what was done: they outlive the workspace."""


FIRST = ("exports", "jobs")
"""Emptied before all others: a worker then finds its job gone; an export hangs on its job."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """A table that a purge empties; ``leaves`` keeps rows that others of it still belong to."""

    name: str
    leaves: str


def _leaves_of(table: Table) -> str:
    """Return the condition on ``t`` that no other row of its own table belongs to it.

    A cascade would remove those others uncounted, and all in one statement.
    """
    clauses: list[str] = []
    for constraint in table.foreign_key_constraints:
        if constraint.referred_table is table:
            joined = " AND ".join(
                f"c.{element.parent.name} = t.{element.column.name}"
                for element in constraint.elements
            )
            clauses.append(f" AND NOT EXISTS (SELECT FROM {table.name} c WHERE {joined})")
    return "".join(clauses)


def _list_emptied() -> tuple[Emptied, ...]:
    """Return the tables, children before what they belong to, but jobs before all.

    A worker whose job is gone holds it no more, so that nothing is published any more.
    """
    named = [
        table
        for table in reversed(metadata.sorted_tables)
        if "workspace_id" in table.columns and table.name not in KEPT
    ]
    named.sort(key=lambda table: FIRST.index(table.name) if table.name in FIRST else len(FIRST))
    return tuple(Emptied(table.name, _leaves_of(table)) for table in named)


EMPTIED = _list_emptied()
"""All but the tables of vectors that were made later: ``with_vectors`` adds those."""


def with_vectors(tables: Sequence[str]) -> tuple[Emptied, ...]:
    """Return what a purge empties, with all tables of vectors that there are at the first's place.

    What looks for rows that a purge left needs them not: a vector goes with its chunk.
    """
    known = {each.name for each in EMPTIED}
    place = next(n for n, each in enumerate(EMPTIED) if each.name == "vectors_384")
    later = tuple(Emptied(name, "") for name in tables if name not in known)
    return (*EMPTIED[:place], *later, *EMPTIED[place:])


_PURGED = "(SELECT workspace_id FROM purges WHERE finished_at IS NOT NULL)"

LEFT_OF_PURGED = " UNION ALL ".join(
    [
        f"SELECT workspace_id, '{each.name}' FROM {each.name} WHERE workspace_id IN {_PURGED}"
        for each in EMPTIED
    ]
    + [f"SELECT id, 'workspaces' FROM workspaces WHERE id IN {_PURGED}"]
)
"""Breaches of a purge's promise: the workspace and the table of each row that is left."""

REMOVE_LEFT = (
    "WITH "
    + ", ".join(
        f"in_{each.name} AS (DELETE FROM {each.name} WHERE workspace_id IN {_PURGED})"
        for each in EMPTIED
    )
    + f" DELETE FROM workspaces WHERE id IN {_PURGED}"
)
