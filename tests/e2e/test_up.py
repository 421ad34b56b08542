"""``citewell up`` and the commands that speak to it, in processes of their own or in this one."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from e2e.processes import COMMAND, EXAMPLES, Program, Running, environment, wait_until

QUESTION = "When was the first working pendulum clock designed, and by whom?"
FILES = 6
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def program(data: Path) -> Program:
    return Program(data)


@pytest.fixture(scope="module")
def running(program: Program) -> Iterator[Running]:
    """A server with the examples in it, brought in by the command line."""
    with program.up() as up:
        skipped = {"README.md", "questions.jsonl"}
        files = sorted(str(file) for file in EXAMPLES.iterdir() if file.name not in skipped)
        assert len(files) == FILES
        done = program.run("ingest", *files)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(rf"{FILES} indexed; \d+ chunks\.\n", done.stdout)
        yield up


def test_ingesting_again_costs_nothing(program: Program, running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "note.txt").write_text("A note about sundials.")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "bad.bin").write_bytes(bytes(range(256)) * 8)
    done = program.call("ingest", str(folder))
    assert done.returncode == 1
    assert "bad.bin" in done.stderr
    assert done.stdout == "1 rejected, 1 indexed; 1 chunk.\n"
    again: list[dict[str, Any]] = program.call_json(
        "ingest", str(folder / "below"), "--collection", "c"
    )
    assert [(item["name"], item["status"]) for item in again] == [("note.txt", "done")]
    again = program.call_json("ingest", str(folder / "below"), "--collection", "c")
    assert [item["status"] for item in again] == ["unchanged"]


def test_asking(program: Program, running: Running) -> None:
    answer = program.call_json("ask", QUESTION)
    assert not answer["refused"]
    assert "1656" in answer["answer"]
    assert answer["citations"][0]["marker"] == "[§4.2]"
    for citation in answer["citations"]:
        text = running.get(f"/documents/{citation['document_id']}/text").text
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    shown = program.run("ask", QUESTION)
    assert "[§4.2]" in shown.stdout
    assert "book.html" in shown.stdout


def test_searching_and_listing(program: Program, running: Running) -> None:
    found = program.call_json("search", "pendulum clock", "-n", "3")
    assert len(found["results"]) == 3
    names = {item["name"] for item in program.call_json("documents")}
    assert names >= {"book.html", "longitude.pdf", "calendars.docx"}
    assert {job["status"] for job in program.call_json("jobs")} == {"done"}
    assert "book.html" in program.call("jobs", "--status", "done").stdout
    missing = program.call("documents", "--delete", "nonsense")
    assert missing.returncode == 1
    assert missing.stderr.startswith("citewell: There is nothing with that id")


def test_looking_after(program: Program, running: Running) -> None:
    checks = program.call_json("verify")
    assert len(checks) > 10
    assert {check["breaches"] for check in checks} == {0}
    doctor = program.call("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "wrong" not in doctor.stdout
    assert "embedding model (384 dimensions)" in doctor.stdout


def test_a_second_one_on_the_folder_is_told_who_holds_it(
    program: Program, running: Running
) -> None:
    second = program.run("up", "--port", "0")
    assert second.returncode == 1
    assert f"process {running.process.pid} (citewell up)" in second.stderr
    assert "Traceback" not in second.stderr
    assert running.get("/ready").status_code == 200


def test_a_port_that_is_taken_is_one_sentence(running: Running, tmp_path: Path) -> None:
    port = running.url.rpartition(":")[2]
    other = Program(tmp_path / "other").run("up", "--port", port)
    assert other.returncode == 1
    assert f"Port {port}" in other.stderr
    assert not (tmp_path / "other").exists()


def test_strangers_are_not_served(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "up", "--data", str(tmp_path / "data"), "--host", "0.0.0.0", "--port", "0"],
        env=environment(CITEWELL_AUTH__MODE="off"), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "without authentication" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_welcome_and_the_log_hold_no_secret(program: Program, running: Running) -> None:
    holder = (program.data / "lock").read_text()
    secrets = re.findall(r'"([A-Za-z0-9_-]{30,})"', (program.data / "secrets.json").read_text())
    assert len(secrets) >= 2
    for process in running.family():
        command = " ".join(process.cmdline())
        assert not [secret for secret in secrets if secret in command]
    assert not [secret for secret in secrets if secret in holder]


def test_ctrl_c_ends_everything_and_a_restart_has_it_all(
    program: Program, running: Running
) -> None:
    before = program.call_json("ask", QUESTION)["answer"]
    family = running.family()
    assert len(family) >= 5
    code, seconds = running.interrupt()
    assert code in {0, 130, -signal.SIGINT}
    assert seconds < 6
    wait_until(lambda: not [p for p in family if _lives(p)], 3)
    assert program.leftovers() == []
    with program.up() as again:
        assert again.ask(QUESTION)["answer"] == before
        assert len(again.get("/documents").json()["documents"]) == FILES + 2
    assert program.leftovers() == []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_command_without_a_server_brings_its_own(program: Program, running: Running) -> None:
    if running.process.poll() is None:
        running.interrupt()
    answer = program.json("ask", QUESTION)
    assert "1656" in answer["answer"]
    assert program.leftovers() == []
