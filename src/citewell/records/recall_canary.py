"""How much of what exact search finds the vector index finds too: a canary of its recall.

The index is approximate, and what it misses is seen by nobody. So a few chunks' own vectors are
searched both ways now and then, in the largest workspaces whose searches walk the index.
"""

from dataclasses import replace

import numpy as np

from citewell.domain import Scope, WorkspaceId
from citewell.records.dense import DenseSearch
from citewell.records.scope import resolve_scope
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.vector_tables import vector_table

LEAST_RECALL = 0.95
"""`citewell doctor` judges by the same."""
NEAREST = 10
PROBES, MOST_WORKSPACES = 20, 5
"""Searches in each workspace, and workspaces that are tried: seconds for millions of chunks."""

LARGEST = """
SELECT workspace_id FROM collections GROUP BY workspace_id
HAVING sum(chunk_count) > :least ORDER BY sum(chunk_count) DESC, workspace_id LIMIT :most
"""
PROBE = """
SELECT CAST(v.embedding AS text) FROM generate_series(1, :probes) AS n
CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id, n OFFSET 0) AS start
CROSS JOIN LATERAL (
    SELECT embedding FROM {table} WHERE workspace_id = :workspace AND model = :model
    AND chunk_id >= start.id ORDER BY chunk_id LIMIT 1) AS v
"""
"""Chunks' ids are hashes, so that the next one after a random id is a random chunk."""


async def measure_recall(database: Database, dense: DenseSearch) -> float | None:
    """Return the least share of the exactly nearest chunks that the index finds, of any workspace.

    None where no workspace is large enough for the index.
    """
    async with database.system_transaction() as connection:
        largest = await connection.scalars(
            text(LARGEST), {"least": dense.exact_below_chunks, "most": MOST_WORKSPACES}
        )
        workspaces = [WorkspaceId(each) for each in largest]
    recalls = [await _measure(database, dense, each) for each in workspaces]
    return min((each for each in recalls if each is not None), default=None)


async def _measure(
    database: Database, dense: DenseSearch, workspace_id: WorkspaceId
) -> float | None:
    exact = replace(dense, exact_below_chunks=2**62)
    shares: list[float] = []
    async with database.reading(workspace_id) as connection:
        space = await resolve_scope(connection, workspace_id, Scope())
        if not await dense.walks(connection, space):
            return None
    async with database.reading(workspace_id, dense.parameters) as connection:
        probes = await connection.scalars(
            text(PROBE.format(table=vector_table(dense.dimension))),
            {"workspace": workspace_id, "model": dense.model, "probes": PROBES},
        )
        for probe in list(probes):
            vector = np.array(probe[1:-1].split(","), np.float32)
            found, truth = [
                await each.search(connection, workspace_id, vector, space, NEAREST)
                for each in (dense, exact)
            ]
            # A neighbour as near as the last one counts, whichever of them was taken.
            last = min(truth.scores.values(), default=0.0)
            near = sum(score >= last for score in found.scores.values())
            shares.append(near / max(1, len(truth.scores)))
    return float(np.mean(shares)) if shares else None
