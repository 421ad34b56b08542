"""Turns, messages and expiry in the ledger, and what becomes of answers that are removed."""

import asyncio
from uuid import UUID, uuid4

import pytest

from citewell.adapters.local_blobs import LocalBlobStore
from citewell.domain import (
    Allowance,
    AnswerId,
    CollectionId,
    Condition,
    DocumentId,
    Group,
    Message,
    Scope,
    SessionId,
)
from citewell.errors import NotFound, SessionBusy
from citewell.records.answers import (
    add_answer,
    get_answer,
    remove_answers_from,
    remove_old_answers,
    remove_orphaned_answers,
)
from citewell.records.messages import Exchange, add_exchange, list_messages, read_history
from citewell.records.policy import merge_policy
from citewell.records.questions import Asked
from citewell.records.repair import repair
from citewell.records.session import Database
from citewell.records.sessions import (
    add_session,
    get_session,
    remove_expired_sessions,
    remove_session,
)
from citewell.records.turns import Turn, end_turn, renew_turn, return_turn, take_turn
from citewell.records.verify import verify
from citewell.settings import AnswerSettings
from records.rows import A, add_document, add_workspace, value

ONE, TWO = uuid4(), uuid4()
HOURS = 24.0


@pytest.fixture
async def session(database: Database) -> SessionId:
    """A session of the public workspace."""
    session_id = SessionId(uuid4())
    async with database.transaction(A) as connection:
        await add_session(connection, A, session_id, None, HOURS)
    return session_id


async def say(database: Database, session: SessionId, question: str, answer: AnswerId) -> None:
    async with database.transaction(A) as connection:
        assert await take_turn(connection, A, session, ONE, HOURS)
        assert await end_turn(connection, A, session, ONE, HOURS) == "held"
        await add_exchange(connection, A, session, Exchange(question, f"Re: {question}", answer))


async def test_one_token_has_the_turn(database: Database, session: SessionId) -> None:
    async with database.transaction(A) as connection:
        assert await take_turn(connection, A, session, ONE, HOURS)
        assert not await take_turn(connection, A, session, TWO, HOURS)
        assert not await renew_turn(connection, A, session, TWO)
        assert await renew_turn(connection, A, session, ONE)
        await return_turn(connection, A, session, TWO)
        assert not await take_turn(connection, A, session, TWO, HOURS)
        await return_turn(connection, A, session, ONE)
        assert await take_turn(connection, A, session, TWO, HOURS)
        assert await end_turn(connection, A, session, ONE, HOURS) == "lost"
        assert await end_turn(connection, A, session, TWO, HOURS) == "held"
        assert await end_turn(connection, A, SessionId(uuid4()), TWO, HOURS) == "gone"
        with pytest.raises(NotFound):
            await take_turn(connection, A, SessionId(uuid4()), ONE, HOURS)


async def test_twenty_at_once_take_turns(database: Database, session: SessionId) -> None:
    inside = most = 0

    async def speak(number: int) -> None:
        nonlocal inside, most
        turn = Turn(database, A, session)
        await turn.take(HOURS, 30, 10)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        turn.stop()
        async with database.transaction(A) as connection:
            assert await end_turn(connection, A, session, turn.token, HOURS) == "held"
            exchange = Exchange(str(number), str(number), AnswerId(uuid4()))
            await add_exchange(connection, A, session, exchange)
        turn.finish()
        await turn.give_back()

    await asyncio.gather(*map(speak, range(20)))
    assert most == 1
    async with database.transaction(A) as connection:
        rows = await list_messages(connection, A, session, -1, 100)
    assert [row.ordinal for row in rows] == list(range(40))
    assert [row.role for row in rows] == ["user", "assistant"] * 20
    assert [row.content for row in rows[::2]] == [row.content for row in rows[1::2]]


async def test_who_gives_the_turn_back_lets_the_next_one_in(
    database: Database, session: SessionId
) -> None:
    first, second = Turn(database, A, session), Turn(database, A, session)
    await first.take(HOURS, 0, 10)
    with pytest.raises(SessionBusy):
        await second.take(HOURS, 0.1, 10)
    await first.give_back()
    await second.take(HOURS, 0, 10)
    await second.give_back()


async def test_history_is_the_last_messages_in_order(
    database: Database, session: SessionId
) -> None:
    for number in range(4):
        await say(database, session, f"Q{number}", AnswerId(uuid4()))
    async with database.transaction(A) as connection:
        assert await read_history(connection, A, session, 3) == (
            Message("assistant", "Re: Q2"), Message("user", "Q3"), Message("assistant", "Re: Q3"),
        )  # fmt: skip
        assert await read_history(connection, A, session, 0) == ()
        assert (await get_session(connection, A, session)).title == "Q0"


async def test_sessions_belong_to_their_workspace(database: Database, session: SessionId) -> None:
    other = await add_workspace(database)
    async with database.transaction(other) as connection:
        for read in (get_session, remove_session):
            with pytest.raises(NotFound):
                await read(connection, other, session)
            with pytest.raises(NotFound):
                await read(connection, A, session)
        assert await list_messages(connection, A, session, -1, 10) == []


async def test_expired_sessions_go_unless_an_answer_is_being_made(
    database: Database, session: SessionId
) -> None:
    past = "UPDATE sessions SET expires_at = now() - interval '1 second'"
    async with database.transaction(A) as connection:
        assert await take_turn(connection, A, session, ONE, HOURS)
    await value(database, past)
    async with database.system_transaction() as connection:
        assert await remove_expired_sessions(connection) == 0
    async with database.transaction(A) as connection:
        assert await renew_turn(connection, A, session, ONE)
        assert await get_session(connection, A, session)
        await return_turn(connection, A, session, ONE)
    await value(database, past)
    async with database.system_transaction() as connection:
        assert await remove_expired_sessions(connection) == 1


