"""A ``citewell up`` that is started again whenever it was killed."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from sqlalchemy import make_url

from citewell import embedded
from e2e.processes import QUICK_JOBS, TWO_WORKERS, Program, Running, wait_until
from records.databases import new_folder

MANY_TRIES = {"CITEWELL_JOBS__MAX_ATTEMPTS": "100"}
"""A document that is in work at each of many kills must not be given up."""
STARTS = 10
OLD_SECONDS = 27 * 3600.0
"""A stored file that no version names is an orphan at this age."""

WATCH_PUBLICATIONS = """
CREATE TABLE IF NOT EXISTS chaos_publications (version_id uuid, job_ends boolean);
CREATE OR REPLACE FUNCTION chaos_note_publication() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_publications VALUES (NEW.id, false);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS chaos_note_publication ON versions;
CREATE TRIGGER chaos_note_publication AFTER UPDATE OF published_at ON versions
FOR EACH ROW WHEN (NEW.published_at IS NOT NULL) EXECUTE FUNCTION chaos_note_publication();
CREATE OR REPLACE FUNCTION chaos_note_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_publications VALUES (NEW.id, true);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS chaos_note_end ON jobs;
CREATE TRIGGER chaos_note_end AFTER UPDATE OF status ON jobs
FOR EACH ROW WHEN (NEW.status = 'done') EXECUTE FUNCTION chaos_note_end();
"""
"""The database itself notes each publication and each end, so that a doubled one is seen."""


class Installation:
    """Runs ``citewell up`` on one data folder, whatever is done to it."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.program = Program(data, **(TWO_WORKERS | QUICK_JOBS | MANY_TRIES | settings))
        self.checker = Program(data)
        self._turn = threading.RLock()
        self._running: Running | None = None
        self._reported: set[str] = set()

    @property
    def running(self) -> Running:
        """The ``up`` that serves now."""
        assert self._running is not None
        return self._running

    @property
    def url(self) -> str:
        """Where the API answers now, or answered last."""
        return self.running.url

    def start(self) -> None:
        """Start it, and again when it is killed before it serves."""
        with self._turn:
            url = "" if self._running is None else self._running.url
            for _ in range(STARTS):
                running = self.program.spawn()
                running.url = url
                self._running = running
                try:
                    running.wait_ready()
                except AssertionError:
                    if running.process.poll() != -signal.SIGKILL:
                        running.end()
                        raise
                else:
                    return
            raise AssertionError("up was killed each time it was started")

    def revive(self) -> bool:
        """Start it again if it was killed; return whether it was."""
        with self._turn:
            if self.running.process.poll() is None:
                return False
            assert self.running.process.returncode == -signal.SIGKILL, self.log()
            self.age_blobs()
            self.start()
            return True

    def restart(self) -> None:
        """Stop it as Ctrl-C does, and start it again."""
        self.running.end()
        self.start()

    def end(self) -> None:
        """Stop it and all that is left of it."""
        if self._running is not None:
            self._running.end()

    def log(self) -> str:
        """Return the end of what ``up`` wrote."""
        return (self.program.folder / "up.log").read_text(errors="replace")[-4000:]

    def keep_log(self) -> str:
        """Copy what ``up`` and its servers wrote to where it outlives the data folder."""
        kept = Path(tempfile.mkdtemp(prefix="citewell-chaos-"))
        for path in (self.program.folder / "up.log", *self.program.data.glob("logs/*.log")):
            shutil.copy2(path, kept)
        return str(kept)

    def age_blobs(self) -> None:
        """Make every stored file old, so that a file without a version is swept at the next start.

        Holds:   ``up`` does not run: nobody stores a file meanwhile.
        """
        old = time.time() - OLD_SECONDS
        for path in (self.program.data / "blobs").rglob("*"):
            with suppress(FileNotFoundError):
                os.utime(path, (old, old))

    def verify(self) -> list[str]:
        """Return every invariant that the checker finds broken."""
        done = self.checker.call("verify", "--json")
        if not done.stdout.startswith("["):
            return [f"citewell verify: {done.stderr.strip()}"]
        return [
            f"{check['invariant']}: {check['breaches']}"
            for check in json.loads(done.stdout)
            if check["breaches"]
        ]

    def urls(self) -> dict[str, str]:
        """Return the servers' URLs."""
        written = (self.program.data / "servers.json").read_text(encoding="utf-8")
        return json.loads(written)["urls"]

    def redis(self) -> redis.Redis:
        """Return a client of the broker."""
        return redis.Redis.from_url(self.urls()["redis_url"], socket_timeout=5)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL as the owner of the tables."""
        url = make_url(self.urls()["database_url"])
        parameters: dict[str, Any] = {"dbname": url.database, **url.query}
        with psycopg.connect(
            autocommit=True, user=url.username, password=url.password, **parameters
        ) as connection:
            cursor = connection.execute(statement)  # pyright: ignore
            return cursor.fetchall() if cursor.description else []

    def watch_publications(self) -> None:
        """Have the database note every publication from now on."""
        self.execute(WATCH_PUBLICATIONS)

    def doubled_publications(self) -> list[str]:
        """List, once, what was published more than once and each job that ended more than once."""
        rows = self.execute(
            "SELECT version_id, job_ends, count(*) FROM chaos_publications "
            "GROUP BY version_id, job_ends HAVING count(*) > 1"
        )
        found = {f"{'job' if row[1] else 'version'} {row[0]} {row[2]} times" for row in rows}
        new, self._reported = found - self._reported, self._reported | found
        return sorted(new)


@contextmanager
def open_installation(**settings: str) -> Iterator[Installation]:
    """Have an installation run inside the block, on a data folder that is gone afterwards."""
    with new_folder() as folder:
        installation = Installation(folder / "data", **settings)
        try:
            installation.start()
            installation.watch_publications()
            yield installation
        finally:
            installation.end()
            wait_until(lambda: not installation.checker.leftovers(), 30)
            embedded.remove_data(folder / "data")


def kill(processes: list[psutil.Process]) -> int:
    """Kill processes as a power cut would; return how many there were."""
    killed = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
            killed += 1
    return killed


def reap(running: Running) -> None:
    """Wait for the end of a killed ``up``."""
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(10)
