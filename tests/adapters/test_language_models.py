"""Language models through pydantic-ai, against a server that plays every fault over real HTTP."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from adapters.opened_models import DEADLINE, LIMITS, opened_at, read_all, structure, text_of
from adapters.scripted_provider import (
    FAULTS,
    TEXT,
    WAIT_SECONDS,
    Exchange,
    Play,
    answer,
    chunk,
    fails,
    http_date,
    scripted_provider,
    silence,
    streams,
)
from citewell.adapters.fakes import FakeLanguageModel
from citewell.adapters.language_models import open_language_model
from citewell.adapters.provider_names import read_provider
from citewell.adapters.provider_turns import Breaker, GuardedLanguageModel, Turns
from citewell.domain import Usage
from citewell.errors import (
    ProviderBadReply,
    ProviderBusy,
    ProviderError,
    ProviderTimeout,
)
from contracts.language_model import Depth, LanguageModelContract, Opened, collect, make_call

REFUSED, FAILED = "provider_refused", "provider_failed"


class TestFake(LanguageModelContract):
    @pytest.fixture
    def open_model(self) -> Any:
        @asynccontextmanager
        async def opened(*replies: str, pause: float = 0.0) -> AsyncIterator[Opened]:
            model = FakeLanguageModel(replies, seconds_per_word=pause)
            yield Opened(model, lambda: model.running)

        return opened


class TestGuardedFake(LanguageModelContract):
    @pytest.fixture
    def open_model(self) -> Any:
        @asynccontextmanager
        async def opened(*replies: str, pause: float = 0.0) -> AsyncIterator[Opened]:
            model, turns = FakeLanguageModel(replies, seconds_per_word=pause), Turns(3)
            yield Opened(GuardedLanguageModel(model, turns, Breaker(9, 9.0)), lambda: turns.taken)

        return opened


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("structured", ["auto", "prompted"])
class TestProvider(LanguageModelContract):
    @pytest.fixture
    def open_model(self, kind: str, structured: Any) -> Any:
        @asynccontextmanager
        async def opened(*replies: str, pause: float = 0.0) -> AsyncIterator[Opened]:
            limits = replace(LIMITS, structured=structured, max_concurrent=3)
            plays = [answer(reply, pause=pause) for reply in replies]
            async with (
                scripted_provider(*plays) as provider,
                opened_at(provider.base_url, limits, kind) as model,
            ):
                yield Opened(model, lambda: provider.open)

        return opened


Expected = tuple[type[ProviderError] | None, str | None]
BAD: Expected = (ProviderBadReply, None)
BUSY: Expected = (ProviderBusy, None)
TIMEOUT: Expected = (ProviderTimeout, None)
REFUSAL: Expected = (ProviderError, REFUSED)
FAILURE: Expected = (ProviderError, FAILED)
EXPECTED: dict[str, tuple[Expected, Expected]] = {
    "silent": (TIMEOUT, TIMEOUT),
    "busy seconds": (BUSY, BUSY),
    "busy date": (BUSY, BUSY),
    "busy": (BUSY, BUSY),
    "no quota": (REFUSAL, REFUSAL),
    "bad key": (REFUSAL, REFUSAL),
    "bad request": (REFUSAL, REFUSAL),
    "no model": (REFUSAL, REFUSAL),
    "request timeout": (BUSY, BUSY),
    "internal": (FAILURE, FAILURE),
    "gateway": (FAILURE, FAILURE),
    "unavailable": (BUSY, BUSY),
    "gateway timeout": (FAILURE, FAILURE),
    "overloaded": (BUSY, BUSY),
    "redirect": (REFUSAL, REFUSAL),
    "cut": (FAILURE, FAILURE),
    "drip": (TIMEOUT, TIMEOUT),
    "error inside": (FAILURE, BAD),
}
"""What a fault becomes, streamed and structured; a bad reply where it is not named."""
TRIED_AGAIN = {
    "busy", "request timeout", "internal", "gateway", "unavailable", "gateway timeout",
    "overloaded",
}  # fmt: skip

MORE = {("cut", True), ("no text", True)}
"""A structured reply has no first word, and one that is not valid may be corrected."""


@pytest.mark.parametrize("structured", [False, True], ids=["streamed", "structured"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_ends_typed_in_time_and_leaves_nothing(
    fault: str, structured: bool
) -> None:
    kind, reason = EXPECTED.get(fault, (BAD, BAD))[structured]
    before = asyncio.all_tasks()
    got: list[Any] = []
    async with (
        scripted_provider(FAULTS[fault]) as provider,
        opened_at(provider.base_url) as model,
    ):
        started = monotonic()
        with pytest.raises(ProviderError) as caught:
            await (
                structure(model) if structured else collect(model.stream(make_call(DEADLINE)), got)
            )
        took = monotonic() - started
        assert await provider.all_left()
        assert model._turns.taken == 0
        asked = len(provider.exchanges)
    error = caught.value
    assert type(error) is kind
    assert reason is None or error.reason == reason
    assert took < DEADLINE + 1.0
    assert asked == (3 if fault in TRIED_AGAIN else 1) or (fault, structured) in MORE
    assert sum(isinstance(part, Usage) for part in got) == bool(text_of(got))
    assert "sk-secret" not in error.message
    assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize("fault", ["busy seconds", "busy date"])
async def test_a_wait_that_does_not_fit_is_told_at_once(fault: str) -> None:
    async with scripted_provider(FAULTS[fault]) as provider, opened_at(provider.base_url) as model:
        started = monotonic()
        with pytest.raises(ProviderBusy) as caught:
            await read_all(model)
        assert monotonic() - started < 0.5
        assert len(provider.exchanges) == 1
    assert WAIT_SECONDS - 2 < caught.value.retry_after_seconds <= WAIT_SECONDS


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_wait_that_fits_is_kept(form: str) -> None:
    async def busy(exchange: Exchange) -> None:
        told.append(monotonic())
        asked = "1" if form == "seconds" else http_date(2)  # whole seconds: 1 to 2 from now
        await fails(429, f"Retry-After: {asked}")(exchange)

    told: list[float] = []
    async with (
        scripted_provider(busy, answer()) as provider,
        opened_at(provider.base_url) as model,
    ):
        parts = await read_all(model, 5.0)
        waited = monotonic() - told[0]
        assert len(provider.exchanges) == 2
    assert text_of(parts) == TEXT
    assert 0.9 < waited < 2.5


async def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with opened_at(f"http://127.0.0.1:{port}/v1") as model:
        started = monotonic()
        with pytest.raises(ProviderError) as caught:
            await read_all(model)
        assert caught.value.reason == FAILED
        assert monotonic() - started < DEADLINE + 1.0
        assert model._turns.taken == 0


@pytest.mark.parametrize(
    "first", [fails(status) for status in (408, 429, 500, 502, 503, 529)] + [streams(cut=True)]
)
@pytest.mark.parametrize("structured", [False, True])
async def test_a_call_that_failed_before_its_first_word_is_tried_again(
    first: Play, structured: bool
) -> None:
    reply = answer('{"well": "north", "metres": 12}')
    async with (
        scripted_provider(first, reply) as provider,
        opened_at(provider.base_url) as model,
    ):
        if structured:
            value, usage = await model.extract(make_call(5.0), Depth)
            assert value.metres == 12
        else:
            *pieces, usage = await read_all(model, 5.0)
            assert text_of(pieces) == '{"well": "north", "metres": 12}'
        assert len(provider.exchanges) == 2
    assert usage == Usage(11, 7, None)


async def test_a_stream_that_broke_after_its_first_word_is_not_tried_again() -> None:
    async with (
        scripted_provider(streams(chunk("Wells "), cut=True), answer()) as provider,
        opened_at(provider.base_url) as model,
    ):
        got: list[str | Usage] = []
        with pytest.raises(ProviderError):
            await collect(model.stream(make_call(5.0)), got)
        assert len(provider.exchanges) == 1
    assert got[0] == "Wells "


async def test_an_invalid_structured_reply_may_be_corrected_once() -> None:
    plays = (answer('{"well": "north"}'), answer('{"well": "north", "metres": 12}'))
    async with scripted_provider(*plays) as provider, opened_at(provider.base_url) as model:
        value, usage = await model.extract(make_call(5.0), Depth)
        assert len(provider.exchanges) == 2
    assert value == Depth(well="north", metres=12)
    assert (usage.input_tokens, usage.output_tokens) == (22, 14)


@pytest.mark.parametrize(
    ("play", "usage"),
    [
        (answer(), Usage(11, 7)),
        (answer(done=False), Usage(11, 7)),
        (answer(wait=0.6), Usage(11, 7)),
        (answer(usage=None), Usage(19, 6)),
        (answer(usage={"prompt_tokens": -5, "completion_tokens": 10**15}), Usage(19, 6)),
        (answer(usage={"prompt_tokens": 0, "completion_tokens": 0}), Usage(19, 6)),
        (answer(usage={"prompt_tokens": "many", "completion_tokens": None}), Usage(19, 6)),
    ],
    ids=["right", "no DONE", "slow first byte", "no usage", "impossible", "zero", "words"],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings", "ignore:Failed to extract usage")
async def test_a_whole_reply_is_whole_and_its_usage_can_be_true(play: Play, usage: Usage) -> None:
    async with scripted_provider(play) as provider, opened_at(provider.base_url) as model:
        parts = await read_all(model)
        assert await provider.all_left()
        assert model._turns.taken == 0
    assert text_of(parts) == TEXT
    assert [part for part in parts if isinstance(part, Usage)] == [usage]


async def test_a_client_that_leaves_closes_the_connection_within_a_second() -> None:
    async with (
        scripted_provider(answer("word " * 100, pause=0.05)) as provider,
        opened_at(provider.base_url) as model,
    ):
        pieces = model.stream(make_call(30.0))
        for _ in range(3):
            await anext(pieces)
        assert (provider.open, model._turns.taken) == (1, 1)
        left = monotonic()
        await pieces.aclose()
        assert model._turns.taken == 0
        assert await provider.all_left()
        assert provider.left_at[0] - left < 1.0


async def test_what_is_sent_is_what_was_asked_and_the_key_is_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with scripted_provider(answer()) as provider:
        for key, shown in (("sk-of-the-settings", "Bearer sk-of-the-settings"), (None, "none")):
            choice = read_provider("openai:scripted", provider.base_url, key)
            assert choice is not None
            assert "sk-of" not in repr(choice)
            model = open_language_model(choice, LIMITS)
            await read_all(model)
            await model.close()
            headers = provider.exchanges[-1].headers
            assert headers["authorization"].endswith(shown)
            assert "of-the-environment" not in str(headers)
        body = provider.exchanges[-1].body
    assert [message["role"] for message in body["messages"]] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert body["messages"][-1]["content"] == "How are they made?"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("scripted", 200, 0.0)
    assert body["stream_options"] == {"include_usage": True}


async def test_prompts_and_replies_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        scripted_provider(answer(), FAULTS["error inside"]) as provider,
        opened_at(provider.base_url) as model,
    ):
        with caplog.at_level(logging.DEBUG):
            await read_all(model)
            with suppress(ProviderError):
                await read_all(model)
    assert provider.exchanges
    for secret in ("How are they made?", "Holes with water", "dug", "sk-secret"):
        assert secret not in caplog.text


async def test_no_span_is_made_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace

    made: list[str] = []

    def start(_: object, name: str, *__: object, **___: object) -> trace.Span:
        made.append(name)
        return trace.INVALID_SPAN

    monkeypatch.setattr(trace.ProxyTracer, "start_span", start)
    monkeypatch.setattr(trace.NoOpTracer, "start_span", start)
    reply = '{"well": "north", "metres": 12}'
    async with scripted_provider(answer(reply)) as provider, opened_at(provider.base_url) as model:
        await read_all(model)
        await model.extract(make_call(5.0), Depth)
    assert made == []


class TestOtherProviders:
    """The providers' own protocols: what is asked, streamed, counted, and which errors come."""

    async def test_responses_are_not_stored(self) -> None:
        async def play(exchange: Exchange) -> None:
            await fails(401)(exchange)

        async with (
            scripted_provider(play) as provider,
            opened_at(provider.base_url, kind="openai-responses") as model,
        ):
            with pytest.raises(ProviderError) as caught:
                await read_all(model)
            assert provider.exchanges[0].headers[""].startswith("POST /v1/responses ")
            assert provider.exchanges[0].body["store"] is False
        assert caught.value.reason == REFUSED

    async def test_anthropic(self) -> None:
        text = {"type": "text_delta"}
        events: list[dict[str, Any]] = [
            {
                "type": "message_start",
                "message": {
                    "id": "m",
                    "type": "message",
                    "role": "assistant",
                    "model": "scripted",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 11, "output_tokens": 1},
                },
            },
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {"type": "content_block_delta", "index": 0, "delta": {**text, "text": "Wells "}},
            {"type": "content_block_delta", "index": 0, "delta": {**text, "text": "are dug."}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 7},
            },
            {"type": "message_stop"},
        ]

        async def play(exchange: Exchange) -> None:
            await exchange.start()
            for event in events:
                await exchange.send(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")

        limits = replace(LIMITS, max_attempts=2)
        async with scripted_provider(play, fails(529), silence) as provider:
            base_url = provider.base_url.removesuffix("/v1")
            async with opened_at(base_url, limits, "anthropic") as model:
                parts = await read_all(model)
                with pytest.raises(ProviderTimeout):  # 529, then nothing
                    await read_all(model)
                assert await provider.all_left()
                assert model._turns.taken == 0
            assert provider.exchanges[0].headers[""].startswith("POST /v1/messages")
            assert provider.exchanges[0].body["max_tokens"] == 200
        assert text_of(parts) == "Wells are dug."
        assert parts[-1] == Usage(11, 7)

    async def test_google(self) -> None:
        def piece(text: str, more: str = "") -> str:
            return (
                '{"candidates":[{"content":{"role":"model","parts":[{"text":"'
                f'{text}"}}]}}{more}}}],"usageMetadata":{{"promptTokenCount":11,'
                '"candidatesTokenCount":7,"totalTokenCount":18},"modelVersion":"scripted"}'
            )

        async def play(exchange: Exchange) -> None:
            await exchange.start()
            await exchange.events(piece("Wells "), piece("are dug.", ',"finishReason":"STOP"'))

        limits = replace(LIMITS, max_attempts=2)
        async with scripted_provider(play, fails(503), silence) as provider:
            base_url = provider.base_url.removesuffix("/v1")
            async with opened_at(base_url, limits, "google") as model:
                parts = await read_all(model)
                with pytest.raises(ProviderTimeout):  # 503, then nothing
                    await read_all(model)
                assert await provider.all_left()
                assert model._turns.taken == 0
            assert ":streamGenerateContent" in provider.exchanges[0].headers[""]
        assert text_of(parts) == "Wells are dug."
        assert parts[-1] == Usage(11, 7)


async def test_as_many_calls_at_once_as_are_set_and_no_fewer() -> None:
    limits = replace(LIMITS, max_concurrent=130)
    async with (
        scripted_provider(answer(wait=3.0)) as provider,
        opened_at(provider.base_url, limits) as model,
    ):
        replies = await asyncio.gather(*(read_all(model, 60.0) for _ in range(130)))
        assert provider.most_open == 130
        assert all(text_of(parts) == TEXT for parts in replies)
