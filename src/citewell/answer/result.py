"""Put together what is known of an answer: at its end, or when it broke off."""

from collections.abc import Mapping

from citewell.answer.manifest import make_manifest
from citewell.answer.path import QuestionPath
from citewell.domain import Answer, Findings


def make_answer(
    path: QuestionPath, mode: str, model: str, makers: Mapping[str, str | None]
) -> Answer:
    """Return the answer, whole or not, with all that was found out on its path."""
    question, refusal = path.question, path.refusal
    return Answer(
        answer_id=question.answer_id,
        question=question.text,
        answer=" ".join(sentence.text for sentence in path.sentences),
        sentences=tuple(path.sentences),
        citations=tuple(citation for sentence in path.sentences for citation in sentence.citations),
        sources=path.evidence,
        refused=refusal is not None,
        reason=refusal.reason if refusal else None,
        message=refusal.message if refusal else None,
        mode=mode,
        model=model,
        timings_ms=path.watch.finish(),
        usage=path.budget.spent,
        findings=Findings(
            standalone=path.text if path.text != question.text else None,
            queries=path.queries,
            strategy=path.strategy,
            rephrased=path.rephrased,
            grades=path.grades,
            confidence=path.confidence,
            cannot_answer=path.cannot_answer,
            reasoning=path.reasoning,
            dropped=tuple(path.dropped),
            skipped=tuple(path.budget.skipped),
        ),
        session_id=question.session_id,
        manifest=make_manifest(path, mode, makers),
    )
