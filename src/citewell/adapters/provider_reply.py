"""One streamed reply of a provider: opened, read piece by piece until its deadline, and closed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress

import anyio
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from citewell.adapters.provider_errors import FOREIGN, translated
from citewell.adapters.providers import OpenedProvider
from citewell.domain import Message
from citewell.errors import ProviderBadReply

CLOSE_SECONDS = 0.5
"""How long a connection may take to close before it is left to the garbage collector."""


class StreamedReply:
    """A reply that may be opened again until its first piece has come."""

    def __init__(
        self,
        provider: OpenedProvider,
        messages: Sequence[ModelMessage],
        settings: ModelSettings,
        ends: float,
    ) -> None:
        self._provider = provider
        self._messages = messages
        self._settings = settings
        self._ends = ends
        self._stack = AsyncExitStack()
        self._response: StreamedResponse | None = None
        self._events: AsyncIterator[ModelResponseStreamEvent] | None = None

    @property
    def usage(self) -> RequestUsage:
        """What the server told until now."""
        return self._response.usage if self._response is not None else RequestUsage()

    async def open(self) -> str | None:
        """Send the request and return the first piece of text."""
        await self.close()
        with translated(self._provider.errors):
            async with asyncio.timeout_at(self._ends):
                self._response = await self._stack.enter_async_context(
                    model_request_stream(
                        self._provider.model,
                        self._messages,
                        model_settings=self._settings,
                        instrument=False,
                    )
                )
        self._events = aiter(self._response)
        return await self.read()

    async def read(self) -> str | None:
        """Return the next piece of text; None at the end.

        Raises:  ProviderError – a kind of it; one that ends early is a ProviderBadReply.
        """
        assert self._response is not None
        assert self._events is not None
        with translated(self._provider.errors):
            async with asyncio.timeout_at(self._ends):
                async for event in self._events:
                    if text := _text_of(event):
                        return text
        incomplete = self._response.state == "incomplete"
        if incomplete or self._response.finish_reason in {None, "error"}:
            raise ProviderBadReply("The model's reply was cut off; try again.")
        if self._response.finish_reason == "content_filter":
            raise ProviderBadReply("The provider's filter stopped the reply; ask in other words.")
        return None

    async def close(self) -> None:
        """Close the connection, also while this task is cancelled."""
        events, self._events = self._events, None
        with (
            anyio.move_on_after(CLOSE_SECONDS, shield=True),
            suppress(*FOREIGN, *self._provider.errors),  # it is closed because it is broken
        ):
            if isinstance(events, AsyncGenerator):
                await events.aclose()
            await self._stack.aclose()


def convert(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return a conversation as pydantic-ai has it: neighbours of one side are one request."""
    converted: list[ModelMessage] = []
    for message in messages:
        if message.role == "assistant":
            converted.append(ModelResponse([TextPart(message.content)]))
            continue
        part = (
            SystemPromptPart(message.content)
            if message.role == "system"
            else UserPromptPart(message.content)
        )
        last = converted[-1] if converted else None
        if isinstance(last, ModelRequest):
            converted[-1] = ModelRequest([*last.parts, part])
        else:
            converted.append(ModelRequest([part]))
    return converted


def _text_of(event: ModelResponseStreamEvent) -> str:
    """Return the text that an event brings; thinking and tools' calls bring none."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""
