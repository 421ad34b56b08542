"""An answer as a stream's events: the same while it is made and when it is told again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sse_starlette import JSONServerSentEvent, ServerSentEvent

from citewell.api import chat_schemas, schemas
from citewell.domain import Delivery, Json

WORD = re.compile(r"\s*\S+\s*")
UNKNOWN_TELLING = {"delivery": "sentence", "evidence": False, "problem": None}
"""Of answers that were stored before streams could be told again: only their end is known."""


@dataclass(frozen=True, slots=True)
class WireEvent:
    """An event's name and its data as JSON."""

    name: str
    data: Any

    def encode(self, number: int) -> ServerSentEvent:
        """Return it as it is sent; its id is its place in the stream."""
        return JSONServerSentEvent(self.data, event=self.name, id=str(number))


def event_of(name: str, shape: type[BaseModel], value: object) -> WireEvent:
    """Make an event of a value, or of its fields."""
    return WireEvent(name, shape.model_validate(value).model_dump(mode="json"))


def sentence_events(sentence: object, place: int, delivery: Delivery) -> list[WireEvent]:
    """Tell one checked sentence, whole or word by word, and then its citations."""
    told = schemas.Sentence.model_validate(sentence)
    fields = {"sentence": place, "problems": told.problems}
    if delivery == "token":
        events = [
            event_of("token", chat_schemas.Token, {"text": word, **fields})
            for word in words_of(told.text, first=place == 0)
        ]
    else:
        events = [WireEvent("sentence", told.model_dump(mode="json"))]
    return events + [
        event_of("citation", chat_schemas.StreamedCitation, {**dict(citation), "sentence": place})
        for citation in told.citations
    ]


def words_of(text: str, *, first: bool) -> list[str]:
    """Cut a sentence into words with the space after each; joined, they are the text again.

    A sentence after the first one begins with the space that parts it from the one before.
    """
    return WORD.findall(text if first else f" {text}") or [text]


def ending(result: Json) -> list[WireEvent]:
    """Return the last events of an answer: its refusal, its usage, and the whole of it."""
    problem = result.get("telling", UNKNOWN_TELLING)["problem"]
    if problem is not None:
        return [WireEvent("error", problem)]
    refused = [event_of("refused", chat_schemas.Refused, result)] if result["refused"] else []
    return [
        *refused,
        event_of("usage", schemas.Usage, result["usage"]),
        event_of("done", schemas.Answer, result),
    ]


def events_of(result: Json) -> Sequence[WireEvent]:
    """Return a stored answer's events, as they were sent when it was made."""
    telling = result.get("telling", UNKNOWN_TELLING)
    events = [event_of("meta", chat_schemas.Meta, result)]
    if telling["evidence"]:
        events.append(event_of("evidence", chat_schemas.Evidence, result))
    for place, sentence in enumerate(result.get("sentences", [])):
        events += sentence_events(sentence, place, telling["delivery"])
    return [*events, *ending(result)]
