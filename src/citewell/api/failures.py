"""Questions that brought no answer, but had spent tokens: what they spent is booked as well."""

from uuid import uuid4

import structlog

from citewell.domain import Answer, WorkspaceId
from citewell.errors import CitewellError
from citewell.records.usage import book_answer
from citewell.wiring import Services

log = structlog.get_logger(__name__)


async def book_failure(services: Services, workspace_id: WorkspaceId, answer: Answer) -> None:
    """Write down what a question spent before it failed."""
    if not (answer.usage.input_tokens or answer.usage.output_tokens):
        return
    try:
        async with services.database.transaction(workspace_id) as connection:
            await book_answer(connection, workspace_id, answer, failure=uuid4())
    except CitewellError as error:
        log.warning("what a failed question spent could not be booked", why=error.message)
