"""Rerank by the chat model: it reads numbered passages at once and names them best first."""

import json
from collections.abc import Sequence

from pydantic import BaseModel, Field

from citewell.domain import Message, Usage, WorkspaceId
from citewell.errors import ProviderBadReply
from citewell.ports import LanguageModel, ModelCall

CHARACTERS_PER_TOKEN = 3
"""Fewer than most tokens have, so that an estimate errs on the side of the window."""
PROMPT_TOKENS = 300
TOKENS_PER_NUMBER = 4
MOST_PASSAGE_TOKENS, LEAST_PASSAGE_TOKENS = 300, 60
MOST_QUESTION_CHARACTERS = 1000


class Ranking(BaseModel):
    """Passages by how well they answer the question."""

    ranking: list[int] = Field(description="The passages' numbers, best first, each once.")


class ModelReranker:
    """Asks a language model for an order; what it does not name stays behind, in its old order.

    Holds:   a passage can change nothing but its place: only numbers are read from the reply.
             Passages are cut to share the window evenly; those that have no room are not judged.
    Cost:    one call of at most half of the model's window.
    Source:  listwise reranking: Sun et al., Is ChatGPT Good at Search?, EMNLP 2023.
    """

    def __init__(self, language_model: LanguageModel, prompt: str, timeout_seconds: float) -> None:
        self.name = f"model:{language_model.name}"
        self._model = language_model
        self._prompt = prompt
        self._timeout_seconds = timeout_seconds

    async def score(
        self,
        workspace_id: WorkspaceId,
        question: str,
        texts: Sequence[str],
        deadline_seconds: float,
    ) -> tuple[Sequence[float], Usage]:
        """Score n texts by their place in the model's order, from 1 down; 0 where it names none.

        Raises:  ProviderError – as the model says; ProviderBadReply – no number is a passage's.
        """
        if not texts:
            return [], Usage()
        asked = question[:MOST_QUESTION_CHARACTERS]
        shown = self._cut(asked, texts)
        data = {
            "question": asked,
            "passages": [{"number": n, "text": text} for n, text in enumerate(shown, 1)],
        }
        call = ModelCall(
            workspace_id,
            (
                Message("system", self._prompt),
                Message("user", json.dumps(data, ensure_ascii=False)),
            ),
            max_output_tokens=TOKENS_PER_NUMBER * len(shown) + 64,
            deadline_seconds=min(deadline_seconds, self._timeout_seconds),
        )
        reply, usage = await self._model.extract(call, Ranking)
        named = [n for n in dict.fromkeys(reply.ranking) if 1 <= n <= len(shown)]
        if not named:
            raise ProviderBadReply(
                "The language model named no passage when it was asked to rank them. Try again, or "
                "choose another reranker with CITEWELL_RERANK__BY."
            )
        scores = [0.0] * len(texts)
        for place, number in enumerate(named):
            scores[number - 1] = 1.0 - place / len(texts)
        return scores, usage

    def _cut(self, question: str, texts: Sequence[str]) -> list[str]:
        """Return the beginning of as many texts as half of the window has room for."""
        fixed = PROMPT_TOKENS + len(question) // CHARACTERS_PER_TOKEN
        room = max(self._model.window_tokens // 2 - fixed, LEAST_PASSAGE_TOKENS)
        count = min(len(texts), max(1, room // LEAST_PASSAGE_TOKENS))
        most = min(MOST_PASSAGE_TOKENS, room // count) * CHARACTERS_PER_TOKEN
        return [text[:most] for text in texts[:count]]
