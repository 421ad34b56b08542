"""Health, readiness, metrics, request ids, and what every error looks like."""

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from api.stage import Api, open_api, read_events, require_problem
from citewell import __version__
from citewell.api.rights import OPEN, RIGHTS
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings
from citewell.telemetry import configure_logging

SECRET = "a-secret-in-an-exception"
PRIVATE = "a private sentence of a document"


async def test_health_and_ready(api: Api) -> None:
    health = await api.client.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": __version__})
    ready = await api.client.get("/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": {"database": "ok", "broker": "ok"}}


@pytest.mark.parametrize("away", ["database", "broker"])
async def test_not_ready_while_a_part_is_away(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
    away: str,
) -> None:
    changes: dict[str, Any] = {"redis_url": f"unix://:pw@{tmp_path}/none.sock?db=0"}
    url = database_url
    if away == "database":
        changes, url = {}, f"postgresql+psycopg://u:pw@/none?host={tmp_path}&port=5432"
    async with open_api(make_settings(url, tmp_path, **changes), ingest) as broken:
        assert (await broken.client.get("/health")).status_code == 200
        reply = await broken.client.get("/ready")
        problem = require_problem(reply, 503, "unavailable")
        assert reply.headers["retry-after"].isdigit()
        checks = problem["checks"]
        assert checks[away] != "ok"
        assert [value for key, value in checks.items() if key != away] == ["ok"]
        assert "pw" not in reply.text.split()
        listed = await broken.client.get("/documents")
        if away == "database":
            require_problem(listed, 503, "unavailable")
            assert listed.headers["retry-after"]
            for path in ("/query", "/search"):
                body = {"question" if path == "/query" else "query": "x"}
                require_problem(await broken.client.post(path, json=body), 503, "unavailable")
            reply = await broken.upload(("a.txt", b"text"))
            require_problem(reply, 503, "unavailable")
        else:
            assert listed.status_code == 200


async def test_a_stream_without_a_database_does_not_begin(
    make_settings: Callable[..., Settings], ingest: IngestPipeline, tmp_path: Path
) -> None:
    url = f"postgresql+psycopg://u:pw@/none?host={tmp_path}&port=5432"
    async with open_api(make_settings(url, tmp_path), ingest) as broken:
        reply = await broken.client.post("/query/stream", json={"question": "What is a clock?"})
    require_problem(reply, 503, "unavailable")


async def test_metrics_are_for_prometheus(api: Api) -> None:
    await api.client.get("/documents")
    await api.ask("What is a clock?")
    reply = await api.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert re.search(
        r'^citewell_http_requests_total\{method="GET",route="/documents",status="200"\} \d',
        reply.text,
        re.MULTILINE,
    )
    assert "citewell_stage_seconds_bucket" in reply.text


async def test_metrics_are_not_swollen_by_strangers(api: Api) -> None:
    for n in range(5):
        await api.client.get(f"/unknown-{n}")
        await api.client.get(f"/documents/{n}")
    metrics = (await api.client.get("/metrics")).text
    assert "unknown-3" not in metrics
    assert 'route="/documents/3"' not in metrics


async def test_the_documentation_is_there(api: Api) -> None:
    page = await api.client.get("/docs")
    assert page.status_code == 200
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert files
    for file in files:
        assert file.startswith(("/", str(api.client.base_url))), "it is not on this machine"
        assert (await api.client.get(file)).status_code == 200
    schema = (await api.client.get("/openapi.json")).json()
    assert set(schema["paths"]) >= {
        "/documents/upload", "/documents", "/documents/{document_id}", "/jobs/{job_id}",
        "/collections", "/search", "/query", "/query/stream", "/health", "/ready", "/metrics",
    }  # fmt: skip


@pytest.mark.parametrize("offered", ["abc-1", "A.b_c-9", "x" * 64])
async def test_a_good_request_id_is_kept(api: Api, offered: str) -> None:
    for path in ("/health", "/nowhere", "/jobs/x"):
        reply = await api.client.get(path, headers={"X-Request-ID": offered})
        assert reply.headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\tb", "é", "<script>", "a/b", "{}"])
