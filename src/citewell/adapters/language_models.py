"""A hosted or local language model through pydantic-ai: streamed, structured, bounded, priced."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage, RunUsage
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from citewell.adapters.provider_errors import asked_to_wait, may_try_again, translated
from citewell.adapters.provider_http import open_http_client
from citewell.adapters.provider_names import ProviderChoice
from citewell.adapters.provider_reply import StreamedReply, convert
from citewell.adapters.provider_turns import Breaker, GuardedLanguageModel, Turns
from citewell.adapters.providers import OpenedProvider, open_provider
from citewell.domain import Usage
from citewell.errors import ProviderBadReply, ProviderError
from citewell.ports import ModelCall
from citewell.ports.models import ShapeT

Structured = Literal["auto", "native", "tool", "prompted"]

MOST_CHARACTERS_PER_TOKEN = 64
"""A reply with more of them for each token that was allowed does not keep to the limit."""
CHARACTERS_PER_TOKEN = 4
"""For an estimate where the server tells no usage, or none that can be."""
TRUE_FACTOR, TRUE_EXTRA = 10, 20_000
"""Told tokens beyond factor × (characters of the prompt, or allowed tokens) + extra are wrong."""
_backoff = wait_exponential_jitter(initial=0.25, max=8.0, jitter=0.25)


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What one call and all calls together may take, and what tokens cost where that is set."""

    timeout_seconds: float
    window_tokens: int
    max_concurrent: int
    max_attempts: int
    pause_after_failures: int
    pause_seconds: float
    temperature: float
    structured: Structured = "auto"
    usd_per_million: tuple[float, float] | None = None


def open_language_model(choice: ProviderChoice, limits: ModelLimits) -> GuardedLanguageModel:
    """Make the language model of a choice, with its turns and its breaker; nothing is sent yet.

    Raises:  InputError – the provider's package is not installed.
    """
    client = open_http_client()
    return GuardedLanguageModel(
        ProviderLanguageModel(choice, open_provider(choice, client), limits),
        Turns(limits.max_concurrent),
        Breaker(limits.pause_after_failures, limits.pause_seconds),
        client.aclose,
    )


class ProviderLanguageModel:
    """One model of one provider; see the port LanguageModel.

    Holds:   a call ends by its deadline, at most ``CLOSE_SECONDS`` later; what a broken-off reply
             has used is told before its error.
    """

    def __init__(
        self, choice: ProviderChoice, provider: OpenedProvider, limits: ModelLimits
    ) -> None:
        self.name = choice.name
        self.window_tokens = limits.window_tokens
        self._model_name = choice.model
        self._provider = provider
        self._limits = limits

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """Yield pieces of text as they come, and the usage last."""
        ends = self._ends(call)
        reply = StreamedReply(self._provider, convert(call.messages), self._settings(call), ends)
        written = 0
        try:
            piece: str | None = await self._retrying(ends)(reply.open)
            while piece is not None:
                written += len(piece)
                yield piece
                if written > MOST_CHARACTERS_PER_TOKEN * call.max_output_tokens:
                    raise ProviderBadReply(
                        "The model does not keep to the length that was asked for and was broken "
                        "off; choose another model."
                    )
                piece = await reply.read()
            if not written:
                raise ProviderBadReply(
                    "The model sent no text; try again, or allow it more tokens."
                )
            yield self._usage(call, reply.usage, written)
        except ProviderError:
            if written:
                yield self._usage(call, reply.usage, written)
            raise
        finally:
            await reply.close()

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        """Return the reply as a validated value of ``shape``; the model may correct itself once."""
        ends = self._ends(call)
        model = _RetryingModel(self._provider, self._retrying(ends))
        agent = Agent(
            model,
            output_type=self._output(shape),
            retries={"output": 1, "tools": 0},
        )
        with translated(self._provider.errors):
            async with asyncio.timeout_at(ends):
                result = await agent.run(
                    message_history=convert(call.messages), model_settings=self._settings(call)
                )
        written = len(result.output.model_dump_json())
        return result.output, self._usage(call, result.usage, written)

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost in US dollars; None where no price is known."""
        if self._limits.usd_per_million is not None:
            price_in, price_out = self._limits.usd_per_million
            return (input_tokens * price_in + output_tokens * price_out) / 1_000_000
        if self._provider.price_list is None:
            return None
        usage = PricedUsage(input_tokens=input_tokens, output_tokens=output_tokens)
        try:
            price = calc_price(usage, self._model_name, provider_id=self._provider.price_list)
        except LookupError:  # a model that the list does not have
            return None
        return float(price.total_price)

    def _ends(self, call: ModelCall) -> float:
        """Return when the call must have ended, on the loop's clock."""
        seconds = min(call.deadline_seconds, self._limits.timeout_seconds)
        return asyncio.get_running_loop().time() + seconds

    def _settings(self, call: ModelCall) -> ModelSettings:
        return {
            **self._provider.settings,
            "max_tokens": call.max_output_tokens,
            "temperature": self._limits.temperature,
        }

    def _retrying(self, ends: float) -> AsyncRetrying:
        """Return what tries a call again, as long as a pause still ends before the deadline."""
        seconds = ends - asyncio.get_running_loop().time()
        return AsyncRetrying(
            retry=retry_if_exception(may_try_again),
            wait=_pause,
            stop=stop_after_attempt(self._limits.max_attempts) | stop_before_delay(seconds),
            sleep=asyncio.sleep,
            reraise=True,
        )

    def _output(self, shape: type[ShapeT]) -> Any:
        """Return how the model is asked for a value: the strictest way that it has."""
        how = self._limits.structured
        if how == "auto":
            profile = self._provider.model.profile
            by_schema = profile.get("supports_json_schema_output", False)
            how = "native" if by_schema else "prompted"
            if how == "prompted" and profile.get("supports_tools", True):
                how = "tool"
        match how:
            case "native":
                return NativeOutput(shape)
            case "tool":
                return ToolOutput(shape)
            case "prompted":
                return PromptedOutput(shape)

    def _usage(self, call: ModelCall, told: RequestUsage | RunUsage, written: int) -> Usage:
        """Return what a call used: as the server tells it where that can be, else an estimate."""
        asked = sum(len(message.content) for message in call.messages)
        tokens_in = _believe(told.input_tokens, asked, asked)
        tokens_out = _believe(told.output_tokens, call.max_output_tokens, written)
        return Usage(tokens_in, tokens_out, self.estimate_cost(tokens_in, tokens_out))


class _RetryingModel(WrapperModel):
    """Sends each request of a structured call again as ``retrying`` allows."""

    def __init__(self, provider: OpenedProvider, retrying: AsyncRetrying) -> None:
        super().__init__(provider.model)
        self._errors = provider.errors
        self._retrying = retrying

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async def request() -> ModelResponse:
            with translated(self._errors):
                return await self.wrapped.request(
                    messages, model_settings, model_request_parameters
                )

        return await self._retrying(request)


def _pause(state: RetryCallState) -> float:
    """Return how long to wait before the next try: as asked, else twice as long as before."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = asked_to_wait(error)
    return _backoff(state) if asked is None else asked


def _believe(told: object, most: int, characters: int) -> int:
    """Return told tokens that can be true, else an estimate from the characters."""
    if isinstance(told, int) and 0 < told <= TRUE_FACTOR * most + TRUE_EXTRA:
        return told
    return -(-characters // CHARACTERS_PER_TOKEN)
