"""Documents are published together; what is left to do after it keeps nobody waiting."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from citewell.records.lexical import refresh_lexemes
from citewell.records.session import Database
from citewell.worker import publishing
from citewell.worker.publishing import Finished, PublicationGroup
from records.rows import A, claim, publication, upload, value


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
