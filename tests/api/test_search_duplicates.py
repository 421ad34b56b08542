"""Near-duplicates in /search and in answers: one place for a text, and who else has it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.keyring import bearer, make_key, make_workspace, open_guarded
from api.scripted import served
from api.stage import Api, read_events
from citewell.cli.app import app
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import Settings

CLOCK = (
    "The pendulum clock was designed by Christiaan Huygens in the Hague. It kept time to within a "
    "minute a day, since the swing of a pendulum is nearly the same whatever its width, and so the "
    "hands of the clock moved evenly. Later makers hung the pendulum from a short spring and gave "
    "it an anchor escapement, which needed less width and less air."
)
NEARLY = CLOCK.replace("moved evenly", "went evenly").replace(". ", ".\n\n", 1)
OTHERS = {
    "sundial.md": "A sundial shows the hours by a shadow, and no pendulum clock is needed by day.",
    "water.md": "A water clock lets water run out of a vessel; it has no pendulum and no hands.",
    "quartz.md": "A quartz clock counts the swings of a crystal in place of those of a pendulum.",
    "later.md": CLOCK.replace("a minute a day", "15 seconds a day"),
}
QUERY = "Who designed the pendulum clock?"


@pytest.fixture
async def crowded(fresh: Api) -> Api:
    """Twelve documents with one text, and four with others."""
    texts = {f"copy-{n}.md": CLOCK for n in range(11)} | {"nearly.md": NEARLY} | OTHERS
    reply = await fresh.upload(*((name, text.encode()) for name, text in texts.items()))
    assert reply.status_code == 202, reply.text
    assert await fresh.work() == len(texts)
    return fresh


async def search(api: Api, **body: Any) -> list[dict[str, Any]]:
    reply = await api.client.post("/search", json={"query": QUERY, "limit": 5, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()["results"]


def names(results: list[dict[str, Any]]) -> set[str]:
    return {each["document_name"] for each in results}


async def test_copies_take_one_place_and_are_named(crowded: Api) -> None:
    results = await search(crowded)
    assert len(results) == 5
    (first,) = [each for each in results if each["duplicates"]]
    assert names(results) == {first["document_name"], *OTHERS}
    copies = first["duplicates"]
    assert names([first, *copies]) == {f"copy-{n}.md" for n in range(11)} | {"nearly.md"}
    assert set(copies[0]) == {"document_id", "document_name", "version_id", "chunk_id", "page",
                              "section", "section_title"}  # fmt: skip
    for each in copies:
        path = f"/documents/{each['document_id']}/chunks"
        (chunk,) = (await crowded.client.get(path)).json()["chunks"]
        assert chunk["chunk_id"] == each["chunk_id"]
        assert "went evenly" in chunk["text"] or chunk["text"] == CLOCK
    assert results == await search(crowded), "the same again"


async def test_each_copy_may_have_a_place_of_its_own(crowded: Api) -> None:
    everything = await search(crowded, limit=50, collapse_duplicates=False)
    assert len(everything) == 16
    assert all(each["duplicates"] == [] for each in everything)
    collapsed = await search(crowded, limit=50)
    assert len(collapsed) == 5
    kept = {each["chunk_id"] for each in collapsed}
    plain = [each | {"duplicates": []} for each in collapsed]
    assert plain == [each for each in everything if each["chunk_id"] in kept]
    for limit in (1, 3, 7):
        assert await search(crowded, limit=limit, collapse_duplicates=False) == everything[:limit]
        assert [each["chunk_id"] for each in await search(crowded, limit=limit)] == [
            each["chunk_id"] for each in collapsed[:limit]
        ]


async def test_what_is_described_is_what_is_returned(crowded: Api) -> None:
    described = await search(crowded, highlight=True, explain=True)
    plain = await search(crowded)
    assert [each | {"highlights": None, "explain": None} for each in described] == plain
    for each in described:
        assert each["explain"]["fused"] == each["score"]


async def test_filters_and_least_similarity_count_before(crowded: Api) -> None:
    filters = {"document_name": ["copy-1.md", "copy-2.md", "water.md"]}
    results = await search(crowded, filters=filters)
    assert names(results) <= {"copy-1.md", "copy-2.md", "water.md"}
    assert len(results) == 2
    assert sorted(len(each["duplicates"]) for each in results) == [0, 1]
    least = results[0]["scores"]["dense"]
    for each in await search(crowded, min_similarity=least):
        assert each["scores"]["dense"] >= least


async def test_copies_do_not_crowd_out_evidence(crowded: Api) -> None:
    answer = await crowded.ask(QUERY, limit=5)
    assert len(answer["sources"]) == 5
    assert len(names(answer["sources"]) & set(OTHERS)) == 4
    assert "duplicates" not in answer["sources"][0], "an answer has the form that it had"
    await crowded.check_citations(answer)
    again = await crowded.client.post(f"/answers/{answer['answer_id']}/replay")
    assert again.json()["same"] is True
    reply = await crowded.client.post("/query/stream", json={"question": QUERY, "limit": 5})
    assert names(read_events(reply.text)[-1][1]["sources"]) == names(answer["sources"])


async def test_an_evaluation_counts_every_document_with_the_text(crowded: Api) -> None:
    questions = [
        {"id": str(n), "question": QUERY, "document": f"copy-{n}.md"} for n in range(11)
    ]  # fmt: skip
    body = {"questions": questions, "retrieval_only": True}
    made = (await crowded.client.post("/evals", json=body)).json()
    assert await crowded.work() == 1
    figures = (await crowded.client.get(f"/evals/{made['eval_id']}")).json()["figures"]
    assert figures["metrics"]["recall_at_20"]["mean"] == 1.0


async def test_the_examples_have_no_near_duplicates(library: Api) -> None:
    for query in (QUERY, "How is the second defined today?", "leap seconds", "calendar"):
        collapsed = await search(library, query=query, limit=200)
        assert collapsed == await search(
            library, query=query, limit=200, collapse_duplicates=False
        )  # fmt: skip
        assert len(collapsed) > 20


async def test_the_command_says_where_else_a_text_stands(
    crowded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(crowded) as client:
        monkeypatch.setenv("CITEWELL_URL", str(client.base_url))

        async def shown(*words: str) -> str:
            done = await asyncio.to_thread(CliRunner().invoke, app, ["search", QUERY, *words])
            assert done.exit_code == 0, done.output
            return done.output

        printed = await shown()
        assert printed.count("also in ") == 1
        assert "; 6 more" in printed
        assert "also in " not in await shown("--keep-duplicates", "-n", "20")
        (first,) = [each for each in json.loads(await shown("--json"))["results"]
                    if each["duplicates"]]  # fmt: skip
        assert len(first["duplicates"]) == 11


async def test_wrong_wishes_are_422(library: Api) -> None:
    body = {"query": "x", "collapse_duplicates": "perhaps"}
    assert (await library.client.post("/search", json=body)).status_code == 422


async def test_a_hidden_copy_is_not_told_of(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> None:
    async with open_guarded(make_settings(database_url, tmp_path), ingest) as api:
        workspace = await make_workspace(api)
        clerk, viewer = [
            bearer(await make_key(api, role, workspace, groups=groups))
            for role, groups in (("editor", ["finance"]), ("viewer", []))
        ]
        told: dict[str, list[dict[str, Any]]] = {}
        for name, form in (
            ("open.md", {}),
            ("hidden.md", {"readers": json.dumps(["group:finance"])}),
        ):
            reply = await api.client.post(
                "/documents/upload", files=[("files", (name, CLOCK))], data=form, headers=clerk
            )
            assert reply.status_code == 202, reply.text
            await api.work()
            reply = await api.client.post("/search", json={"query": QUERY}, headers=viewer)
            told[name] = reply.json()["results"]
            assert names(told[name]) == {"open.md"}
        assert told["open.md"] == told["hidden.md"]
        assert told["hidden.md"][0]["duplicates"] == []
        reply = await api.client.post("/search", json={"query": QUERY}, headers=clerk)
        (result,) = reply.json()["results"]
        assert {result["document_name"], *names(result["duplicates"])} == {"open.md", "hidden.md"}
