"""Blobs in a local folder: two letters of the sha256, then the sha256."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import structlog

from citewell.errors import FULL_ERRNOS, CitewellError, InsufficientStorage, Unavailable

log = structlog.get_logger(__name__)

READ_BYTES = 1024 * 1024


class LocalBlobStore:
    """Writes to a temporary name, syncs, renames, syncs the folder: a blob is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def add(self, stream: BinaryIO) -> tuple[str, int]:
        """Store a stream's bytes durably; return their sha256 and size in bytes."""
        with self._translated():
            return await asyncio.to_thread(self._write, stream)

    async def add_parts(self, parts: AsyncIterable[bytes]) -> tuple[str, int]:
        """Store bytes that are made while they are stored; return their sha256 and size."""
        with self._translated():
            new = await asyncio.to_thread(_NewBlob, self._folder)
            try:
                async for part in parts:
                    await asyncio.to_thread(new.write, part)
                return await asyncio.to_thread(self._keep, new)
            except BaseException:
                new.discard()
                raise

    async def find_path(self, sha256: str) -> str | None:
        """Return a path to the blob's bytes, or None."""
        with self._translated():
            return await asyncio.to_thread(self._find, sha256)

    async def list_hashes(self, older_than_seconds: float) -> list[str]:
        """List the blobs that were stored longer ago than this."""
        with self._translated():
            return await asyncio.to_thread(self._list, time.time() - older_than_seconds)

    async def remove(self, sha256: str) -> None:
        """Remove the blob; removing what is not there is no error."""
        with self._translated():
            await asyncio.to_thread(self._path(sha256).unlink, missing_ok=True)

    async def remove_unfinished(self, older_than_seconds: float) -> None:
        """Remove what interrupted additions left behind longer ago than this."""
        with self._translated():
            await asyncio.to_thread(self._remove_unfinished, time.time() - older_than_seconds)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Tell the operator what is wrong with the folder, and the caller what to do."""
        try:
            yield
        except OSError as error:
            log.warning(
                "the folder of the uploaded files cannot be used; free space, or mount it again "
                "with the right to write",
                folder=str(self._folder),
                why=error.strerror,
            )
            raise _storage_error(error) from error

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _find(self, sha256: str) -> str | None:
        path = self._path(sha256)
        if path.is_file():
            return str(path)
        self._folder.stat()  # a folder that is gone says nothing about its files
        return None

    def _write(self, stream: BinaryIO) -> tuple[str, int]:
        new = _NewBlob(self._folder)
        try:
            while data := stream.read(READ_BYTES):
                new.write(data)
            return self._keep(new)
        except BaseException:
            new.discard()
            raise

    def _keep(self, new: "_NewBlob") -> tuple[str, int]:
        """Give a blob that is written whole its name; return it, and its size."""
        temporary, sha256 = new.end()
        path = self._path(sha256)
        if path.exists():
            os.utime(path)
            temporary.unlink()
        else:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            temporary.rename(path)
            _sync_folder(path.parent)
        return sha256, new.size_bytes

    def _list(self, before: float) -> list[str]:
        self._folder.stat()
        return sorted(path.name for path in self._folder.glob("??/*") if _is_older(path, before))

    def _remove_unfinished(self, before: float) -> None:
        for path in self._folder.glob("new-*"):
            if _is_older(path, before):
                path.unlink(missing_ok=True)


class _NewBlob:
    """A blob that is being written under a temporary name."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it outlives this function
            dir=folder, prefix="new-", delete=False
        )
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Write what comes next."""
        self._digest.update(data)
        self.size_bytes += len(data)
        self._file.write(data)

    def end(self) -> tuple[Path, str]:
        """Sync what was written; return where it is, and its sha256."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        return Path(self._file.name), self._digest.hexdigest()

    def discard(self) -> None:
        """Remove what was written, if it still has its temporary name."""
        with contextlib.suppress(OSError):  # a full disk: what it could not write, nobody wants
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)


def _storage_error(error: OSError) -> CitewellError:
    if error.errno in FULL_ERRNOS:
        return InsufficientStorage(
            "There is no space left for uploaded files. Free some on the server, then send the "
            "files again."
        )
    return Unavailable(
        "The folder of the uploaded files cannot be used. Its server's log says why; send the "
        "request again when it is mended.",
        code="storage_failed",
    )


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
