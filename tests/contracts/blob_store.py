"""What every blob store must do; an adapter's tests subclass this."""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from citewell.errors import InsufficientStorage
from citewell.ports import BlobStore


def read(path: str) -> bytes:
    return Path(path).read_bytes()


class Failing(io.RawIOBase):
    """A stream that breaks after its first mebibyte."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > 1:
            raise self._error
        return b"x" * 1024 * 1024


class BlobStoreContract:
    """Subclass it with fixtures ``store`` and ``count_files`` (whatever lies in the store)."""

    @pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 3 * 1024 * 1024 + 17])
    async def test_bytes_come_back(self, store: BlobStore, size: int) -> None:
        data = bytes(n % 251 for n in range(997)) * (size // 997 + 1)
        data = data[:size]
        sha256, length = await store.add(io.BytesIO(data))
        assert (sha256, length) == (hashlib.sha256(data).hexdigest(), size)
        path = await store.find_path(sha256)
        assert path is not None
        assert read(path) == data

    async def test_the_same_bytes_are_kept_once(
        self, store: BlobStore, count_files: Callable[[], int]
    ) -> None:
        first = await store.add(io.BytesIO(b"same"))
        assert await store.add(io.BytesIO(b"same")) == first
        assert count_files() == 1
        await store.add(io.BytesIO(b"other"))
        assert count_files() == 2

    async def test_adding_at_once_is_safe(
        self, store: BlobStore, count_files: Callable[[], int]
    ) -> None:
        data = [bytes([n % 4]) * 200_000 for n in range(24)]
        added = await asyncio.gather(*(store.add(io.BytesIO(item)) for item in data))
        assert [sha256 for sha256, _ in added] == [hashlib.sha256(d).hexdigest() for d in data]
        assert count_files() == 4
        for sha256, size in added:
            path = await store.find_path(sha256)
            assert path is not None
            content = read(path)
            assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256)

    async def test_removing_is_final_and_may_be_repeated(
        self, store: BlobStore, count_files: Callable[[], int]
    ) -> None:
        kept, _ = await store.add(io.BytesIO(b"kept"))
        gone, _ = await store.add(io.BytesIO(b"gone"))
        for _ in range(2):
            await store.remove(gone)
            assert await store.find_path(gone) is None
        assert await store.find_path(kept) is not None
        assert count_files() == 1
        assert (await store.add(io.BytesIO(b"gone")))[0] == gone
        assert await store.find_path(gone) is not None

    async def test_what_was_never_added_is_not_found(self, store: BlobStore) -> None:
        assert await store.find_path("0" * 64) is None
        await store.remove("0" * 64)

    async def test_hashes_are_listed_by_age(self, store: BlobStore) -> None:
        assert await store.list_hashes(-1) == []
        added = [(await store.add(io.BytesIO(bytes([n]))))[0] for n in range(20)]
        assert sorted(await store.list_hashes(-1)) == sorted(added)
        assert await store.list_hashes(3600) == []

    async def test_parts_become_one_blob(
        self, store: BlobStore, count_files: Callable[[], int]
    ) -> None:
        async def parts() -> AsyncGenerator[bytes]:
            for part in (b"one ", b"", b"two"):
                yield part

        added = await store.add_parts(parts())
        assert added == await store.add(io.BytesIO(b"one two"))
        assert count_files() == 1
        path = await store.find_path(added[0])
        assert path is not None
        assert read(path) == b"one two"

    @pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("broken")])
    async def test_parts_that_fail_leave_nothing(
        self, store: BlobStore, count_files: Callable[[], int], error: Exception
    ) -> None:
        async def parts() -> AsyncGenerator[bytes]:
            yield b"x" * 1024
            raise error

        expected = InsufficientStorage if isinstance(error, OSError) else ValueError
        with pytest.raises(expected):
            await store.add_parts(parts())
        assert count_files() == 0

    @pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("broken")])
    async def test_a_stream_that_fails_leaves_nothing(
        self, store: BlobStore, count_files: Callable[[], int], error: Exception
    ) -> None:
        expected = InsufficientStorage if isinstance(error, OSError) else ValueError
        with pytest.raises(expected):
            await store.add(cast("BinaryIO", Failing(error)))
        assert count_files() == 0
        assert await store.list_hashes(-1) == []
