"""A manifest repeats its search, to the last bit, and tells honestly what changed."""

import json
from typing import Any
from uuid import UUID

import pytest

from answer.parts import IDS, STRONG, WORDS, Index, Store, answer, pipeline, question
from citewell.answer.manifest import compare, read_search
from citewell.answer.search import SearchResult
from citewell.domain import (
    PUBLIC_WORKSPACE,
    CollectionId,
    Condition,
    DocumentId,
    Group,
    Json,
    Scope,
)

SCOPE = Scope(
    CollectionId(UUID(int=7)),
    (DocumentId(UUID(int=1)), DocumentId(UUID(int=2))),
    ("a.txt",),
    {"year": [1656, None], "kept": True},
    (Group("any", (Condition("section", "in", ["2"]), Condition("created", "gt", "2024-01-01"))),),
)


async def manifest_of(scope: Scope = SCOPE, **how: Any) -> Json:
    asked = question(**how)
    given = await answer(pipeline(), type(asked)(PUBLIC_WORKSPACE, asked.text, scope, 2))
    return json.loads(json.dumps(given.manifest))


@pytest.mark.parametrize("scope", [Scope(), SCOPE])
async def test_a_manifest_holds_all_that_repeats_its_search(scope: Scope) -> None:
    manifest = await manifest_of(scope)
    search = read_search(manifest)
    assert (search.queries, search.scope) == (("When was the clock built?",), scope)
    assert (search.limit, search.candidates, search.dense_weight) == (2, 100, 0.5)
    assert manifest["makers"] == {"model": "m"}
    assert manifest["generations"] == {"shelf": 3}
    assert manifest["evidence"] == [each["chunk_id"] for each in manifest["retrieved"]]
    assert "built in 1656" not in json.dumps(manifest), "no text of a document"


async def test_the_same_search_is_the_same_to_the_last_bit() -> None:
    manifest = await manifest_of()
    replay = await pipeline().replay(PUBLIC_WORKSPACE, manifest)
    assert replay.same is True
    assert (replay.index_changed, replay.makers_changed) == ((), ())
    assert (replay.missing, replay.added, replay.rescored) == ((), (), ())


async def test_the_manifests_own_numbers_count_and_not_the_settings_of_now() -> None:
    manifest = await manifest_of()
    store = Store(STRONG)
    made = pipeline(store, candidates=7, dense_weight=0.9, makers={"model": "m", "settings": "x"})
    replay = await made.replay(PUBLIC_WORKSPACE, manifest)
    assert replay.same is True
    assert store.asked == [(PUBLIC_WORKSPACE, SCOPE, 100)]
    assert replay.makers_changed == ("settings",)


async def test_one_bit_is_a_difference() -> None:
    manifest = await manifest_of()
    changed = {IDS[0]: 0.9, IDS[1]: 0.7000000000000001}
    replay = await pipeline(Store(changed)).replay(PUBLIC_WORKSPACE, manifest)
    assert replay.same is False
    assert replay.rescored == (str(IDS[1]),)
    assert (replay.missing, replay.added) == ((), ())


async def test_what_is_gone_and_what_is_new_is_named() -> None:
    manifest = await manifest_of()
    made = pipeline(Store({IDS[0]: 0.9, IDS[2]: 0.8}), Index(WORDS))
    replay = await made.replay(PUBLIC_WORKSPACE, manifest)
    assert replay.same is False
    assert replay.missing == (str(IDS[1]),)
    assert replay.added == (str(IDS[2]),)


async def test_the_order_is_a_difference_too() -> None:
    manifest = await manifest_of()
    search = read_search(manifest)
    found = await pipeline().search(PUBLIC_WORKSPACE, search.queries[0], search.scope, 2)
    turned = SearchResult(search, found.candidates[::-1], {}, {}, {"shelf": 4, "new": 0})
    replay = compare(manifest, turned, {"model": "m"})
    assert replay.same is False
    assert replay.index_changed == ("new", "shelf")


async def test_a_question_that_was_not_searched_for_has_no_manifest() -> None:
    given = await answer(pipeline(), question("?"))
    assert given.manifest == {}
