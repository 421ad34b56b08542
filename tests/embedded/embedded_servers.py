"""What the tests of the embedded servers share: finding, asking and starting real servers."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import sqlalchemy

from citewell.settings import Settings

HOLDER = """
import sys, time
from pathlib import Path
from citewell import embedded
from citewell.settings import Settings
with embedded.start(Settings(data=Path(sys.argv[1]))) as settings:
    print(settings.database_url.get_secret_value(), flush=True)
    time.sleep(60)
"""


def servers_of(data: Path) -> list[psutil.Process]:
    """Every server process that works below the data folder, or where it says its servers are."""
    pointer = data / "servers-at"
    roots = [str(data)] + ([pointer.read_text().strip()] if pointer.exists() else [])
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() in {"postgres", "initdb", "valkey-server"} and any(
                process.cwd().startswith(root) for root in roots
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def connect(settings: Settings, **changes: object) -> psycopg.Connection:
    assert settings.database_url is not None
    url = sqlalchemy.make_url(settings.database_url.get_secret_value())
    parameters: dict[str, object] = {
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        **url.query,
        **changes,
    }
    return psycopg.connect(autocommit=True, **parameters)  # pyright: ignore


def query(settings: Settings, statement: str, **changes: object) -> object:
    with connect(settings, **changes) as connection:
        cursor = connection.execute(statement)  # pyright: ignore
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def start_holder(data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
