"""The commands against one running server, each test in a collection of its own.

They run inside of this process; test_up.py runs them in processes of their own.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.processes import PLAIN, Program, Running

pytestmark = pytest.mark.timeout(180)
CLOCK = "The pendulum clock was built in 1656 by Huygens."


@pytest.fixture(scope="module")
def program(data: Path) -> Program:
    return Program(data)


@pytest.fixture(scope="module")
def running(program: Program) -> Iterator[Running]:
    with program.up() as up:
        yield up


def uploads_of(running: Running) -> int:
    """How many requests to upload the server had."""
    lines = running.get("/metrics").text.splitlines()
    route = 'route="/documents/upload"'
    return sum(
        int(float(line.split()[-1]))
        for line in lines
        if line.startswith("citewell_http_requests_total") and route in line
    )


def test_what_is_unchanged_is_not_uploaded(
    program: Program, running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_text(f"Note {n} on the tides.")
    first = program.call("ingest", str(folder), "-c", "notes")
    assert first.stdout == "3 indexed; 3 chunks.\n", first.stderr
    before = uploads_of(running)
    again = program.call("ingest", str(folder), "-c", "notes")
    assert again.stdout == "3 unchanged; 3 chunks.\n"
    assert uploads_of(running) == before
    (folder / "1.txt").write_text("Another note.")
    changed = program.call_json("ingest", str(folder), "-c", "notes")
    assert sorted((item["name"], item["status"]) for item in changed) == [
        ("0.txt", "unchanged"), ("1.txt", "done"), ("2.txt", "unchanged")]  # fmt: skip
    assert uploads_of(running) == before + 1
    marked = program.call_json("ingest", str(folder), "-c", "notes", "-m", '{"shelf": "sea"}')
    assert [item["status"] for item in marked] == ["unchanged"] * 3
    document = running.get(f"/documents/{marked[0]['document_id']}").json()
    assert document["metadata"]["shelf"] == "sea"


def test_a_document_shows_its_report(program: Program, running: Running, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    table = "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
    file.write_text(f"<h1>One</h1><p>Text.</p><h1>Two</h1>{table}")
    (item,) = program.call_json("ingest", str(file), "--password", "sesame")
    shown = program.call("documents", item["document_id"])
    assert shown.returncode == 0, shown.stderr
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    said = {line[0]: line[1] for line in lines if len(line) == 2}
    assert said["status"] == "ready"
    assert (said["sections"], said["tables"]) == ("2", "1")
    assert {"characters", "chunks", "skipped", "memory"} <= said.keys()
    assert "sesame" not in shown.stdout
    raw = program.call_json("documents", item["document_id"])
    assert raw["report"]["sections"] == 2
    job = program.call("jobs", item["job_id"], "--follow")
    assert "report.html: done, 100% done" in job.stdout
    assert "publish  done" in job.stdout
    deleted = program.call("documents", item["document_id"], "--delete")
    assert deleted.stdout == "Deleted.\n"
    assert running.get(f"/documents/{item['document_id']}").status_code == 404


def test_reindexing_and_jobs(program: Program, running: Running, tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"Gauge {n} was read at noon.")
    items = program.call_json(
        "ingest", *(str(tmp_path / f"{n}.txt") for n in range(3)), "-c", "gauges"
    )
    done = program.call("reindex", "--collection", "gauges")
    assert (done.returncode, done.stdout) == (0, "3 documents read anew.\n"), done.stderr
    job = program.call_json("reindex", items[0]["document_id"])
    assert (job["kind"], job["status"], job["share"]) == ("reindex", "done", 1)
    numbers = running.get(f"/documents/{items[0]['document_id']}/versions").json()["versions"]
    assert [item["number"] for item in numbers] == [3, 2, 1]
    kinds = {item["kind"] for item in program.call_json("jobs", "--kind", "reindex")}
    assert kinds == {"reindex"}
    late = program.call("jobs", job["job_id"], "--cancel")
    assert late.returncode == 1
    assert late.stderr.startswith("citewell: The job has ended already.")


def test_asking_in_a_mode_and_in_a_session(
    program: Program, running: Running, tmp_path: Path
) -> None:
    (tmp_path / "clock.txt").write_text(CLOCK)
    program.call_json("ingest", str(tmp_path / "clock.txt"), "-c", "asking")
    shown = program.call(
        "ask", "When was the pendulum clock built?", "-c", "asking", "--mode", "structured",
        "--session", "new",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "The pendulum clock was built in 1656 by Huygens. [1]"
    assert lines[1] == "  [1] clock.txt [0:48]"
    assert any(line.startswith("  confidence 0.") for line in lines)
    (session,) = [line.split()[1] for line in lines if line.startswith("  session ")]
    followed = program.call_json("ask", "And by whom?", "-c", "asking", "--session", session)
    assert followed["standalone"].startswith("And by whom? (")
    assert followed["session_id"] == session
    rated = f"{running.url}/answers/{followed['answer_id']}/feedback"
    httpx.post(rated, json={"rating": "up"}, **PLAIN).raise_for_status()
    exported = program.call("feedback", "export", "--rating", "up")
    (line,) = exported.stdout.splitlines()
    assert json.loads(line)["answer_id"] == followed["answer_id"]
    assert program.call("feedback", "export", "--rating", "down").stdout == ""
    for arguments, said in (
        (("ask", "Who?", "--mode", "none"), "There is no mode 'none'."),
        (("ask", "Who?", "--session", "nonsense"), "There is nothing with that id here."),
        (("feedback", "import"), "feedback does not know 'import'."),
    ):
        wrong = program.call(*arguments)
        assert wrong.returncode == 1
        assert wrong.stderr.startswith(f"citewell: {said}")
        assert len(wrong.stderr.splitlines()) == 1


def test_records_are_exported_to_a_file(program: Program, running: Running, tmp_path: Path) -> None:
    (tmp_path / "=clock.txt").write_text(CLOCK)
    output = tmp_path / "documents.csv"
    program.call_json("ingest", str(tmp_path / "=clock.txt"), "-c", "exported")
    done = program.call(
        "export", "documents", "--filter", "collection=exported", "--format", "csv",
        "-o", str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().startswith("1 row in ")
    (row,) = csv.DictReader(io.StringIO(output.read_text(encoding="utf-8")))
    assert row["name"] == "'=clock.txt"
    printed = program.call("export", "audit", "--filter", "action=document.upload")
    targets = [json.loads(line)["target"] for line in printed.stdout.splitlines()]
    assert row["document_id"] in targets
    for wrong in (["export", "nothing"], ["export", "audit", "--filter", "rating=up"]):
        refused = program.call(*wrong)
        assert refused.returncode == 1
        assert refused.stderr.strip().startswith("citewell: ")
    assert program.call("export", "audit", "--filter", "rating").returncode == 2
    assert [path.name for path in tmp_path.glob(".export-*")] == []


def test_an_answer_is_replayed(program: Program, running: Running, tmp_path: Path) -> None:
    (tmp_path / "clock.txt").write_text(CLOCK)
    (tmp_path / "town.txt").write_text("The town hall's pendulum clock was built in 1702.")
    program.call_json("ingest", str(tmp_path / "clock.txt"), "-c", "replayed")
    answer = program.call_json("ask", "When was the pendulum clock built?", "-c", "replayed")
    same = program.call("replay", answer["answer_id"])
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("The search finds the same chunks in the same order")
    program.call_json("ingest", str(tmp_path / "town.txt"), "-c", "replayed")
    raw = program.call_json("replay", answer["answer_id"])
    assert (raw["same"], raw["index_changed"]) == (False, ["replayed"])
    assert len(raw["added"]) == 1
    shown = program.call("replay", answer["answer_id"])
    assert "Changed since: documents in replayed." in shown.stdout
    assert f"added    {raw['added'][0]}" in shown.stdout
    unknown = program.call("replay", "nonsense")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("citewell: There is nothing with that id here.")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CITEWELL_ANSWER__CHAT_MODEL", "gpt4"),
        ("CITEWELL_ANSWER__MODE", "none"),
        ("CITEWELL_RERANK__BY", "model"),
    ],
)
def test_a_model_that_is_named_wrongly_starts_nothing(
    tmp_path: Path, variable: str, value: str
) -> None:
    program = Program(tmp_path / "data", **{variable: value})
    done = program.call("up", "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"citewell: {variable}")
    assert len(done.stderr.splitlines()) == 1
    assert "serves" not in done.stdout
    assert not list(program.data.glob("postgres*"))


def test_files_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    done = Program(tmp_path / "data").call("ingest", str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("citewell: There is no file or folder")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
