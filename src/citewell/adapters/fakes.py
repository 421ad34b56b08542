"""A language model that says what it was given to say, the same each time."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from pydantic import ValidationError

from citewell.domain import Usage
from citewell.errors import ProviderBadReply, ProviderError, ProviderTimeout
from citewell.ports import ModelCall
from citewell.ports.models import ShapeT

Reply = str | ProviderError | Callable[[ModelCall], str]
"""What a call gets: text, JSON for ``extract``, an error, or a function that says it."""


class FakeLanguageModel:
    """Gives the n-th call the n-th reply, later ones the last; a token is a word.

    Holds:   ``calls`` are those that came, ``running`` how many of them have not ended.
    """

    def __init__(
        self,
        replies: Sequence[Reply],
        *,
        seconds_per_word: float = 0.0,
        usd_per_token: float | None = None,
    ) -> None:
        self.name = "fake:scripted"
        self.window_tokens = 8192
        self.calls: list[ModelCall] = []
        self.running = 0
        self._replies = list(replies)
        self._seconds_per_word = seconds_per_word
        self._usd_per_token = usd_per_token

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """Yield the reply word by word, and the usage last."""
        reply = self._next(call)
        ends = asyncio.get_running_loop().time() + call.deadline_seconds
        lead = ""
        self.running += 1
        try:
            for word in reply.split(" "):
                try:
                    async with asyncio.timeout_at(ends):
                        await asyncio.sleep(self._seconds_per_word)
                except TimeoutError as error:
                    raise ProviderTimeout from error
                yield lead + word
                lead = " "
            yield self._usage(call, reply)
        finally:
            self.running -= 1

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        """Return the reply as a validated value of ``shape``."""
        text = "".join([part async for part in self.stream(call) if isinstance(part, str)])
        try:
            return shape.model_validate_json(text), self._usage(call, text)
        except ValidationError as error:
            raise ProviderBadReply from error

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost in US dollars; None where no price is known."""
        price = self._usd_per_token
        return None if price is None else price * (input_tokens + output_tokens)

    def _next(self, call: ModelCall) -> str:
        self.calls.append(call)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, ProviderError):
            raise reply
        return reply if isinstance(reply, str) else reply(call)

    def _usage(self, call: ModelCall, reply: str) -> Usage:
        tokens_in = sum(len(message.content.split()) for message in call.messages)
        tokens_out = len(reply.split())
        return Usage(tokens_in, tokens_out, self.estimate_cost(tokens_in, tokens_out))
