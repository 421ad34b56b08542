"""Keep an answer as /query does, so that it can be looked up by its id."""

from citewell.api import schemas
from citewell.api.answer_stream import observe
from citewell.domain import Answer, WorkspaceId
from citewell.records.answer_form import Telling
from citewell.records.questions import keep_answer as write_down
from citewell.telemetry import ANSWERS
from citewell.wiring import Services


async def keep_answer(
    services: Services, workspace_id: WorkspaceId, answer: Answer
) -> schemas.Answer:
    """Write an answer down, and count it."""
    telling = Telling(evidence=bool(answer.sources), channel="openai")
    async with services.database.transaction(workspace_id) as connection:
        kept = await write_down(
            connection, workspace_id, answer, telling, None, services.settings.session.hours
        )
    ANSWERS.labels(answer.reason or "answered").inc()
    observe(answer.timings_ms)
    return schemas.Answer.model_validate(kept.result)
