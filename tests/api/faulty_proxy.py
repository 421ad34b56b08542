"""A proxy between the application and a server, that can be told to misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import make_url

from records.databases import Servers

Mode = Literal["pass", "swallow", "refuse"]


class FaultyProxy:
    """Listens on loopback, and passes bytes on to a unix socket: or loses them, late, or not."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writers: dict[asyncio.StreamWriter, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.mode: Mode = "pass"
        self.delay_seconds = 0.0
        self.port = 0

    def heal(self) -> None:
        """Pass everything on again; bytes that were lost stay lost."""
        self.mode, self.delay_seconds = "pass", 0.0

    def deafen(self) -> None:
        """Lose all bytes of the connections that there are; new ones work."""
        for writer in self._writers:
            self._writers[writer] = True

    def drop(self) -> None:
        """Cut every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        if self.mode == "refuse":
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_unix_connection(str(self._target))
        self._writers |= {writer: False, far_writer: False}
        self._start(self._pump(reader, far_writer))
        self._start(self._pump(far_reader, writer))

    async def close(self) -> None:
        """Cut everything."""
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if self.mode != "swallow" and not self._writers[writer]:
                    writer.write(data)
                    await writer.drain()
        if not self._writers.get(writer):  # else the end of the one side is lost as well
            self._writers.pop(writer, None)
            writer.close()


@asynccontextmanager
async def open_proxy(target: Path) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


def postgres_socket(servers: Servers) -> Path:
    query = servers.url.query
    return Path(str(query["host"])) / f".s.PGSQL.{query['port']}"


def valkey_socket(servers: Servers) -> Path:
    return Path(servers.redis_url().rpartition("@")[2].partition("?")[0])


def database_through(url: str, proxy: FaultyProxy) -> str:
    """Return the database's URL with the proxy's address in it."""
    made = make_url(url).set(host="127.0.0.1", port=proxy.port, query={})
    return made.render_as_string(hide_password=False)


def broker_through(url: str, proxy: FaultyProxy) -> str:
    """Return the broker's URL with the proxy's address in it."""
    login, _, rest = url.removeprefix("unix://").rpartition("@")
    return f"redis://{login}@127.0.0.1:{proxy.port}/{rest.rpartition('?db=')[2]}"
