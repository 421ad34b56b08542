"""Where the servers' files lie: below the data folder, or where the servers' user can reach.

A normal user has everything below ``<data>``. Root gives ``postgres``, ``valkey`` and ``run`` to a
system user; when that user cannot get below ``<data>`` they lie in ``/var/lib/citewell/<hash>``,
and ``<data>/servers-at`` says so. No folder is opened to others, and none that we did not make
changes its mode: a data folder that root's Citewell makes is 0710 with the servers' group.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from citewell.embedded.system_user import Account, server_account
from citewell.errors import AccessError, InputError, Unavailable

SHARED_STATE = Path("/var/lib").resolve() / "citewell"
POSTGRES_PORT = 5432
_POINTER = "servers-at"
_LONGEST_SOCKET_BYTES = 103
_LONGEST_NAME_BYTES = len(f"/.s.PGSQL.{POSTGRES_PORT}")
_PLAIN = re.compile(r"[A-Za-z0-9._/+@=~ -]+")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one data folder's servers, and the user who owns them."""

    data: Path
    state: Path
    run: Path
    account: Account

    @property
    def logs(self) -> Path:
        """Where both servers' output goes; written through files that we open."""
        return self.data / "logs"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def write_private(path: Path, content: str, account: Account | None = None) -> None:
    """Replace a file by one of mode 0600, whole or not at all; never through a link."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if account is not None:
            account.give(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def make_folder(path: Path, account: Account) -> None:
    """Make a 0700 folder of the servers' user; one that is there must already be theirs.

    Raises:  Unavailable – it belongs to somebody else, or is a link.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        account.give(path)
    found = path.lstat()
    owners = {account.uid, 0} if account.other else {account.uid}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise Unavailable(
            f"The folder {path.name} of the servers belongs to another user. "
            "Run Citewell as the user who made the data folder, or choose another one with --data."
        )
    if found.st_uid == 0 and account.other:
        account.give(path)


def make_data_folder(data: Path) -> None:
    """Make the data folder when it is missing, private to us and, for root, the servers' group.

    Raises:  InputError – the folder cannot be made, or anybody may write into it.
             AccessError – the folder belongs to another user.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            data.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(data, 0, server_account().gid)
                data.chmod(0o710)
        found = data.stat()
    except OSError as error:
        raise InputError(
            "The data folder cannot be made. Choose another folder with --data."
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise InputError("The data folder is a file. Choose another folder with --data.")
    if found.st_mode & stat.S_IWOTH:
        raise InputError(
            "Anybody may write into the data folder. Choose a private folder with --data."
        )
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise AccessError(
            "You may not write into the data folder. "
            "Run as the user who made it, or choose another folder with --data."
        )


def recorded_state(data: Path) -> Path:
    """Return where the servers' state lies by what is on disk: ``<data>`` unless told elsewhere."""
    try:
        told = Path((data / _POINTER).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return data
    if told.parent != SHARED_STATE or not re.fullmatch(r"[0-9a-f]{12}", told.name):
        raise Unavailable(
            "The file servers-at in the data folder names a place that Citewell never uses. "
            "Restore that file, or choose another folder with --data."
        )
    return told


def _make_guarded(folder: Path, account: Account) -> None:
    """Make a folder of root that the servers' group may pass, so that nothing in it is swapped."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, 0, account.gid)
        folder.chmod(0o710)


def make_shared_root(account: Account) -> Path:
    """Make ``/var/lib/citewell`` for root when it is missing, and return it.

    Raises:  Unavailable – the servers' user cannot get there.
    """
    with suppress(FileExistsError):
        SHARED_STATE.mkdir(mode=0o700, parents=True)
        SHARED_STATE.chmod(0o755)
    if not account.can_enter(SHARED_STATE):
        raise Unavailable(
            f"The servers' user cannot enter {SHARED_STATE}. "
            "Allow it, or run Citewell as a normal user."
        )
    return SHARED_STATE


def _choose_state(data: Path, account: Account) -> Path:
    state = recorded_state(data)
    if state != data or not account.other or account.can_enter(data):
        if state != data:
            make_shared_root(account)
            _make_guarded(state, account)
        return state
    if (data / "postgres").exists():
        raise Unavailable(
            "The servers' user can no longer enter the data folder. "
            "Allow the user citewell to pass the folders above it, and start again."
        )
    state = make_shared_root(account) / _short_hash(str(data))
    _make_guarded(state, account)
    write_private(data / _POINTER, f"{state}\n")
    return state


def _holds_sockets(folder: Path) -> bool:
    """Return whether a socket can be made in the folder: its path is plain and short enough."""
    if len(os.fsencode(folder)) + _LONGEST_NAME_BYTES > _LONGEST_SOCKET_BYTES:
        return False
    if not _PLAIN.fullmatch(str(folder)):
        return False
    trial = folder / f".{secrets.token_hex(4)}"
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(trial))
    except OSError:
        return False
    finally:
        with suppress(OSError):
            trial.unlink()
    return True


def _private_for(folder: Path, account: Account) -> bool:
    """Make a folder of mode 0700, or say whether the one there is private and the user's own."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        account.give(folder)
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == account.uid
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


def _temporary_bases() -> list[Path]:
    return [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - checked before it is trusted


def _temporary_name(data: Path, account: Account) -> str:
    return "citewell-" + _short_hash(f"{account.uid}:{data}")


def _run_folder(data: Path, state: Path, account: Account) -> Path:
    wanted = state / "run"
    make_folder(wanted, account)
    if _holds_sockets(wanted):
        return wanted
    for base in _temporary_bases():
        folder = base / _temporary_name(data, account)
        if not _private_for(folder, account):
            folder = Path(tempfile.mkdtemp(prefix="citewell-", dir=base))
            account.give(folder)
        if _holds_sockets(folder) and account.can_enter(folder):
            return folder
    raise Unavailable(
        "No folder for the servers' sockets was found. Choose a shorter folder with --data."
    )


def settle(data: Path) -> Places:
    """Decide where the servers of a held data folder live, and make those folders.

    Raises:  Unavailable – there is no place that the servers' user can reach and own.
    """
    state = recorded_state(data)
    account = server_account(state / "postgres", state / "valkey")
    state = _choose_state(data, account)
    with suppress(FileExistsError):
        (data / "logs").mkdir(mode=0o700)
    return Places(data=data, state=state, run=_run_folder(data, state, account), account=account)


def leave(places: Places) -> None:
    """Remove the socket folder when it lies outside of the state; leave everything else."""
    if places.run.parent != places.state:
        shutil.rmtree(places.run, ignore_errors=True)


def forget(data: Path, state: Path, account: Account) -> None:
    """Delete all that Citewell keeps outside of a data folder: its state and its sockets."""
    if state != data:
        shutil.rmtree(state, ignore_errors=True)
    for base in _temporary_bases():
        folder = base / _temporary_name(data, account)
        if folder.exists() and _private_for(folder, account):
            shutil.rmtree(folder, ignore_errors=True)
