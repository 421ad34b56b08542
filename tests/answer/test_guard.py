"""Refusing before the search and before the model."""

from uuid import UUID

import pytest

from citewell.answer.guard import (
    WEAK_EVIDENCE,
    EvidenceThresholds,
    guard_evidence,
    guard_question,
)
from citewell.domain import Candidate, ChunkId, DocumentId, VersionId

IDF = {"longitud": 2.0, "prize": 1.0, "clock": 1.0}


def _candidate(**scores: float) -> Candidate:
    return Candidate(
        chunk_id=ChunkId(UUID(int=1)),
        document_id=DocumentId(UUID(int=2)),
        document_name="a.txt",
        document_title="A",
        version_id=VersionId(UUID(int=3)),
        ordinal=0,
        text="Some text.",
        start=0,
        end=10,
        page=None,
        section_number=None,
        section_title=None,
        section_path=(),
        anchor=None,
        metadata={},
        score=1.0,
        scores=scores,
    )


@pytest.mark.parametrize("question", ["", "  \n", "?!…", "--- ** ---", "🕰"])
def test_refuses_a_question_without_words(question: str) -> None:
    refusal = guard_question(question, 100)
    assert refusal is not None
    assert refusal.reason == "empty_question"


@pytest.mark.parametrize("question", ["why", "5?", "为什么", "x" * 100])
def test_lets_a_question_pass(question: str) -> None:
    assert guard_question(question, 100) is None


def test_refuses_a_question_that_is_too_long() -> None:
    refusal = guard_question("x" * 101, 100)
    assert refusal is not None
    assert refusal.reason == "question_too_long"
    assert "100" in refusal.message


def test_refuses_when_nothing_was_found() -> None:
    refusal = guard_evidence("what?", [], IDF)
    assert refusal is not None
    assert refusal.reason == "nothing_retrieved"


def test_refuses_what_is_plainly_about_something_else() -> None:
    assert guard_evidence("what?", [_candidate(dense=0.1)], IDF) is WEAK_EVIDENCE
    assert guard_evidence("what?", [_candidate(dense=0.1, lexical=0.2)], IDF) is WEAK_EVIDENCE


@pytest.mark.parametrize(
    "scores", [{"dense": 0.6}, {"dense": 0.1, "lexical": 3.0}, {"lexical": 3.0}]
)
def test_lets_evidence_pass_that_is_near_by_meaning_or_words(scores: dict[str, float]) -> None:
    assert guard_evidence("what?", [_candidate(dense=0.05), _candidate(**scores)], IDF) is None
    assert guard_evidence("what?", [_candidate(**scores)], IDF) is None


def test_words_cannot_count_more_than_all_of_them() -> None:
    strict = EvidenceThresholds(least=0.45, per_idf=0.0)
    evidence = [_candidate(dense=0.0, lexical=100.0)]
    assert guard_evidence("what?", evidence, IDF, strict) is WEAK_EVIDENCE


def test_judges_by_meaning_alone_when_no_word_is_known() -> None:
    assert guard_evidence("what?", [_candidate(dense=0.3)], {}) is None
    assert guard_evidence("what?", [_candidate(dense=0.1)], {}) is WEAK_EVIDENCE


def test_asks_for_more_in_a_larger_workspace() -> None:
    evidence = [_candidate(dense=0.4)]
    assert guard_evidence("what?", evidence, {"rare": 3.0}) is None
    assert guard_evidence("what?", evidence, {"rare": 9.0}) is WEAK_EVIDENCE
    assert guard_evidence("what?", [_candidate(dense=0.7)], {"rare": 99.0}) is None


def test_messages_say_what_to_do_next() -> None:
    refusals = [
        guard_question("", 9),
        guard_question("x" * 10, 9),
        guard_evidence("what?", [], {}),
        WEAK_EVIDENCE,
    ]
    for refusal in refusals:
        assert refusal is not None
        sentences = [part for part in refusal.message.split(". ") if part]
        assert len(sentences) == 2
        assert refusal.message.endswith(".")
