"""The application behind a real HTTP server on loopback, and models that behave as a test wants."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from citewell.domain import Candidate, DraftSentence, Quote, Usage
from citewell.ports import WritingTask

Step = Callable[[], None]


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application that is open already; yield the server's address."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class ScriptedModel:
    """A chat model that quotes the best chunk, then does something else."""

    name = "scripted"

    def __init__(self, then: Callable[[], AsyncGenerator[DraftSentence | Usage]]) -> None:
        self.closed = asyncio.Event()
        self._then = then

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        try:
            yield quote_all(task.evidence[0])
            async for item in self._then():
                yield item
        finally:
            self.closed.set()


def quote_all(source: Candidate) -> DraftSentence:
    """Return a sentence that is a whole chunk."""
    return DraftSentence(source.text, (Quote(0, source.start, source.end),))
