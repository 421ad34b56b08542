"""The command line's ingest, jobs, reindex and documents against no server, or a busy one."""

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
