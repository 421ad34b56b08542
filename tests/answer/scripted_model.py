"""A language model that says what a test tells it to, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from citewell.domain import Usage
from citewell.errors import ProviderError
from citewell.ports import ModelCall

ShapeT = TypeVar("ShapeT", bound=BaseModel)
Reply = str | Exception | Callable[[ModelCall], str]
Extract = dict[str, Any] | Exception | Callable[[ModelCall], dict[str, Any]]

USAGE = Usage(100, 20, 0.001)


class Hang(Exception):
    """Never answer."""


class ScriptedModel:
    """Streams its text in small pieces; gives its extracts one after the other by their shape."""

    name = "scripted"

    def __init__(
        self,
        text: Reply = "CANNOT_ANSWER",
        extracts: dict[str, Sequence[Extract]] | None = None,
        *,
        piece: int = 7,
        usage: Usage | None = USAGE,
        price: float | None = 1e-6,
        window_tokens: int = 4000,
    ) -> None:
        self.window_tokens = window_tokens
        self.calls: list[ModelCall] = []
        self.asked: list[str] = []
        self.closed = 0
        self.pieces_sent = 0
        self._text = text
        self._extracts = {shape: list(replies) for shape, replies in (extracts or {}).items()}
        self._piece = piece
        self._usage = usage
        self._price = price

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        self.calls.append(call)
        self.asked.append("stream")
        try:
            text = await self._answer(self._text, call)
            broken = text.partition("<BREAK>")
            for at in range(0, len(broken[0]), self._piece):
                self.pieces_sent += 1
                yield broken[0][at : at + self._piece]
                await asyncio.sleep(0)
            if broken[1]:
                raise ProviderError("The model broke off. Ask again.")
            if self._usage is not None:
                yield self._usage
        finally:
            self.closed += 1

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        self.calls.append(call)
        self.asked.append(shape.__name__)
        replies = self._extracts.get(shape.__name__)
        if not replies:
            raise ProviderError(f"The model has no {shape.__name__}. Ask again.")
        reply = await self._answer(replies.pop(0), call)
        try:
            return shape.model_validate(reply), self._usage or Usage()
        except ValidationError as error:
            raise ProviderError("The model replied in another shape. Ask again.") from error

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return None if self._price is None else self._price * (input_tokens + output_tokens)

    async def _answer(self, reply: Any, call: ModelCall) -> Any:
        if isinstance(reply, Hang):
            await asyncio.Event().wait()
        if isinstance(reply, Exception):
            raise reply
        return reply(call) if callable(reply) else reply
