"""Blobs in a local folder: two letters of the sha256, then the sha256."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Generator
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
        """Remove what interrupted uploads left behind longer ago than this."""
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
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as new:
            temporary = Path(new.name)
            try:
                while data := stream.read(READ_BYTES):
                    digest.update(data)
                    size += len(data)
                    new.write(data)
                new.flush()
                os.fsync(new.fileno())
                path = self._path(digest.hexdigest())
                if path.exists():
                    os.utime(path)
                    temporary.unlink()
                else:
                    path.parent.mkdir(exist_ok=True, mode=0o700)
                    temporary.rename(path)
                    _sync_folder(path.parent)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return digest.hexdigest(), size

    def _list(self, before: float) -> list[str]:
        self._folder.stat()
        return sorted(path.name for path in self._folder.glob("??/*") if _is_older(path, before))

    def _remove_unfinished(self, before: float) -> None:
        for path in self._folder.glob("new-*"):
            if _is_older(path, before):
                path.unlink(missing_ok=True)


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
