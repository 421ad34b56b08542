"""LocalBlobStore keeps the blob store's contract in a folder."""

import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.errors import Unavailable
from contracts.blob_store import BlobStoreContract


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "blobs"


@pytest.fixture
def store(folder: Path) -> LocalBlobStore:
    return LocalBlobStore(folder)


@pytest.fixture
def count_files(folder: Path) -> Callable[[], int]:
    return lambda: sum(path.is_file() for path in folder.rglob("*"))


class TestLocalBlobStore(BlobStoreContract):
    async def test_files_are_private(self, store: LocalBlobStore, folder: Path) -> None:
        sha256, _ = await store.add(io.BytesIO(b"private"))
        path = await store.find_path(sha256)
        assert path is not None
        for item in (folder, Path(path).parent, Path(path)):
            assert stat.S_IMODE(item.stat().st_mode) & 0o077 == 0

    async def test_adding_again_makes_a_blob_young(self, store: LocalBlobStore) -> None:
        sha256, _ = await store.add(io.BytesIO(b"old"))
        path = await store.find_path(sha256)
        assert path is not None
        os.utime(path, (0, time.time() - 7200))
        assert await store.list_hashes(3600) == [sha256]
        await store.add(io.BytesIO(b"old"))
        assert await store.list_hashes(3600) == []

    async def test_unfinished_files_are_not_listed(
        self, store: LocalBlobStore, folder: Path
    ) -> None:
        (folder / "new-abc").write_bytes(b"unfinished")
        await store.add(io.BytesIO(b"whole"))
        assert len(await store.list_hashes(-1)) == 1

    async def test_a_folder_that_is_gone_is_unavailable(
        self, store: LocalBlobStore, folder: Path
    ) -> None:
        folder.rmdir()  # noqa: ASYNC240 - one folder of this test
        with pytest.raises(Unavailable) as caught:
            await store.add(io.BytesIO(b"x"))
        assert caught.value.reason == "storage_failed"
