"""The audit log's chains: what each link must be, and where one is broken.

Each workspace has its own chain, and so has the installation. A link's hash covers the link before
it and the row; ``citewell_audit_hash`` in the database makes it. The head is kept beside the chain,
so that a cut end is seen; a chain that was written anew as a whole is seen by an anchor, which is a
position and its hash as somebody noted them earlier.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import WorkspaceId
from citewell.errors import InputError
from citewell.records.session import Database
from citewell.records.statements import text

Fault = Literal["changed", "missing", "inserted", "cut", "head", "rewritten"]
BATCH = 5000
"""Links that are checked by one statement."""
MOST_SHOWN = 100
"""Broken places that are listed of one chain."""
ANCHOR = re.compile(
    r"(?:([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}):)?(\d{1,18}):([0-9a-fA-F]{64})"
)
CHAINED = "every audit row is in its chain, and every chain is whole"

LINKS = """
SELECT c.position, c.audit_id, c.hash, a.id,
    citewell_audit_hash(lag(c.hash, 1, :link) OVER (ORDER BY c.position), a) AS expected
FROM (SELECT * FROM audit_chain WHERE workspace_id = :workspace AND position > :after
    ORDER BY position LIMIT :batch) c
LEFT JOIN audit_log a ON a.workspace_id = c.workspace_id AND a.id = c.audit_id ORDER BY c.position
"""
UNCHAINED = """
SELECT a.id FROM audit_log a WHERE a.workspace_id = :workspace AND NOT EXISTS (
    SELECT FROM audit_chain c WHERE c.workspace_id = a.workspace_id AND c.audit_id = a.id)
ORDER BY a.id LIMIT :most
"""
GENESIS = "decode(repeat('00', 32), 'hex')"
BROKEN = f"""
SELECT l.workspace_id, l.audit_id FROM (
    SELECT c.workspace_id, c.position, c.audit_id, c.hash, lag(c.position, 1, 0) OVER w AS before,
        citewell_audit_hash(lag(c.hash, 1, {GENESIS}) OVER w, a) AS expected, a.id
    FROM audit_chain c
    LEFT JOIN audit_log a ON a.workspace_id = c.workspace_id AND a.id = c.audit_id
    WINDOW w AS (PARTITION BY c.workspace_id ORDER BY c.position)) l
WHERE l.position <> l.before + 1 OR l.id IS NULL OR l.hash IS DISTINCT FROM l.expected
UNION SELECT a.workspace_id, a.id FROM audit_log a WHERE NOT EXISTS (SELECT FROM audit_chain c
    WHERE c.workspace_id = a.workspace_id AND c.audit_id = a.id)
UNION SELECT coalesce(c.workspace_id, h.workspace_id), h.position FROM audit_heads h FULL JOIN
    (SELECT DISTINCT ON (workspace_id) workspace_id, position, hash FROM audit_chain
    ORDER BY workspace_id, position DESC) c ON c.workspace_id = h.workspace_id
