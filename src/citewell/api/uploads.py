"""Take files in: check name, size and kind; store their bytes; register them with their jobs."""

import asyncio
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import structlog
from fastapi import Response, UploadFile

from citewell.api.context import request_id
from citewell.api.once import Accepted, Attempt, do_once
from citewell.api.schemas import UploadedDocument
from citewell.domain import CollectionId, JobId, Json, WorkspaceId
from citewell.errors import CitewellError, InputError, TooLarge, Unprocessable
from citewell.ingest.detect import sniff
from citewell.ingest.ocr import is_enabled
from citewell.records.blobs import lock_blobs, remove_unused_blobs
from citewell.records.session import Connection
from citewell.records.uploads import Registered, Upload, add_uploads
from citewell.settings import Settings
from citewell.telemetry import UPLOADS
from citewell.wiring import Services

log = structlog.get_logger(__name__)

SNIFF_BYTES = 8192
MOST_NAME_CHARACTERS = 255
MOST_SOURCE_BYTES = 1024
WRITES_AT_ONCE = 8
"""Files of one request that wait for the disk together."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file at the door, as it was named, and what goes with it.

    ``shown`` is the document's name where that is not the last part of ``name``; ``readers`` who
    may see it, None to leave that as it is.
    """

    name: str
    stream: BinaryIO
    size_bytes: int
    metadata: Json | None = None
    password: str | None = None
    shown: str | None = None
    readers: tuple[str, ...] | None = None

    def rewound(self) -> BinaryIO:
        """Return the file's bytes from their beginning."""
        self.stream.seek(0)
        return self.stream


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is not taken, and why."""

    name: str
    error: InputError


@dataclass(frozen=True, slots=True)
class Stored:
    """A file whose bytes are kept, ready to be registered."""

    upload: Upload
    incoming: Incoming


def incoming_files(
    files: Sequence[UploadFile],
    metadata: Json | None,
    password: str | None,
    readers: tuple[str, ...] | None,
) -> list[Incoming]:
    """Return a form's files; the same metadata, password and readers hold for all of them."""
    return [
        Incoming(
            file.filename or "", file.file, file.size or 0, metadata, password, readers=readers
        )
        for file in files
    ]


async def store_files(services: Services, files: Sequence[Incoming]) -> list[Stored | Refused]:
    """Keep the bytes of each acceptable file.

    Raises:  InputError – not one of the files is acceptable; the first one's error.
             InsufficientStorage – the disk is full.  Unavailable – it cannot be written.
    """
    if len(files) > services.settings.upload.max_files:
        raise TooLarge("There are too many files in this request. Send them in smaller groups.")
    turns = asyncio.Semaphore(WRITES_AT_ONCE)

    async def store(file: Incoming) -> Stored | Refused:
        async with turns:
            return await _store(services, file)

    outcomes = await asyncio.gather(*map(store, files), return_exceptions=True)
    stored = [item for item in outcomes if not isinstance(item, BaseException)]
    for failure in outcomes:
        if isinstance(failure, BaseException):
            await remove_unneeded(services, stored)
            raise failure
    refused = [item for item in stored if isinstance(item, Refused)]
    if refused and len(refused) == len(stored):
        raise refused[0].error
    return stored


async def _store(services: Services, file: Incoming) -> Stored | Refused:
    source = clean_name(file.name)
    name = file.shown or source.rsplit("/", 1)[-1]
    try:
        check_name(source)
        media_type = await asyncio.to_thread(_check, file, name, services.settings)
    except InputError as error:
        return Refused(name[:MOST_NAME_CHARACTERS], error)
    sha256, size_bytes = await services.blobs.add(file.rewound())
    given = (file.metadata, file.password, file.readers)
    return Stored(Upload(name, source, sha256, size_bytes, media_type, *given), file)


def check_name(source: str) -> None:
    """Check a cleaned name.

    Raises:  Unprocessable – it is empty or too long.
    """
    name = source.rsplit("/", 1)[-1]
    if not name:
        raise Unprocessable("A file has no usable name. Give it one, such as report.pdf.")
    if len(name) > MOST_NAME_CHARACTERS:
        raise Unprocessable(
            "A file's name is longer than 255 characters. Shorten it and upload it again.",
            code="name_too_long",
        )
    if len(source.encode()) > MOST_SOURCE_BYTES:
        raise Unprocessable(
            "A file's path is longer than 1,024 bytes. Shorten it and upload it again.",
            code="name_too_long",
        )


