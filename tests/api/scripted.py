"""A chat model that tells what happened to it, and a real server to leave in the middle."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import httpx
import uvicorn

from api.stage import Api
from citewell.domain import DraftSentence, Quote, Usage
from citewell.ports import WritingTask

PIECE = re.compile(r"\S+(?:\s+\S+){0,3}")
TEXT = (
    "The pendulum clock of Huygens was built in December 1656 in The Hague. It kept time within "
    "fifteen seconds a day, and Salomon Coster built it after the drawings of Huygens himself."
)
CLOCK = "Who built the pendulum clock of Huygens?"


class ScriptedModel:
    """Quotes the best chunk piece by piece, with a pause before each; may fail in the middle."""

    name = "scripted"

    def __init__(
        self, pause: float = 0.0, pieces: int = 3, error: BaseException | None = None
    ) -> None:
        self.pause = pause
        self.pieces = pieces
        self.error = error
        self.tasks: list[WritingTask] = []
        self.writing = 0
        self.most_writing = 0
        self.closed_at: list[float] = []
        self.wrote = asyncio.Event()

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        self.tasks.append(task)
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        source = task.evidence[0]
        try:
            for found in list(PIECE.finditer(source.text))[: self.pieces]:
                await asyncio.sleep(self.pause)
                span = Quote(0, source.start + found.start(), source.start + found.end())
                yield DraftSentence(found.group(), (span,))
                self.wrote.set()
            if self.error is not None:
                raise self.error
            yield Usage(100, 20, 0.005)
        finally:
            self.writing -= 1
            self.closed_at.append(monotonic())


def use(api: Api, model: ScriptedModel, **settings: Any) -> Api:
    """Let an application answer with this model, and with other settings of some groups."""
    services = replace(api.services, answers=replace(api.services.answers, chat_model=model))
    if settings:
        services = replace(services, settings=services.settings.model_copy(update=settings))
    api.app.state.services = services
    return replace(api, services=services)


async def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until something holds, and fail when it does not."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an open application on a real socket, so that a client can leave."""
    config = uvicorn.Config(api.app, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30, limits=httpx.Limits(max_connections=50)
        ) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


def numbered(body: str) -> list[str]:
    """Return a stream's blocks, comments left out: each with its id, name and data."""
    blocks = body.replace("\r\n", "\n").split("\n\n")
    return [block for block in blocks if block and not block.startswith(":")]
