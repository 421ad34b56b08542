"""Results of searches that are kept: never anything else than what a search would find now."""

import asyncio
import gc
import json
import random
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from api.stage import Api
from citewell.answer.remembered import USUAL_BYTES, RememberedSearches
from citewell.answer.search import SearchResult
from citewell.domain import PUBLIC_WORKSPACE, Scope, Visitor
from citewell.records.collections import get_collection_id
from citewell.records.session import acting_as, enter_as

QUERY = "Which clock strikes every hour?"
CLOCK = "The tower clock of Leiden strikes every hour since 1660."
VISITORS = (Visitor(), Visitor(tags=("role:viewer",)), Visitor(tags=("group:finance",)))
SCOPES = (Scope(), Scope(metadata={"tower": "high"}), Scope(document_names=("1.txt", "2.txt")))


class Holder:
    """Something that can be seen to be gone."""


def shown(found: SearchResult) -> list[tuple[Any, ...]]:
    return [(each, dict(each.scores)) for each in found.candidates]


async def find(api: Api, visitor: Visitor, scope: Scope) -> tuple[SearchResult, SearchResult]:
    """Search by way of what is kept, and without."""
    answers = api.services.answers
    with acting_as(visitor):
        kept = await answers.search(PUBLIC_WORKSPACE, QUERY, scope, 10)
        now = await replace(answers, remembered=None).search(PUBLIC_WORKSPACE, QUERY, scope, 10)
    return kept, now


def is_remembered(found: SearchResult) -> bool:
    return found.timings_ms["lexical"] == 0


async def test_a_search_that_was_made_is_not_made_again(fresh: Api) -> None:
    await fresh.add("clock.txt", CLOCK)
    first, _ = await find(fresh, Visitor(), Scope())
    again, now = await find(fresh, Visitor(), Scope())
    assert not is_remembered(first)
    assert is_remembered(again)
    assert shown(again) == shown(first) == shown(now)
    assert again.timings_ms.keys() == now.timings_ms.keys(), "a reply has the same form"
    assert (again.term_idf, again.generations) == (now.term_idf, now.generations)
    for other in (Visitor(tags=("role:viewer",)), Visitor(tags=("role:editor",))):
        found, _ = await find(fresh, other, Scope())
        assert not is_remembered(found), "each kind of visitor has results of its own"


async def set_metadata(api: Api, document_id: str, metadata: dict[str, Any]) -> None:
    """Upload a document as it is, with other metadata."""
    document = (await api.client.get(f"/documents/{document_id}")).json()
    text = (await api.client.get(f"/documents/{document_id}/text")).text
    reply = await api.upload((document["name"], text.encode()), metadata=json.dumps(metadata))
    assert reply.status_code == 202, reply.text
    (again,) = reply.json()["documents"]
    assert again["document_id"] == document_id
    assert await api.work() == 0, "the text is as it was"


async def change_metadata(api: Api, document_id: str) -> None:
    await set_metadata(api, document_id, {"tower": "high"})


async def limit_readers(api: Api, document_id: str) -> None:
    path = f"/documents/{document_id}/readers"
    reply = await api.client.put(path, json={"readers": ["group:finance"]})
    assert reply.status_code in {200, 204}, reply.text


async def replace_text(api: Api, document_id: str) -> None:
    await api.add("clock.txt", "The clock of Delft strikes every hour.")


async def add_another(api: Api, document_id: str) -> None:
    await api.add("other.txt", "This clock strikes every hour as well.")


async def delete_document(api: Api, document_id: str) -> None:
    assert (await api.client.delete(f"/documents/{document_id}")).status_code < 300


