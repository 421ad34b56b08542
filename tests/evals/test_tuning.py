"""The measures that search is tuned by: spans in a retrieval, offsets of a canonical text."""

from uuid import UUID

import pytest
from bench.span_metrics import map_offsets, measure_spans, within
from bench.tuning_fusion import fuse_by

from citewell.answer.fuse import fuse
from citewell.domain import ChunkId
from citewell.evals.datasets import Place
from citewell.evals.metrics import Found


def found(start: int, end: int, document: str = "a") -> Found:
    return Found(document, frozenset(), None, start, end, "x" * (end - start))


def test_a_whole_span_and_as_much_again() -> None:
    measured = measure_spans([Place("a", span=(10, 30))], [found(0, 40)])
    assert measured == {"recall": 1.0, "precision": 0.5, "iou": 0.5}


def test_text_that_comes_twice_is_found_once_and_paid_for_twice() -> None:
    measured = measure_spans([Place("a", span=(0, 10))], [found(0, 10), found(0, 10)])
    assert measured == {"recall": 1.0, "precision": 0.5, "iou": 0.5}


def test_pieces_that_overlap_count_each_character_once() -> None:
    places = [Place("a", span=(0, 10)), Place("a", span=(20, 30))]
    measured = measure_spans(places, [found(5, 8), found(6, 22), found(0, 10, "b")])
    assert measured["recall"] == pytest.approx(7 / 20)
    assert measured["precision"] == pytest.approx(7 / 29)
    assert measured["iou"] == pytest.approx(7 / (29 + 20 - 7))


def test_nothing_found_is_nought_and_no_span_is_an_error() -> None:
    nought = {"recall": 0.0, "precision": 0.0, "iou": 0.0}
    assert measure_spans([Place("a", span=(0, 10))], []) == nought
    with pytest.raises(ValueError, match="places have them"):
        measure_spans([Place("a")], [found(0, 10)])


def test_the_last_piece_is_cut_where_the_room_ends() -> None:
    kept = within([found(0, 10), found(50, 70), found(90, 95)], 25)
    assert [(each.start, each.end, len(each.text)) for each in kept] == [(0, 10, 10), (50, 65, 15)]


def test_offsets_follow_a_text_that_lost_white_space() -> None:
    source, canonical = "a b \n\n\n  cd ", "a b\n\ncd"
    places = map_offsets(source, canonical)
    start, end = source.index("cd"), source.index("cd") + 2
    assert canonical[places[start] : places[end]] == "cd"
    assert canonical[places[0] : places[3]] == "a b"
    assert len(places) == len(source) + 1
    with pytest.raises(ValueError, match="other characters"):
        map_offsets("abc", "abd")


def test_fusions_rank_by_their_own_rule() -> None:
    one, two, three = (ChunkId(UUID(int=n)) for n in (1, 2, 3))
    dense, lexical = {one: 0.9, two: 0.8, three: 0.1}, {two: 9.0, three: 1.0}
    assert fuse_by("convex", dense, lexical, 0.5) == fuse(dense, lexical, 0.5)
    assert [each.chunk_id for each in fuse_by("dense", dense, lexical, 0.5)] == [one, two, three]
    assert [each.chunk_id for each in fuse_by("lexical", dense, lexical, 0.5)] == [two, three]
    by_rank = fuse_by("rrf60", dense, lexical, 0.5)
    assert by_rank[0].chunk_id == two
    assert by_rank[0].score == pytest.approx((1 / 62 + 1 / 61) / 2)
    least = {each.chunk_id: each.score for each in fuse_by("theoretical", dense, lexical, 0.5)}
    assert least[three] == pytest.approx(0.5 * 1.1 / 1.9 + 0.5 / 9)
    with pytest.raises(ValueError, match="no fusion"):
        fuse_by("none", dense, lexical, 0.5)
