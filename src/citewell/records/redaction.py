"""What a workspace does not want to be kept of its answers: their questions, or all their text."""

from collections.abc import Mapping
from typing import Any, Literal

from citewell.domain import Json

Redaction = Literal["off", "questions", "all"]
REDACTED = "(redacted)"
"""Stands in the place of a text that the workspace's policy keeps nowhere."""

QUESTION_FIELDS = ("question", "standalone", "rephrased", "reasoning")
"""Where an answer repeats its question, the model's reasoning among them."""


def redact(result: Json, redaction: Redaction) -> Json:
    """Return an answer as it may be kept; ids, spans, pages and figures stay.

    ``questions`` takes the question in all its forms; ``all`` also the answer, its sentences and
    quotes, and the text of its sources.
    """
    if redaction == "off":
        return result
    kept: dict[str, Any] = {**result, "redaction": redaction}
    kept |= {name: REDACTED for name in QUESTION_FIELDS if result.get(name) is not None}
    kept["queries"] = [REDACTED for _ in result["queries"]]
    if redaction == "questions":
        return kept
    kept["answer"] = REDACTED if result["answer"] else ""
    kept["citations"] = [_without(each, "quote") for each in result["citations"]]
    kept["sources"] = [_without(each, "text") for each in result["sources"]]
    kept["sentences"] = [
        _without(each, "text")
        | {"citations": [_without(cited, "quote") for cited in each["citations"]]}
        for each in result["sentences"]
    ]
    return kept


def _without(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**item, name: REDACTED}
