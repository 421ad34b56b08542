"""A question's job: lost, cancelled, handed back or busy, it is answered once and never half."""

import asyncio
from typing import Any

import pytest

from api.scripted import CLOCK, TEXT, ScriptedModel, until, use
from api.stage import Api
from citewell.domain import PUBLIC_WORKSPACE, JobId
from citewell.ingest.pipeline import IngestPipeline
from citewell.records.leases import Claim, claim_jobs, requeue_expired
from citewell.records.verify import verify
from citewell.settings import JobSettings, SessionSettings
from citewell.worker.holder import JobHolder
from citewell.worker.publishing import PublicationGroup
from citewell.worker.runs import JobRun, Workshop
from records.rows import upload, value

pytest_plugins = ["api.conftest"]


@pytest.fixture
async def clock(fresh: Api) -> Api:
    """An application with one small document."""
    await fresh.add("clock.txt", TEXT)
    return fresh


async def ask(api: Api, **body: Any) -> JobId:
    reply = await api.client.post("/chat", json={"message": CLOCK, "async": True, **body})
    assert reply.status_code == 202, reply.text
    from uuid import UUID

    return JobId(UUID(reply.json()["task_id"]))


def workshop(api: Api) -> Workshop:
    services = api.services
    holder = JobHolder(services.database, services.settings.jobs)
    return Workshop(services, api.ingest, holder, PublicationGroup(services))


async def begin(shop: Workshop, job: JobId) -> tuple[JobRun, asyncio.Task[None]]:
    held = await shop.holder.claim((PUBLIC_WORKSPACE, job, "answer"))
    assert held is not None
    assert not isinstance(held, Claim)
    run = JobRun(shop, held)
    return run, asyncio.create_task(run.run())


async def state(api: Api, job: JobId) -> dict[str, Any]:
    return (await api.client.get(f"/jobs/{job}")).json()


async def count(api: Api, table: str) -> object:
    return await value(api.services.database, f"SELECT count(*) FROM {table}")


async def test_a_worker_that_was_given_up_stores_no_second_answer(clock: Api) -> None:
    slow = ScriptedModel(pause=0.2)
    api = use(clock, slow)
    job = await ask(api)
    _, late = await begin(workshop(api), job)
    await until(lambda: slow.writing)
    await value(api.services.database, "UPDATE jobs SET lease_until = now() - interval '1 s' "
                "WHERE status = 'running'")  # fmt: skip
    async with api.services.database.system_transaction() as connection:
        assert await requeue_expired(connection, 5) == 1
    lost = await state(api, job)
    assert (lost["status"], lost["reason"]) == ("queued", "worker_lost")
    assert "question is tried again" in lost["message"]
    # The dead worker's turn runs out by itself.
    await value(api.services.database, "UPDATE sessions SET turn_token = NULL, turn_until = NULL")
    other = use(clock, ScriptedModel())
    assert await other.work() == 1
    await late
    assert (await state(api, job))["status"] == "done"
    assert (await count(api, "answers"), await count(api, "messages")) == (1, 2)
    assert [check for check in await verify(api.services.database, api.services.blobs)
            if check.breaches] == []  # fmt: skip


async def test_a_worker_that_dies_each_time_fails_the_question(clock: Api) -> None:
    job = await ask(clock)
    async with clock.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        assert await claim_jobs(connection, PUBLIC_WORKSPACE, [(job, "answer")], 0.0)
    async with clock.services.database.system_transaction() as connection:
        assert await requeue_expired(connection, 1) == 1
    failed = await state(clock, job)
    assert (failed["status"], failed["reason"]) == ("failed", "worker_lost")
    assert failed["message"].endswith("Ask again.")
    payload = await value(
        clock.services.database, "SELECT payload::text FROM jobs WHERE kind = 'answer'"
    )
    assert payload == "{}"


async def test_a_cancelled_question_ends_its_model_soon(clock: Api) -> None:
    model = ScriptedModel(pause=0.3, pieces=40)
    api = use(clock, model, jobs=JobSettings(heartbeat_seconds=0.1))
    job = await ask(api)
    shop = workshop(api)
    beating = asyncio.create_task(shop.holder.beat_for_ever())
    _, running = await begin(shop, job)
    await until(lambda: model.writing)
    assert (await api.client.post(f"/jobs/{job}/cancel")).status_code == 202
    async with asyncio.timeout(2):
        await running
    beating.cancel()
    assert model.writing == 0
    assert (await count(api, "answers"), await count(api, "messages")) == (0, 0)
    assert await value(api.services.database, "SELECT count(turn_token) FROM sessions") == 0


async def test_a_question_that_is_handed_back_waits_untried(clock: Api) -> None:
    model = ScriptedModel(pause=0.3)
    api = use(clock, model)
    job = await ask(api)
    run, running = await begin(workshop(api), job)
    await until(lambda: model.writing)
    run.hand_back()
    await running
    waiting = await state(api, job)
    assert (waiting["status"], waiting["attempt"]) == ("queued", 0)
    assert await api.work() == 1
    assert (await state(api, job))["status"] == "done"
    assert await count(api, "messages") == 2


async def test_a_busy_session_postpones_a_question_untried(clock: Api) -> None:
    api = use(clock, ScriptedModel(), session=SessionSettings(wait_seconds=0.1))
    session = (await api.client.post("/session")).json()["session_id"]
    job = await ask(api, session_id=session)
    await value(
        api.services.database,
        "UPDATE sessions SET turn_token = gen_random_uuid(), turn_until = now() + interval '1 h'",
    )
    assert await api.work() == 1
    waiting = await state(api, job)
    assert (waiting["status"], waiting["attempt"], waiting["reason"]) == (
        "queued", 0, "session_busy",
    )  # fmt: skip
    await value(api.services.database, "UPDATE sessions SET turn_token = NULL, turn_until = NULL")
    await value(api.services.database, "UPDATE jobs SET run_after = now() WHERE kind = 'answer'")
    assert await api.work() == 1
    assert (await state(api, job))["status"] == "done"


async def test_a_turn_that_was_lost_tries_the_question_again(clock: Api) -> None:
    model = ScriptedModel(pause=0.2)
    api = use(clock, model)
    job = await ask(api)
    _, running = await begin(workshop(api), job)
    await until(lambda: model.writing)
    await value(api.services.database, "UPDATE sessions SET turn_token = gen_random_uuid()")
    await running
    assert (await state(api, job))["status"] == "queued"
    assert (await count(api, "answers"), await count(api, "messages")) == (0, 0)


async def test_a_question_of_an_expired_session_fails_at_once(clock: Api) -> None:
    job = await ask(clock)
    await value(clock.services.database, "DELETE FROM sessions")
    assert await clock.work() == 1
    failed = await state(clock, job)
    assert (failed["status"], failed["reason"], failed["attempt"]) == ("failed", "not_found", 1)


async def test_files_and_questions_are_claimed_together(clock: Api, ingest: IngestPipeline) -> None:
    question = await ask(clock)
    database = clock.services.database
    file = await upload(database, PUBLIC_WORKSPACE, "b.txt")
    wanted = [(question, "answer"), (file.job_id, "ingest")]
    async with database.transaction(PUBLIC_WORKSPACE) as connection:
        claims = await claim_jobs(connection, PUBLIC_WORKSPACE, wanted, 60)
    assert not isinstance(claims[question], Claim)
    assert claims[question].payload["text"] == CLOCK
    held = claims[file.job_id]
    assert isinstance(held, Claim)
    assert (held.name, held.payload) == ("b.txt", {})
