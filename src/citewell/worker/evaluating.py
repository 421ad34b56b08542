"""An evaluation: its questions are measured, and its figures stored with the end of its job."""

import asyncio
from collections.abc import Callable

from citewell.domain import EvalId, Json
from citewell.errors import LeaseLost, NotFound
from citewell.evals.datasets import parse_questions
from citewell.evals.run import total
from citewell.records.collections import get_collection_id
from citewell.records.evals import Ended, get_eval, keep_results, list_questions
from citewell.records.leases import Lease, finish_jobs, hold_job
from citewell.records.policy import get_policy, merge_policy
from citewell.wiring import Services, as_any_viewer, describe_settings, make_examiner


async def evaluate(
    services: Services,
    lease: Lease,
    tell: Callable[[Json], None],
    last_word: Callable[[], Callable[[], Json]],
) -> None:
    """Make the run of a job, which has its id; each try begins at the first question.

    Holds:   the figures and the end of the job are one transaction, which sees whether the job is
             still this worker's.
    Raises:  LeaseLost – it is not, or the run was deleted.  NotFound – the collection is gone.
             QuotaExceeded – the day's tokens or money are used up.  Unavailable.
    """
    workspace_id, eval_id = lease.workspace_id, EvalId(lease.job_id)
    async with services.database.transaction(workspace_id) as connection:
        try:
            asked = await get_eval(connection, workspace_id, eval_id)
        except NotFound as error:
            raise LeaseLost from error
        page = await list_questions(connection, workspace_id, eval_id, asked.question_count)
        collection_id = None
        if asked.collection is not None:
            collection_id = await get_collection_id(connection, workspace_id, asked.collection)
        policy = None
        if not asked.retrieval_only:
            own = await get_policy(connection, workspace_id)
            policy = merge_policy(services.settings.answer, own)
    questions = parse_questions(enumerate((each["expected"] for each in page.items), 1))

    def told(done: int) -> None:
        tell({"stage": "evaluate", "done": done, "total": len(questions)})

    told(0)
    with as_any_viewer():
        examiner = make_examiner(services, workspace_id, collection_id, policy)
        rows = await examiner.examine_all(questions, told)
    figures = await asyncio.to_thread(total, rows)
    ended = Ended(*describe_settings(services, policy), figures, rows)
    word = last_word()
    async with services.database.transaction(workspace_id) as connection:
        await hold_job(connection, lease)
        await keep_results(connection, workspace_id, eval_id, ended)
        await finish_jobs(connection, workspace_id, {lease.job_id: word()})
