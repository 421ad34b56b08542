"""The mode ``structured``: an answer with a confidence, and why.

With a language model the whole answer is one reply of a fixed shape; its sentences are checked like
any other. Without one the sentences are quoted, and the confidence comes from their chunks.
"""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator

from pydantic import BaseModel, Field

from citewell.answer.compose import PromptForm
from citewell.answer.disclosure import Disclosure
from citewell.answer.drafts import cut_drafts
from citewell.answer.path import Mode, QuestionPath
from citewell.answer.prompts.structured import STRUCTURED as RULES
from citewell.answer.strength import strengths_of
from citewell.domain import Citation, DraftSentence, Refusal, Usage
from citewell.ports import LanguageModel, ModelCall

MOST_SENTENCES = 12
MOST_OUTPUT_TOKENS = 1024
MOST_REASONING_CHARACTERS = 600
_LINK = re.compile(r"\S*(?:https?:|www\.)\S*", re.IGNORECASE)

STEEPNESS, MIDDLE = 5.8, 0.58
"""Confidence = 1 / (1 + e^(−5.8 · (strength − 0.58))), by the strongest chunk that is cited.

A logistic regression on 1,285 quoted answers of the mode standard (MiniLM, six chunks), 64 % of
them right: to questions of SQuAD2 (300 of them made to look answerable), SciFact, Anthropic's
documents, and 600 from another set. Fitted on a half, it is off by 0.04 on average on the other.
"""

CANNOT_ANSWER = Refusal(
    "cannot_answer",
    "The model finds no answer in the documents. Rephrase the question or add a document about it.",
)


class StructuredSentence(BaseModel):
    """One sentence of the answer, and the numbers of the sources that say it."""

    sentence: str
    sources: list[int]


class StructuredAnswer(BaseModel):
    """The whole answer as a language model writes it."""

    answer: list[StructuredSentence]
    confidence: float = Field(ge=0, le=1)
    cannot_answer: bool
    reasoning: str


async def write(
    path: QuestionPath, language_model: LanguageModel
) -> AsyncGenerator[DraftSentence | Usage]:
    """Yield the sentences of one structured reply; ``path`` has its other fields, or a refusal.

    Raises:  ProviderError – the model failed, or its reply has another shape.
    """
    question = path.question
    form = PromptForm(
        rules=RULES,
        window_tokens=language_model.window_tokens,
        output_tokens=min(MOST_OUTPUT_TOKENS, language_model.window_tokens // 2),
        sentences=MOST_SENTENCES,
    )
    messages, shown = form.fill(path.text, path.evidence, question.history)
    call = ModelCall(question.workspace_id, messages, form.output_tokens, path.budget.seconds_left)
    reply, usage = await language_model.extract(call, StructuredAnswer)
    yield usage
    path.confidence, path.cannot_answer = reply.confidence, reply.cannot_answer
    disclosure = Disclosure.of(messages[0].content, shown.texts, shown.mark)
    path.reasoning = _showable(reply.reasoning, disclosure)
    if reply.cannot_answer or not reply.answer:
        path.refusal = CANNOT_ANSWER
        return
    for item in reply.answer[:MOST_SENTENCES]:
        for written in cut_drafts(item.sentence):
            if not disclosure.is_in(written.text):
                yield shown.draft(written.text, (*item.sources, *written.numbers))


def fill(path: QuestionPath) -> None:
    """Complete confidence, cannot_answer and reasoning.

    Holds:   a refusal has confidence 0; what a model claims is lowered to the share of its
             sentences that checked.
    """
    if path.refusal is not None:
        path.confidence, path.cannot_answer = 0.0, True
        path.reasoning = f"There is no answer: {path.refusal.message}"
        return
    citations = [each for sentence in path.sentences for each in sentence.citations]
    path.cannot_answer = False
    path.reasoning = path.reasoning or _rests_on(citations)
    if path.confidence is None:
        cited = {citation.chunk_id for citation in citations}
        strengths = zip(path.evidence, strengths_of(path.evidence, path.term_idf), strict=True)
        path.confidence = confidence_of(
            max((strength for source, strength in strengths if source.chunk_id in cited), default=0)
        )
    checked = len(path.sentences) / (len(path.sentences) + len(path.dropped))
    path.confidence = round(min(path.confidence, checked), 3)


def confidence_of(strength: float) -> float:
    """Return how likely a quoted answer is right, by its best chunk's strength; it only rises."""
    return 1 / (1 + math.exp(-STEEPNESS * (strength - MIDDLE)))


def _showable(reasoning: str, disclosure: Disclosure) -> str | None:
    """Return the model's reasoning on one line, without links; nothing when it tells the prompt."""
    if disclosure.is_in(reasoning):
        return None
    return " ".join(_LINK.sub("", reasoning).split())[:MOST_REASONING_CHARACTERS] or None


def _rests_on(citations: list[Citation]) -> str:
    """Say which places the answer is quoted from."""
    places = Counter(_place(citation) for citation in citations)
    quotes = "quote" if len(citations) == 1 else "quotes"
    listed = ", ".join(f"{number} from {place}" for place, number in places.items())
    return f"The answer rests on {len(citations)} {quotes}: {listed}."


def _place(citation: Citation) -> str:
    if citation.section is None:
        return citation.document_name
    numbered = citation.section != citation.section_title
    section = f"§{citation.section}" if numbered else f"“{citation.section}”"
    return f"{citation.document_name}, {section}"


STRUCTURED = Mode("structured", write=write, fill=fill)