def _check(file: Incoming, name: str, settings: Settings) -> str:
    """Return the file's media type.

    Raises:  InputError – its size or content cannot be accepted.
    """
    max_file_bytes = settings.upload.max_file_bytes
    if file.size_bytes > max_file_bytes:
        raise TooLarge(
            f"{name} is larger than {max_file_bytes // 1_048_576} MiB. Split it, or raise "
            "CITEWELL_UPLOAD__MAX_FILE_BYTES."
        )
    head = file.rewound().read(SNIFF_BYTES)
    return sniff(head, name, ocr=is_enabled(settings.parse.ocr))


def clean_name(name: str) -> str:
    """Make a file's name safe to show and to compare: a relative path without tricks.

    Control and invisible characters go; so do drive letters, empty parts, "." and "..".
    """
    visible = "".join(
        char
        for char in name.encode("utf-8", "ignore").decode().replace("\\", "/")
        if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    )
    parts = [part.strip() for part in unicodedata.normalize("NFC", visible).split("/")]
    if re.fullmatch(r"[A-Za-z]:", parts[0]):
        parts = parts[1:]
    return "/".join(part for part in parts if part not in {"", ".", ".."})


async def take_once(
    services: Services,
    workspace_id: WorkspaceId,
    attempt: Attempt,
    stored: Sequence[Stored | Refused],
    content: object,
    effect: Callable[[Connection], Awaitable[Accepted]],
) -> Response:
    """Register stored files once for the request's key; bytes that nobody needs go again.

    ``content`` and ``effect`` are those of ``once.do_once``; so is what is raised.
    """
    try:
        reply, done = await do_once(services, workspace_id, attempt, content, 202, effect)
    except BaseException:
        await remove_unneeded(services, stored)
        raise
    if done is None:
        await remove_unneeded(services, stored)
    else:
        UPLOADS.inc(len(done.jobs))
    return reply


async def remove_unneeded(services: Services, stored: Sequence[Stored | Refused]) -> None:
    """Remove those of the stored bytes that no version names; else the reconciler does it later."""
    hashes = [item.upload.sha256 for item in stored if isinstance(item, Stored)]
    try:
        await remove_unused_blobs(services.database, services.blobs, hashes)
    except CitewellError as error:
        log.warning("files that nobody needs are removed later", why=error.message)


async def register_files(
    services: Services,
    connection: Connection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    stored: Sequence[Stored | Refused],
    parent_id: JobId | None = None,
) -> dict[int, Registered]:
    """Register stored files, each with its audit row; return what each became, by its place."""
    places = {place: item for place, item in enumerate(stored) if isinstance(item, Stored)}
    await lock_blobs(connection, [item.upload.sha256 for item in places.values()])
    for item in places.values():
        if await services.blobs.find_path(item.upload.sha256) is None:
            await services.blobs.add(item.incoming.rewound())
    added = await add_uploads(
        connection,
        workspace_id,
        collection_id,
        [item.upload for item in places.values()],
        request_id(),
        None if parent_id is None else (parent_id, list(places)),
    )
    return dict(zip(places, added, strict=True))


def jobs_of(added: Mapping[int, Registered]) -> list[JobId]:
    """Return the jobs that are to be sent, in the files' order."""
    return [added[place].job_id for place in sorted(added) if added[place].changed]


def describe(
    stored: Sequence[Stored | Refused], added: Mapping[int, Registered]
) -> list[UploadedDocument]:
    """Say what became of each file, in their order."""
    return [
        _rejected(item) if isinstance(item, Refused) else _accepted(item.upload, added[place])
        for place, item in enumerate(stored)
    ]


def fingerprint_of(stored: Sequence[Stored | Refused]) -> list[list[str]]:
    """Return what tells these files from others: their names and their bytes' sha256."""
    return [
        [item.name, item.error.reason]
        if isinstance(item, Refused)
        else [item.upload.source, item.upload.sha256, str(item.upload.password is not None)]
        for item in stored
    ]


def _accepted(upload: Upload, added: Registered) -> UploadedDocument:
    return UploadedDocument(
        name=upload.name,
        document_id=added.document_id,
        job_id=added.job_id,
        status="queued" if added.changed else "unchanged",
    )


def _rejected(refused: Refused) -> UploadedDocument:
    return UploadedDocument(
        name=refused.name,
        document_id=None,
        job_id=None,
        status="rejected",
        reason=refused.error.reason,
        message=refused.error.message,
    )
