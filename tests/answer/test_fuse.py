"""Two legs become one ranking; the cases where a leg says little."""

from uuid import UUID

import pytest

from citewell.answer.fuse import fuse, put_first
from citewell.domain import ChunkId

ONE, TWO, THREE, FOUR = (ChunkId(UUID(int=n)) for n in range(1, 5))


def ranked(dense: dict[ChunkId, float], lexical: dict[ChunkId, float], weight: float = 0.5):
    return [(item.chunk_id, pytest.approx(item.score)) for item in fuse(dense, lexical, weight)]


def test_scores_are_the_weighted_sum_of_normalised_legs() -> None:
    dense = {ONE: 0.9, TWO: 0.5, THREE: 0.1}
    lexical = {TWO: 12.0, THREE: 7.0, FOUR: 2.0}
    assert ranked(dense, lexical, 0.5) == [(TWO, 0.75), (ONE, 0.5), (THREE, 0.25), (FOUR, 0.0)]
    assert ranked(dense, lexical, 0.8) == [(ONE, 0.8), (TWO, 0.6), (THREE, 0.1), (FOUR, 0.0)]


def test_the_legs_own_scores_are_kept() -> None:
    by_id = {item.chunk_id: item.scores for item in fuse({ONE: 0.9, TWO: 0.1}, {TWO: 3.0}, 0.5)}
    assert by_id == {ONE: {"dense": 0.9}, TWO: {"dense": 0.1, "lexical": 3.0}}


def test_nothing_found_is_nothing() -> None:
    assert fuse({}, {}, 0.5) == []


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_single_leg_decides_alone(weight: float) -> None:
    scores = {ONE: 0.2, TWO: 0.8, THREE: 0.5}
    expected = [(TWO, 1.0), (THREE, 0.5), (ONE, 0.0)]
    assert ranked(scores, {}, weight) == expected
    assert ranked({}, scores, weight) == expected


def test_equal_scores_all_count_as_best() -> None:
    assert ranked({TWO: 0.3, ONE: 0.3}, {}) == [(ONE, 1.0), (TWO, 1.0)]
    assert ranked({ONE: 0.7}, {TWO: 5.0, THREE: 5.0}) == [(ONE, 0.5), (TWO, 0.5), (THREE, 0.5)]


def test_weights_of_nought_and_one_silence_a_leg() -> None:
    dense, lexical = {ONE: 0.9, TWO: 0.1}, {TWO: 9.0, THREE: 1.0}
    assert ranked(dense, lexical, 1.0) == [(ONE, 1.0), (TWO, 0.0), (THREE, 0.0)]
    assert ranked(dense, lexical, 0.0) == [(TWO, 1.0), (ONE, 0.0), (THREE, 0.0)]


def test_ties_are_broken_by_chunk_id_whatever_the_order() -> None:
    forth = {ONE: 0.5, TWO: 0.5, THREE: 0.5}
    back = dict(reversed(forth.items()))
    assert [item.chunk_id for item in fuse(back, forth, 0.5)] == [ONE, TWO, THREE]
    assert fuse(back, forth, 0.5) == fuse(forth, back, 0.5)


def test_negative_cosines_are_normalised_too() -> None:
    assert ranked({ONE: -0.1, TWO: -0.9}, {}) == [(ONE, 1.0), (TWO, 0.0)]


def test_what_comes_first_stays_before_all_others() -> None:
    ids = [ChunkId(UUID(int=n)) for n in range(4)]
    ranking = fuse({ids[0]: 0.9, ids[1]: 0.8, ids[3]: 0.1}, {ids[0]: 3.0, ids[2]: 1.0}, 0.5)
    moved = put_first(ranking, {ids[2], ids[3]})
    assert {item.chunk_id for item in moved[:2]} == {ids[2], ids[3]}
    assert [item.chunk_id for item in moved[2:]] == ids[:2]
    assert [item.score for item in moved] == sorted((i.score for i in moved), reverse=True)
    assert all(0 <= item.score <= 1 for item in moved)


def test_what_nobody_found_moves_nothing() -> None:
    ranking = fuse({ChunkId(UUID(int=1)): 0.9, ChunkId(UUID(int=2)): 0.2}, {}, 0.5)
    assert put_first(ranking, {ChunkId(UUID(int=9))}) == ranking
