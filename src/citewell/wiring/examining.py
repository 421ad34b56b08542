"""What an evaluation asks: the services' own search and answers, seen as any viewer sees them."""

import hashlib
import json
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, replace
from uuid import uuid4

from citewell.answer.modes import read_mode
from citewell.domain import (
    Allowance,
    Answer,
    AnswerPolicy,
    Candidate,
    CollectionId,
    Finished,
    Json,
    Scope,
    VersionId,
    Visitor,
    WorkspaceId,
)
from citewell.evals.run import DEPTH, Examiner
from citewell.records.evals import find_text
from citewell.records.questions import Asked
from citewell.records.quotas import check_day
from citewell.records.session import acting_as, current_visitor
from citewell.records.usage import book_answer
from citewell.wiring.services import Services

VIEWER_TAGS = ("role:viewer",)


@contextmanager
def as_any_viewer() -> Generator[Visitor]:
    """Let a block see what every viewer of the workspace sees.

    Holds:   figures that viewers read tell nothing of documents that are hidden from them.
    """
    visitor = replace(current_visitor(), tags=VIEWER_TAGS)
    with acting_as(visitor):
        yield visitor


def make_examiner(
    services: Services,
    workspace_id: WorkspaceId,
    collection_id: CollectionId | None,
    policy: AnswerPolicy | None,
    *,
    search: bool = True,
) -> Examiner:
    """Make what measures questions; without a policy they are searched and not answered.

    Without ``search`` the evidence of each answer stands for what was found. Every search is made
    anew, so that its time is measured as well.
    """
    services = replace(services, answers=services.answers.forgetful())
    scope = Scope(collection_id)

    async def find(question: str) -> tuple[Candidate, ...]:
        # Each document that holds a text counts, though a result may stand for several of them.
        found = await services.answers.search(
            workspace_id, question, scope, DEPTH, collapse_duplicates=False
        )
        return found.candidates

    async def ask(question: str) -> Answer:
        assert policy is not None, "only who has a policy answers"
        return await _answer(services, workspace_id, scope, policy, question)

    async def read(version_id: VersionId) -> str | None:
        async with services.database.transaction(workspace_id) as connection:
            return await find_text(connection, workspace_id, version_id)

    return Examiner(find if search else None, None if policy is None else ask, read)


def describe_settings(services: Services, policy: AnswerPolicy | None) -> tuple[str, Json]:
    """Return the sha256 of all that figures depend on but the documents, and what it is."""
    answers = services.answers
    quoting = policy is not None and policy.model == "extractive" and answers.quoting is not None
    makers = answers.quoting.makers if quoting and answers.quoting else answers.makers
    found: Json = {"makers": dict(makers)}
    if policy is not None:
        kept = asdict(policy)
        for name in ("keep_days", "redact", "delivery"):  # they change no answer
            del kept[name]
        found["policy"] = kept
    written = json.dumps(found, sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest(), json.loads(written)


async def _answer(
    services: Services,
    workspace_id: WorkspaceId,
    scope: Scope,
    policy: AnswerPolicy,
    question: str,
) -> Answer:
    """Answer a question, and book what it spent.

    Raises:  QuotaExceeded – the day's tokens or money are used up.  CitewellError – as the
             pipeline says.
    """
    settings = services.settings.answer
    async with services.database.transaction(workspace_id) as connection:
        await check_day(connection, workspace_id, scope.collection_id)
    asked = Asked(
        text=question,
        scope=scope,
        limit=settings.max_evidence,
        mode=read_mode(policy.mode).name,
        allowance=Allowance(settings.deadline_seconds, settings.max_cost_usd),
    )
    run = services.start_answer(workspace_id, asked, policy)
    answer = None
    try:
        async with aclosing(run.events()) as events:
            async for event in events:
                if isinstance(event, Finished):
                    answer = event.answer
    finally:
        spent = run.result()
        if spent.usage.input_tokens or spent.usage.output_tokens:
            async with services.database.transaction(workspace_id) as connection:
                await book_answer(connection, workspace_id, spent, evaluation=uuid4())
    assert answer is not None, "the pipeline ends with Finished"
    return answer
