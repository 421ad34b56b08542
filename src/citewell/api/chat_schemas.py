"""The wire's shapes of conversations, asynchronous questions, streams, feedback and the policy."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from citewell.api.deps import CleanText, storable
from citewell.api.schemas import Answer, Citation, ModeName, Request, Result, Wire
from citewell.domain import CitationPolicy, Delivery, ModelChoice, Redaction, Rewriting

ShortText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(storable),
]
MOST_TOPICS = 100
MOST_KEEP_DAYS = 36_500


class SessionId(Wire):
    """A new session."""

    session_id: UUID


class NewSession(Request):
    """A session to begin; one without a title is named after its first question."""

    title: ShortText | None = None


class Session(Wire):
    """A conversation; it ends at ``expires_at``, which each message puts off."""

    session_id: UUID
    title: str | None
    message_count: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


class SessionPage(Wire):
    """One page of sessions, the last used first."""

    sessions: list[Session]
    next_cursor: str | None


class Message(Wire):
    """A message; ``status`` and ``refused`` are its answer's, null where that is gone."""

    ordinal: int
    role: Literal["user", "assistant"]
    content: str
    answer_id: UUID | None
    status: Literal["complete", "incomplete"] | None
    refused: bool | None
    created_at: datetime


class History(Wire):
    """A session's messages in their order; ``next_after`` continues."""

    messages: list[Message]
    next_after: int | None


class TaskReply(Wire):
    """A question that a worker answers: ``GET /result/{task_id}`` has the answer."""

    task_id: UUID
    session_id: UUID | None = None


class TaskResult(Wire):
    """How far such a question is; ``result`` is the whole answer once it is there."""

    task_id: UUID
    status: Literal["pending", "done", "failed"]
    answer: str | None = None
    sources: list[Result] = Field(default_factory=list[Result])
    reason: str | None = None
    message: str | None = None
    result: Answer | None = None


class Meta(Wire):
    """A stream's first event."""

    answer_id: UUID
    session_id: UUID | None
    mode: str
    model: str


class Evidence(Wire):
    """The chunks that the answer may rest on."""

    sources: list[Result]


class Token(Wire):
    """A word of a checked sentence with the space after it; all tokens together are the answer."""

    text: str
    sentence: int
    problems: list[str]


class StreamedCitation(Citation):
    """A citation of the sentence with that number, from 0."""

    sentence: int


class Refused(Wire):
    """Why the question is not answered."""

    reason: str
    message: str


class NewFeedback(Request):
    """What a reader says of an answer."""

    rating: Literal["up", "down"]
    comment: CleanText | None = Field(None, max_length=4000)


class Feedback(Wire):
    """What was said of an answer, with its question."""

    answer_id: UUID
    rating: Literal["up", "down"]
    comment: str | None
    question: str
    created_at: datetime
    updated_at: datetime


class FeedbackPage(Wire):
    """One page of feedback, newest first."""

    feedback: list[Feedback]
    next_cursor: str | None


class PolicyRequest(Request):
    """What the workspace wants of its answers; the settings give what is absent or null."""

    mode: ModeName | None = None
    citations: CitationPolicy | None = None
    delivery: Delivery | None = None
    rewriting: Rewriting | None = None
    min_similarity: float | None = Field(None, ge=-1, le=1)
    scope: CleanText | None = Field(None, max_length=2000)
    off_topics: list[ShortText] | None = Field(None, max_length=MOST_TOPICS)
    model: ModelChoice | None = None
    keep_days: int | None = Field(None, ge=0, le=MOST_KEEP_DAYS)
    redact: Redaction | None = None

    @model_validator(mode="after")
    def _no_blank_scope(self) -> Self:
        if self.scope is not None and not self.scope.strip():
            raise ValueError("The field scope must say what questions may be about, or be null")
        return self


class Policy(Wire):
    """The policy that questions are answered by; ``own`` names what the workspace set itself."""

    mode: str
    citations: CitationPolicy
    delivery: Delivery
    rewriting: Rewriting
    min_similarity: float
    scope: str | None
    off_topics: list[str]
    model: ModelChoice
    keep_days: int
    redact: Redaction
    own: list[str]
