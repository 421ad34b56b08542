"""Stored bytes: kept, and read."""

from collections.abc import AsyncGenerator, AsyncIterable
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
    """Keeps bytes under their sha256: uploaded files, and exports."""

    async def add(self, stream: BinaryIO) -> tuple[str, int]:
        """Store a stream's bytes durably; return their sha256 and size in bytes.

        Raises:  InsufficientStorage – the disk is full.  Unavailable – it cannot be written.
        """
        ...

    async def add_parts(self, parts: AsyncIterable[bytes]) -> tuple[str, int]:
        """Store bytes that are made while they are stored, as ``add`` does.

        Holds:   nothing is kept of parts that end in an error.
        """
        ...

    async def find_path(self, sha256: str) -> str | None:
        """Return a local path to the blob's bytes, or None."""
        ...

    async def list_hashes(self, older_than_seconds: float) -> list[str]:
        """List the blobs that were stored longer ago than this."""
        ...

    async def remove_unfinished(self, older_than_seconds: float) -> None:
        """Remove what interrupted additions left behind longer ago than this."""
        ...

    async def remove(self, sha256: str) -> None:
        """Remove the blob; removing what is not there is no error."""
        ...
