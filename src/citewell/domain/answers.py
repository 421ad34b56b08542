"""What is asked and answered: drafts, checked sentences with their citations, events, policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from citewell.domain.ids import AnswerId, ChunkId, DocumentId, Json, SessionId, VersionId
from citewell.domain.retrieval import Candidate

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, or of a prompt."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True)
class Quote:
    """A span that a model quotes from the evidence: ``evidence[index]``, canonical offsets."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """One sentence as a chat model wrote it, without markers, with the spans that it names.

    A model that quotes names exact spans; one that writes names whole chunks.
    """

    text: str
    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """The exact place a sentence comes from: ``quote == text[start:end]`` of the version."""

    marker: str
    document_id: DocumentId
    document_name: str
    version_id: VersionId
    chunk_id: ChunkId
    start: int
    end: int
    quote: str
    page: int | None
    section: str | None
    section_title: str | None
    anchor: str | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a question cost: tokens, and an estimate in US dollars where the price is known.

    The extractive model spends no tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum; what has no price counts nothing."""
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question is not answered: a code and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """A checked sentence with its citations; ``text`` ends with their markers.

    ``problems`` are codes of what did not check; only the policy ``mark`` lets such a sentence out.
    """

    text: str
    citations: tuple[Citation, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedSentence:
    """A sentence that a reader never saw: what was wrong with it."""

    problems: tuple[str, ...]


CitationPolicy = Literal["drop", "mark", "refuse"]
Delivery = Literal["sentence", "token"]
Rewriting = Literal["off", "multi-query", "hyde"]
ModelChoice = Literal["configured", "extractive"]
Redaction = Literal["off", "questions", "all"]
"""What is not kept once a question was answered: nothing, the question, or the answer too."""


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What a workspace wants of its answers.

    ``citations`` says what becomes of a sentence that does not check; ``scope`` describes what
    questions may be about, and ``off_topics`` are words and phrases that they may not be about.
    ``model`` extractive answers by quoting, and sends nothing to a configured language model.
    ``keep_days`` and ``redact`` say how long, and how much, answers and their logs are kept.
    """

    mode: str = "standard"
    citations: CitationPolicy = "drop"
    delivery: Delivery = "sentence"
    rewriting: Rewriting = "off"
    min_similarity: float = 0.0
    scope: str | None = None
    off_topics: tuple[str, ...] = ()
    model: ModelChoice = "configured"
    keep_days: int = 30
    redact: Redaction = "off"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one question may take: seconds, and US dollars where a model costs money."""

    seconds: float
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class SkippedStage:
    """A stage that was left out, and why.

    ``time`` or ``money`` was short, it ``failed``, or its vectors are of another embedding model.
    """

    stage: str
    why: Literal["time", "money", "failed", "other_model"]


@dataclass(frozen=True, slots=True)
class Grade:
    """How well a chunk fits the question, as the mode ``crag`` judged it."""

    chunk_id: ChunkId
    grade: Literal["correct", "ambiguous", "incorrect"]
    score: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What the stages and modes found out beside the answer; what does not apply is None or empty.

    ``standalone`` is the question as it was understood with its history, ``queries`` what was
    searched for; ``strategy``, ``rephrased`` and ``grades`` come from ``crag``; ``confidence``,
    ``cannot_answer`` and ``reasoning`` from ``structured``.
    """

    standalone: str | None = None
    queries: tuple[str, ...] = ()
    strategy: str | None = None
    rephrased: str | None = None
    grades: tuple[Grade, ...] = ()
    confidence: float | None = None
    cannot_answer: bool | None = None
    reasoning: str | None = None
    dropped: tuple[DroppedSentence, ...] = ()
    skipped: tuple[SkippedStage, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's whole result: what the last event of a stream carries.

    ``manifest`` says what the retrieval rested on, so that it can be replayed.
    """

    answer_id: AnswerId
    question: str
    answer: str
    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]
    sources: tuple[Candidate, ...]
    refused: bool
    reason: str | None
    message: str | None
    mode: str
    model: str
    timings_ms: Mapping[str, float]
    usage: Usage
    findings: Findings = Findings()
    session_id: SessionId | None = None
    manifest: Json = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Started:
    """First event: the question was accepted."""

    answer_id: AnswerId
    mode: str
    model: str
    session_id: SessionId | None = None


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """The evidence that the answer may rest on."""

    sources: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event: the whole result, refused or not."""

    answer: Answer


AnswerEvent = Started | EvidenceFound | AnswerSentence | Refusal | Finished
