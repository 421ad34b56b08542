"""Fair turns at a provider, and the pause after failures."""

import asyncio
from dataclasses import replace
from time import monotonic
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from adapters.opened_models import LIMITS, opened_at, read_all, text_of
from adapters.scripted_provider import FAULTS, TEXT, answer, fails, scripted_provider, silence
from citewell.adapters.fakes import FakeLanguageModel
from citewell.adapters.provider_turns import Breaker, GuardedLanguageModel, Turns
from citewell.api.problems import add_handlers
from citewell.domain import WorkspaceId
from citewell.errors import ProviderBusy, ProviderError, ProviderTimeout
from contracts.language_model import make_call


class TestTurns:
    async def test_no_more_calls_at_once_than_allowed(self) -> None:
        async with (
            scripted_provider(answer(pause=0.02)) as provider,
            opened_at(provider.base_url) as model,
        ):
            await asyncio.gather(*(read_all(model, 20.0) for _ in range(8)))
            assert provider.most_open == 2
            assert len(provider.exchanges) == 8

    async def test_a_single_call_goes_before_a_hundred_of_another_workspace(self) -> None:
        order: list[str] = []

        async def one(workspace_id: WorkspaceId, name: str) -> None:
            async for _ in model.stream(make_call(30.0, workspace_id)):
                pass
            order.append(name)

        fake = FakeLanguageModel(["one two"], seconds_per_word=0.002)
        model = GuardedLanguageModel(fake, Turns(1), Breaker(9, 9.0))
        many, few, third = (WorkspaceId(uuid4()) for _ in range(3))
        tasks = [asyncio.create_task(one(many, "many")) for _ in range(100)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(one(few, "few"))]
        tasks += [asyncio.create_task(one(third, "third")) for _ in range(3)]
        await asyncio.gather(*tasks)
        assert order.index("few") <= 2
        assert [index for index, name in enumerate(order) if name == "third"][-1] <= 7
        assert len(order) == 104

    async def test_waiting_counts_against_the_deadline(self) -> None:
        fake = FakeLanguageModel(["a b c d e f"], seconds_per_word=0.1)
        turns = Turns(1)
        model = GuardedLanguageModel(fake, turns, Breaker(9, 9.0))
        holder = model.stream(make_call(30.0))
        await anext(holder)
        started = monotonic()
        with pytest.raises(ProviderBusy):
            await read_all(model, 0.2)
        assert 0.15 < monotonic() - started < 0.5
        assert (turns.taken, turns.waiting) == (1, 0)
        waiting = asyncio.create_task(read_all(model, 0.4))
        await asyncio.sleep(0.2)
        await holder.aclose()
        with pytest.raises(ProviderTimeout):
            await waiting
        assert fake.calls[-1].deadline_seconds < 0.25
        assert turns.taken == 0

    async def test_cancelled_waiters_leave_no_turn_taken(self) -> None:
        turns = Turns(2)
        ids = [WorkspaceId(uuid4()) for _ in range(5)]
        for _ in range(2):
            await turns.take(ids[0])
        tasks = [asyncio.create_task(turns.take(ids[n % 5])) for n in range(50)]
        await asyncio.sleep(0)
        assert turns.waiting == 50
        for task in tasks[::2]:
            task.cancel()
        turns.give_back()  # handed over while its new owner may be cancelled in the same moment
        for task in tasks[1::4]:
            task.cancel()
        results = await asyncio.gather(
            *(asyncio.wait_for(task, 0.05) for task in tasks), return_exceptions=True
        )
        for result in results:
            if result is None:
                turns.give_back()
        turns.give_back()
        assert (turns.taken, turns.waiting) == (0, 0)


class TestBreaker:
    async def test_a_failing_provider_is_left_alone_and_then_tried_by_one_call(self) -> None:
        now = [100.0]
        fake = FakeLanguageModel(["fine"])
        breaker = Breaker(3, 30.0, lambda: now[0])
        model = GuardedLanguageModel(fake, Turns(9), breaker)
        fake._replies[:0] = [ProviderError("down")] * 4
        for _ in range(3):
            with pytest.raises(ProviderError, match="down"):
                await read_all(model)
        now[0] += 10
        with pytest.raises(ProviderBusy) as caught:
            await read_all(model)
        assert len(fake.calls) == 3
        assert caught.value.retry_after_seconds == 20.0
        now[0] += 21
        with pytest.raises(ProviderError, match="down"):
            await read_all(model)
        with pytest.raises(ProviderBusy):
            await read_all(model)
        now[0] += 31
        trying = model.stream(make_call())
        await anext(trying)
        with pytest.raises(ProviderBusy):  # one call tries, the others wait for what it finds
            await read_all(model)
        await trying.aclose()
        assert text_of(await read_all(model)) == "fine"

    async def test_an_abandoned_try_leaves_the_way_open_for_the_next(self) -> None:
        now = [0.0]
        breaker = Breaker(1, 10.0, lambda: now[0])
        breaker.leave("failed", alone=breaker.enter())
        now[0] = 11.0
        alone = breaker.enter()
        assert alone
        breaker.leave("unknown", alone=alone)
        breaker.leave("worked", alone=breaker.enter())
        assert not breaker.enter()

    @pytest.mark.parametrize("fault", ["bad key", "bad request", "malformed JSON"])
    async def test_refusals_and_bad_replies_do_not_count(self, fault: str) -> None:
        limits = replace(LIMITS, pause_after_failures=2)
        async with (
            scripted_provider(FAULTS[fault]) as provider,
            opened_at(provider.base_url, limits) as model,
        ):
            for _ in range(4):
                with pytest.raises(ProviderError):
                    await read_all(model)
            assert len(provider.exchanges) == 4

    async def test_a_short_deadline_says_nothing_about_the_provider(self) -> None:
        limits = replace(LIMITS, pause_after_failures=1)
        async with (
            scripted_provider(silence, answer()) as provider,
            opened_at(provider.base_url, limits) as model,
        ):
            with pytest.raises(ProviderTimeout):
                await read_all(model, 0.3)
            assert text_of(await read_all(model)) == TEXT

    async def test_a_server_that_is_down_is_not_called_for_each_question(self) -> None:
        limits = replace(LIMITS, pause_after_failures=2, max_attempts=1)
        async with (
            scripted_provider(fails(500)) as provider,
            opened_at(provider.base_url, limits) as model,
        ):
            for _ in range(5):
                with pytest.raises(ProviderError):
                    await read_all(model)
            assert len(provider.exchanges) == 2


async def test_the_api_tells_when_to_come_again() -> None:
    app = FastAPI()
    add_handlers(app)

    @app.get("/")
    async def busy() -> None:
        raise ProviderBusy(retry_after_seconds=17.2)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        reply = await client.get("/")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "18")
    assert reply.json()["code"] == "provider_busy"
