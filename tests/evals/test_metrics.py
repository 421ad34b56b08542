"""Metrics of one question, by hand and against the benchmark's own nDCG."""

from random import Random

import pytest
from bench.scifact import ndcg_at_10

from citewell.evals.datasets import EvalQuestion, Place
from citewell.evals.metrics import Found, is_at, measure_answer, measure_search, share_exact


def piece(
    document: str,
    start: int = 0,
    end: int = 10,
    text: str = "",
    sections: tuple[str, ...] = (),
    pages: range | None = None,
) -> Found:
    return Found(document, frozenset(sections), pages, start, end, text)


def test_documents_are_ranked_once_each_by_their_best_chunk() -> None:
    question = EvalQuestion("q", "?", places=(Place("a"), Place("b")))
    found = [piece("x.txt"), piece("a.txt"), piece("x.txt"), piece("a.txt"), piece("b.txt")]
    measured = measure_search(question, found)
    ideal = 1 + 1 / 1.584962500721156
    assert measured["ndcg_at_10"] == pytest.approx((1 / 1.584962500721156 + 1 / 2) / ideal)
    assert measured["mrr"] == 0.5
    assert measured["recall_at_5"] == 1.0


def test_ndcg_is_the_benchmarks_on_documents() -> None:
    random = Random(3)
    for _ in range(200):
        names = [str(n) for n in range(40)]
        ranked = random.sample(names, random.randint(0, 40))
        wanted = set(random.sample(names, random.randint(1, 15)))
        question = EvalQuestion("q", "?", places=tuple(Place(name) for name in wanted))
        measured = measure_search(question, [piece(name) for name in ranked])
        assert measured["ndcg_at_10"] == pytest.approx(ndcg_at_10(ranked, wanted))
        assert measured["recall_at_20"] == len(wanted & set(ranked[:20])) / len(wanted)


def test_grades_weigh() -> None:
    places = (Place("good", grade=3), Place("fair"))
    question = EvalQuestion("q", "?", places=places)
    best = measure_search(question, [piece("good"), piece("fair")])
    worse = measure_search(question, [piece("fair"), piece("good")])
    assert best["ndcg_at_10"] == 1.0 > worse["ndcg_at_10"]


def test_places_inside_a_document_are_ranked_by_chunks() -> None:
    question = EvalQuestion("q", "?", places=(Place("a", section="4.2"),))
    found = [piece("a", sections=("4.1", "escapement")), piece("a", sections=("4.2.1",))]
    assert measure_search(question, found)["mrr"] == 0.5
    assert measure_search(question, [piece("a", sections=("4.20",))])["mrr"] == 0.0


@pytest.mark.parametrize(
    ("place", "hit"),
    [
        (Place("a"), True),
        (Place("a.txt"), True),
        (Place("A"), False),
        (Place("a", page=3), True),
        (Place("a", page=4), False),
        (Place("a", section="The  Pendulum"), True),
        (Place("a", section="Pendulum"), False),
        (Place("a", span=(109, 200)), True),
        (Place("a", span=(110, 200)), False),
        (Place("a", quote="designed  IN 1656"), True),
        (Place("a", quote="designed in 1657"), False),
        (Place("a", page=2, span=(0, 5)), False),
    ],
)
def test_a_place_is_met_by_what_it_names(place: Place, hit: bool) -> None:
    found = piece("a.txt", 100, 110, "It was designed in\n1656.", ("the pendulum",), range(2, 4))
    assert is_at(place, found) is hit


def test_a_chunk_that_shows_several_places_takes_as_many_ranks() -> None:
    places = (Place("a", quote="one"), Place("a", quote="two"), Place("a", quote="three"))
    question = EvalQuestion("q", "?", places=places)
    found = [piece("a", text="one and two"), piece("a", text="other"), piece("a", text="three")]
    assert measure_search(question, found[::2])["ndcg_at_10"] == 1.0
    assert 0.9 < measure_search(question, found)["ndcg_at_10"] < 1.0


def test_span_recall_counts_characters_once() -> None:
    question = EvalQuestion("q", "?", places=(Place("a", span=(10, 30)),))
    found = [piece("a", 5, 15), piece("a", 12, 20), piece("b", 20, 30), piece("a", 29, 40)]
    assert measure_search(question, found)["span_recall"] == pytest.approx(11 / 20)
    assert measure_search(question, [])["span_recall"] == 0.0


def test_phrases_stand_for_the_expected_words() -> None:
    question = EvalQuestion("q", "?", places=(Place("a"),), phrases=("1656", "Huygens"))
    found = [piece("a", text="in 1656"), piece("b", text="by Huygens")]
    assert measure_search(question, found)["span_recall"] == pytest.approx(4 / 11)
    only = EvalQuestion("q", "?", phrases=("Huygens",))
    assert measure_search(only, found) == {"span_recall": 1.0}


def test_the_eleventh_chunk_does_not_count_for_spans() -> None:
    question = EvalQuestion("q", "?", places=(Place("a"),), phrases=("1656",))
    found = [piece("a", text="other") for _ in range(10)] + [piece("a", text="1656")]
    assert measure_search(question, found)["span_recall"] == 0.0


def test_an_answer_is_measured_by_its_citations_and_its_words() -> None:
    question = EvalQuestion("q", "?", places=(Place("a"), Place("b")), phrases=("1656", "no"))
    cited = [piece("a", text="in 1656"), piece("x"), piece("a"), piece("y")]
    measured = measure_answer(question, "In\n1656 [1]", cited, refused=False)
    assert measured == {
        "refusal_accuracy": 1.0,
        "answered": 1.0,
        "citation_precision": 0.5,
        "citation_recall": 0.5,
        "cited_span_recall": pytest.approx(4 / 6),
        "answer_contains": 1.0,
    }


def test_a_refusal_is_right_only_where_nothing_can_be_answered() -> None:
    asked = EvalQuestion("q", "?", places=(Place("a"),), phrases=("1656",))
    measured = measure_answer(asked, "", [], refused=True)
    assert measured == {"refusal_accuracy": 0.0, "answered": 0.0, "citation_recall": 0.0,
                        "cited_span_recall": 0.0, "answer_contains": 0.0}  # fmt: skip
    nothing = EvalQuestion("q", "?", answerable=False)
    assert measure_answer(nothing, "", [], refused=True) == {
        "refusal_accuracy": 1.0, "refused": 1.0}  # fmt: skip
    assert measure_answer(nothing, "Yes.", [piece("a")], refused=False) == {
        "refusal_accuracy": 0.0, "refused": 0.0}  # fmt: skip
    assert measure_search(nothing, [piece("a")]) == {}


def test_exactness_is_of_versions_that_are_there() -> None:
    found = [piece("a", 0, 3, "abc"), piece("a", 1, 4, "abc"), piece("gone", 0, 3, "abc")]
    assert share_exact(found, ["abcd", "abcd", None]) == 0.5
    assert share_exact(found[2:], [None]) is None
