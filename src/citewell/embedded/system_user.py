"""As which user the servers run: as ourselves, or as a system user when we are root.

PostgreSQL refuses root. Nothing here opens a folder to others: when the system user cannot get
somewhere, ``places`` and ``binaries`` go somewhere else.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from citewell.errors import Unavailable

_NAME = "citewell"
_TRY_SECONDS = 10.0


class Credentials(TypedDict, total=False):
    """The arguments of ``Popen`` that change the user; empty when there is nothing to change."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the servers run as; ``other`` when that is not the user we are."""

    uid: int
    gid: int
    other: bool

    @property
    def credentials(self) -> Credentials:
        """The arguments for ``subprocess.Popen``."""
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run_succeeds(self, *command: str) -> bool:
        """Return whether a command ends well as this user, its output thrown away."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TRY_SECONDS,
                cwd="/",
                check=False,
                **self.credentials,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Return whether this user reaches a folder, by trying: modes, ACLs and mounts count."""
        return self.run_succeeds("/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))

    def give(self, path: Path) -> None:
        """Give a file or folder that we just made to this user.

        Raises:  Unavailable – the disk below the folder has no owners.
        """
        if not self.other:
            return
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as error:
            raise Unavailable(
                "The disk of the data folder does not allow files of another user. "
                "Choose a folder on a local disk with --data."
            ) from error


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return None if entry.pw_uid == 0 else Account(entry.pw_uid, entry.pw_gid, other=True)


def _add_user() -> None:
    """Create the system user where the machine can; a failure leaves the fallback."""
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return
    subprocess.run(
        [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _NAME],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _system_account() -> Account:
    account = _named(_NAME)
    if account is None:
        _add_user()
        account = _named(_NAME) or _named("nobody")
    if account is None:
        raise Unavailable(
            "PostgreSQL does not run as root, and there is no system user for it. "
            "Create a user named citewell, or run Citewell as a normal user."
        )
    return account


def server_account(*clusters: Path) -> Account:
    """Return the user that runs the servers: as root the owner of a cluster, else ``citewell``.

    Raises:  Unavailable – we are root and no system user can be had.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), other=False)
    for cluster in clusters:
        if cluster.is_dir() and not cluster.is_symlink() and cluster.stat().st_uid != 0:
            owner = cluster.stat()
            return Account(owner.st_uid, owner.st_gid, other=True)
    return _system_account()


def has_name(account: Account) -> bool:
    """Return whether the user id has an entry in the user database; initdb asks for one."""
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        return False
    return True
