"""Our own PostgreSQL with pgvector: a Unix socket, scram passwords, no port, durable.

Role, database and extension are made after the first start, and mended at a later one when that
was cut short.
"""

import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psutil
import psycopg
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from citewell.embedded.binaries import Binaries
from citewell.embedded.cluster import LOG_NAME, SUPERUSER, clear_unfinished, ensure_cluster
from citewell.embedded.memory import memory_bytes, postgres_memory
from citewell.embedded.passwords import Passwords
from citewell.embedded.places import POSTGRES_PORT, Places
from citewell.embedded.process import Server, end_stale, launch, trim_log
from citewell.errors import Unavailable

_ROLE = "citewell"
_DATABASE = "citewell"
_CONNECT_SECONDS = 5
_PATIENCE_SECONDS = 300.0
_FLAGS = {
    "listen_addresses": "",
    "port": str(POSTGRES_PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    # Failing rows hold document text, which is none of the log's business.
    "log_error_verbosity": "terse",
}
_READY: LiteralString = """
    SELECT e.extversion = a.default_version
    FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname
    WHERE e.extname = 'vector'
"""


def postgres_url(places: Places, password: str) -> str:
    """Return the URL for SQLAlchemy with psycopg; the host is the folder of the socket."""
    host = quote(str(places.run), safe="")
    secret = quote(password, safe="")
    return f"postgresql+psycopg://{_ROLE}:{secret}@/{_DATABASE}?host={host}&port={POSTGRES_PORT}"


def _connect(places: Places, user: str, password: str, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=str(places.run),
        port=POSTGRES_PORT,
        user=user,
        password=password,
        dbname=database,
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
    )


def _clear_stale(places: Places, *, crashed: bool) -> None:
    """End a postmaster of a crashed run, then clear the marks that would stop a fresh one.

    PostgreSQL itself clears its pid file, and its shared memory, when the process is dead. Only a
    pid that now belongs to a stranger would stop it for ever; then the file goes, and only when no
    process works in the folder any more.
    """
    folder = places.state / "postgres"
    pid_file = folder / "postmaster.pid"
    if not crashed and not pid_file.exists():
        return
    end_stale(folder, (signal.SIGINT, signal.SIGQUIT))
    with suppress(OSError, ValueError, IndexError):
        if psutil.pid_exists(int(pid_file.read_text().splitlines()[0])):
            pid_file.unlink()
    for mark in places.run.glob(".s.PGSQL.*"):
        mark.unlink(missing_ok=True)


def _command(places: Places, postgres: Path, pool: int) -> list[str]:
    flags = _FLAGS | postgres_memory(memory_bytes(), pool)
    # Quoted, because the setting is a list of folders.
    flags["unix_socket_directories"] = f'"{places.run}"'
    command = [str(postgres), "-D", str(places.state / "postgres")]
    for name, value in flags.items():
        command += ["-c", f"{name}={value}"]
    return command


def _bootstrap(places: Places, passwords: Passwords) -> None:
    """Make role, database and extension where they are missing; safe to repeat.

    The citewell database gets its extension last, so its presence means that all is there.
    """
    with _connect(places, SUPERUSER, passwords.superuser, "template1") as connection:
        _ensure_extension(connection)
        verifier = connection.pgconn.encrypt_password(
            passwords.postgres.encode(), _ROLE.encode(), b"scram-sha-256"
        ).decode()
        role, database = sql.Identifier(_ROLE), sql.Identifier(_DATABASE)
        query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
        if connection.execute(query, [_ROLE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(
            sql.SQL(
                "ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOREPLICATION CREATEROLE CREATEDB "
                "PASSWORD {}"
            ).format(role, sql.Literal(verifier))
        )
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, [_DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    with _connect(places, SUPERUSER, passwords.superuser, _DATABASE) as connection:
        _ensure_extension(connection)


def _ensure_extension(connection: psycopg.Connection) -> None:
    # Notices ("already exists") are of no interest; neither are these statements in the log.
    connection.execute("SET client_min_messages = warning")
    connection.execute("SET log_min_error_statement = panic")
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("ALTER EXTENSION vector UPDATE")


def _login_works(places: Places, passwords: Passwords) -> bool:
    with (
        suppress(psycopg.Error),
        _connect(places, _ROLE, passwords.postgres, _DATABASE) as connection,
    ):
        row = connection.execute(_READY).fetchone()
        return row is not None and row[0] is True
    return False


def _answers(places: Places, passwords: Passwords, *, is_new: bool) -> bool:
    """Return whether the login role can work in its database, making both if need be."""
    address = f"port={POSTGRES_PORT} user={_ROLE} dbname={_DATABASE} connect_timeout=2"
    conninfo = make_conninfo(address, host=str(places.run))
    if not (places.run / f".s.PGSQL.{POSTGRES_PORT}").exists():
        return False
    if pq.PGconn.ping(conninfo.encode()) != pq.Ping.OK:
        return False
    if not is_new and _login_works(places, passwords):
        return True
    try:
        _bootstrap(places, passwords)
    except psycopg.Error as error:
        if "password authentication failed" in str(error):
            raise Unavailable(
                "PostgreSQL does not take the password in secrets.json in the data folder. "
                "Restore that file from a backup, or choose another folder with --data."
            ) from error
        return False
    return _login_works(places, passwords)


def postgres_server(
    places: Places, binaries: Binaries, passwords: Passwords, *, pool: int, crashed: bool
) -> Server:
    """Describe PostgreSQL for this data folder; ``prepare`` makes the cluster if it is missing."""
    folder = places.state / "postgres"
    is_new = False

    def make_ready() -> None:
        nonlocal is_new
        is_new = ensure_cluster(places, binaries.initdb, passwords.superuser)

    def start() -> subprocess.Popen[bytes]:
        trim_log(places.logs / LOG_NAME)
        _clear_stale(places, crashed=crashed)
        return launch(
            _command(places, binaries.postgres, pool),
            account=places.account,
            folder=folder,
            log_path=places.logs / LOG_NAME,
        )

    return Server(
        name="PostgreSQL",
        log_name=LOG_NAME,
        folder=folder,
        make_ready=make_ready,
        launch=start,
        answers=lambda: _answers(places, passwords, is_new=is_new),
        signals=((0.0, signal.SIGINT), (3.5, signal.SIGQUIT)),
        patience_seconds=_PATIENCE_SECONDS,
    )


def remove_postgres(folder: Path) -> None:
    """End a PostgreSQL that still works in the folder, then delete the folder."""
    clear_unfinished(folder.parent)
    if folder.is_dir():
        end_stale(folder, (signal.SIGQUIT,))
        shutil.rmtree(folder, ignore_errors=True)
