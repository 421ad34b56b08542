"""Take uploaded files in: check name, size and kind; store; register; tell the workers."""

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import structlog
from fastapi import UploadFile

from citewell.api.context import request_id
from citewell.api.schemas import UploadedDocument
from citewell.domain import CollectionId, JobId, WorkspaceId
from citewell.errors import CitewellError, InputError, TooLarge, Unavailable, Unprocessable
from citewell.ingest.detect import sniff
from citewell.records.audit import add_audit
from citewell.records.blobs import lock_blobs, remove_unused_blobs
from citewell.records.collections import get_collection_id
from citewell.records.documents import Registered, Upload, add_upload
from citewell.records.jobs import mark_sent
from citewell.records.session import Connection
from citewell.telemetry import UPLOADS
from citewell.wiring import Services

log = structlog.get_logger(__name__)

SNIFF_BYTES = 8192
MOST_NAME_CHARACTERS = 255
MOST_SOURCE_BYTES = 1024
WRITES_AT_ONCE = 8
"""Files of one request that wait for the disk together."""


@dataclass(frozen=True, slots=True)
class _Refused:
    name: str
    error: InputError


async def accept_files(
    services: Services,
    workspace_id: WorkspaceId,
    collection: str,
    files: Sequence[UploadFile],
    metadata: dict[str, Any] | None,
) -> list[UploadedDocument]:
    """Store each acceptable file and queue its job, all in one transaction.

    Raises:  NotFound – no such collection.  InputError – not one of the files is acceptable; the
             first one's error.  Unavailable – the disk or the database fails.
    """
    if len(files) > services.settings.upload.max_files:
        raise TooLarge("There are too many files in this request. Send them in smaller groups.")
    async with services.database.transaction(workspace_id) as connection:
        await get_collection_id(connection, workspace_id, collection)
    turns = asyncio.Semaphore(WRITES_AT_ONCE)

    async def store(file: UploadFile) -> Upload | _Refused:
        async with turns:
            return await _store(services, file, metadata)

    stored = await asyncio.gather(*map(store, files))
    refused = [item for item in stored if isinstance(item, _Refused)]
    if refused and len(refused) == len(stored):
        raise refused[0].error
    replies = await _register(services, workspace_id, collection, stored, files)
    await _send(services, workspace_id, replies)
    return replies


async def _store(
    services: Services, file: UploadFile, metadata: dict[str, Any] | None
) -> Upload | _Refused:
    source = clean_name(file.filename or "")
    name = source.rsplit("/", 1)[-1]
    try:
        if len(source.encode()) > MOST_SOURCE_BYTES:
            raise Unprocessable(
                "A file's path is longer than 1,024 bytes. Shorten it and upload it again.",
                code="name_too_long",
            )
        media_type = _check(file, name, services.settings.upload.max_file_bytes)
    except InputError as error:
        return _Refused(name[:MOST_NAME_CHARACTERS], error)
    sha256, size_bytes = await services.blobs.add(rewound(file))
    return Upload(name, source, sha256, size_bytes, media_type, metadata)


def rewound(file: UploadFile) -> BinaryIO:
    """Return the file's bytes from their beginning."""
    file.file.seek(0)
    return file.file


def _check(file: UploadFile, name: str, max_file_bytes: int) -> str:
    """Return the file's media type.

    Raises:  InputError – its name, size or content cannot be accepted.
    """
    if not name:
        raise Unprocessable("A file has no usable name. Give it one, such as report.pdf.")
    if len(name) > MOST_NAME_CHARACTERS:
        raise Unprocessable(
            "A file's name is longer than 255 characters. Shorten it and upload it again.",
            code="name_too_long",
        )
    if (file.size or 0) > max_file_bytes:
        raise TooLarge(
            f"{name} is larger than {max_file_bytes // 1_048_576} MiB. Split it, or raise "
            "CITEWELL_UPLOAD__MAX_FILE_BYTES."
        )
    return sniff(file.file.read(SNIFF_BYTES), name)


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


async def _register(
    services: Services,
    workspace_id: WorkspaceId,
    collection: str,
    stored: Sequence[Upload | _Refused],
    files: Sequence[UploadFile],
) -> list[UploadedDocument]:
    """Register the stored files in one transaction; when it fails, their bytes go again."""
    uploads = {
        place: (item, file)
        for place, (item, file) in enumerate(zip(stored, files, strict=True))
        if isinstance(item, Upload)
    }
    hashes = [item.sha256 for item, _ in uploads.values()]
    added: dict[int, Registered] = {}
    try:
        async with services.database.transaction(workspace_id) as connection:
            collection_id = await get_collection_id(
                connection, workspace_id, collection, lock="FOR KEY SHARE"
            )
            await lock_blobs(connection, hashes)
            # By source, so that two requests with the same files never wait for each other.
            for place, (item, file) in sorted(uploads.items(), key=lambda each: each[1][0].source):
                if await services.blobs.find_path(item.sha256) is None:
                    await services.blobs.add(rewound(file))
                added[place] = await _add(connection, workspace_id, collection_id, item)
    except BaseException:
        await remove_unused_blobs(services.database, services.blobs, hashes)
        raise
    UPLOADS.inc(sum(each.changed for each in added.values()))
    return [
        _rejected(item) if isinstance(item, _Refused) else _accepted(item, added[place])
        for place, item in enumerate(stored)
    ]


async def _add(
    connection: Connection,
    workspace_id: WorkspaceId,
    collection_id: CollectionId,
    upload: Upload,
) -> Registered:
    added = await add_upload(connection, workspace_id, collection_id, upload, request_id())
    if added.changed:
        target = str(added.document_id)
        await add_audit(connection, workspace_id, "document.upload", target, request_id())
    return added


def _accepted(upload: Upload, added: Registered) -> UploadedDocument:
    return UploadedDocument(
        name=upload.name,
        document_id=added.document_id,
        job_id=added.job_id,
        status="queued" if added.changed else "unchanged",
    )


def _rejected(refused: _Refused) -> UploadedDocument:
    error: CitewellError = refused.error
    return UploadedDocument(
        name=refused.name,
        document_id=None,
        job_id=None,
        status="rejected",
        reason=error.reason,
        message=error.message,
    )


async def _send(
    services: Services, workspace_id: WorkspaceId, replies: Sequence[UploadedDocument]
) -> None:
    """Tell the workers; when the broker is away the reconciler does it later."""
    jobs = [JobId(reply.job_id) for reply in replies if reply.status == "queued" and reply.job_id]
    if not jobs:
        return
    try:
        await services.queue.send("ingest", [(workspace_id, job) for job in jobs])
        async with services.database.transaction(workspace_id) as connection:
            await mark_sent(connection, workspace_id, jobs)
    except Unavailable as error:
        log.warning("jobs are sent later", count=len(jobs), why=error.message)
