"""Files through the real parser processes, as a worker has them."""

from pathlib import Path

from citewell.domain import Chunking, ParsedPart, ParseReport
from citewell.errors import DocumentRejected
from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import ParserLimits

CHUNKING = Chunking(200, 0, 256)
COUNTER = "citewell.adapters.minilm_tokenizer:count_tokens"


def new_pool(limits: ParserLimits | None = None, **options: int) -> ParserPool:
    """Return a pool of one process, or of as many as asked for."""
    return ParserPool(
        chunking=CHUNKING,
        count_tokens=COUNTER,
        limits=limits or ParserLimits(timeout_seconds=20),
        **({"processes": 1} | options),
    )


async def read(pool: ParserPool, path: str, name: str) -> ParsedPart:
    """Read a file that is small enough for one part."""
    (part,) = [part async for part in pool.read(path, name)]
    return part


async def outcome(
    pool: ParserPool, folder: Path, name: str, data: bytes
) -> tuple[str, ParseReport | None]:
    """Return "text" or the reason why there is none, and the report if there is one."""
    path = folder / "file"
    path.write_bytes(data)
    report, empty = None, True
    try:
        async for part in pool.read(str(path), name):
            report, empty = part.head.report, empty and not part.text.strip()
    except DocumentRejected as error:
        return (error.reason if error.message.endswith(".") else error.message), None
    return ("nothing" if empty else "text"), report