CHANGES = [
    change_metadata, limit_readers, replace_text, add_another, delete_document,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_seen_by_the_next_search(
    fresh: Api, change: Callable[[Api, str], Awaitable[None]]
) -> None:
    document = await fresh.add("clock.txt", CLOCK)
    stranger = Visitor(tags=("role:viewer",))
    before = {
        (visitor, number): shown((await find(fresh, visitor, scope))[0])
        for visitor in (Visitor(), stranger)
        for number, scope in enumerate(SCOPES)
    }
    enter_as(Visitor())
    await change(fresh, document["document_id"])
    differs = False
    for (visitor, number), old in before.items():
        kept, now = await find(fresh, visitor, SCOPES[number])
        assert not is_remembered(kept)
        assert shown(kept) == shown(now)
        differs |= shown(now) != old
    assert differs, "the change was to change something"


async def test_another_collection_leaves_a_result_as_it_is(fresh: Api) -> None:
    await fresh.add("clock.txt", CLOCK)
    assert (await fresh.client.post("/collections", json={"name": "dials"})).status_code == 201
    async with fresh.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        default = await get_collection_id(connection, PUBLIC_WORKSPACE, "default")
    scope = Scope(collection_id=default)
    await find(fresh, Visitor(), scope)
    await fresh.add("more.txt", "Another sundial.", collection="dials")
    assert is_remembered((await find(fresh, Visitor(), scope))[0])


@pytest.mark.parametrize("seed", [1, 2])
async def test_kept_results_equal_searches_through_any_changes(fresh: Api, seed: int) -> None:
    drawn, client = random.Random(seed), fresh.client
    remembered = 0
    for step in range(40):
        enter_as(Visitor())
        ids = [each["document_id"] for each in (await client.get("/documents")).json()["documents"]]
        action = drawn.choice(["add", "add", "patch", "readers", "delete", "nothing", "nothing"])
        if action == "add" or not ids:
            name = f"{drawn.randrange(4)}.txt"
            await fresh.add(name, f"{CLOCK} For the {step}th time.")
        elif action == "patch":
            metadata = {"tower": drawn.choice(["high", "low"]), "step": step}
            await set_metadata(fresh, drawn.choice(ids), metadata)
        elif action == "readers":
            readers = drawn.choice([None, ["group:finance"], ["role:viewer"]])
            path = f"/documents/{drawn.choice(ids)}/readers"
            reply = await client.put(path, json={"readers": readers})
            assert reply.status_code < 300, reply.text
        elif action == "delete":
            await client.delete(f"/documents/{drawn.choice(ids)}")
        for visitor in VISITORS:
            for scope in SCOPES:
                kept, now = await find(fresh, visitor, scope)
                remembered += is_remembered(kept)
                assert shown(kept) == shown(now), (step, action, json.dumps(visitor.tags))
    assert remembered > 15


async def test_who_sees_less_learns_nothing_of_changes_by_what_is_remembered(fresh: Api) -> None:
    await fresh.add("clock.txt", CLOCK)
    hidden = await fresh.add("hidden.txt", "This clock is hidden, and strikes every hour.")
    await limit_readers(fresh, hidden["document_id"])
    stranger, reader = Visitor(tags=("role:viewer",)), Visitor(tags=("group:finance",))
    for visitor, remembers in ((stranger, False), (reader, True), (Visitor(), True)):
        for _ in range(2):
            found, now = await find(fresh, visitor, Scope())
            assert shown(found) == shown(now)
        assert is_remembered(found) is remembers


async def test_results_go_by_size_and_by_age() -> None:
    kept = RememberedSearches[list[int]](20, seconds=0.05)
    places = [(PUBLIC_WORKSPACE, str(number)) for number in range(25)]
    for number in range(20):
        kept.keep(places[number], "state", [number], 5)
    assert kept.find(places[0], "state") == [0]
    kept.keep(places[20], "state", [20], 10)
    assert kept.find(places[1], "state") is None, "the one that was used least lately is gone"
    assert not kept.knows(places[1])
    assert kept.find(places[0], "another state") is None
    assert kept.knows(places[0]), "in another state"
    kept.keep(places[21], "state", [21], 2 * USUAL_BYTES)
    assert not kept.knows(places[2])
    assert not kept.knows(places[3]), "a large result takes the room of two"
    kept.keep(places[22], "state", [22], 3 * USUAL_BYTES)
    assert not kept.knows(places[22]), "it is too large"
    assert kept.knows(places[4])
    await asyncio.sleep(0.1)
    assert not any(map(kept.knows, places))


async def test_a_result_that_has_to_go_is_not_held_by_anything() -> None:
    holder = Holder()
    gone = weakref.ref(holder)
    kept = RememberedSearches[Holder](10)
    kept.keep((PUBLIC_WORKSPACE, "first"), "state", holder, 1)
    del holder
    assert gone() is not None
    for number in range(10):
        kept.keep((PUBLIC_WORKSPACE, str(number)), "state", Holder(), 1)
    gc.collect()
    assert gone() is None
