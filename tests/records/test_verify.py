"""The checker is silent on healthy records, and each way of breaking them has its own alarm."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.records.audit_chain import CHAINED
from citewell.records.documents import remove_document
from citewell.records.invariants import INVARIANTS
from citewell.records.leases import fail_job
from citewell.records.session import Database
from citewell.records.verify import NEEDED, QUOTED, STORED, verify
from records.rows import A, add_document, add_workspace, claim, upload, value

SABOTAGE = {
    QUOTED: [
        "UPDATE chunks SET text = text || '.' WHERE ordinal = 1",
        "UPDATE chunks SET start = start + 1 WHERE ordinal = 0",
        "UPDATE versions SET text = 'x' || text WHERE number = 1",
        "UPDATE versions SET text = NULL",
        "UPDATE chunks SET ordinal = ordinal + 10",
    ],
    "every chunk belongs to its document's active version": [
        "UPDATE documents SET active_version_id = NULL",
        "UPDATE documents SET active_version_id = gen_random_uuid()",
    ],
    "every chunk has its vector, and every vector its chunk": [
        "DELETE FROM vectors_384 WHERE chunk_id = (SELECT id FROM chunks LIMIT 1)",
        "UPDATE vectors_384 SET document_id = gen_random_uuid()",
    ],
    "every chunk has its terms, and all terms their chunk": [
        "DELETE FROM chunk_terms WHERE chunk_id = (SELECT id FROM chunks LIMIT 1)",
    ],
    "every document counts its own chunks": [
        "UPDATE documents SET chunk_count = chunk_count + 1",
        "DELETE FROM chunks WHERE ordinal = 1",
    ],
    "every collection counts its own chunks": [
        "UPDATE collections SET chunk_count = chunk_count - 1",
    ],
    "every active version has chunks": [
        "DELETE FROM chunks",
    ],
    "a version's chunks are numbered without a gap": [
        "DELETE FROM chunks WHERE ordinal = 0",
        "UPDATE chunks SET ordinal = 7 WHERE ordinal = 1",
    ],
    "every version has its job": ["DELETE FROM jobs"],
    "every open job has something to do": [
        "UPDATE jobs SET status = 'queued', version_id = gen_random_uuid()",
        "UPDATE jobs SET status = 'running', task = 'wait'",
        "UPDATE jobs SET status = 'queued', task = 'embed'",
        "UPDATE jobs SET status = 'queued', task = 'answer'",
        "UPDATE jobs SET status = 'queued', task = 'export'",
    ],
    "no question outlives its job": ["""UPDATE jobs SET payload = '{"text": "Q?"}'"""],
    "every answered question has its answer until that is removed": [
        "UPDATE jobs SET task = 'answer', kind = 'answer'",
    ],
    "every answer rests on documents that are there": [
        """INSERT INTO answers (workspace_id, id, question, refused, document_ids)
        SELECT workspace_id, id, 'Q?', false, ARRAY[id, gen_random_uuid()] FROM documents""",
    ],
    "a session's messages are numbered without a gap": [
        """WITH made AS (INSERT INTO sessions (workspace_id, id, expires_at)
        SELECT workspace_id, id, now() FROM documents RETURNING workspace_id, id)
        INSERT INTO messages (workspace_id, session_id, ordinal, role, content)
        SELECT workspace_id, id, place, 'user', 'Q?' FROM made, (VALUES (0), (2)) AS p (place)""",
    ],
    "no turn of a session is held long after its end": [
        """INSERT INTO sessions (workspace_id, id, expires_at, turn_token, turn_until)
        SELECT workspace_id, id, now(), id, now() - interval '1 hour' FROM documents""",
    ],
    "every finished job published its version": ["UPDATE versions SET published_at = NULL"],
    "every succeeded export names its file": [
        """INSERT INTO exports (workspace_id, id, kind, format, expires_at)
        SELECT workspace_id, id, 'audit', 'csv', now() FROM jobs""",
    ],
    "every failed job says why": [
        "UPDATE jobs SET status = 'failed'",
        "UPDATE jobs SET status = 'cancelled', reason = 'x'",
    ],
    "no running job is without a living lease or open parts": [
        """UPDATE jobs SET status = 'running', lease_token = id,
        lease_until = now() - interval '1 hour'""",
        "UPDATE jobs SET status = 'running', lease_until = NULL",
    ],
    "every job with parts counts those that are open": [
        "UPDATE jobs SET status = 'running', open_parts = 3, part_count = 3",
    ],
    "nothing stays staged after its job": [
        """INSERT INTO staged_chunks SELECT workspace_id, version_id, ordinal, id, start, "end",
        text, context, section, page, page_breaks, tokens FROM chunks""",
    ],
    "nothing is left of a purged workspace": [
        """WITH made AS (INSERT INTO workspaces (id, name) VALUES (gen_random_uuid(), 'gone')
        RETURNING id), proof AS (INSERT INTO purges (id, workspace_id, name_sha256, requested_by,
        requested_at, finished_at) SELECT id, id, 'x', 'x', now(), now() FROM made)
        INSERT INTO collections (workspace_id, id, name) SELECT id, id, 'default' FROM made""",
    ],
    "no password outlives its job": ["UPDATE jobs SET password = 'secret'"],
    "every day's usage is the sum of its ledger": [
        "UPDATE usage_days SET documents = documents + 1",
        "UPDATE usage_days SET bytes = bytes - 1, questions = 3",
        """INSERT INTO usage_ledger (workspace_id, kind, reference, output_tokens)
        SELECT workspace_id, 'question', id, 7 FROM documents""",
    ],
    "every document has the size of its newest version": [
        "UPDATE documents SET size_bytes = size_bytes + 1",
    ],
    "every accepted version has one audit row": [
        """INSERT INTO audit_log (workspace_id, action, target, actor, outcome)
        SELECT workspace_id, 'document.upload', id::text, 'x', 'done' FROM documents""",
        """INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes,
        media_type) SELECT workspace_id, gen_random_uuid(), document_id, 9, sha256, 1, 'x'
        FROM versions LIMIT 1""",
    ],
    CHAINED: ["UPDATE audit_heads SET position = position + 1"],
}


async def broken(database: Database, blobs: LocalBlobStore) -> dict[str, int]:
    return {c.invariant: c.breaches for c in await verify(database, blobs) if c.breaches}


async def test_normal_work_breaks_nothing(database: Database, blobs: LocalBlobStore) -> None:
    assert await broken(database, blobs) == {}
    other = await add_workspace(database)
    for workspace in (A, other):
        await add_document(database, workspace, "a.txt", ["one", "Zwölf 😀 naïve", "x" * 500],
                           blobs=blobs)  # fmt: skip
        await add_document(database, workspace, "a.txt", ["another"], blobs=blobs)
        await upload(database, workspace, "waits.txt", b"waits", blobs=blobs)
        running = await upload(database, workspace, "runs.txt", b"runs", blobs=blobs)
        assert await claim(database, workspace, running.job_id)
        failed = await upload(database, workspace, "fails.txt", b"fails", blobs=blobs)
        held = await claim(database, workspace, failed.job_id)
        assert held is not None
        async with database.transaction(workspace) as connection:
            await fail_job(connection, held, "no_text", "No text.")
        gone = await add_document(database, workspace, "gone.txt", ["gone"], blobs=blobs)
        again = await upload(database, workspace, "gone.txt", b"gone too", blobs=blobs)
        assert again.document_id == gone.document_id
        async with database.transaction(workspace) as connection:
            hashes = await remove_document(connection, workspace, gone.document_id)
        for sha256 in hashes if workspace == other else []:
            await blobs.remove(sha256)
    assert await broken(database, blobs) == {}


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [(invariant, statement) for invariant, all_ in SABOTAGE.items() for statement in all_],
)
async def test_each_breach_is_found(
    database: Database, blobs: LocalBlobStore, invariant: str, statement: str
) -> None:
    await add_document(database, A, "a.txt", ["one two", "three four"], blobs=blobs)
    await add_document(database, A, "b.txt", ["five"], blobs=blobs)
    assert await value(database, statement), "the sabotage changed nothing"
    assert invariant in await broken(database, blobs)


def test_every_invariant_has_a_sabotage() -> None:
    assert set(SABOTAGE) == {QUOTED, *INVARIANTS}


class File:
    """A stored file, which the tests damage."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write(self, data: bytes) -> None:
        self._path.write_bytes(data)

    def remove(self) -> None:
        self._path.unlink()

    def age(self, seconds: float) -> None:
        written = self._path.stat().st_mtime - seconds
        os.utime(self._path, (written, written))


async def test_a_lost_a_changed_and_a_stray_file_are_found(
    database: Database, blobs: LocalBlobStore
) -> None:
    made = await add_document(database, A, "a.txt", ["one two"], blobs=blobs)
    sha256 = hashlib.sha256(made.text.encode()).hexdigest()
    path = await blobs.find_path(sha256)
    assert path is not None
    found = File(path)
    stored, stray = STORED, NEEDED
    found.write(b"other bytes")
    assert await broken(database, blobs) == {stored: 1}
    found.remove()
    assert await broken(database, blobs) == {stored: 1}
    found.write(made.text.encode())
    assert await broken(database, blobs) == {}
    added, _ = await blobs.add(io.BytesIO(b"stray"))
    assert await broken(database, blobs) == {}
    File(str(await blobs.find_path(added))).age(100_000)
    assert await broken(database, blobs) == {stray: 1}
