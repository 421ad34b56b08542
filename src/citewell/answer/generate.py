"""Let the chat model write the answer's sentences from the evidence, until the deadline."""

from collections.abc import AsyncGenerator

from citewell.answer.budget import Budget
from citewell.answer.deadline import in_time
from citewell.domain import DraftSentence, Usage


async def generate(
    drafts: AsyncGenerator[DraftSentence | Usage], budget: Budget
) -> AsyncGenerator[DraftSentence | Usage]:
    """Yield the model's sentences that say something, and its usage; an empty one is left out.

    Holds:   closing this closes the model's generator; one that hangs is cancelled.
    Raises:  ProviderError – the model failed, or the time is over.
    """
    try:
        while True:
            async with in_time(budget):
                draft = await anext(drafts, None)
            if draft is None:
                return
            if isinstance(draft, Usage) or draft.text.strip():
                yield draft
    finally:
        await drafts.aclose()
