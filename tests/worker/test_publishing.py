"""Documents are published together; what is left to do after it keeps nobody waiting."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from citewell.domain import ParsedPart
from citewell.records.lexical import refresh_lexemes
from citewell.records.publish import publish
from citewell.records.session import Database
from citewell.settings import JobSettings
from citewell.worker import publishing
from citewell.worker.holder import JobHolder
from citewell.worker.publishing import Finished, PublicationGroup
from citewell.worker.runs import JobRun, Workshop
from records.rows import MODEL, A, claim, publication, random_vectors, upload, value


async def test_the_next_ones_do_not_wait_for_a_recount(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    recounting, may_end = asyncio.Event(), asyncio.Event()

    async def recount(*given: Any) -> None:
        recounting.set()
        await may_end.wait()
        await refresh_lexemes(*given)

    monkeypatch.setattr(publishing, "refresh_lexemes", recount)
    versions: Any = SimpleNamespace(versions=SimpleNamespace(keep=2))
    services: Any = SimpleNamespace(database=database, settings=versions)
    group = PublicationGroup(services)
    submitted: list[asyncio.Task[None]] = []
    for name in ("a.txt", "b.txt"):
        added = await upload(database, A, name, name.encode())
        held = await claim(database, A, added.job_id)
        assert held is not None
        made = publication(held.document_id, held.version_id, [name])
        submitted.append(asyncio.create_task(group.submit(Finished(held, made, dict))))
        async with asyncio.timeout(5):
            await recounting.wait()
            while await value(database, "SELECT count(*) FROM jobs WHERE status <> 'done'"):
                pass
    may_end.set()
    await asyncio.gather(*submitted)
    assert await value(database, "SELECT chunk_count FROM collections") == 2


class AtOnce:
    """A pipeline that has every document ready at once."""

    async def run(self, file: Any, publisher: Any, _: Any) -> None:
        made = publication(publisher._claim.document_id, publisher._claim.version_id, [file.name])
        part = ParsedPart(made.head, made.text, tuple(made.sections), tuple(made.chunks), True)
        await publisher.publish(part, random_vectors(1))


async def test_a_document_that_waits_for_its_turn_keeps_its_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing_one, may_go_on = asyncio.Event(), asyncio.Event()

    async def publish_slowly(*given: Any) -> Any:
        publishing_one.set()
        await may_go_on.wait()
        return await publish(*given)

    async def find_path(_: str) -> str:
        await asyncio.sleep(0)
        return "file"

    monkeypatch.setattr(publishing, "publish", publish_slowly)
    jobs = JobSettings(heartbeat_seconds=0.1)
    services: Any = SimpleNamespace(
        database=database,
        settings=SimpleNamespace(versions=SimpleNamespace(keep=2), jobs=jobs),
        embedder=SimpleNamespace(name=MODEL),
        blobs=SimpleNamespace(find_path=find_path),
    )
    holder = JobHolder(database, jobs)
    pipeline: Any = AtOnce()
    workshop = Workshop(services, pipeline, holder, PublicationGroup(services))
    beating = asyncio.create_task(holder.beat_for_ever())
    runs: list[asyncio.Task[None]] = []
    for name in ("a.txt", "b.txt"):
        added = await upload(database, A, name, name.encode())
        held = await claim(database, A, added.job_id)
        assert held is not None
        runs.append(asyncio.create_task(JobRun(workshop, held).run()))
        await publishing_one.wait()
    waiting = {"id": held.job_id}
    ends = "UPDATE jobs SET lease_until = now() + interval '1 second' WHERE id = :id"
    assert await value(database, ends, **waiting)
    await asyncio.sleep(1.5)
    alive = "SELECT status = 'running' AND lease_until > now() FROM jobs WHERE id = :id"
    assert await value(database, alive, **waiting)
    may_go_on.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*runs)
    beating.cancel()
    assert await value(database, "SELECT count(*) FROM jobs WHERE status = 'done'") == 2
