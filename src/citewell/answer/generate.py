"""Let the chat model write the answer's sentences from the evidence."""

from collections.abc import AsyncIterator, Mapping, Sequence

from citewell.domain import Candidate, DraftSentence
from citewell.ports import ChatModel


async def generate(
    question: str,
    evidence: Sequence[Candidate],
    term_idf: Mapping[str, float],
    chat_model: ChatModel,
) -> AsyncIterator[DraftSentence]:
    """Yield the model's sentences that say something; an empty one is left out.

    Raises:  ProviderError – the model failed.
    """
    async for draft in chat_model.answer(question, evidence, term_idf):
        if draft.text.strip():
            yield draft
