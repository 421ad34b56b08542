"""/ingest/: texts in, each a document of its own, with one job that waits for all of them."""

import asyncio
import hashlib
import io
import json
import re
from dataclasses import replace
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from citewell.api import job_schemas
from citewell.api.context import request_id
from citewell.api.deps import JobIdDep, ServicesDep, WorkspaceDep
from citewell.api.metadata import check_metadata
from citewell.api.once import Accepted, AttemptDep
from citewell.api.refusals import tell
from citewell.api.uploads import (
    Incoming,
    Refused,
    clean_name,
    fingerprint_of,
    jobs_of,
    register_files,
    remove_unneeded,
    store_files,
    take_once,
)
from citewell.errors import TooLarge, Unprocessable
from citewell.records.collections import get_collection_id
from citewell.records.jobs import close_group, open_group
from citewell.records.session import Connection
from citewell.records.texts import TextGroup, get_texts, note_texts

router = APIRouter(prefix="/ingest", tags=["texts"])

NAME_WORDS = 8
NAME_CHARACTERS = 60
FOLDER = "texts"
"""Texts have a source as files have: their name below this folder, or their bytes' sha256."""
TEXT_ENDINGS = (".txt", ".md", ".markdown")
DONE = {"done", "unchanged"}
MOST_JSON_PARTS = 200_000
"""Strings, commas and brackets of one request: each may cost hundreds of times its bytes."""
_JSON_PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[,\[{]', re.DOTALL)


@router.post("", status_code=202, include_in_schema=False)
@router.post(
    "/",
    status_code=202,
    response_model=job_schemas.TextsReply,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": job_schemas.inlined(job_schemas.NewTexts)}},
        }
    },
)
async def add(
    services: ServicesDep, workspace_id: WorkspaceDep, request: Request, attempt: AttemptDep
) -> Response:
    """Store texts and queue their ingestion; the same text again is a no-op that says so."""
    body = await request.body()
    given, files = await asyncio.to_thread(
        _read, request.headers.get("content-type", ""), body, services.settings.upload.max_files
    )
    stored = await store_files(services, files)

    async def effect(connection: Connection) -> Accepted:
        collection_id = await get_collection_id(
            connection, workspace_id, given.collection, lock="FOR KEY SHARE"
        )
        job_id = await open_group(connection, workspace_id, "texts", request_id())
        added = await register_files(
            services, connection, workspace_id, collection_id, stored, job_id
        )
        documents = [added[place].document_id for place in sorted(added)]
        await note_texts(connection, workspace_id, job_id, documents)
        jobs = jobs_of(added)
        await close_group(connection, workspace_id, job_id, len(jobs))
        group = await get_texts(connection, workspace_id, job_id)
        return Accepted(_reply(group), jobs, f"/ingest/{job_id}")

    metadata = [file.metadata for file in files]
    content = [fingerprint_of(stored), given.collection, metadata, given.readers]
    for place, item in enumerate(stored):
        if isinstance(item, Refused):
            await remove_unneeded(services, stored)
            raise type(item.error)(
                f"The field texts[{place}] cannot be taken. {item.error.message}"
            )
    return await take_once(services, workspace_id, attempt, stored, content, effect)


@router.get("/{job_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, job_id: JobIdDep
) -> job_schemas.TextsReply:
    """Return how far the texts of one request are."""
    async with services.database.transaction(workspace_id) as connection:
        group = await get_texts(connection, workspace_id, job_id)
    return _reply(group)


def _read(
    content_type: str, body: bytes, max_texts: int
) -> tuple[job_schemas.NewTexts, list[Incoming]]:
    """Read a request's body, which may be large, outside of the event loop."""
    if "json" not in content_type.lower():
        raise Unprocessable(
            "Send the texts as JSON, with the header Content-Type: application/json."
        )
    if sum(1 for _ in islice(_JSON_PART.finditer(body), MOST_JSON_PARTS + 1)) > MOST_JSON_PARTS:
        raise TooLarge("There are too many values in this request. Send it in smaller parts.")
    try:
        given = job_schemas.NewTexts.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        written = None if problems[0]["type"] == "json_invalid" else json.loads(body)
        raise Unprocessable(tell(problems, written)) from error
    if len(given.texts) > max_texts:
        raise TooLarge("There are too many texts in this request. Send them in smaller groups.")
    readers = None if given.readers is None else tuple(given.readers)
    return given, [
        replace(_incoming(item, given.metadata), readers=readers) for item in given.texts
    ]


def _incoming(item: str | job_schemas.NewText, shared: dict[str, Any] | None) -> Incoming:
    """Turn a text into a file with a name, a source that stays, and its metadata."""
    if isinstance(item, str):
        item = job_schemas.NewText(text=item, name=None, title=None)
    data = item.text.encode()
    own = {"title": item.title} if item.title else {}
    given = [part for part in (shared, item.metadata, own) if part]
    metadata = check_metadata({key: part[key] for part in given for key in part}) or None
    cleaned = clean_name(item.name or "")
    if item.name is not None and not cleaned:
        raise Unprocessable("A text's name has no letters that can be shown. Give it another one.")
    if not cleaned:
        source = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}"
        return Incoming(
            source, io.BytesIO(data), len(data), metadata, shown=_first_words(item.text)
        )
    if not cleaned.lower().endswith(TEXT_ENDINGS):
        cleaned += ".txt"
    return Incoming(f"{FOLDER}/{cleaned}", io.BytesIO(data), len(data), metadata)


def _first_words(text: str) -> str:
    """Make a name of a text's first words."""
    words = clean_name(" ".join(text[:1000].split()[:NAME_WORDS]).replace("/", " "))
    return (words[:NAME_CHARACTERS].strip(" .") or "text") + ".txt"


def _reply(group: TextGroup) -> job_schemas.TextsReply:
    waiting = all(item.status in {"queued", "unchanged"} for item in group.texts)
    settled = {item.document_id: item for item in group.texts if item.status in DONE}
    return job_schemas.TextsReply(
        job_id=group.job_id,
        status="queued" if group.status == "running" and waiting else group.status,
        reason=group.reason,
        message=group.message,
        total=len(group.texts),
        chunks_ok=sum(item.chunk_count for item in settled.values()),
        failed=sum(item.status in {"failed", "cancelled"} for item in group.texts),
        texts=[job_schemas.TextState.model_validate(item) for item in group.texts],
    )
