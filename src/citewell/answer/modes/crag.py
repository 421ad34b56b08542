"""The mode ``crag``: judge the evidence, drop what does not help, search again if need be.

A language model judges each chunk; without one, or when it fails, the chunk's strength does.

Source:  Yan et al., Corrective Retrieval Augmented Generation, 2024; without its search in the web.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel

from citewell.answer.compose import PromptForm
from citewell.answer.guard import WEAK_EVIDENCE
from citewell.answer.optional import attempt
from citewell.answer.path import Mode, QuestionPath, Toolbox
from citewell.answer.prompts.grade import GRADE
from citewell.answer.prompts.rephrase import REPHRASE
from citewell.answer.strength import strengths_of
from citewell.domain import Grade, Message, Usage
from citewell.ports import LanguageModel, ModelCall

CORRECT, AMBIGUOUS = 0.7, 0.35
"""Least strength of each grade. Measured with MiniLM on the six best chunks of 1,000 questions of
SQuAD2, SciFact and Anthropic's documents: from 0.7 on lie 0.40 to 0.50 of the chunks that answer,
and 0.59 to 0.74 of what lies there answers; below 0.35 lie 0.01 to 0.03 of those that answer and
0.09 to 0.29 of the others, and all six for 0.79 to 0.98 of 600 questions from another set."""

MOST_SOURCE_CHARACTERS = 1200
"""Most of a chunk that is judged: one of 200 tokens is shorter."""
GRADE_TOKENS, REPHRASE_TOKENS = 512, 128
MOST_WORDS = 6
MOST_QUESTION_CHARACTERS = 400
REPHRASED_DENSE_WEIGHT = 0.2
"""Share of the dense leg when a question's rarest words are searched for. Of 1,900 questions on
those sets 544 came so far; five found evidence then, and none was answered, rightly or wrongly."""
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")

Judgement = Literal["correct", "ambiguous", "incorrect"]


class SourceGrade(BaseModel):
    """How well source ``n`` fits the question."""

    n: int
    grade: Judgement


class Grades(BaseModel):
    """One grade for each source."""

    grades: list[SourceGrade]


class Rephrased(BaseModel):
    """The question in other words."""

    question: str


async def select(path: QuestionPath, toolbox: Toolbox) -> None:
    """Keep the evidence that may help; search once more, in other words, when none does.

    ``path.strategy`` says what it came to: ``direct`` – all of the evidence may help;
    ``filtered`` – some was dropped; ``rephrased`` – only the second search found some;
    ``refused`` – neither search did. ``path.grades`` are those of the last search.
    """
    if path.found is None or not path.found.candidates:
        return
    dropped = await _judge(path, toolbox.language_model)
    path.strategy = "filtered" if dropped else "direct"
    if path.evidence:
        return
    await _search_again(path, toolbox)
    if path.evidence:
        path.strategy = "rephrased"
        return
    path.strategy, path.refusal = "refused", WEAK_EVIDENCE


async def _search_again(path: QuestionPath, toolbox: Toolbox) -> None:
    """Search in other words and judge what comes; the question's own words stay what counts."""
    term_idf, model = path.term_idf, toolbox.language_model
    rephrased = None if model is None else await _rephrase(path, model)
    weight = None
    if rephrased is None:
        rephrased, weight = rarest_words(path.text, term_idf), REPHRASED_DENSE_WEIGHT
    if not rephrased:
        return
    path.rephrased = rephrased
    await toolbox.find(path, (rephrased,), dense_weight=weight)
    path.term_idf = term_idf
    await _judge(path, model)


async def _judge(path: QuestionPath, language_model: LanguageModel | None) -> int:
    """Grade the evidence and drop what is incorrect; return how much was."""
    if not path.evidence:
        return 0
    judged: Mapping[int, Judgement] | None = None
    if language_model is not None:
        judged = await attempt(
            path, "grade", lambda seconds: _ask_grades(path, language_model, seconds)
        )
    strengths = strengths_of(path.evidence, path.term_idf)
    grades: list[Judgement] = [
        grade_of(strength) if judged is None else judged.get(number, "ambiguous")
        for number, strength in enumerate(strengths, 1)
    ]
    path.grades = tuple(
        Grade(source.chunk_id, grade, round(strength, 4))
        for source, grade, strength in zip(path.evidence, grades, strengths, strict=True)
    )
    before = len(path.evidence)
    path.evidence = tuple(
        source for source, grade in zip(path.evidence, grades, strict=True) if grade != "incorrect"
    )
    return before - len(path.evidence)


def grade_of(strength: float) -> Judgement:
    """Grade a chunk by its strength."""
    if strength >= CORRECT:
        return "correct"
    return "ambiguous" if strength >= AMBIGUOUS else "incorrect"


async def _ask_grades(
    path: QuestionPath, language_model: LanguageModel, seconds: float
) -> tuple[dict[int, Judgement], Usage]:
    """Have the model judge all sources at once; one that it leaves out is ``ambiguous``."""
    form = PromptForm(
        rules=GRADE,
        window_tokens=language_model.window_tokens,
        output_tokens=min(GRADE_TOKENS, language_model.window_tokens // 4),
        most_source_characters=MOST_SOURCE_CHARACTERS,
    )
    messages, _ = form.fill(path.text, path.evidence)
    call = ModelCall(path.question.workspace_id, messages, form.output_tokens, seconds)
    reply, usage = await language_model.extract(call, Grades)
    return {each.n: each.grade for each in reply.grades}, usage


async def _rephrase(path: QuestionPath, language_model: LanguageModel) -> str | None:
    """Ask the model for other words; None when it fails or there is no time or money for it."""

    async def ask(seconds: float) -> tuple[str, Usage]:
        messages = (Message("system", REPHRASE), Message("user", path.text))
        call = ModelCall(path.question.workspace_id, messages, REPHRASE_TOKENS, seconds)
        reply, usage = await language_model.extract(call, Rephrased)
        return " ".join(reply.question.split())[:MOST_QUESTION_CHARACTERS], usage

    return await attempt(path, "rephrase", ask)


def rarest_words(question: str, term_idf: Mapping[str, float]) -> str:
    """Return the question's rarest words in their order, without stop words; "" if none is left.

    Words are matched to their stems by their beginning, and the letter y, which a stem writes i.
    """
    weighed: list[tuple[float, int, str]] = []
    for at, word in enumerate(dict.fromkeys(_WORD.findall(question))):
        stems = [stem for stem in term_idf if _is_stem(stem, word.lower())]
        if stems:
            weighed.append((term_idf[max(stems, key=len)], at, word))
    kept: Sequence[tuple[float, int, str]] = sorted(weighed, reverse=True)[:MOST_WORDS]
    return " ".join(word for _, _, word in sorted(kept, key=lambda item: item[1]))


def _is_stem(stem: str, word: str) -> bool:
    return word.startswith(stem) or (stem.endswith("i") and word.startswith(f"{stem[:-1]}y"))


CRAG = Mode("crag", select=select)
