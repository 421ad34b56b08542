"""Refuse what cannot be answered, as early as it shows: before the search, and before the model.

The check of the evidence is a coarse one, for every chat model: it stops only what is plainly about
something else. The finer decision needs the sentences; the extractive model takes it by yielding
none, and then the pipeline refuses with ``WEAK_EVIDENCE``.

Measured: on the sets that adapters/extractive.py names, it stops 0.77 of the questions from another
          set, 0.53 of those about a document that was taken out, and 0.003 of the answerable ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from citewell.domain import AnswerPolicy, Candidate, Refusal

MEANING, WORDS = 0.6, 0.4
"""Weights of the best chunk's cosine and of its share of the question's words, as they were found
best for sentences."""

MAX_IDF = 10.0
"""The idf of the rarest word in the largest set that the thresholds were fitted on."""

EMPTY_QUESTION = Refusal("empty_question", "The question has no words. Write what to look for.")
NOTHING_RETRIEVED = Refusal(
    "nothing_retrieved",
    "No document was found to search in. Add a document, or widen the search to more of them.",
)
WEAK_EVIDENCE = Refusal(
    "weak_evidence",
    "The documents do not say enough about this. Rephrase the question or add a document about it.",
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
    """Refuse a question without a word or digit, or longer than ``max_characters``."""
    if len(question) > max_characters:
        return Refusal(
            "question_too_long",
            f"The question is longer than {max_characters} characters. Ask it more shortly.",
        )
    if not any(character.isalnum() for character in question):
        return EMPTY_QUESTION
    del policy
    return None


def guard_evidence(
    question: str,
    candidates: Sequence[Candidate],
    term_idf: Mapping[str, float],
    policy: AnswerPolicy,
    thresholds: EvidenceThresholds = EvidenceThresholds(),
) -> Refusal | None:
    """Refuse when nothing was found, or when the best of it is plainly about something else.

    Shapes:  candidates with their legs' scores: "dense" a cosine, "lexical" BM25.
    """
    del question, policy
    if not candidates:
        return NOTHING_RETRIEVED
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
