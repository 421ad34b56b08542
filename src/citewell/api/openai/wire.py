"""The shapes of OpenAI's chat and models, as far as Citewell speaks them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    WithJsonSchema,
    field_validator,
)

from citewell.api import schemas
from citewell.api.deps import CleanJson, CleanText, storable

MOST_MESSAGES = 1000
MOST_MODEL_CHARACTERS = 200
TEXT_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}


def _join_parts(content: object) -> object:
    """Return the text of a content that is a list of parts; others as they are."""
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for part in cast("list[object]", content):
        match part:
            case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
                texts.append(text)
            case _:
                raise ValueError(
                    "can hold parts of type text only; upload pictures, sound and files as "
                    "documents instead"
                )
    return "\n".join(texts)


def _clean(content: str | None) -> str | None:
    return None if content is None else storable(content)


Content = Annotated[
    str | None,
    BeforeValidator(_join_parts),
    AfterValidator(_clean),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": TEXT_PART},
                {"type": "null"},
            ]
        }
    ),
]


class ChatMessage(BaseModel):
    """One message; what system, developer and tool messages say is not obeyed."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content = None


class StreamOptions(BaseModel):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class CitewellOptions(schemas.Request):
    """What OpenAI's format has no word for: the mode, where to look, how much evidence."""

    mode: CleanText | None = Field(None, max_length=100)
    limit: int | None = Field(None, ge=1, le=50, description="Most evidence chunks.")
    filters: CleanJson | None = Field(None, examples=[{"document_name": "book.html"}])


class ChatRequest(BaseModel):
    """A conversation whose last user message is the question.

    Parameters that are not named here have no effect: answers are quoted or written from documents
    by the server's own settings.
    """

    model_config = ConfigDict(extra="ignore")

    model: CleanText = Field(max_length=MOST_MODEL_CHARACTERS, examples=["citewell"])
    messages: Annotated[
        list[ChatMessage], FailFast(), Field(min_length=1, max_length=MOST_MESSAGES)
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    tool_choice: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    logprobs: bool | None = None
    citewell: CitewellOptions | None = None

    @field_validator("n")
    @classmethod
    def _one_answer(cls, n: int | None) -> int | None:
        if n not in {None, 1}:
            raise ValueError("must be 1; a question has one answer here")
        return n

    @field_validator("tool_choice", "function_call")
    @classmethod
    def _no_call(cls, choice: Any) -> Any:
        if choice not in (None, "none", "auto"):
            raise ValueError("must be none or auto; answers come from documents, not from tools")
        return choice

    @field_validator("response_format")
    @classmethod
    def _text_only(cls, wanted: Any) -> Any:
        kind: Any = cast("Mapping[Any, Any]", wanted).get("type") if _is_object(wanted) else wanted
        if kind not in (None, "text"):
            raise ValueError("must be of type text; leave it out")
        return wanted

    @field_validator("modalities")
    @classmethod
    def _no_sound(cls, modalities: Any) -> Any:
        if modalities not in (None, ["text"]):
            raise ValueError('must be ["text"]; leave it out')
        return modalities

    @field_validator("audio")
    @classmethod
    def _no_audio(cls, audio: Any) -> Any:
        if audio is not None:
            raise ValueError("cannot be made; leave it out")
        return audio

    @field_validator("logprobs")
    @classmethod
    def _no_logprobs(cls, logprobs: bool | None) -> bool | None:
        if logprobs:
            raise ValueError("cannot be told; leave it out")
        return logprobs


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


class UrlCitation(BaseModel):
    """Where a sentence of the answer comes from: ``content[start_index:end_index]``.

    ``url`` leads to the document's canonical text; its fragment ``char=START,END`` is the span
    (RFC 5147).
    """

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """One citation in the shape of OpenAI's web search."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AssistantMessage(BaseModel):
    """The answer; a refusal stands in ``content`` and in ``refusal``."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None
    annotations: list[Annotation]


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class ChatUsage(BaseModel):
    """Tokens that the language model took and wrote; none where answers are quoted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CitewellResult(BaseModel):
    """The exact result; ``citations`` are in the order of ``annotations``."""

    answer_id: UUID
    refused: bool
    reason: str | None
    citations: list[schemas.Citation]


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    citewell: CitewellResult


class Model(BaseModel):
    """A collection that can be asked, or all of them."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["citewell"] = "citewell"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]
