"""Make PostgreSQL's files: whole or not at all, with a password for everyone.

initdb works in a folder beside the cluster's place, which is renamed when it is complete; what an
interrupted one left is ended and deleted at the next start.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from citewell.embedded.places import Places, make_folder, write_private
from citewell.embedded.process import end_stale, launch, signals_deferred
from citewell.embedded.system_user import has_name
from citewell.errors import Unavailable

LOG_NAME = "postgres.log"
SUPERUSER = "postgres"
_MAJOR_VERSION = "18"
_INITDB_SECONDS = 180.0
_HBA = "local all all scram-sha-256\nlocal replication all scram-sha-256\n"


def cluster_exists(places: Places) -> bool:
    """Return whether a whole cluster lies in the state folder."""
    return (places.state / "postgres").is_dir()


def _initdb_command(initdb: Path, folder: Path, password_file: Path) -> list[str]:
    return [
        str(initdb),
        "-D",
        str(folder),
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]


def clear_unfinished(state: Path) -> None:
    """Delete what an interrupted first start left, ending an initdb that still works on it."""
    for leftover in state.glob("postgres.new-*"):
        end_stale(leftover, (signal.SIGTERM,))
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in (*state.glob("postgres.password-*"), *state.glob(".postgres.password-*")):
        leftover.unlink(missing_ok=True)


def _make_cluster(places: Places, initdb: Path, password: str) -> None:
    """Make the cluster beside its place, then rename it: it is there whole or not at all."""
    account, state = places.account, places.state
    if not has_name(account):
        raise Unavailable(
            f"PostgreSQL needs a name for the user id {account.uid}. "
            "Add the user to /etc/passwd, or give CITEWELL_DATABASE_URL."
        )
    clear_unfinished(state)
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=state))
    account.give(fresh)
    password_file = state / fresh.name.replace("postgres.new-", "postgres.password-")
    process: subprocess.Popen[bytes] | None = None
    try:
        write_private(password_file, f"{password}\n", account)
        with signals_deferred():
            process = launch(
                _initdb_command(initdb, fresh, password_file),
                account=account,
                folder=fresh,
                log_path=places.logs / LOG_NAME,
            )
        made = process.wait(_INITDB_SECONDS) == 0
    except subprocess.TimeoutExpired:
        made = False
    finally:
        with signals_deferred():
            if process is not None and process.poll() is None:
                end_stale(fresh, ())
                process.wait()
            password_file.unlink(missing_ok=True)
    if not made:
        clear_unfinished(state)
        raise Unavailable(
            "PostgreSQL could not make its files. Read logs/postgres.log in the data folder, "
            "free disk space if it is full, and start again."
        )
    fresh.rename(state / "postgres")
    _sync_folder(state)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_version(folder: Path) -> None:
    try:
        found = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unavailable(
            "The PostgreSQL files in the data folder cannot be read. Run Citewell as the user "
            "who made them, or restore them from a backup."
        ) from error
    if found != _MAJOR_VERSION:
        raise Unavailable(
            f"The data folder was made by PostgreSQL {found}, and this Citewell brings "
            f"{_MAJOR_VERSION}. Export with the Citewell that made it, then import here."
        )


def ensure_cluster(places: Places, initdb: Path, password: str) -> bool:
    """Have a whole cluster of our version that takes passwords only; return whether it is new.

    Raises:  Unavailable – it cannot be made, or another version or user made it.
    """
    folder = places.state / "postgres"
    is_new = not folder.is_dir()
    if is_new:
        _make_cluster(places, initdb, password)
    make_folder(folder, places.account)
    _check_version(folder)
    write_private(folder / "pg_hba.conf", _HBA, places.account)
    return is_new
