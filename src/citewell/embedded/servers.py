"""Start what is missing, wait until it answers, keep it alive, stop it: in that order."""

import atexit
import functools
import json
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from pydantic import SecretStr

from citewell.embedded.binaries import find_binaries
from citewell.embedded.cluster import cluster_exists
from citewell.embedded.lock import held_by, hold, read_holder
from citewell.embedded.passwords import Passwords, load_passwords
from citewell.embedded.places import (
    Places,
    forget,
    leave,
    make_data_folder,
    recorded_state,
    settle,
    write_private,
)
from citewell.embedded.postgres import (
    postgres_server,
    postgres_url,
    remove_postgres,
)
from citewell.embedded.process import (
    STOP_SIGNALS,
    Server,
    signals_deferred,
    signals_unwind,
    stop_servers,
)
from citewell.embedded.system_user import server_account
from citewell.embedded.valkey import remove_valkey, valkey_server, valkey_url
from citewell.errors import CitewellError, InputError, Unavailable
from citewell.settings import Settings

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.005
_RESTARTS = 4
_RESTART_PAUSE_SECONDS = 0.3
_WATCH_SECONDS = 0.25
_RUNNING = "servers.json"


def _is_given(url: SecretStr | None) -> bool:
    return url is not None and bool(url.get_secret_value())


def _answers(server: Server) -> bool:
    # A driver that is interrupted half-way might take the interruption for its own error.
    with signals_deferred():
        return server.answers()


def _wait(server: Server) -> None:
    """Return when the server answers; launch it again while an old process may still be dying.

    Raises:  Unavailable – it ends again and again, or never answers.
    """
    deadline = time.monotonic() + server.patience_seconds
    restarts = 0
    while not _answers(server):
        if not server.running:
            restarts += 1
            if restarts > _RESTARTS:
                break
            time.sleep(_RESTART_PAUSE_SECONDS)
            server.spawn()
        elif time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    else:
        return
    raise Unavailable(
        f"{server.name} did not start. Read logs/{server.log_name} in the data folder, "
        "mend what its last lines name, and start again."
    )


class _Watch(threading.Thread):
    """Launch a server again when it dies under us, as after kill -9 or for want of memory."""

    def __init__(self, servers: Sequence[Server]) -> None:
        super().__init__(name="citewell-embedded", daemon=True)
        self._servers = servers
        self._ended = threading.Event()

    def run(self) -> None:
        # A signal that the kernel gives to this thread would not wake the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        while not self._ended.wait(_WATCH_SECONDS):
            for server in self._servers:
                if not server.running:
                    self._revive(server)

    def _revive(self, server: Server) -> None:
        log.warning("server_died", server=server.name, log=f"logs/{server.log_name}")
        # The server must not inherit the mask: it is stopped by these signals.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        try:
            server.spawn()
        except (CitewellError, OSError) as error:
            log.warning("server_not_revived", server=server.name, error=type(error).__name__)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self._ended.wait(_RESTART_PAUSE_SECONDS)

    def end(self) -> None:
        self._ended.set()
        if self.ident is not None:
            self.join()


def _describe(
    settings: Settings, places: Places, passwords: Passwords, *, crashed: bool
) -> tuple[list[Server], Settings]:
    """Return the servers to start, Valkey first, and the settings that point at them."""
    binaries = find_binaries(places)
    servers: list[Server] = []
    urls: dict[str, SecretStr] = {}
    if not _is_given(settings.redis_url):
        servers.append(valkey_server(places, binaries, passwords.valkey, crashed=crashed))
        urls["redis_url"] = SecretStr(valkey_url(places, passwords.valkey))
    if not _is_given(settings.database_url):
        pool = settings.database_pool
        servers.append(postgres_server(places, binaries, passwords, pool=pool, crashed=crashed))
        urls["database_url"] = SecretStr(postgres_url(places, passwords.postgres))
    auth = settings.auth.model_copy(
        update={
            "pepper": settings.auth.pepper or SecretStr(passwords.pepper),
            "local_key": settings.auth.local_key or SecretStr(secrets.token_urlsafe(32)),
        }
    )
    return servers, settings.model_copy(update={**urls, "auth": auth})


def _stop(servers: Sequence[Server], watch: _Watch, owner: int) -> None:
    """Stop everything, once begun to the end; a forked child stops nothing."""
    if os.getpid() == owner:
        with signals_deferred():
            watch.end()
            stop_servers(servers)


@contextmanager
def _running(servers: Sequence[Server]) -> Generator[None]:
    """Have all servers answer inside the block, and none of them live after it."""
    watch = _Watch(servers)
    stop = functools.partial(_stop, servers, watch, os.getpid())
    # A signal in the instant before the ``finally`` below takes hold leaves it to the interpreter.
    atexit.register(stop)
    try:
        for server in servers:
            server.prepare()
            server.spawn()
        for server in servers:
            _wait(server)
        watch.start()
        yield
    finally:
        stop()
        atexit.unregister(stop)


