"""The running servers, and the databases that tests make on them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy

from citewell.records.session import Database
from citewell.settings import Settings


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that every user may pass, in memory where there is room: the servers sync a lot."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    folder = Path(tempfile.mkdtemp(prefix="cw-", dir=memory if roomy else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers, and what makes and drops databases on them."""

    settings: Settings

    @property
    def url(self) -> sqlalchemy.URL:
        assert self.settings.database_url is not None
        return sqlalchemy.make_url(self.settings.database_url.get_secret_value())

    @property
    def copying(self) -> str:
        """How a database is copied: by files in memory, since on a disk each would be synced."""
        return "FILE_COPY" if self.settings.data.is_relative_to("/dev/shm") else "WAL_LOG"

    def database_url(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def redis_url(self, number: int = 0) -> str:
        assert self.settings.redis_url is not None
        return self.settings.redis_url.get_secret_value().replace("?db=0", f"?db={number}")

    def execute(self, statement: str, database: str = "citewell") -> None:
        parameters: dict[str, Any] = {"dbname": database, **self.url.query}
        with psycopg.connect(
            autocommit=True, user=self.url.username, password=self.url.password, **parameters
        ) as connection:
            connection.execute(statement)  # pyright: ignore


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    database = Database(url, 5)
    try:
        yield database
    finally:
        await database.close()
