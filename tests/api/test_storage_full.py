"""Full, read-only and missing folders: a right error, nothing partial, and no restart after."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
import structlog

from api.stage import Api, require_problem
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.errors import InsufficientStorage, Unavailable

SMALL, LARGE = os.urandom(100_000).hex().encode(), os.urandom(2_000_000).hex().encode()


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Put a disk of 1 MiB at the folder; yield what mounts it again with other options."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False)
    if not mounted or mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield lambda options: _remount(folder, options)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def _names(api: Api) -> list[str]:
    reply = await api.client.get("/documents", params={"limit": 200})
    return [item["name"] for item in reply.json()["documents"]]


async def test_a_full_blob_folder(fresh: Api, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    with small_disk(blobs):
        with structlog.testing.capture_logs() as logs:
            reply = await fresh.upload(("small.txt", SMALL), ("large.txt", LARGE))
        problem = require_problem(reply, 507, "storage_full")
        assert str(tmp_path) not in str(problem)
        assert any(log.get("folder") == str(blobs) for log in logs)
        assert _files(blobs) == []
        assert await _names(fresh) == []
        assert (await fresh.client.get("/jobs")).json()["jobs"] == []
        assert (await fresh.upload(("small.txt", SMALL))).status_code == 202
        _remount(blobs, "size=16m")
        assert (await fresh.upload(("large.txt", LARGE))).status_code == 202
        assert len(_files(blobs)) == 2
        assert await _names(fresh) == ["large.txt", "small.txt"]


async def test_a_read_only_blob_folder(fresh: Api, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    with small_disk(blobs) as remount:
        document = (await fresh.upload(("kept.txt", SMALL))).json()["documents"][0]
        remount("ro")
        reply = await fresh.upload(("new.txt", b"new"))
        require_problem(reply, 503, "storage_failed")
        assert reply.headers["retry-after"]
        gone = await fresh.client.delete(f"/documents/{document['document_id']}")
        require_problem(gone, 503, "storage_failed")
        remount("rw")
        assert (await fresh.upload(("new.txt", b"new"))).status_code == 202


async def test_a_blob_folder_that_vanished(fresh: Api, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    (accepted,) = (await fresh.upload(("kept.txt", b"A clock shows time."))).json()["documents"]
    blobs.rename(tmp_path / "away")
    require_problem(await fresh.upload(("new.txt", b"new")), 503, "storage_failed")
    await fresh.work()
    job = (await fresh.client.get(f"/jobs/{accepted['job_id']}")).json()
    assert (job["status"], job["reason"]) == ("queued", "storage_failed")
    (tmp_path / "away").rename(blobs)
    assert (await fresh.upload(("new.txt", b"new"))).status_code == 202


async def test_a_full_temporary_folder(
    fresh: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    with small_disk(spool):
        for _ in range(2):
            reply = await fresh.upload(("small.txt", SMALL), ("large.txt", LARGE))
            problem = require_problem(reply, 507, "storage_full")
            assert str(tmp_path) not in str(problem)
        assert _files(tmp_path / "blobs") == []
        _remount(spool, "size=16m")
        assert (await fresh.upload(("large.txt", LARGE))).status_code == 202


@pytest.fixture
def size_limit() -> Iterator[None]:
    """Let no file of this process grow over 64 KiB, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("size_limit")
async def test_a_file_that_no_room_is_left_for(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "blobs")
    with pytest.raises(InsufficientStorage):
        await store.add(BytesIO(SMALL))
    assert _files(tmp_path) == []
    await store.add(BytesIO(b"small"))


async def test_a_missing_folder_says_nothing_about_its_files(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "blobs")
    assert await store.find_path("0" * 64) is None
    (tmp_path / "blobs").rmdir()
    for work in (store.find_path("0" * 64), store.list_hashes(0)):
        with pytest.raises(Unavailable) as caught:
            await work
        assert caught.value.reason == "storage_failed"
