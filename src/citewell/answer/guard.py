"""Refuse what cannot or must not be answered, as early as it shows: before search and model.

The check of the evidence is a coarse one, for every chat model: it stops only what is plainly about
something else. The finer decision needs the sentences; the extractive model takes it by yielding
none, and then the pipeline refuses with ``WEAK_EVIDENCE``.

Measured: on the sets that adapters/extractive.py names, it stops 0.77 of the questions from another
          set, 0.53 of those about a document that was taken out, and 0.003 of the answerable ones.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import Stemmer  # pyright: ignore[reportMissingImports] - the wheel carries no types

from citewell.answer.unsafe import is_unsafe
from citewell.domain import AnswerPolicy, Candidate, Refusal
from citewell.ports import Embedder

MEANING, WORDS = 0.6, 0.4
"""Weights of the best chunk's cosine and of its share of the question's words, as they were found
best for sentences."""

MAX_IDF = 10.0
"""The idf of the rarest word in the largest set that the thresholds were fitted on."""

LEAST_IN_SCOPE = 0.02
"""How near a question must come to a scope, with MiniLM: it stops what is far away only.

Measured: seven scopes of one sentence for the examples, SciFact and Anthropic's documents, with
the questions of all three: 0.03 of its own are refused (0.06 with the worst), 0.52 of the others',
0.30 of SQuAD2's. The nearest phrase instead refuses 0.38 and 0.18 of them at as many errors.
"""

MOST_PHRASES = 32
"""Phrases of a scope that are compared; they are embedded for every question."""

_PHRASES = re.compile(r"[.;:,•\n]+| and | und ")
_WORD = re.compile(r"[^\W_]+")

EMPTY_QUESTION = Refusal("empty_question", "The question has no words. Write what to look for.")
NOTHING_RETRIEVED = Refusal(
    "nothing_retrieved",
    "No document was found to search in. Add a document, or widen the search to more of them.",
)
WEAK_EVIDENCE = Refusal(
    "weak_evidence",
    "The documents do not say enough about this. Rephrase the question or add a document about it.",
)
BELOW_SIMILARITY = Refusal(
    "below_similarity",
    "Nothing that was found is as close to the question as the policy asks. Rephrase the question, "
    "or lower the least similarity.",
)
UNSAFE_QUESTION = Refusal(
    "unsafe_question",
    "This asks the assistant to break its rules, give away secrets or do harm. Ask about what the "
    "documents say.",
)
OUT_OF_SCOPE = Refusal(
    "out_of_scope",
    "This is not among the topics that may be asked about here. Ask about another one, or let the "
    "policy's scope be changed.",
)
UNSUPPORTED = Refusal(
    "unsupported_answer",
    "What the model wrote is not borne out by the documents. Rephrase the question, or read the "
    "sources.",
)


@dataclass(frozen=True, slots=True)
class EvidenceThresholds:
    """How strong the best chunk must be; more in a large workspace, where chance finds more.

    ``least`` is for a workspace of one chunk; ``per_idf`` raises it with the idf of the question's
    rarest word, that is with the logarithm of the number of chunks.
    """

    least: float = 0.15
    per_idf: float = 0.022


def guard_question(question: str, max_characters: int, policy: AnswerPolicy) -> Refusal | None:
    """Refuse a question that is empty, too long, unsafe, or about what the policy forbids."""
    if len(question) > max_characters:
        return Refusal(
            "question_too_long",
            f"The question is longer than {max_characters} characters. Ask it more shortly.",
        )
    if not any(character.isalnum() for character in question):
        return EMPTY_QUESTION
    if is_unsafe(question):
        return UNSAFE_QUESTION
    if any(_mentions(question, topic) for topic in policy.off_topics):
        return OUT_OF_SCOPE
    return None


async def guard_scope(
    question: str, policy: AnswerPolicy, embedder: Embedder, least: float = LEAST_IN_SCOPE
) -> Refusal | None:
    """Refuse a standalone question that is far in meaning from what the policy's scope describes.

    Near is the mean of two cosines: to the whole description, and to the middle of its phrases,
    which a list of topics needs, since a short question is seldom like a long list.

    Units:   ``least`` such a mean, -1 … 1.
    Raises:  ProviderError – the embedder failed.
    """
    scope = " ".join((policy.scope or "").split())
    if not scope:
        return None
    parts = [part.strip() for part in _PHRASES.split(scope)]
    phrases = list(dict.fromkeys(part for part in parts if part))[:MOST_PHRASES] or [scope]
    vectors = await embedder.embed([question, scope, *phrases], "query")
    middle = vectors[2:].mean(axis=0)
    length = float(np.linalg.norm(middle))
    near = float(vectors[1] @ vectors[0]) + float(middle @ vectors[0]) / (length or 1.0)
    return OUT_OF_SCOPE if near / 2 < least else None


def guard_evidence(
    question: str,
    candidates: Sequence[Candidate],
    term_idf: Mapping[str, float],
    policy: AnswerPolicy,
    thresholds: EvidenceThresholds = EvidenceThresholds(),
    *,
    found: int = 0,
) -> Refusal | None:
    """Refuse when nothing was found, or when the best of it is plainly about something else.

    ``found`` counts the candidates before evidence was chosen among them.

    Shapes:  candidates with their legs' scores: "dense" a cosine, "lexical" BM25.
    """
    del question
    if not candidates and not found:
        return NOTHING_RETRIEVED
    if not candidates:
        return BELOW_SIMILARITY if policy.min_similarity > 0 else WEAK_EVIDENCE
    rarest = min(max(term_idf.values(), default=0.0), MAX_IDF)
    if _strength(candidates, term_idf) < thresholds.least + thresholds.per_idf * rarest:
        return WEAK_EVIDENCE
    return None


def _strength(candidates: Sequence[Candidate], term_idf: Mapping[str, float]) -> float:
    """Return how near the best chunk comes by meaning and words, or by the one that is known.

    BM25 over the sum of the question's idf is about the share of its words in the chunk: a scale
    that is the same in every workspace, as the bare score is not.
    """
    dense = [each.scores["dense"] for each in candidates if "dense" in each.scores]
    total = sum(term_idf.values())
    if not total:
        return max(dense, default=0.0)
    words = min(max(each.scores.get("lexical", 0.0) for each in candidates) / total, 1.0)
    return MEANING * max(dense) + WORDS * words if dense else words


def _mentions(question: str, topic: str) -> bool:
    """Say whether the topic's words stand in the question in a row, in any inflection.

    English and German stems are compared, since a question does not say its language.
    """
    asked, wanted = _WORD.findall(question.casefold()), _WORD.findall(topic.casefold())
    if not wanted:
        return False
    for language in ("english", "german"):
        words, row = _stems(asked, language), _stems(wanted, language)
        if any(words[n : n + len(row)] == row for n in range(len(words) - len(row) + 1)):
            return True
    return False


def _stems(words: list[str], language: str) -> list[str]:
    return cast("list[str]", cast("Any", Stemmer).Stemmer(language).stemWords(words))