WHERE (c.position, c.hash) IS DISTINCT FROM (h.position, h.hash)
"""
"""Every breach in one statement, for the checker of the whole ledger."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A chain's position and its hash there; where it names no workspace, another option does."""

    position: int
    hash: str
    workspace_id: WorkspaceId | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where a chain does not hold.

    ``changed``: the row or the link is not what was chained; ``missing``: it is gone; ``inserted``:
    a row that was never chained, which has no position; ``cut``: the chain ends before its head
    says; ``head``: the head is gone, or names another end; ``rewritten``: an anchor is not in it.
    """

    fault: Fault
    position: int | None
    audit_id: int | None


@dataclass(frozen=True, slots=True)
class Chain:
    """What was found of one chain: its length and its last hash, and where it is broken."""

    workspace_id: WorkspaceId
    length: int
    hash: str
    broken: tuple[Broken, ...]


def read_anchor(given: str) -> Anchor:
    """Read an anchor: POSITION:HASH, or WORKSPACE:POSITION:HASH.

    Raises:  InputError – it is none.
    """
    found = ANCHOR.fullmatch(given.strip())
    if found is None:
        raise InputError(
            "An anchor is POSITION:HASH or WORKSPACE:POSITION:HASH, as `citewell audit verify` "
            "prints it."
        )
    named = None if found[1] is None else WorkspaceId(UUID(found[1]))
    return Anchor(int(found[2]), found[3].lower(), named)


async def verify_chains(
    database: Database, workspace_id: WorkspaceId | None, anchors: Sequence[Anchor]
) -> list[Chain]:
    """Walk all chains, or that of one workspace, as they are at one moment.

    Raises:  InputError – an anchor does not say of which chain it is.
    """
    by_chain: dict[WorkspaceId, list[Anchor]] = defaultdict(list)
    for anchor in anchors:
        named = anchor.workspace_id or workspace_id
        if named is None:
            raise InputError("Say of which workspace the anchor is: WORKSPACE:POSITION:HASH.")
        by_chain[named].append(anchor)
    async with database.snapshot() as connection:
        # A whole installation is looked through: no statement is too long here.
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        wanted = await _list(connection) if workspace_id is None else [workspace_id]
        wanted += sorted(by_chain.keys() - set(wanted), key=str)
        return [await _verify(connection, each, by_chain[each]) for each in wanted]


async def _list(connection: AsyncConnection) -> list[WorkspaceId]:
    """List all that have a chain, a row or a head. Needs a system transaction."""
    rows = await connection.scalars(
        text(
            "SELECT workspace_id FROM audit_heads UNION SELECT workspace_id FROM audit_chain "
            "UNION SELECT workspace_id FROM audit_log ORDER BY 1"
        )
    )
    return [WorkspaceId(each) for each in rows]


async def _verify(
    connection: AsyncConnection, workspace_id: WorkspaceId, anchors: Sequence[Anchor]
) -> Chain:
    """Check one chain: its links, rows outside of it, its head, and the anchors."""
    wanted = {(anchor.position, anchor.hash) for anchor in anchors}
    broken: list[Broken] = []
    position, link = 0, bytes(32)
    while rows := await _read_links(connection, workspace_id, position, link):
        for row in rows:
            if row.position != position + 1:
                broken.append(Broken("missing", position + 1, None))
            if row.id is None:
                broken.append(Broken("missing", row.position, row.audit_id))
            elif row.position == position + 1 and row.expected != row.hash:
                broken.append(Broken("changed", row.position, row.audit_id))
            position, link = row.position, bytes(row.hash)
            wanted.discard((position, link.hex()))
    unchained = await connection.scalars(
        text(UNCHAINED), {"workspace": workspace_id, "most": MOST_SHOWN}
    )
    broken += [Broken("inserted", None, each) for each in unchained]
    broken += await _check_head(connection, workspace_id, position, link)
    broken += [Broken("rewritten", each, None) for each, _ in sorted(wanted)]
    return Chain(workspace_id, position, link.hex(), tuple(broken[:MOST_SHOWN]))


async def _read_links(
    connection: AsyncConnection, workspace_id: WorkspaceId, after: int, link: bytes
) -> Sequence[Row[Any]]:
    """Return the next links, each with the hash that it must have after the one before it."""
    values = {"workspace": workspace_id, "after": after, "link": link, "batch": BATCH}
    return (await connection.execute(text(LINKS), values)).all()


async def _check_head(
    connection: AsyncConnection, workspace_id: WorkspaceId, position: int, link: bytes
) -> list[Broken]:
    head = (
        await connection.execute(
            text("SELECT position, hash FROM audit_heads WHERE workspace_id = :workspace"),
            {"workspace": workspace_id},
        )
    ).one_or_none()
    if head is None:
        return [Broken("head", position, None)] if position else []
    if head.position > position:
        return [Broken("cut", position + 1, None)]
    return [] if tuple(head) == (position, link) else [Broken("head", head.position, None)]
