"""POST /rag/pipeline: a file of the inbox, and nothing outside of it; or a document anew."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from api.stage import Api, open_api, require_problem
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings

STEPS = ["parse", "chunk", "embed", "publish"]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("around") / "inbox"
    (folder / "reports").mkdir(parents=True)
    (folder / "may.txt").write_text("In May the tide gauge was repaired.")
    (folder / "reports" / "june.txt").write_text("In June the harbour was dredged.")
    secret = folder.parent / "secret.txt"
    secret.write_text("Not for you.")
    (folder / "link.txt").symlink_to(secret)
    (folder / "outside").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.txt")
    return folder


@pytest.fixture(scope="module")
async def boxed(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path_factory: pytest.TempPathFactory,
    inbox: Path,
) -> AsyncIterator[Api]:
    with clone() as url:
        settings = make_settings(url, tmp_path_factory.mktemp("data"), inbox=inbox)
        async with open_api(settings, ingest) as opened:
            yield opened


async def test_a_file_of_the_inbox_is_ingested(boxed: Api, inbox: Path) -> None:
    body = {"file_name": "reports/june.txt", "metadata": {"month": 6}}
    reply = await boxed.client.post("/rag/pipeline", json=body)
    assert reply.status_code == 202, reply.text
    started = reply.json()
    assert [step["name"] for step in started["steps"]] == STEPS
    assert reply.headers["location"] == f"/jobs/{started['job_id']}"
    await boxed.work()
    job = (await boxed.client.get(f"/jobs/{started['job_id']}")).json()
    assert [(s["step_id"], s["name"]) for s in job["steps"]] == [
        (s["step_id"], s["name"]) for s in started["steps"]]  # fmt: skip
    assert {step["status"] for step in job["steps"]} == {"done"}
    assert all(step["progress"] == 1 for step in job["steps"])
    seconds = {step["name"]: step["seconds"] for step in job["steps"]}
    assert seconds["parse"] > 0
    assert seconds["embed"] > 0
    document = (await boxed.client.get(f"/documents/{started['document_id']}")).json()
    assert (document["source"], document["metadata"]["month"]) == ("reports/june.txt", 6)
    again = (await boxed.client.post("/rag/pipeline", json=body)).json()
    assert (again["status"], again["job_id"]) == ("unchanged", started["job_id"])
    (inbox / "reports" / "june.txt").write_text("In June the harbour was dredged twice.")
    changed = (await boxed.client.post("/rag/pipeline", json=body)).json()
    assert (changed["status"], changed["document_id"]) == ("queued", started["document_id"])
    await boxed.work()


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "/etc/passwd", "reports/../../secret.txt", "./may.txt", "reports//june.txt",
     "reports/", "..", ".", "..\\secret.txt", "C:\\secret.txt", "a\u0000b", "x" * 1025, "",
     "reports", "pipe.txt"],
)  # fmt: skip
async def test_names_that_are_no_path_below_it_are_422(boxed: Api, name: str) -> None:
    reply = await boxed.client.post("/rag/pipeline", json={"file_name": name})
    require_problem(reply, 422)
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    "name",
    ["link.txt", "outside/secret.txt", "outside/inbox/may.txt", "missing.txt", "may.txt/x",
     "no/such/folder.txt", "x" * 500],
)  # fmt: skip
async def test_links_and_missing_files_are_404(boxed: Api, name: str) -> None:
    reply = await boxed.client.post("/rag/pipeline", json={"file_name": name})
    require_problem(reply, 404)


async def test_without_an_inbox_the_setting_is_named(api: Api) -> None:
    reply = await api.client.post("/rag/pipeline", json={"file_name": "may.txt"})
    assert "CITEWELL_INBOX" in require_problem(reply, 409)["detail"]


async def test_a_document_is_taken_through_again(boxed: Api) -> None:
    document = await boxed.add("again.txt", "Read me twice.")
    body = {"document_id": document["document_id"], "metadata": {"read": 2}}
    reply = await boxed.client.post("/rag/pipeline", json=body)
    assert reply.status_code == 202
    assert reply.json()["job_id"] != document["job_id"]
    assert [step["name"] for step in reply.json()["steps"]] == STEPS
    await boxed.work()
    detail = (await boxed.client.get(f"/documents/{document['document_id']}")).json()
    assert (detail["version"], detail["metadata"]["read"]) == (2, 2)


async def test_what_it_cannot_take(boxed: Api) -> None:
    await boxed.client.post("/collections", json={"name": "elsewhere"})
    document = await boxed.add("here.txt", "In the default collection.")
    for body, status in (
        ({}, 422),
        ({"file_name": "may.txt", "document_id": document["document_id"]}, 422),
        ({"document_id": "nonsense"}, 422),
        ({"document_id": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"document_id": document["document_id"], "collection": "elsewhere"}, 404),
        ({"file_name": "may.txt", "collection": "nowhere"}, 404),
        ({"file_name": "may.txt", "password": "x\u0000y"}, 422),
    ):
        require_problem(await boxed.client.post("/rag/pipeline", json=body), status)


def test_an_empty_setting_is_no_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITEWELL_INBOX", "")
    assert Settings(_env_file=None).inbox is None
