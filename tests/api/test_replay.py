"""POST /answers/{id}/replay on real PostgreSQL: the same, or an honest difference and its cause."""

from uuid import uuid4

import pytest

from api.stage import Api, require_problem
from citewell.domain import PUBLIC_WORKSPACE, AnswerId
from citewell.errors import NotFound
from citewell.records.answers import add_answer, get_manifest
from citewell.records.lexical import list_stale_collections, refresh_lexemes
from citewell.wiring import hash_settings
from records.rows import add_workspace

CLOCK = "When was the pendulum clock built?"
TEXT = "The pendulum clock was built in 1656 by Christiaan Huygens. It kept good time. "
OTHER = "Ships of the eighteenth century needed a clock to find their longitude at sea. "
THIRD = "The town hall has a pendulum clock of 1702 that was built by a local smith. "


async def replay(api: Api, answer_id: str) -> dict[str, object]:
    reply = await api.client.post(f"/answers/{answer_id}/replay")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def count_terms(api: Api) -> None:
    """Bring the terms' frequencies up to date, as the reconciler does."""
    database = api.services.database
    async with database.system_transaction() as connection:
        stale = await list_stale_collections(connection)
    for workspace_id, collection_id in stale:
        async with database.transaction(workspace_id) as connection:
            await refresh_lexemes(connection, workspace_id, collection_id)


async def test_an_answer_is_the_same_again_until_something_changes(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    ships = await fresh.add("ships.txt", OTHER)
    await count_terms(fresh)
    answer = await fresh.ask(CLOCK, limit=1)
    assert answer["refused"] is False
    for _ in range(3):
        same = await replay(fresh, answer["answer_id"])
        assert same["same"] is True, same
        assert same["index_changed"] == same["makers_changed"] == []
        assert "Nothing changed since" in str(same["message"])

    await fresh.add("town.txt", THIRD)
    await count_terms(fresh)
    told = await replay(fresh, answer["answer_id"])
    assert told["same"] is False
    assert told["index_changed"] == ["default"]
    assert told["rescored"] or (told["missing"] and told["added"])
    assert "documents in default" in str(told["message"])

    now = await fresh.ask(CLOCK, limit=3)
    assert len(now["sources"]) == 3
    again = await fresh.ask(CLOCK, limit=1)
    reply = await fresh.client.delete(f"/documents/{ships['document_id']}")
    assert reply.status_code == 204
    gone = await fresh.client.post(f"/answers/{now['answer_id']}/replay")
    require_problem(gone, 404, "not_found")
    told = await replay(fresh, again["answer_id"])
    assert told["index_changed"] == ["default"]
    assert "Changed since: documents in default" in str(told["message"])
    await count_terms(fresh)
    told = await replay(fresh, again["answer_id"])
    assert told["same"] is False, "one document less makes every word less rare"
    assert told["rescored"] == [each["chunk_id"] for each in again["sources"]]


async def test_a_chunk_that_is_gone_is_named(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    town = await fresh.add("town.txt", THIRD)
    answer = await fresh.ask(CLOCK, limit=2, filters={"document_name": ["clock.txt", "town.txt"]})
    manifest = None
    async with fresh.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        answer_id = AnswerId(answer["answer_id"])
        manifest = await get_manifest(connection, PUBLIC_WORKSPACE, answer_id)
    await fresh.client.delete(f"/documents/{town['document_id']}")
    copy = AnswerId(uuid4())
    async with fresh.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        await add_answer(
            connection, PUBLIC_WORKSPACE, copy, CLOCK, False, [], {"answer": ""}, manifest=manifest
        )
    told = await replay(fresh, str(copy))
    chunks = {each["document_name"]: each["chunk_id"] for each in answer["sources"]}
    assert told["same"] is False
    assert told["missing"] == [chunks["town.txt"]]
    assert told["added"] == []
    assert told["index_changed"] == ["default"]


async def test_changed_settings_are_named_and_the_old_numbers_count(fresh: Api) -> None:
    await fresh.add("clock.txt", TEXT)
    answer = await fresh.ask(CLOCK)
    async with fresh.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        answer_id = AnswerId(answer["answer_id"])
        manifest = await get_manifest(connection, PUBLIC_WORKSPACE, answer_id)
        assert manifest["makers"]["settings"] == hash_settings(fresh.services.settings)
        assert len(manifest["makers"]["prompts"]) == 64
        manifest["makers"]["settings"] = "another"
        copy = AnswerId(uuid4())
        await add_answer(
            connection, PUBLIC_WORKSPACE, copy, CLOCK, False, [], {}, manifest=manifest
        )
    told = await replay(fresh, str(copy))
    assert told["same"] is True
    assert told["makers_changed"] == ["settings"]
    assert "Changed since: the settings." in str(told["message"])


async def test_a_question_that_was_not_searched_for_cannot_be_replayed(fresh: Api) -> None:
    answer = await fresh.ask("?!")
    assert answer["reason"] == "empty_question"
    reply = await fresh.client.post(f"/answers/{answer['answer_id']}/replay")
    require_problem(reply, 409, "conflict")


@pytest.mark.parametrize("answer_id", ["b0a7c6de-2f52-4a55-9f0f-6d1f3c0a9e11", "nonsense"])
async def test_an_unknown_answer_cannot_be_replayed(fresh: Api, answer_id: str) -> None:
    require_problem(await fresh.client.post(f"/answers/{answer_id}/replay"), 404, "not_found")


async def test_another_workspaces_answer_is_unknown(fresh: Api) -> None:
    database = fresh.services.database
    other, hidden = await add_workspace(database), AnswerId(uuid4())
    async with database.transaction(other) as connection:
        await add_answer(connection, other, hidden, "x", False, [], {}, manifest={"queries": ["x"]})
        assert await get_manifest(connection, other, hidden) == {"queries": ["x"]}
    async with database.transaction(PUBLIC_WORKSPACE) as connection:
        with pytest.raises(NotFound):
            await get_manifest(connection, PUBLIC_WORKSPACE, hidden)
    require_problem(await fresh.client.post(f"/answers/{hidden}/replay"), 404, "not_found")


def test_the_settings_hash_knows_no_secret_and_sees_what_matters(fresh: Api) -> None:
    settings = fresh.services.settings

    def changed(group: str, **values: object) -> str:
        part = getattr(settings, group).model_copy(update=values)
        return hash_settings(settings.model_copy(update={group: part}))

    plain = hash_settings(settings)
    assert changed("model", api_key="secret", base_url="http://user:pw@host") == plain
    assert changed("rerank", api_key="secret", url="http://user:pw@host") == plain
    for group, values in (
        ("retrieval", {"dense_weight": 0.7}),
        ("chunk", {"size_tokens": 99}),
        ("answer", {"max_evidence": 3}),
        ("model", {"temperature": 1.0}),
    ):
        assert changed(group, **values) != plain, group
