"""What becomes of a sentence that does not check."""

from citewell.domain import AnswerSentence, CitationPolicy

CHECK_FAILED = "check_failed"
"""The checker itself failed: such a sentence is never shown."""


def must_hide(sentence: AnswerSentence, policy: CitationPolicy) -> bool:
    """Say whether the policy keeps this sentence from readers; what checks is always shown."""
    if not sentence.problems:
        return False
    return policy != "mark" or CHECK_FAILED in sentence.problems
