"""An answer's events as OpenAI's messages: whole, or piece by piece."""

from time import time
from urllib.parse import urlencode

from citewell.api import schemas
from citewell.api.openai import wire
from citewell.domain import (
    AnswerEvent,
    AnswerId,
    AnswerSentence,
    Citation,
    Json,
    Refusal,
)


class Reply:
    """One answer on its way to a client: its text so far, and the annotations that count in it."""

    def __init__(self, answer_id: AnswerId, model: str, base_url: str) -> None:
        self._id = f"chatcmpl-{answer_id.hex}"
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._created = int(time())
        self._text = ""
        self._refusal: str | None = None
        self._annotations: list[wire.Annotation] = []

    def add(self, event: AnswerEvent) -> Json | None:
        """Take an event; return the delta that a stream shows of it, if any.

        Holds:   the contents of all deltas, joined, are the whole message's content.
        """
        match event:
            case AnswerSentence():
                gap = " " if self._text else ""
                start = len(self._text) + len(gap)
                self._annotations += [
                    self._annotation(citation, start, start + len(event.text))
                    for citation in event.citations
                ]
                delta: Json = {"content": gap + event.text}
            case Refusal():
                self._refusal = event.message
                delta = {
                    "content": ("\n\n" if self._text else "") + event.message,
                    "refusal": event.message,
                }
            case _:
                return None
        self._text += delta["content"]
        return delta

    def whole(self, answer: schemas.Answer) -> wire.ChatCompletion:
        """Return the answer as one message."""
        message = wire.AssistantMessage(
            content=self._text, refusal=self._refusal, annotations=self._annotations
        )
        return wire.ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[wire.Choice(message=message)],
            usage=_usage(answer),
            citewell=_result(answer),
        )

    def chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        """Return a piece of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice])

    def last_chunk(self, answer: schemas.Answer) -> Json:
        """Return the piece that ends the answer: why, its annotations, its exact result."""
        annotations = [each.model_dump() for each in self._annotations]
        ending = self.chunk({"annotations": annotations} if annotations else {}, "stop")
        return ending | {"citewell": _result(answer).model_dump(mode="json")}

    def usage_chunk(self, answer: schemas.Answer) -> Json:
        """Return the piece that counts tokens."""
        return self._chunk([]) | {"usage": _usage(answer).model_dump()}

    def _chunk(self, choices: list[Json]) -> Json:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _annotation(self, citation: Citation, start: int, end: int) -> wire.Annotation:
        version = urlencode({"version_id": citation.version_id})
        place = f"/documents/{citation.document_id}/text?{version}"
        return wire.Annotation(
            url_citation=wire.UrlCitation(
                start_index=start,
                end_index=end,
                title=citation.document_name,
                url=f"{self._base_url}{place}#char={citation.start},{citation.end}",
            )
        )


def _usage(answer: schemas.Answer) -> wire.ChatUsage:
    used = answer.usage
    return wire.ChatUsage(
        prompt_tokens=used.input_tokens,
        completion_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
    )


def _result(answer: schemas.Answer) -> wire.CitewellResult:
    return wire.CitewellResult(
        answer_id=answer.answer_id,
        refused=answer.refused,
        reason=answer.reason,
        citations=answer.citations,
    )
