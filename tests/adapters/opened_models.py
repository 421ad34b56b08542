"""Language models that talk to a scripted provider, and what reads them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from citewell.adapters.language_models import ModelLimits, open_language_model
from citewell.adapters.provider_names import read_provider
from citewell.adapters.provider_turns import GuardedLanguageModel
from citewell.domain import Usage
from contracts.language_model import Depth, make_call

LIMITS = ModelLimits(
    timeout_seconds=60.0,
    window_tokens=8192,
    max_concurrent=2,
    max_attempts=3,
    pause_after_failures=100,
    pause_seconds=30.0,
    temperature=0.0,
)
DEADLINE = 1.6


@asynccontextmanager
async def opened_at(
    base_url: str, limits: ModelLimits = LIMITS, kind: str = "openai"
) -> AsyncIterator[GuardedLanguageModel]:
    choice = read_provider(f"{kind}:scripted", base_url, None)
    assert choice is not None
    model = open_language_model(choice, limits)
    try:
        yield model
    finally:
        await model.close()


async def read_all(model: GuardedLanguageModel, seconds: float = DEADLINE) -> list[str | Usage]:
    return [part async for part in model.stream(make_call(seconds))]


async def structure(model: GuardedLanguageModel, seconds: float = DEADLINE) -> Depth:
    value, _ = await model.extract(make_call(seconds), Depth)
    return value


def text_of(parts: Sequence[str | Usage]) -> str:
    return "".join(part for part in parts if isinstance(part, str))
