"""An open stream ends within five seconds after its caller lost the right to read it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.keyring import OWNER, bearer, make_key, make_workspace, open_guarded
from api.scripted import CLOCK, TEXT, ScriptedModel, served, until, use
from api.stage import Api, read_events
from citewell.domain import WorkspaceId
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings

SECONDS = 5.0
"""What is promised."""


class Stage:
    """A guarded application on a real socket, whose model writes for a long time."""

    def __init__(
        self, api: Api, client: httpx.AsyncClient, model: ScriptedModel, workspace: WorkspaceId
    ) -> None:
        self.api, self.client, self.model, self.workspace = api, client, model, workspace

    async def key(self, role: str = "editor") -> tuple[str, str]:
        made = await make_key(self.api, role, self.workspace)
        listed = (await self.client.get("/keys", headers=OWNER)).json()["keys"]
        return made, next(key["id"] for key in listed if key["hint"] == made[:15])

    async def archive(self) -> None:
        path = f"/workspaces/{self.workspace}/archive"
        reply = await self.client.post(path, json={"reason": "over"}, headers=OWNER)
        assert reply.status_code == 200

    async def change(self, statement: str, **values: object) -> None:
        """Change something as another process would: this one's gate is not told."""
        async with self.api.services.database.system_transaction() as connection:
            changed = await connection.execute(text(statement), values)
            assert changed.rowcount == 1


@pytest.fixture
async def stage(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Any,
) -> AsyncIterator[Stage]:
    async with open_guarded(make_settings(database_url, tmp_path), ingest) as opened:
        workspace = await make_workspace(opened)
        opened.client.headers.update({**OWNER, "X-Workspace-ID": str(workspace)})
        await opened.add("clock.txt", TEXT)
        del opened.client.headers["Authorization"], opened.client.headers["X-Workspace-ID"]
        model = ScriptedModel(pause=1.0, pieces=100)
        api = use(opened, model)
        async with served(api) as client:
            yield Stage(api, client, model, workspace)


@asynccontextmanager
async def streaming(
    stage: Stage, method: str, path: str, key: str, **request: Any
) -> AsyncIterator[asyncio.Task[str]]:
    """Read a stream to its end beside the test, from its first event on."""
    began = asyncio.Event()

    async def read() -> str:
        async with stage.client.stream(method, path, headers=bearer(key), **request) as reply:
            assert reply.status_code == 200, await reply.aread()
            body = ""
            async for piece in reply.aiter_text():
                body += piece
                began.set()
            return body

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(10):
            await began.wait()
        yield reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def ending(reading: asyncio.Task[str], since: float) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS * 2):
        events = read_events(await reading)
    assert monotonic() - since < SECONDS
    assert [name for name, _ in events].count("error") == 1
    assert events[-1][0] == "error"
    return events[-1][1]


async def test_a_revoked_key_reads_no_further_and_the_model_stops(stage: Stage) -> None:
    key, key_id = await stage.key()
    body = {"question": CLOCK}
    async with streaming(stage, "POST", "/query/stream", key, json=body) as reading:
        await until(lambda: stage.model.writing == 1)
        since = monotonic()
        await stage.client.delete(f"/keys/{key_id}", headers=OWNER)
        problem = await ending(reading, since)
    assert (problem["status"], problem["code"]) == (401, "unauthenticated")
    await until(lambda: stage.model.writing == 0, 2)
    kept = read_events(await reading)
    path = f"/answers/{kept[0][1]['answer_id']}"
    headers = OWNER | {"X-Workspace-ID": str(stage.workspace)}
    for _ in range(50):
        if (await stage.client.get(path, headers=headers)).status_code == 200:
            break
        await asyncio.sleep(0.1)
    assert (await stage.client.get(path, headers=headers)).json()["status"] == "incomplete"


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("UPDATE principals SET revoked_at = now() WHERE id = :key", 401),
        ("UPDATE principals SET expires_at = now() WHERE id = :key", 401),
        ("DELETE FROM memberships WHERE principal_id = :key", (400, 404)),
        ("UPDATE workspaces SET purging = true WHERE id = :workspace", 404),
    ],
)
async def test_a_jobs_events_end_for_who_may_not_see_it_any_more(
    stage: Stage, statement: str, status: Any
) -> None:
    key, key_id = await stage.key("viewer")
    headers = OWNER | {"X-Workspace-ID": str(stage.workspace)}
    reply = await stage.client.post(
        "/documents/upload", files={"files": ("waits.txt", b"It waits for a worker.")},
        headers=headers,
    )  # fmt: skip
    job = reply.json()["documents"][0]["job_id"]
    async with streaming(stage, "GET", f"/jobs/{job}/events", key) as reading:
        since = monotonic()
        values = {"key": key_id, "workspace": stage.workspace}
        await stage.change(
            statement, **{name: value for name, value in values.items() if f":{name}" in statement}
        )
        problem = await ending(reading, since)
    assert problem["status"] in (status if isinstance(status, tuple) else (status,))


async def test_an_archived_workspace_is_read_on_and_its_sessions_are_not_written(
    stage: Stage,
) -> None:
    key, _ = await stage.key()
    asked = {"question": CLOCK}
    async with (
        streaming(stage, "POST", "/query/stream", key, json=asked) as reading,
        streaming(stage, "POST", "/chat/stream", key, json={"message": CLOCK}) as talking,
    ):
        since = monotonic()
        await stage.archive()
        problem = await ending(talking, since)
        assert (problem["status"], problem["code"]) == (409, "workspace_archived")
        await asyncio.sleep(1)
        assert not reading.done()


async def test_a_stream_in_openais_format_ends_with_its_kind_of_error(stage: Stage) -> None:
    key, key_id = await stage.key()
    body = {
        "model": "citewell", "stream": True, "messages": [{"role": "user", "content": CLOCK}],
    }  # fmt: skip
    async with streaming(stage, "POST", "/v1/chat/completions", key, json=body) as reading:
        since = monotonic()
        await stage.client.delete(f"/keys/{key_id}", headers=OWNER)
        async with asyncio.timeout(SECONDS * 2):
            read = await reading
    assert monotonic() - since < SECONDS
    last = read.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "unauthenticated"
    assert "[DONE]" not in read


async def test_a_stream_outlives_a_database_that_does_not_answer_for_a_while(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citewell.api.gate import Gate
    from citewell.errors import Unavailable

    key, _ = await stage.key()
    asked = {"question": CLOCK}
    tried = 0
    async with streaming(stage, "POST", "/query/stream", key, json=asked) as reading:

        async def away(*_: Any, **__: Any) -> None:
            nonlocal tried
            tried += 1
            raise Unavailable

        with monkeypatch.context() as patch:
            patch.setattr(Gate, "admit", away)
            await until(lambda: tried == 2)
        assert not reading.done()


async def test_a_stream_that_ends_by_itself_is_watched_no_longer(stage: Stage) -> None:
    key, _ = await stage.key()
    stage.model.pieces, stage.model.pause = 2, 0.0
    reply = await stage.client.post("/query/stream", json={"question": CLOCK}, headers=bearer(key))
    assert read_events(reply.text)[-1][0] == "done"
    await until(
        lambda: not [
            task for task in asyncio.all_tasks() if "_Stream._watch" in repr(task.get_coro())
        ], 1
    )  # fmt: skip