async def test_a_bad_request_id_is_replaced(api: Api, offered: str) -> None:
    headers = {"X-Request-ID": offered.encode("latin-1")}
    reply = await api.client.get("/jobs/x", headers=headers)
    made = reply.headers["x-request-id"]
    assert made != offered
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert require_problem(reply, 404)["request_id"] == made
    assert (await api.client.get("/health")).headers["x-request-id"] != made


async def test_headers_that_every_reply_has(api: Api) -> None:
    for path in ("/health", "/nowhere", "/docs"):
        assert (await api.client.get(path)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
async def test_a_foreign_host_is_400(api: Api, host: str) -> None:
    reply = await api.client.get("/documents", headers={"Host": host})
    require_problem(reply, 400)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "127.0.0.1:8000",
                                  "[::1]:8000", "[::1]"])  # fmt: skip
async def test_loopback_hosts_are_served(api: Api, host: str) -> None:
    assert (await api.client.get("/health", headers={"Host": host})).status_code == 200


async def test_unknown_addresses_and_methods(api: Api) -> None:
    for path in ("/nowhere", "/documents/x/y/z", "/query/"):
        require_problem(await api.client.get(path, follow_redirects=True), (404, 405))
    reply = await api.client.put("/documents")
    require_problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"]
    require_problem(await api.client.get("/query"), 405)


@pytest.fixture(scope="module")
async def failing(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:
    with clone() as url, pytest.MonkeyPatch.context() as patch:
        for path in ("/fails", "/fails-with-values"):
            patch.setitem(RIGHTS, f"GET {path}", OPEN)
        async with open_api(make_settings(url, tmp_path_factory.mktemp("data")), ingest) as opened:

            @opened.app.get("/fails")
            async def fails() -> None:
                raise RuntimeError(SECRET)

            @opened.app.get("/fails-with-values")
            async def fails_with_values() -> None:
                document = [PRIVATE]
                raise RuntimeError(len(document))

            yield opened


async def test_a_bug_is_500_with_an_id_and_nothing_else(failing: Api) -> None:
    reply = await failing.client.get("/fails", headers={"X-Request-ID": "find-me"})
    problem = require_problem(reply, 500, "internal")
    assert problem["request_id"] == "find-me"
    assert "find-me" in problem["detail"]
    assert SECRET not in reply.text
    assert "RuntimeError" not in reply.text
    assert (await failing.client.get("/health")).status_code == 200
    metrics = (await failing.client.get("/metrics")).text
    assert re.search(r'route="/fails",status="500"\} 1', metrics)


async def test_a_bug_in_a_stream_ends_it_with_an_error_event(fresh: Api) -> None:
    async with fresh.services.database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE answers CASCADE"))
    reply = await fresh.client.post("/query/stream", json={"question": "?!"})
    events = read_events(reply.text)
    assert [name for name, _ in events][-1] == "error"
    assert (events[-1][1]["status"], events[-1][1]["code"]) == (500, "internal")
    assert "answers" not in events[-1][1]["detail"]


@pytest.fixture
def production_logging() -> Iterator[Callable[[str], None]]:
    """Log as the program does, and as the tests did afterwards."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield lambda form: configure_logging("info", "json" if form == "json" else "plain")
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["plain", "json"])
async def test_a_bug_is_logged_at_once_and_without_values(
    failing: Api,
    production_logging: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    production_logging(form)
    started = time.monotonic()
    await failing.client.get("/fails-with-values", headers={"X-Request-ID": "find-me"})
    took = time.monotonic() - started
    logged = capsys.readouterr().err
    assert "find-me" in logged
    assert "RuntimeError" in logged
    assert PRIVATE not in logged, "a local variable's value is in the log"
    assert took < 2, "writing the traceback held up every other request"
