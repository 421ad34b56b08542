"""A result is the same to the byte with and without documents that the caller may not see."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.keyring import LOCAL_KEY, OWNER, PEPPER, UNLIMITED, bearer, make_key, make_workspace
from api.stage import Api, open_api
from api.worlds import LINES, World, build, draw_world
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.domain import Visitor
from citewell.ingest.pipeline import IngestPipeline
from citewell.ports import Vectors
from citewell.records.session import enter_as
from citewell.settings import AuthSettings, Settings

BATCHES = 5
OTHERS = 1_000_001
"""Numbers of worlds that no batch has."""
CALLERS: list[tuple[str, list[str]]] = [
    ("viewer", []), ("viewer", ["red"]), ("viewer", ["green", "blue"]), ("editor", []),
    ("editor", ["blue"]), ("viewer", ["red", "green"]),
]  # fmt: skip


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many worlds each batch has."""
    return int(request.config.getoption("--worlds")) // BATCHES


@dataclass(frozen=True, slots=True)
class Halls:
    """An application that asks for keys, one key for each of the callers, and lines' vectors."""

    api: Api
    keys: list[str]
    vectors: Vectors


@pytest.fixture(scope="module")
async def halls(
    clone: Callable[[], Any],
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    embedder: MiniLMEmbedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Halls]:
    auth = AuthSettings(mode="required", pepper=PEPPER, local_key=SecretStr(LOCAL_KEY))
    with clone() as url:
        settings = make_settings(url, tmp_path_factory.mktemp("data"), auth=auth, limits=UNLIMITED)
        async with open_api(settings, ingest) as api:
            home = await make_workspace(api)
            keys = [await make_key(api, role, home, groups=groups) for role, groups in CALLERS]
            yield Halls(api, keys, await embedder.embed(LINES, "passage"))


def caller_of(world: World) -> tuple[str, list[str]]:
    return CALLERS[world.number % len(CALLERS)]


def tags_of(role: str, groups: list[str]) -> list[str]:
    roles = ["role:viewer", "role:editor"] if role == "editor" else ["role:viewer"]
    return roles + [f"group:{group}" for group in groups]


async def join_all(api: Api, worlds: list[World]) -> None:
    """Give every key its role in both variants of every world."""
    async with api.services.database.system_transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO memberships (workspace_id, principal_id, role) SELECT DISTINCT w.id, "
                "p.id, m.role FROM unnest(CAST(:ids AS uuid[])) AS w (id) CROSS JOIN principals p "
                "JOIN memberships m ON m.principal_id = p.id"
            ),
            {"ids": [world.workspace(variant) for world in worlds for variant in (0, 1)]},
        )
    api.app.state.gate.forget()


def plain(reply: Any) -> bytes:
    """Return a reply without what differs between any two requests."""
    assert reply.status_code == 200, reply.text
    body = reply.json()
    for name in ("timings_ms", "answer_id"):
        body.pop(name, None)
    return json.dumps(body).encode()


async def build_both(halls: Halls, numbers: Iterable[int]) -> list[World]:
    """Build worlds with all their papers, and with those only that their caller may see."""
    enter_as(Visitor())
    worlds = [draw_world(number) for number in numbers]
    for world in worlds:
        hidden = world.hidden_from(tags_of(*caller_of(world)))
        left = [paper for paper in world.papers if paper not in hidden]
        for variant, papers in enumerate((world.papers, left)):
            await build(halls.api.services.database, world, variant, papers, halls.vectors)
    await join_all(halls.api, worlds)
    return worlds


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_no_result_depends_on_hidden_documents(halls: Halls, batch: int, count: int) -> None:
    first = 1 + batch * count
    worlds = await build_both(halls, range(first, first + count))
    hiding = found = answered = suggested = 0
    for world in worlds:
        hidden = world.hidden_from(tags_of(*caller_of(world)))
        hiding += bool(hidden)
        key = halls.keys[world.number % len(CALLERS)]
        for path, body in (("/search", world.search), ("/query", world.question)):
            with_them, without = await asyncio.gather(
                *(
                    halls.api.client.post(
                        path, json=body, headers=bearer(key, world.workspace(variant))
                    )
                    for variant in (0, 1)
                )
            )
            assert plain(with_them) == plain(without), (world.number, path, body)
            for paper in hidden:
                assert str(paper.document_id) not in with_them.text
            found += bool(with_them.json().get("results"))
            answered += bool(with_them.json().get("answer"))
        suggested += await suggest_alike(halls.api, world, key)
    assert hiding > len(worlds) / 2, "most draws hide something"
    assert found > len(worlds) / 2, "most searches find something"
    assert answered > len(worlds) / 10, "many questions are answered"
    assert suggested > len(worlds), "most of what is typed is suggested something"


async def suggest_alike(api: Api, world: World, key: str) -> int:
    """Check that suggestions depend on no hidden document; return how many inputs had some."""
    some = 0
    for typed in ("pap", "s", "clo", "who", "when", "built th", "title", "late"):
        replies = [
            await api.client.get(
                "/suggest", params={"q": typed}, headers=bearer(key, world.workspace(variant))
            )
            for variant in (0, 1)
        ]
        assert plain(replies[0]) == plain(replies[1]), (world.number, typed)
        some += bool(replies[0].json()["suggestions"])
    return some


async def test_who_may_see_a_document_finds_it(halls: Halls) -> None:
    worlds = await build_both(halls, range(OTHERS, OTHERS + 30))
    await require_found(halls.api, worlds, halls.keys)


async def require_found(api: Api, worlds: list[World], keys: list[str]) -> None:
    """Check that those who may see a document find it by its own words."""
    seen = 0
    for world in worlds:
        for paper in world.papers:
            callers = [OWNER | {"X-Workspace-ID": str(world.workspace(0))}]
            callers += [
                bearer(key, world.workspace(0))
                for key, (role, groups) in zip(keys, CALLERS, strict=True)
                if paper not in world.hidden_from(tags_of(role, groups))
            ]
            if paper.readers is None or len(callers) < 2:
                continue
            body = {"query": LINES[paper.lines[0]], "limit": 50}
            for headers in (callers[0], callers[-1]):
                reply = await api.client.post("/search", json=body, headers=headers)
                # Another paper may say the same, and the result then stands for both.
                found = {
                    each["document_id"]
                    for result in reply.json()["results"]
                    for each in (result, *result["duplicates"])
                }
                assert str(paper.document_id) in found
                seen += 1
    assert seen > len(worlds)
