"""An answer as it is kept and sent: one JSON, whoever made it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from citewell.domain import Answer, AnswerSentence, Candidate, Citation, Delivery, Json

REMOVED = "This answer was removed, because a document that it quoted was deleted."
"""Stands in a session's history in the place of a reply that quoted it."""
HIDDEN = "This answer rests on a document that you may not see. Ask the question again yourself."
"""Stands there for a reader who may not see what the reply rests on."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How an answer was told, so that its events can be told again.

    ``evidence`` says whether its sources were shown before the sentences; ``problem`` is why it
    is not complete; ``channel`` is the interface that was used.
    """

    delivery: Delivery = "sentence"
    evidence: bool = False
    problem: Json | None = None
    channel: Literal["api", "openai"] = "api"

    @property
    def status(self) -> Literal["complete", "incomplete"]:
        """Whether the answer is whole."""
        return "complete" if self.problem is None else "incomplete"


def cut_short(answer: Answer, told: Sequence[AnswerSentence], problem: Json) -> Answer:
    """Return what a reader saw of an answer before it broke off, with the reason."""
    return replace(
        answer,
        answer=" ".join(sentence.text for sentence in told),
        sentences=tuple(told),
        citations=tuple(citation for sentence in told for citation in sentence.citations),
        reason=problem["code"],
        message=problem["detail"],
    )


def answer_json(answer: Answer, telling: Telling) -> Json:
    """Return an answer as JSON: the wire's fields, and how it was told."""
    findings = answer.findings
    return {
        "answer_id": str(answer.answer_id),
        "session_id": answer.session_id and str(answer.session_id),
        "status": telling.status,
        "question": answer.question,
        "answer": answer.answer,
        "sentences": [_sentence(sentence) for sentence in answer.sentences],
        "citations": [_citation(citation) for citation in answer.citations],
        "sources": [_source(source) for source in answer.sources],
        "refused": answer.refused,
        "reason": answer.reason,
        "message": answer.message,
        "mode": answer.mode,
        "model": answer.model,
        "standalone": findings.standalone,
        "queries": list(findings.queries),
        "strategy": findings.strategy,
        "rephrased": findings.rephrased,
        "grades": [{**asdict(grade), "chunk_id": str(grade.chunk_id)} for grade in findings.grades],
        "confidence": findings.confidence,
        "cannot_answer": findings.cannot_answer,
        "reasoning": findings.reasoning,
        "dropped": [{"problems": list(each.problems)} for each in findings.dropped],
        "skipped": [asdict(each) for each in findings.skipped],
        "timings_ms": dict(answer.timings_ms),
        "usage": asdict(answer.usage),
        "telling": asdict(telling),
    }


def reply_text(answer: Answer, telling: Telling) -> str:
    """Return what a session's history holds of an answer: its text, or why there is none."""
    if telling.problem is not None:
        ending = f"(This answer is not complete: {telling.problem['detail']})"
        return f"{answer.answer} {ending}".strip()
    return (answer.message or "") if answer.refused else answer.answer


def _sentence(sentence: AnswerSentence) -> Json:
    return {
        "text": sentence.text,
        "citations": [_citation(citation) for citation in sentence.citations],
        "problems": list(sentence.problems),
    }


def _citation(citation: Citation) -> Json:
    ids = ("document_id", "version_id", "chunk_id")
    fields = asdict(citation)
    return fields | {name: str(fields[name]) for name in ids}


def _source(source: Candidate) -> Json:
    return {
        "document_id": str(source.document_id),
        "document_name": source.document_name,
        "document_title": source.document_title,
        "version_id": str(source.version_id),
        "chunk_id": str(source.chunk_id),
        "score": source.score,
        "scores": dict(source.scores),
        "text": source.text,
        "start": source.start,
        "end": source.end,
        "page": source.page,
        "section": source.section,
        "section_title": source.section_title,
        "section_path": list(source.section_path),
        "anchor": source.anchor,
        "metadata": source.metadata,
    }
