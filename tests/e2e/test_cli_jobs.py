"""citewell ingest, documents, jobs, reindex against a running server."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from citewell.cli import client
from citewell.cli.app import app
from citewell.cli.files import LocalFile, ingest_files
from e2e.processes import Program, Running


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
    first = program.run("ingest", str(folder), "-c", "notes")
    assert first.stdout == "3 indexed; 3 chunks.\n", first.stderr
    before = uploads_of(running)
    again = program.run("ingest", str(folder), "-c", "notes")
    assert again.stdout == "3 unchanged; 3 chunks.\n"
    assert uploads_of(running) == before
    (folder / "1.txt").write_text("Another note.")
    changed = program.json("ingest", str(folder), "-c", "notes")
    assert sorted((item["name"], item["status"]) for item in changed) == [
        ("0.txt", "unchanged"), ("1.txt", "done"), ("2.txt", "unchanged")]  # fmt: skip
    assert uploads_of(running) == before + 1
    marked = program.json("ingest", str(folder), "-c", "notes", "-m", '{"shelf": "sea"}')
    assert [item["status"] for item in marked] == ["unchanged"] * 3
    document = running.get(f"/documents/{marked[0]['document_id']}").json()
    assert document["metadata"]["shelf"] == "sea"


def test_a_document_shows_its_report(program: Program, running: Running, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    table = "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
    file.write_text(f"<h1>One</h1><p>Text.</p><h1>Two</h1>{table}")
    (item,) = program.json("ingest", str(file), "--password", "sesame")
    shown = program.run("documents", item["document_id"])
    assert shown.returncode == 0, shown.stderr
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    said = {line[0]: line[1] for line in lines if len(line) == 2}
    assert said["status"] == "ready"
    assert (said["sections"], said["tables"]) == ("2", "1")
    assert {"characters", "chunks", "skipped", "memory"} <= said.keys()
    assert "sesame" not in shown.stdout
    raw = program.json("documents", item["document_id"])
    assert raw["report"]["sections"] == 2
    job = program.run("jobs", item["job_id"], "--follow")
    assert "report.html: done, 100% done" in job.stdout
    assert "publish  done" in job.stdout
    deleted = program.run("documents", item["document_id"], "--delete")
    assert deleted.stdout == "Deleted.\n"
    assert running.get(f"/documents/{item['document_id']}").status_code == 404


def test_reindexing_and_jobs(program: Program, running: Running, tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"Gauge {n} was read at noon.")
    items = program.json("ingest", *(str(tmp_path / f"{n}.txt") for n in range(3)), "-c", "gauges")
    done = program.run("reindex", "--collection", "gauges")
    assert (done.returncode, done.stdout) == (0, "3 documents read anew.\n"), done.stderr
    job = program.json("reindex", items[0]["document_id"])
    assert (job["kind"], job["status"], job["share"]) == ("reindex", "done", 1)
    numbers = running.get(f"/documents/{items[0]['document_id']}/versions").json()["versions"]
    assert [item["number"] for item in numbers] == [3, 2, 1]
    kinds = {item["kind"] for item in program.json("jobs", "--kind", "reindex")}
    assert kinds == {"reindex"}
    late = program.run("jobs", job["job_id"], "--cancel")
    assert late.returncode == 1
    assert late.stderr.startswith("citewell: The job has ended already.")


@pytest.mark.parametrize(
    "arguments",
    ["reindex", "reindex X -c x", "jobs --follow", "jobs X --cancel --retry", "documents --delete"],
)
def test_a_command_line_that_says_too_little_or_too_much(arguments: str) -> None:
    assert CliRunner().invoke(app, arguments.split()).exit_code == 2


@contextmanager
def busy_server(busy_times: int) -> Iterator[tuple[str, list[str | None]]]:
    """A server that is too busy for so many uploads, and takes the next one."""
    keys: list[str | None] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/documents/known":
                self._reply(200, {"files": []})
                return
            keys.append(self.headers["idempotency-key"])
            if len(keys) <= busy_times:
                self._reply(503, {"detail": "The server is too busy."})
            else:
                uploaded = {"name": "a.txt", "document_id": "d", "job_id": "j", "status": "queued"}
                self._reply(202, {"documents": [uploaded]})

        def do_GET(self) -> None:
            job = {"status": "done", "reason": None, "message": None, "chunk_count": 2}
            self._reply(200, job)

        def _reply(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("busy_times", "tries", "status"), [(2, 3, "done"), (9, 4, "failed")])
def test_a_busy_server_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_times: int, tries: int, status: str
) -> None:
    monkeypatch.setattr(client, "PAUSES_SECONDS", (0.01, 0.01, 0.01))
    file = tmp_path / "a.txt"
    file.write_text("A text.")
    with busy_server(busy_times) as (url, keys):
        connected = client.Client(url)
        (item,) = ingest_files(connected, [LocalFile(file, "a.txt")])
        connected.close()
    assert (item["status"], len(keys), len(set(keys))) == (status, tries, 1)
    assert item["message"] == (None if status == "done" else "The server is too busy.")
