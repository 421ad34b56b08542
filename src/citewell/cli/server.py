"""The API's listening socket and its HTTP server."""

import gc
import resource
import socket
import threading
from types import FrameType

import uvicorn

from citewell.errors import Conflict, InputError
from citewell.settings import Settings, key_required, refuse_open_door

API_STOP_SECONDS = 2
OPEN_FILES = 16_384
"""Open files that the API may need: each file of an upload, and each connection, is one."""


def require_keys(settings: Settings) -> None:
    """Refuse to listen where others can reach it without keys, or with keys that cannot be checked.

    Raises:  AccessError, InputError – the message names the setting.
    """
    refuse_open_door(settings)
    if key_required(settings) and settings.database_url and settings.auth.pepper is None:
        raise InputError(
            "Keys are required, and CITEWELL_AUTH__PEPPER is not set. Set it to 32 random "
            "characters or more, the same for every process."
        )


def bind(host: str, port: int) -> socket.socket:
    """Open the API's listening socket.

    Raises:  Conflict – the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"Port {port} on {host} is taken. Stop what uses it, or choose another with --port."
        ) from error
    return listener


class Server(uvicorn.Server):
    """An HTTP server that tells others at once when it is told to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, with all that is loaded left out of later garbage collections.

        Cost:    a full one held every request up for about 0.2 s.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGINT or SIGTERM."""
        self.stopping.set()
        super().handle_exit(sig, frame)


def allow_open_files() -> None:
    """Raise this process's limit of open files as far as it may and needs to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_server(settings: Settings) -> Server:
    """Make the HTTP server for the API; our middleware writes the access log."""
    allow_open_files()
    from citewell.api.app import create_app  # noqa: PLC0415 - loading FastAPI overlaps the servers' start

    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=API_STOP_SECONDS,
        lifespan="on",
    )
    return Server(config)
