"""Rare words are looked up alone, frequent ones in pairs, and never much more than the budget."""

import random

import pytest

from citewell.records.asked import Lexeme, Word
from citewell.records.lexical_lookup import (
    ALL_POSTINGS,
    MOST,
    MOST_PAIRED,
    Lookup,
    choose_lookup,
)

CHUNKS = 50_000
WANTED = 100


def _word(number: int, frequency: int) -> Word:
    return Word(f"w{number:02}", (Lexeme(f"w{number}", number, (number,), frequency),), 1.0)


def _words(*frequencies: int) -> list[Word]:
    return [_word(number, frequency) for number, frequency in enumerate(frequencies)]


def test_few_postings_are_all_read() -> None:
    words = _words(600, 0, 400)
    assert choose_lookup(words, CHUNKS, WANTED) == Lookup((1, 2, 0))
    assert choose_lookup([], CHUNKS, WANTED) == Lookup(())


def test_few_chunks_are_all_read_whatever_was_counted_before() -> None:
    assert choose_lookup(_words(5_000, 5_001, 5_002), 10, WANTED) == Lookup((0, 1, 2))


def test_rare_words_are_alone_and_frequent_ones_in_pairs() -> None:
    found = choose_lookup(_words(20, 9_000, 360, 700, 40), CHUNKS, WANTED)
    assert found.keys == (0, 4, 2), "with the next they were over half of the budget"
    assert found.pairs == (((3,), (1,)),)


def test_the_rarest_word_is_alone_unless_it_is_very_frequent() -> None:
    assert choose_lookup(_words(MOST, 20_000), CHUNKS, WANTED).keys == (0,)
    assert choose_lookup(_words(MOST + 1, 20_000), CHUNKS, WANTED).keys == ()


def test_pairs_that_are_seldom_together_come_first() -> None:
    found = choose_lookup(_words(480, 800, 9_000, 20_000, 500), CHUNKS, WANTED)
    assert found.keys == (0,)
    # 8 chunks with 500 and 800, then 90, 144 and 200, which leave 78 of 520: the next has 320.
    assert found.pairs == (((4,), (1, 2, 3)), ((1,), (2,)))


def test_two_frequent_words_are_a_pair_whatever_it_has() -> None:
    found = choose_lookup(_words(30_000, 20_000), CHUNKS, WANTED)
    assert (found.keys, found.pairs) == ((), (((1,), (0,)),))


@pytest.mark.parametrize("frequency", [ALL_POSTINGS + 1, CHUNKS, 9 * CHUNKS])
def test_one_word_is_looked_up_sooner_or_later(frequency: int) -> None:
    found = choose_lookup(_words(frequency), CHUNKS, WANTED)
    assert 0 in {*found.keys, *found.instead}


@pytest.mark.parametrize("frequencies", [(3, 20_000), (6_000, 6_000), (1_200, 4_200)])
def test_what_is_not_found_together_is_looked_up_alone(frequencies: tuple[int, ...]) -> None:
    assert set(choose_lookup(_words(*frequencies), CHUNKS, WANTED).instead) == {0, 1}


def test_a_word_that_was_asked_twice_counts_once() -> None:
    word = _word(0, 20_000)
    assert choose_lookup([word, word], CHUNKS, WANTED) == choose_lookup([word], CHUNKS, WANTED)


def test_a_very_long_question_has_few_pairs() -> None:
    found = choose_lookup(_words(*range(300, 1_300)), CHUNKS, WANTED)
    assert sum(len(others) for _, others in found.pairs) <= MOST_PAIRED * (MOST_PAIRED - 1) / 2


@pytest.mark.parametrize("chunks", [1, 2_000, 50_000, 5_000_000])
def test_any_words_are_looked_up_within_reason(chunks: int) -> None:
    draw = random.Random(chunks)
    for _ in range(500):
        words = _words(*(int(chunks ** draw.random()) for _ in range(draw.randint(1, 14))))
        wanted = draw.choice([1, 100, 400, 12_800])
        found = choose_lookup(words, chunks, wanted)
        known = {word.lexemes[0].position: word.frequency for word in words}
        single = sum(known[key] for key in found.keys)
        paired = [
            known[rarer] * known[other] / chunks
            for (rarer,), others in found.pairs
            for other in others
        ]
        assert not set(found.keys) & {key for pair in found.pairs for keys in pair for key in keys}
        assert set(found.keys) < set(found.instead) or set(found.keys) == set(known)
        assert single <= MOST
        assert single + sum(paired) - max(paired, default=0.0) <= max(wanted, 2 * MOST)
