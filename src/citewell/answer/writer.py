"""Write an answer from evidence with a language model, sentence by sentence with its sources."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from citewell.answer.compose import CountTokens, PromptForm
from citewell.answer.disclosure import Disclosure
from citewell.answer.drafts import DraftCutter, Written
from citewell.answer.prompts.grounded import GROUNDED
from citewell.answer.tokens import estimate_tokens
from citewell.domain import DraftSentence, Message, Usage
from citewell.ports import LanguageModel, ModelCall, WritingTask

MOST_SENTENCES = 12
MOST_OUTPUT_TOKENS = 1024
_GIVES_UP = re.compile(r"\bCANNOT[_ ]ANSWER\b")


class GroundedWriter:
    """Writes with a language model; it names its sources, and the citer checks what it says.

    ``count_tokens`` counts as the model does, or estimates.
    Holds:   a sentence that repeats the prompt is not given on; nor is anything after the model
             said that it cannot answer, or after ``most_sentences``.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        most_sentences: int = MOST_SENTENCES,
        most_output_tokens: int = MOST_OUTPUT_TOKENS,
        count_tokens: CountTokens = estimate_tokens,
    ) -> None:
        self.name = language_model.name
        self._model = language_model
        self._form = PromptForm(
            rules=GROUNDED,
            window_tokens=language_model.window_tokens,
            output_tokens=min(most_output_tokens, language_model.window_tokens // 2),
            sentences=most_sentences,
            count=count_tokens,
        )

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        """Yield the answer's sentences as they complete, each with the chunks that it names.

        Holds:   a sentence that names no source has no quotes; when reading ends before the model
                 does, the usage is an estimate.
        Raises:  ProviderError – the model failed.
        """
        messages, shown = self._form.fill(task.question, task.evidence, task.history)
        call = ModelCall(
            task.workspace_id, messages, self._form.output_tokens, task.deadline_seconds
        )
        disclosure = Disclosure.of(messages[0].content, shown.texts, shown.mark)
        usage: Usage | None = None
        read: list[str] = []
        async with aclosing(self._read(call)) as sentences:
            async for written in sentences:
                if isinstance(written, Usage):
                    usage = written if usage is None else usage + written
                    continue
                if len(read) == self._form.sentences or _GIVES_UP.search(written.text):
                    break
                read.append(written.text)
                if not disclosure.is_in(written.text):
                    yield shown.draft(written.text, written.numbers)
        yield usage or self._estimate(messages, read)

    async def _read(self, call: ModelCall) -> AsyncGenerator[Written | Usage]:
        """Yield the sentences of the model's text, and its usage."""
        cutter = DraftCutter()
        async with aclosing(self._model.stream(call)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Usage):
                    yield piece
                    continue
                for written in cutter.add(piece):
                    yield written
        for written in cutter.finish():
            yield written

    def _estimate(self, messages: Sequence[Message], read: Sequence[str]) -> Usage:
        """Return about what was used when the model was not heard to its end."""
        taken = sum(self._form.count(message.content) for message in messages)
        written = sum(self._form.count(text) for text in read)
        return Usage(taken, written, self._model.estimate_cost(taken, written))
