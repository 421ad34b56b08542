"""The real application for the API's tests, and what drives its jobs without a broker."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from canaries import watch_reply
from citewell.api.app import create_app
from citewell.domain import JobId, Visitor, WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.session import enter_as
from citewell.settings import Settings
from citewell.wiring import Services
from citewell.worker.holder import JobHolder
from citewell.worker.publishing import PublicationGroup
from citewell.worker.runs import JobRun, Workshop

EXAMPLES = Path(__file__).parents[2] / "examples"
File = tuple[str, bytes] | tuple[str, bytes, str]


@dataclass(frozen=True, slots=True)
class Api:
    """An open application, and a client that speaks to it through all of its middleware."""

    app: FastAPI
    client: httpx.AsyncClient
    services: Services
    ingest: IngestPipeline

    async def upload(self, *files: File, **form: str) -> httpx.Response:
        return await self.client.post(
            "/documents/upload", files=[("files", file) for file in files], data=form
        )

    async def work(self) -> int:
        """Run every waiting job as a worker does, one after the other; return how many."""
        enter_as(Visitor())  # the application's last caller was this task's
        done = 0
        services = self.services
        holder = JobHolder(services.database, services.settings.jobs)
        workshop = Workshop(services, self.ingest, holder, PublicationGroup(services))
        while True:
            async with self.services.database.system_transaction() as connection:
                waiting = await connection.execute(
                    text(
                        "SELECT workspace_id, id, task FROM jobs WHERE status = 'queued' "
                        "AND coalesce(run_after, now()) <= now() ORDER BY created_at"
                    )
                )
                jobs = [(WorkspaceId(row[0]), JobId(row[1]), row[2]) for row in waiting]
            if not jobs:
                return done
            for wanted in jobs:
                claim = await holder.claim(wanted)
                assert claim is not None
                await JobRun(workshop, claim).run()
                done += 1

    async def add(self, name: str, data: bytes | str, **form: str) -> dict[str, Any]:
        """Upload one file and index it; return the document."""
        content = data.encode() if isinstance(data, str) else data
        reply = await self.upload((name, content), **form)
        assert reply.status_code == 202, reply.text
        (uploaded,) = reply.json()["documents"]
        await self.work()
        document = (await self.client.get(f"/documents/{uploaded['document_id']}")).json()
        assert document["status"] == "ready", document
        return document

    async def ask(self, question: str, **body: Any) -> dict[str, Any]:
        reply = await self.client.post("/query", json={"question": question, **body})
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def check_citations(self, answer: dict[str, Any]) -> None:
        """Compare each quote with the canonical text, as any reader could."""
        for citation in answer["citations"]:
            reply = await self.client.get(
                f"/documents/{citation['document_id']}/text",
                params={"version_id": citation["version_id"]},
            )
            assert reply.status_code == 200
            assert reply.text[citation["start"] : citation["end"]] == citation["quote"]
            assert citation["quote"].strip()


@asynccontextmanager
async def open_api(settings: Settings, ingest: IngestPipeline) -> AsyncIterator[Api]:
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1:8000",
            event_hooks={"response": [watch_reply]},
        ) as client,
    ):
        yield Api(app, client, app.state.services, ingest)


def require_problem(
    reply: httpx.Response, status: int | Sequence[int], code: str | None = None
) -> dict[str, Any]:
    """Check that a reply is a whole problem+json of one of these statuses."""
    allowed = (status,) if isinstance(status, int) else status
    assert reply.status_code in allowed, (reply.status_code, reply.text)
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert set(problem) >= {"type", "title", "status", "code", "detail", "request_id"}
    assert problem["status"] == reply.status_code
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["detail"]
    assert problem["title"]
    assert "Traceback" not in reply.text
    assert 'File "' not in reply.text
    if code is not None:
        assert problem["code"] == code
    return problem


def read_events(body: str) -> list[tuple[str, Any]]:
    """Read a server-sent event stream: each event's name and its data."""
    events = []
    for block in body.replace("\r\n", "\n").split("\n\n"):
        fields = [line.partition(": ") for line in block.split("\n") if line and line[0] != ":"]
        if not fields:
            continue
        name = next(value for key, _, value in fields if key == "event")
        data = "\n".join(value for key, _, value in fields if key == "data")
        events.append((name, json.loads(data)))
    return events