async def test_a_dead_turn_is_cleared(database: Database, session: SessionId) -> None:
    async with database.transaction(A) as connection:
        assert await take_turn(connection, A, session, ONE, HOURS)
    for minutes, left in ((0, 1), (2, 0)):
        await value(
            database,
            "UPDATE sessions SET turn_until = now() - make_interval(mins => :minutes)",
            minutes=minutes,
        )
        async with database.system_transaction() as connection:
            await remove_expired_sessions(connection)
        assert await value(database, "SELECT count(turn_token) FROM sessions") == left


async def keep(
    database: Database, answer: AnswerId, session: SessionId | None, *documents: DocumentId
) -> bool:
    async with database.transaction(A) as connection:
        return await add_answer(
            connection, A, answer, "Q?", False, documents, {"answer": "…"}, session_id=session,
            status="incomplete", manifest={"queries": ["Q?"]},
        )  # fmt: skip


async def test_an_answer_is_kept_with_its_session_status_and_manifest(
    database: Database, session: SessionId
) -> None:
    answer = AnswerId(uuid4())
    assert await keep(database, answer, session)
    found = await value(database, "SELECT status || ' ' || session_id || manifest FROM answers")
    assert found == f'incomplete {session}{{"queries": ["Q?"]}}'
    assert not await keep(database, AnswerId(uuid4()), session, DocumentId(uuid4()))


async def test_an_answer_of_a_living_session_does_not_age(
    database: Database, session: SessionId
) -> None:
    made = await add_document(database, A, "a.txt", ["one two"])
    old, spoken = AnswerId(uuid4()), AnswerId(uuid4())
    await keep(database, old, None, made.document_id)
    await keep(database, spoken, session, made.document_id)
    await say(database, session, "Q?", spoken)
    await value(database, "UPDATE answers SET created_at = now() - interval '90 days'")
    async with database.system_transaction() as connection:
        assert await remove_old_answers(connection, 30) == 1
    async with database.transaction(A) as connection:
        assert await get_answer(connection, A, spoken)
        await remove_answers_from(connection, A, [made.document_id])
        (question, reply) = await list_messages(connection, A, session, -1, 10)
    assert question.content == "Q?"
    assert reply.content.startswith("This answer was removed")
    assert await value(database, "SELECT count(*) FROM answers") == 0


@pytest.mark.parametrize("by", ["reconciler", "repair"])
async def test_an_answer_that_was_stored_beside_a_deletion_is_found(
    database: Database, blobs: LocalBlobStore, session: SessionId, by: str
) -> None:
    made = await add_document(database, A, "a.txt", ["one two"], blobs=blobs)
    answer, other = AnswerId(uuid4()), AnswerId(uuid4())
    await keep(database, answer, session, made.document_id)
    await keep(database, other, session)
    await say(database, session, "Q?", answer)
    await say(database, session, "R?", other)
    await value(
        database,
        "UPDATE answers SET document_ids = ARRAY[gen_random_uuid()] WHERE id = :id",
        id=answer,
    )
    if by == "reconciler":
        async with database.system_transaction() as connection:
            assert await remove_orphaned_answers(connection) == 1
            assert await remove_orphaned_answers(connection) == 0
    else:
        await repair(database, blobs, await verify(database, blobs))
        assert [check for check in await verify(database, blobs) if check.breaches] == []
    async with database.transaction(A) as connection:
        rows = await list_messages(connection, A, session, -1, 10)
        with pytest.raises(NotFound):
            await get_answer(connection, A, answer)
        assert await get_answer(connection, A, other)
    assert rows[1].content.startswith("This answer was removed")
    assert rows[3].content == "Re: R?"


async def test_messages_with_a_gap_are_numbered_anew(
    database: Database, blobs: LocalBlobStore, session: SessionId
) -> None:
    for number in range(3):
        await say(database, session, f"Q{number}", AnswerId(uuid4()))
    await value(database, "DELETE FROM messages WHERE ordinal IN (0, 3)")
    await repair(database, blobs, await verify(database, blobs))
    async with database.transaction(A) as connection:
        rows = await list_messages(connection, A, session, -1, 10)
    assert [row.content for row in rows] == ["Re: Q0", "Q1", "Q2", "Re: Q2"]
    assert [row.ordinal for row in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "asked",
    [
        Asked("Q?", Scope(), 6, "standard", Allowance(60.0)),
        Asked(
            "Q?",
            Scope(
                CollectionId(UUID(int=1)),
                (DocumentId(UUID(int=2)), DocumentId(UUID(int=3))),
                ("a.txt",),
                {"year": [1, 2], "by": {"name": "é"}},
                (Group("none", (Condition("metadata", "gte", 5, "year"),)),),
            ),
            50,
            "crag+structured",
            Allowance(1.5, 0.01),
            SessionId(UUID(int=4)),
            0.5,
        ),
        Asked("", Scope(document_ids=(), document_names=()), 1, "standard", Allowance(1.0)),
    ],
)
def test_a_question_is_read_back_as_it_was_asked(asked: Asked) -> None:
    assert Asked.from_json(asked.to_json()) == asked


def test_a_policy_of_an_older_or_newer_version_is_read() -> None:
    settings = AnswerSettings(mode="crag", min_similarity=0.2)
    merged = merge_policy(settings, {"citations": "mark", "off_topics": ["x"], "of_tomorrow": 1})
    assert (merged.mode, merged.citations, merged.min_similarity, merged.off_topics) == (
        "crag", "mark", 0.2, ("x",),
    )  # fmt: skip
