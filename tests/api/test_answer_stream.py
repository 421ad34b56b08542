"""Streams: ordered, told again with the same ids, closed when nobody reads, kept when cut short."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from api.scripted import CLOCK, TEXT, ScriptedModel, numbered, served, until, use
from api.stage import Api, read_events, require_problem
from citewell.errors import ProviderError, Unavailable
from citewell.records.session import Database


@pytest.fixture
async def clock(fresh: Api) -> AsyncIterator[Api]:
    """An application with one small document."""
    await fresh.add("clock.txt", TEXT)
    yield fresh
    assert fresh.services.database.engine.pool.checkedout() == 0


async def ask(api: Api, **body: Any) -> list[tuple[str, Any]]:
    reply = await api.client.post("/query/stream", json={"question": CLOCK, **body})
    assert reply.status_code == 200, reply.text
    ids = [line[4:] for line in reply.text.splitlines() if line.startswith("id: ")]
    assert ids == [str(number) for number in range(len(ids))]
    return read_events(reply.text)


async def told_again(api: Api, answer_id: str, after: int | None = None) -> list[tuple[str, Any]]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    reply = await api.client.get(f"/answers/{answer_id}/events", headers=headers)
    assert reply.status_code == 200, reply.text
    first = 0 if after is None else after + 1
    ids = [line[4:] for line in reply.text.splitlines() if line.startswith("id: ")]
    assert ids == [str(first + number) for number in range(len(ids))]
    return read_events(reply.text)


async def stored(api: Api, answer_id: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            reply = await api.client.get(f"/answers/{answer_id}")
            if reply.status_code == 200:
                return reply.json()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("delivery", ["sentence", "token"])
async def test_an_answer_is_told_again_with_the_same_ids(clock: Api, delivery: str) -> None:
    use(clock, ScriptedModel())
    await clock.client.put("/policy", json={"delivery": delivery})
    events = await ask(clock)
    answer = events[-1][1]
    names = [name for name, _ in events]
    assert names[:2] == ["meta", "evidence"]
    assert names[-2:] == ["usage", "done"]
    assert events[-2][1] == {"input_tokens": 100, "output_tokens": 20, "cost_usd": 0.005}
    assert answer["usage"] == events[-2][1]
    assert answer["status"] == "complete"
    for after in (None, 0, 1, 3, len(events) - 2):
        rest = events if after is None else events[after + 1 :]
        assert await told_again(clock, answer["answer_id"], after) == rest
    path = f"/answers/{answer['answer_id']}/events"
    by_address = await clock.client.get(path, params={"last_event_id": 2})
    assert read_events(by_address.text) == events[3:]
    both = await clock.client.get(path, params={"last_event_id": 2}, headers={"Last-Event-ID": "4"})
    assert read_events(both.text) == events[5:]
    for last in (len(events) - 1, 10_000):
        nothing = await clock.client.get(path, headers={"Last-Event-ID": str(last)})
        assert nothing.status_code == 204
    for wrong in ("-1", "x", "1.5", "9" * 30):
        require_problem(await clock.client.get(path, headers={"Last-Event-ID": wrong}), 422)
    require_problem(await clock.client.get(f"/answers/{uuid4()}/events"), 404)


async def test_words_are_those_of_the_checked_sentence(clock: Api) -> None:
    use(clock, ScriptedModel())
    await clock.client.put("/policy", json={"delivery": "token"})
    events = await ask(clock)
    answer = events[-1][1]
    assert "sentence" not in {name for name, _ in events}
    assert "".join(data["text"] for name, data in events if name == "token") == answer["answer"]
    for place, sentence in enumerate(answer["sentences"]):
        own = [(name, data) for name, data in events if data.get("sentence") == place]
        kinds = [name for name, _ in own]
        assert kinds == ["token"] * (len(kinds) - 1) + ["citation"]
        assert (
            "".join(data["text"] for name, data in own if name == "token").strip()
            == (sentence["text"])
        )
        citation = {key: value for key, value in own[-1][1].items() if key != "sentence"}
        assert [citation] == sentence["citations"]


async def test_sentences_come_while_the_model_still_writes(clock: Api) -> None:
    use(clock, ScriptedModel(pause=0.3))
    async with (
        served(clock) as client,
        client.stream("POST", "/query/stream", json={"question": CLOCK}) as reply,
    ):
        seen = [
            (line.removeprefix("event: "), monotonic())
            async for line in reply.aiter_lines()
            if line.startswith("event: ")
        ]
    moments = [moment for name, moment in seen if name == "sentence"]
    assert len(moments) == 3
    assert moments[2] - moments[0] > 0.4


async def test_a_reader_who_leaves_ends_the_model_and_what_came_is_kept(clock: Api) -> None:
    model = ScriptedModel(pause=0.25, pieces=40)
    api = use(clock, model)
    async with served(api) as client:
        async with client.stream("POST", "/query/stream", json={"question": CLOCK}) as reply:
            lines = reply.aiter_lines()
            answer_id = ""
            async for line in lines:
                if line.startswith("data: ") and not answer_id:
                    answer_id = json.loads(line[6:])["answer_id"]
                if line == "event: sentence":
                    break
        left = monotonic()
        await until(lambda: model.closed_at, 5)
        assert model.closed_at[0] - left < 1.0
        answer = await stored(api, answer_id)
    assert (answer["status"], answer["reason"]) == ("incomplete", "reader_left")
    assert answer["sentences"]
    assert len(answer["sentences"]) < 40
    assert answer["answer"] == " ".join(sentence["text"] for sentence in answer["sentences"])
    await api.check_citations(answer)
    again = await told_again(api, answer_id)
    assert [name for name, _ in again][:3] == ["meta", "evidence", "sentence"]
    assert again[-1][0] == "error"
    assert again[-1][1]["code"] == "reader_left"
    assert model.writing == 0
    assert len(model.tasks) == 1


async def test_another_reader_waits_for_what_is_still_being_made(clock: Api) -> None:
    api = use(clock, ScriptedModel(pause=0.2, pieces=6))
    async with served(api) as client:
        first = client.stream("POST", "/query/stream", json={"question": CLOCK})
        reply = await first.__aenter__()
        lines = reply.aiter_lines()
        answer_id, last = "", -1
        async for line in lines:
            if line.startswith("data: ") and not answer_id:
                answer_id = json.loads(line[6:])["answer_id"]
            if line.startswith("id: "):
                last = int(line[4:])
            if line == "event: sentence":
                break
        path = f"/answers/{answer_id}/events"
        second = asyncio.create_task(client.get(path, headers={"Last-Event-ID": str(last)}))
        await asyncio.sleep(0.1)
        await first.__aexit__(None, None, None)
        rest = await second
    assert rest.status_code == 200
    assert numbered(rest.text)[0].startswith(f"id: {last + 1}\n")
    events = read_events(rest.text)
    assert events[-1][0] == "done"
    assert len(events[-1][1]["sentences"]) == 6
    assert events == (await told_again(api, answer_id))[last + 1 :]


async def test_a_failure_in_the_middle_is_told_and_kept(clock: Api) -> None:
    api = use(clock, ScriptedModel(error=ProviderError("The model went away. Try again.")))
    events = await ask(api)
    assert [name for name, _ in events if name == "sentence"] == ["sentence"] * 3
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "provider_failed"
    answer = await stored(api, events[0][1]["answer_id"])
    assert answer["status"] == "incomplete"
    assert (answer["reason"], answer["message"]) == (
        "provider_failed", "The model went away. Try again.",
    )  # fmt: skip
    assert len(answer["sentences"]) == 3
    assert await told_again(api, answer["answer_id"]) == events
    whole = await api.client.post("/query", json={"question": CLOCK})
    require_problem(whole, 502, "provider_failed")


async def test_a_lost_database_in_the_middle_is_told_at_once(clock: Api) -> None:
    api = use(clock, ScriptedModel(error=Unavailable()))
    reply = await api.client.post("/query/stream", json={"question": CLOCK})
    events = read_events(reply.text)
    assert [name for name, _ in events].count("error") == 1
    assert events[-1][0] == "error"
    assert (events[-1][1]["status"], events[-1][1]["code"]) == (503, "unavailable")
    assert events[-1][1]["request_id"] == reply.headers["x-request-id"]
    answer = await stored(api, events[0][1]["answer_id"])
    assert (answer["status"], answer["reason"]) == ("incomplete", "unavailable")
    assert await told_again(api, answer["answer_id"]) == events


async def test_a_bug_in_the_middle_shows_an_id_only(clock: Api) -> None:
    api = use(clock, ScriptedModel(error=ZeroDivisionError("secret detail")))
    events = await ask(api)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "internal"
    assert "secret" not in json.dumps(events)
    answer = await stored(api, events[0][1]["answer_id"])
    assert (answer["status"], answer["reason"]) == ("incomplete", "internal")


async def test_an_answer_that_cannot_be_kept_is_not_called_done(
    clock: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel()
    api = use(clock, model)

    class Away(Database):
        def transaction(self, workspace_id: Any) -> Any:
            if model.tasks:
                raise Unavailable
            return clock.services.database.transaction(workspace_id)

    away = Away.__new__(Away)
    api.app.state.services = replace(api.services, database=away)
    events = await ask(api)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "unavailable"
    assert "done" not in {name for name, _ in events}


async def test_withheld_sentences_are_not_kept_when_the_answer_breaks_off(clock: Api) -> None:
    api = use(clock, ScriptedModel(error=ProviderError()))
    await api.client.put("/policy", json={"citations": "refuse"})
    events = await ask(api)
    assert [name for name, _ in events] == ["meta", "evidence", "error"]
    answer = await stored(api, events[0][1]["answer_id"])
    assert (answer["answer"], answer["sentences"], answer["citations"]) == ("", [], [])


async def test_slow_streams_hold_no_connection(
    clock: Api, make_settings: Any, database_url: str, tmp_path: Any, ingest: Any
) -> None:
    from api.stage import open_api

    settings = make_settings(database_url, tmp_path / "two", database_pool=2)
    async with open_api(settings, ingest) as small:
        model = ScriptedModel(pause=0.5, pieces=6)
        api = use(small, model)
        pool: Any = api.services.database.engine.pool
        asked = [asyncio.create_task(ask(api)) for _ in range(20)]
        await until(lambda: model.writing == 20)
        held = []
        for _ in range(10):
            held.append(pool.checkedout())
            await asyncio.sleep(0.05)
        assert min(held) == 0, held
        assert model.most_writing == 20
        assert (await api.client.get("/documents")).status_code == 200
        for events in await asyncio.gather(*asked):
            assert events[-1][0] == "done"
            assert len(events[-1][1]["sentences"]) == 6


async def test_stopping_the_server_keeps_what_came(
    clock: Api, make_settings: Any, database_url: str, tmp_path: Any, ingest: Any
) -> None:
    from api.stage import open_api

    model = ScriptedModel(pause=0.2, pieces=40)
    async with open_api(make_settings(database_url, tmp_path / "stopped"), ingest) as other:
        api = use(other, model)
        asked = asyncio.create_task(ask(api))
        await model.wrote.wait()
    events = await asked
    assert events[-1][0] == "error"
    answer = await stored(clock, events[0][1]["answer_id"])
    assert answer["status"] == "incomplete"
    assert answer["sentences"]
