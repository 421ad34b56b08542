"""Our own Valkey: a Unix socket, a password, no port, nothing on disk."""

import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from citewell.embedded.binaries import Binaries
from citewell.embedded.memory import memory_bytes, valkey_memory
from citewell.embedded.places import Places, make_folder
from citewell.embedded.process import Server, end_stale, launch, trim_log

_LOG_NAME = "valkey.log"
_PING_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0


def _socket(places: Places) -> Path:
    return places.run / "valkey.sock"


def valkey_url(places: Places, password: str) -> str:
    """Return the URL for redis-py: ``unix://:<password>@<socket>?db=0``."""
    return f"unix://:{quote(password, safe='')}@{quote(str(_socket(places)))}?db=0"


def _quoted(value: str | Path) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _config(places: Places, password: str) -> bytes:
    folder = places.state / "valkey"
    lines = (
        "port 0",
        f"unixsocket {_quoted(_socket(places))}",
        "unixsocketperm 700",
        f"requirepass {_quoted(password)}",
        f"dir {_quoted(folder)}",
        f"pidfile {_quoted(folder / 'valkey.pid')}",
        'logfile ""',
        "loglevel notice",
        "always-show-logo no",
        "daemonize no",
        'save ""',
        "appendonly no",
        f"maxmemory {valkey_memory(memory_bytes())}",
        "maxmemory-policy noeviction",
        "shutdown-timeout 0",
    )
    return ("\n".join(lines) + "\n").encode()


def _answers(path: Path, password: str) -> bool:
    """Return whether the server takes the password and answers a ping."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as end:
        end.settimeout(_PING_SECONDS)
        end.connect(str(path))
        end.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        reply = b""
        while reply.count(b"\n") < 2 and (part := end.recv(256)):
            reply += part
        return reply == b"+OK\r\n+PONG\r\n"
    return False


def valkey_server(places: Places, binaries: Binaries, password: str, *, crashed: bool) -> Server:
    """Describe Valkey for this data folder; ``spawn`` starts it, ending one left by a crash.

    Holds:   the configuration, password included, goes through a pipe: no file, no argument.
    """
    folder = places.state / "valkey"

    def start() -> subprocess.Popen[bytes]:
        if crashed or (folder / "valkey.pid").exists():
            end_stale(folder, (signal.SIGTERM,))
            (folder / "valkey.pid").unlink(missing_ok=True)
        _socket(places).unlink(missing_ok=True)
        trim_log(places.logs / _LOG_NAME)
        return launch(
            [str(binaries.valkey), "-"],
            account=places.account,
            folder=folder,
            log_path=places.logs / _LOG_NAME,
            standard_input=_config(places, password),
        )

    return Server(
        name="Valkey",
        log_name=_LOG_NAME,
        folder=folder,
        make_ready=lambda: make_folder(folder, places.account),
        launch=start,
        answers=lambda: _answers(_socket(places), password),
        signals=((0.0, signal.SIGTERM),),
        patience_seconds=_PATIENCE_SECONDS,
    )


def remove_valkey(folder: Path) -> None:
    """End a Valkey that still works in the folder, then delete the folder."""
    if folder.is_dir():
        end_stale(folder, (signal.SIGTERM,))
        shutil.rmtree(folder, ignore_errors=True)
