"""Let the chat model write the answer's sentences from the evidence."""

from collections.abc import AsyncGenerator

from citewell.domain import DraftSentence, Usage


async def generate(
    drafts: AsyncGenerator[DraftSentence | Usage],
) -> AsyncGenerator[DraftSentence | Usage]:
    """Yield the model's sentences that say something, and its usage; an empty one is left out.

    Holds:   closing this closes the model's generator.
    Raises:  ProviderError – the model failed.
    """
    try:
        async for draft in drafts:
            if isinstance(draft, Usage) or draft.text.strip():
                yield draft
    finally:
        await drafts.aclose()
