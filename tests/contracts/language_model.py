"""What every language model must do; an adapter's tests subclass this."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field

from citewell.domain import Message, Usage, WorkspaceId
from citewell.errors import ProviderBadReply, ProviderTimeout
from citewell.ports import LanguageModel, ModelCall

TEXT = "Wells are dug by hand, and lined with stone."
MESSAGES = (
    Message("system", "Answer in one sentence."),
    Message("user", "What are wells?"),
    Message("assistant", "Holes with water."),
    Message("user", "How are they made?"),
)


class Depth(BaseModel):
    """How deep a well is."""

    well: str
    metres: int = Field(ge=1)


@dataclass(frozen=True)
class Opened:
    """A model under test, and how many of its calls still go on where the replies are made."""

    model: LanguageModel
    running: Callable[[], int]


OpenModel = Callable[..., AbstractAsyncContextManager[Opened]]


def make_call(seconds: float = 5.0, workspace_id: WorkspaceId | None = None) -> ModelCall:
    return ModelCall(workspace_id or WorkspaceId(uuid4()), MESSAGES, 200, seconds)


async def collect(pieces: AsyncGenerator[str | Usage], into: list[str | Usage]) -> None:
    """Keep what comes before an error, too."""
    async for piece in pieces:
        into.append(piece)  # noqa: PERF401 - a comprehension would lose it


async def all_ended(opened: Opened, seconds: float = 1.0) -> bool:
    ends = monotonic() + seconds
    while opened.running() and monotonic() < ends:  # noqa: ASYNC110 - a peer's count, no event of ours
        await asyncio.sleep(0.01)
    return opened.running() == 0


class LanguageModelContract:
    """Subclass it with a fixture ``open_model(*replies, pause=0.0)``: pause is before each word."""

    async def test_pieces_make_the_reply_and_usage_comes_once_at_the_end(
        self, open_model: OpenModel
    ) -> None:
        async with open_model(TEXT) as opened:
            got = [part async for part in opened.model.stream(make_call())]
            assert await all_ended(opened)
        assert "".join(part for part in got if isinstance(part, str)) == TEXT
        assert sum(isinstance(part, str) for part in got) > 1
        assert [isinstance(part, Usage) for part in got].index(True) == len(got) - 1
        usage = got[-1]
        assert isinstance(usage, Usage)
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0

    async def test_calls_at_once_keep_their_own_replies(self, open_model: OpenModel) -> None:
        async def read(model: LanguageModel) -> str:
            parts = [part async for part in model.stream(make_call())]
            return "".join(part for part in parts if isinstance(part, str))

        async with open_model("one by one", "two by two", "all by all", pause=0.02) as opened:
            replies = await asyncio.gather(*(read(opened.model) for _ in range(3)))
        assert sorted(replies) == ["all by all", "one by one", "two by two"]

    async def test_a_structured_reply_is_a_checked_value(self, open_model: OpenModel) -> None:
        async with open_model('{"well": "north", "metres": 12}') as opened:
            value, usage = await opened.model.extract(make_call(), Depth)
        assert value == Depth(well="north", metres=12)
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0

    @pytest.mark.parametrize(
        "reply", ["deep", '{"well": "north"}', '{"well": "north", "metres": 0}', "[]"]
    )
    async def test_a_structured_reply_that_is_not_valid_is_a_bad_reply(
        self, open_model: OpenModel, reply: str
    ) -> None:
        async with open_model(reply) as opened:
            with pytest.raises(ProviderBadReply):
                await opened.model.extract(make_call(), Depth)

    async def test_a_slow_reply_ends_at_the_deadline(self, open_model: OpenModel) -> None:
        async with open_model(TEXT, pause=0.2) as opened:
            started = monotonic()
            got: list[str | Usage] = []
            with pytest.raises(ProviderTimeout):
                await collect(opened.model.stream(make_call(0.5)), got)
            with pytest.raises(ProviderTimeout):
                await opened.model.extract(make_call(0.5), Depth)
            assert monotonic() - started < 2.0
            assert await all_ended(opened)
        assert any(isinstance(part, str) for part in got)

    async def test_closing_the_stream_ends_the_models_work(self, open_model: OpenModel) -> None:
        async with open_model(TEXT, pause=0.1) as opened:
            pieces = opened.model.stream(make_call())
            assert isinstance(await anext(pieces), str)
            assert opened.running() == 1
            await pieces.aclose()
            assert await all_ended(opened)

    async def test_a_cancelled_task_ends_the_models_work(self, open_model: OpenModel) -> None:
        async def read(model: LanguageModel) -> None:
            async for _ in model.stream(make_call()):
                begun.set()

        begun = asyncio.Event()
        async with open_model(TEXT, pause=0.1) as opened:
            reading = asyncio.create_task(read(opened.model))
            await begun.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await all_ended(opened)

    async def test_a_cost_is_a_number_or_unknown(self, open_model: OpenModel) -> None:
        async with open_model(TEXT) as opened:
            cost = opened.model.estimate_cost(1000, 100)
            assert cost is None or cost >= 0
            assert opened.model.name
            assert opened.model.window_tokens > 0
