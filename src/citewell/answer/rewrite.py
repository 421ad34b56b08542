"""Make a question of a conversation stand alone, and ask it in more ways than one."""

from collections.abc import Sequence

from citewell.domain import Message, Rewriting, Usage, WorkspaceId
from citewell.ports import LanguageModel


async def make_standalone(
    workspace_id: WorkspaceId,
    question: str,
    history: Sequence[Message],
    language_model: LanguageModel | None,
    deadline_seconds: float,
) -> tuple[str, Usage]:
    """Return the question so that it is understood without the history."""
    del workspace_id, history, language_model, deadline_seconds
    return question, Usage()


async def rewrite(
    workspace_id: WorkspaceId,
    question: str,
    how: Rewriting,
    language_model: LanguageModel,
    deadline_seconds: float,
) -> tuple[tuple[str, ...], Usage]:
    """Return the question and further queries for the same."""
    del workspace_id, how, language_model, deadline_seconds
    return (question,), Usage()