@contextmanager
def start(settings: Settings) -> Generator[Settings]:
    """Yield settings whose URLs work, running our own PostgreSQL and Valkey where none is given.

    They also have the pepper of API keys, and a key of this run for the command line. After it no
    code knows the mode. With both URLs given nothing is started and nothing is locked.

    Shapes:  ``database_url`` = ``postgresql+psycopg://citewell:<password>@/citewell?host=<folder>
             &port=5432``; ``redis_url`` = ``unix://:<password>@<socket>?db=0`` for redis-py.
             Celery and kombu want the same as ``redis+socket://:<password>@<socket>
             ?virtual_host=0``: replace ``unix://`` by ``redis+socket://`` and ``?db=`` by
             ``?virtual_host=``. A ``password=`` in the query is overwritten by kombu.
    Holds:   the lock of the data folder, for the life of the context; both servers end with it, on
             every exception, SIGINT, SIGTERM and SIGHUP. SIGTERM and SIGHUP raise SystemExit in
             the main thread unless a handler is set. A server that dies meanwhile is run again.
    Cost:    first start about 2 s, later ones 0.3 s; to stop 0.2 s, at most 5 s.
    Raises:  Conflict – the data folder is held by another process.
             Unavailable – a server did not start. InputError, AccessError – the folder is unfit.
    """
    if _is_given(settings.database_url) and _is_given(settings.redis_url):
        yield settings
        return
    data = settings.data.resolve()
    make_data_folder(data)
    with hold(data / "lock") as crashed, signals_unwind():
        try:
            places = settle(data)
            passwords = load_passwords(data, cluster_exists=cluster_exists(places))
            servers, pointed = _describe(settings, places, passwords, crashed=crashed)
        except OSError as error:
            raise _unfit() from error
        try:
            with _running(servers):
                _publish(data, pointed)
                yield pointed
        finally:
            (data / _RUNNING).unlink(missing_ok=True)
            leave(places)


@contextmanager
def attach(settings: Settings) -> Generator[Settings]:
    """Yield settings whose URLs work: of the servers that run on the data folder, else of own ones.

    Raises:  as ``start``; Unavailable – the holder is only just starting or stopping.
    """
    if read_holder(settings.data) is None:
        with start(settings) as pointed:
            yield pointed
        return
    try:
        yield read_running(settings)
    except (OSError, ValueError) as error:
        raise Unavailable(
            "The servers of this data folder are starting or stopping. Try again in a few seconds."
        ) from error


def read_running(settings: Settings) -> Settings:
    """Return the settings of the process that holds the data folder: its URLs and secrets.

    Raises:  OSError, ValueError – nobody wrote them down, or only a part.
    """
    written = json.loads((settings.data / _RUNNING).read_text(encoding="utf-8"))
    urls = {name: SecretStr(url) for name, url in written["urls"].items()}
    secret = {name: SecretStr(value) for name, value in written["auth"].items()}
    return settings.model_copy(
        update={**urls, "auth": settings.auth.model_copy(update=secret)},
    )


def require_free(settings: Settings) -> None:
    """Look, before anything else is tried, whether the data folder is held.

    Raises:  Conflict – another process holds it.
    """
    given = _is_given(settings.database_url) and _is_given(settings.redis_url)
    holder = None if given else read_holder(settings.data)
    if holder is not None:
        raise held_by(holder)


def _publish(data: Path, pointed: Settings) -> None:
    """Write down, for this user only, where the servers answer while they run, and the secrets."""
    urls = {"database_url": pointed.database_url, "redis_url": pointed.redis_url}
    auth = {"pepper": pointed.auth.pepper, "local_key": pointed.auth.local_key}
    write_private(data / _RUNNING, json.dumps({"urls": _uncovered(urls), "auth": _uncovered(auth)}))


def _uncovered(secret: Mapping[str, SecretStr | None]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secret.items() if value is not None}


def _unfit() -> Unavailable:
    return Unavailable(
        "The data folder cannot be used for the servers. Look at its owner, its mode and its free "
        "space, or choose another folder with --data."
    )


def remove_data(data: Path) -> None:
    """Delete a data folder that nobody holds, with what Citewell keeps for it elsewhere.

    Raises:  Conflict – a process holds the folder.
             InputError – the folder is not one of Citewell's.
    """
    data = data.resolve()
    if not data.exists():
        return
    if not any((data / name).exists() for name in ("lock", "blobs")) and any(data.iterdir()):
        raise InputError(
            "This is not a data folder of Citewell. Look at the path, and delete it by hand."
        )
    with hold(data / "lock"):
        state = recorded_state(data)
        account = server_account(state / "postgres", state / "valkey")
        remove_postgres(state / "postgres")
        remove_valkey(state / "valkey")
        forget(data, state, account)
        shutil.rmtree(data, ignore_errors=True)
