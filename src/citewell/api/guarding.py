"""Try a change of the policy on the workspace's guard before it is made."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from fastapi.responses import JSONResponse

from citewell.api.problems import problem_body
from citewell.domain import AnswerPolicy, Json, WorkspaceId
from citewell.errors import Conflict
from citewell.evals.compare import Difference, compare, list_worse
from citewell.evals.datasets import parse_questions
from citewell.evals.run import rows_by_key
from citewell.records.collections import get_collection_id
from citewell.records.eval_guards import find_guard
from citewell.records.policy import get_policy, merge_policy
from citewell.wiring import Services, as_any_viewer, make_examiner

GUARD_SECONDS = 60.0
"""Most time for a trial: a client waits for the reply meanwhile."""


async def try_policy(services: Services, workspace_id: WorkspaceId, own: Json) -> list[Difference]:
    """Answer the guard's questions by the policy that is and the one that would be, by quoting.

    Returns what would be worse than the guard allows; nothing where there is no guard.
    Raises:  Conflict – it takes too long.  NotFound – the guard's collection is gone.
    """
    settings = services.settings.answer
    async with services.database.transaction(workspace_id) as connection:
        guard = await find_guard(connection, workspace_id)
        if guard is None:
            return []
        now = _tried(merge_policy(settings, await get_policy(connection, workspace_id)))
        then = _tried(merge_policy(settings, own))
        if now == then:
            return []
        collection_id = None
        if guard.collection is not None:
            collection_id = await get_collection_id(connection, workspace_id, guard.collection)
    questions = parse_questions(enumerate(guard.questions, 1))
    measured: list[list[Json]] = []
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            with as_any_viewer():
                for policy in (now, then):
                    examiner = make_examiner(
                        services, workspace_id, collection_id, policy, search=False
                    )
                    measured.append(await examiner.examine_all(questions))
    except TimeoutError as error:
        raise Conflict(
            f"The guard's questions took longer than {GUARD_SECONDS:.0f} seconds, so the change "
            "was not tried. Give the guard fewer questions, or send force=true.",
            code="guard_untried",
        ) from error
    before, after = map(rows_by_key, measured)
    differences = await asyncio.to_thread(compare, before, after)
    return list_worse(differences, guard.tolerance)


def refuse(worse: Sequence[Difference]) -> JSONResponse:
    """Answer a change that the guard does not let through, with the figures."""
    said = "; ".join(f"{each.metric} {each.before:.3f} → {each.after:.3f}" for each in worse)
    detail = (
        f"The workspace's guard finds answers worse with this policy: {said}. Change it otherwise, "
        "or send force=true."
    )
    body = problem_body(Conflict.status, "guard_refused", detail)
    figures = [asdict(each) for each in worse]
    return JSONResponse(
        {**body, "figures": figures}, Conflict.status, media_type="application/problem+json"
    )


def _tried(policy: AnswerPolicy) -> AnswerPolicy:
    """Return a policy as trials know it: by quoting, and without what no figure rests on."""
    plain = AnswerPolicy()
    return replace(
        policy,
        model="extractive",
        delivery=plain.delivery,
        keep_days=plain.keep_days,
        redact=plain.redact,
    )
