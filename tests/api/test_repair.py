"""What the checker finds is put right by the repair and a worker, and then it finds nothing."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from api.stage import EXAMPLES, Api, open_api
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.invariants import INVARIANTS
from citewell.records.repair import repair
from citewell.records.verify import QUOTED, verify
from citewell.settings import Settings
from records.rows import value
from records.test_verify import SABOTAGE

INCURABLE = {name for name, invariant in INVARIANTS.items() if invariant.cure == "none"}
SUM = """
SELECT md5(string_agg(concat_ws('|', c.ordinal, c.start, c."end", c.text, c.tokens), ','
    ORDER BY d.name, c.ordinal)) FROM chunks c JOIN documents d ON d.id = c.document_id
"""


@pytest.fixture(scope="module")
async def indexed(
    clone: Callable[..., Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[str, Path]]:
    """A database with two documents that nobody is connected to, and its data folder."""
    folder = tmp_path_factory.mktemp("indexed")
    with clone() as url:
        async with open_api(make_settings(url, folder), ingest) as api:
            for name in ("atomic-clocks.txt", "time-zones.md"):
                await api.add(name, (EXAMPLES / name).read_bytes())
        yield str(make_url(url).database), folder


@pytest.fixture
async def filled(
    indexed: tuple[str, Path],
    clone: Callable[..., Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> AsyncIterator[Api]:
    """An application of one test with these documents."""
    name, folder = indexed
    shutil.copytree(folder, tmp_path / "data")
    with clone(name) as url:
        async with open_api(make_settings(url, tmp_path / "data"), ingest) as api:
            yield api


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [(name, all_[0]) for name, all_ in SABOTAGE.items() if name not in INCURABLE],
)
async def test_a_breach_is_repaired(filled: Api, invariant: str, statement: str) -> None:
    database = filled.services.database
    blobs = LocalBlobStore(filled.services.settings.blobs_folder)
    whole = await value(database, SUM)
    assert await value(database, statement), "the sabotage changed nothing"
    checks = await verify(database, blobs)
    assert invariant in {check.invariant for check in checks if check.breaches}
    repairs = await repair(database, blobs, checks)
    assert invariant in {each.invariant for each in repairs}
    await filled.work()
    left = {check.invariant: check.found for check in await verify(database, blobs)}
    assert {name for name, found in left.items() if found} <= INCURABLE
    assert await value(database, SUM) == whole
    if invariant == QUOTED:
        assert await value(database, "SELECT max(number) FROM versions") == 2


async def test_repairing_what_is_whole_does_nothing(fresh: Api) -> None:
    await fresh.add("atomic-clocks.txt", (EXAMPLES / "atomic-clocks.txt").read_bytes())
    database = fresh.services.database
    blobs = LocalBlobStore(fresh.services.settings.blobs_folder)
    assert await repair(database, blobs, await verify(database, blobs)) == []
    assert await fresh.work() == 0


async def test_a_lost_file_is_named_and_not_invented(fresh: Api) -> None:
    document = await fresh.add("atomic-clocks.txt", (EXAMPLES / "atomic-clocks.txt").read_bytes())
    blobs = LocalBlobStore(fresh.services.settings.blobs_folder)
    await blobs.remove(document["sha256"])
    checks = await verify(fresh.services.database, blobs)
    (broken,) = [check for check in checks if check.breaches]
    assert broken.found == [(document["sha256"],)]
    (made,) = await repair(fresh.services.database, blobs, checks)
    assert "Upload" in made.what
    assert await fresh.work() == 0
