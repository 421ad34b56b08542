"""Whatever is killed, and whenever: the next start works, and a stop leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from embedded_servers import query, servers_of, start_holder, wait_until
from pydantic import SecretStr

from citewell import embedded
from citewell.errors import Conflict
from citewell.settings import Settings


def _postmaster(data: Path) -> psutil.Process:
    return psutil.Process(int((data / "postgres" / "postmaster.pid").read_text().split()[0]))


def _superuser(data: Path) -> dict[str, object]:
    password = json.loads((data / "secrets.json").read_text())["postgres_superuser"]
    return {"user": "postgres", "password": password, "dbname": "postgres"}


def test_one_holder_at_a_time(data: Path, holder: subprocess.Popen[str]) -> None:
    found = embedded.read_holder(data)
    assert found is not None
    assert found.pid == holder.pid
    assert found.url is None
    started = found.started_at.astimezone().strftime("%H:%M")
    with pytest.raises(Conflict) as caught, embedded.start(Settings(data=data)):
        pass
    assert caught.value.message == (
        f"The data folder is held by process {holder.pid} (-c), started {started}. "
        "Stop it, or choose another folder with --data."
    )
    with pytest.raises(Conflict):
        embedded.remove_data(data)
    assert len(servers_of(data)) > 5


def test_the_holder_announces_its_url(data: Path) -> None:
    only_valkey = Settings(data=data, database_url=SecretStr("postgresql://x"))
    assert embedded.read_holder(data) is None
    with embedded.start(only_valkey):
        embedded.announce(data, "http://127.0.0.1:8000")
        found = embedded.read_holder(data)
        assert found is not None
        assert (found.pid, found.url) == (os.getpid(), "http://127.0.0.1:8000")
        with pytest.raises(Conflict), embedded.start(only_valkey):
            pass
        assert len(servers_of(data)) == 1
    assert embedded.read_holder(data) is None


def test_a_killed_holder_leaves_servers_that_the_next_start_ends(
    data: Path, holder: subprocess.Popen[str]
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert embedded.read_holder(data) is None
    stale = {process.pid for process in servers_of(data)}
    assert len(stale) > 5
    (data / "valkey" / "valkey.pid").unlink()
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1
        assert not stale & {process.pid for process in servers_of(data)}


def test_killed_servers_and_a_recycled_pid_do_not_stop_a_start(
    data: Path, holder: subprocess.Popen[str]
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    _postmaster(data).kill()
    holder.wait()
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1
        pid_file = (data / "postgres" / "postmaster.pid").read_text()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lines = pid_file.splitlines(keepends=True)
        lines[0] = f"{stranger.pid}\n"
        (data / "postgres" / "postmaster.pid").write_text("".join(lines))
        (data / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
        with embedded.start(Settings(data=data)) as settings:
            assert query(settings, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupted_first_start_is_repaired(fresh: Path) -> None:
    process = start_holder(fresh)
    wait_until(lambda: list(fresh.glob("postgres.new-*")))
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with embedded.start(Settings(data=fresh)) as settings:
        assert query(settings, "SELECT '[1]'::vector <-> '[0]'") == 1.0
        assert list(fresh.glob("*postgres.*")) == []


def test_an_interrupted_bootstrap_is_repaired(data: Path) -> None:
    with embedded.start(Settings(data=data)) as settings:
        superuser = _superuser(data)
        query(settings, "DROP DATABASE citewell", **superuser)
        query(settings, "ALTER ROLE citewell NOLOGIN PASSWORD NULL", **superuser)
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT '[1]'::vector <-> '[0]'") == 1.0
        query(settings, "DROP EXTENSION vector", **{**_superuser(data), "dbname": "citewell"})
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT '[1]'::vector <-> '[0]'") == 1.0


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGTERM,), 128 + signal.SIGTERM),
        ((signal.SIGHUP,), 128 + signal.SIGHUP),
        ((signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT), None),
        ((signal.SIGTERM,) * 5, None),
    ],
)
def test_signals_to_the_whole_group_leave_no_process(
    data: Path, holder: subprocess.Popen[str], signals: tuple[int, ...], code: int | None
) -> None:
    for number in signals:
        os.killpg(holder.pid, number)
        time.sleep(0.01)
    holder.wait(10)
    assert code is None or holder.returncode == code
    assert servers_of(data) == []
    assert embedded.read_holder(data) is None
    log = (data / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def test_signals_while_starting_leave_no_process(fresh: Path) -> None:
    for delay_seconds in (0.2, 0.9):
        process = start_holder(fresh)
        wait_until((fresh / "lock").exists)
        time.sleep(delay_seconds)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert servers_of(fresh) == []


def test_an_exception_and_a_frozen_server_are_stopped_within_five_seconds(data: Path) -> None:
    began = 0.0
    with suppress(RuntimeError), embedded.start(Settings(data=data)):
        _postmaster(data).suspend()
        began = time.monotonic()
        raise RuntimeError("ours")
    assert time.monotonic() - began < 5.5
    assert servers_of(data) == []
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1


def test_a_forked_child_neither_stops_the_servers_nor_keeps_the_lock(data: Path) -> None:
    script = f"""
import os, sys, time, warnings
from pathlib import Path
from citewell import embedded
from citewell.settings import Settings
warnings.simplefilter("ignore")
with embedded.start(Settings(data=Path({str(data)!r}))) as settings:
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        time.sleep(4)
        os._exit(0)
    print("alive", settings.redis_url is not None, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.stdout == "alive True\n"
    assert len(servers_of(data)) > 5
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1
