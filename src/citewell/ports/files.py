"""Uploaded bytes: kept, and read."""

from collections.abc import AsyncGenerator
from typing import BinaryIO, Protocol

from citewell.domain import ParsedPart


class Parser(Protocol):
    """Reads and cuts a file in a process of its own, under limits."""

    def read(
        self, path: str, name: str, media_type: str | None, password: str | None = None
    ) -> AsyncGenerator[ParsedPart]:
        """Yield the file's canonical text, sections and chunks, in parts of bounded size.

        Holds:   a file of at most 512 chunks is one part; closing the generator early is allowed.
        Raises:  DocumentRejected – the file cannot become searchable text; the code says why.
                 ParserKilled – another try may do better.
        """
        ...


class BlobStore(Protocol):
    """Keeps uploaded bytes under their sha256."""

    async def add(self, stream: BinaryIO) -> tuple[str, int]:
        """Store a stream's bytes durably; return their sha256 and size in bytes.

        Raises:  InsufficientStorage – the disk is full.  Unavailable – it cannot be written.
        """
        ...

    async def find_path(self, sha256: str) -> str | None:
        """Return a local path to the blob's bytes, or None."""
        ...

    async def list_hashes(self, older_than_seconds: float) -> list[str]:
        """List the blobs that were stored longer ago than this."""
        ...

    async def remove_unfinished(self, older_than_seconds: float) -> None:
        """Remove what interrupted uploads left behind longer ago than this."""
        ...

    async def remove(self, sha256: str) -> None:
        """Remove the blob; removing what is not there is no error."""
        ...
