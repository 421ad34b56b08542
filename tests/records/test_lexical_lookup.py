"""Rare words are looked up alone, frequent ones in pairs, and never much more than the budget."""

import random

import pytest

from citewell.records.asked import Lexeme, Word
from citewell.records.lexical_lookup import ALL_POSTINGS, MOST, choose_lookup

CHUNKS = 50_000
WANTED = 100


def _word(number: int, frequency: int) -> Word:
    return Word(f"w{number:02}", (Lexeme(f"w{number}", number, (number,), frequency),), 1.0)


def _words(*frequencies: int) -> list[Word]:
    return [_word(number, frequency) for number, frequency in enumerate(frequencies)]


def test_few_postings_are_all_read() -> None:
    words = _words(600, 0, 400)
    assert choose_lookup(words, CHUNKS, WANTED).keys == (1, 2, 0)
    assert choose_lookup([], CHUNKS, WANTED).keys == ()


def test_rare_words_are_alone_and_frequent_ones_in_pairs() -> None:
    found = choose_lookup(_words(20, 9_000, 160, 700, 40), CHUNKS, WANTED)
    assert found.keys == (0, 4, 2), "with the next they were over half of the budget"
    assert found.pairs == (((3,), (1,)),)


def test_pairs_that_are_seldom_together_come_first() -> None:
    found = choose_lookup(_words(400, 800, 9_000, 20_000), CHUNKS, WANTED)
    # 6 for the first two words, 72 with the third, then 144 and 160; the next would be 320.
    assert found.keys == ()
    assert found.pairs == (((0,), (1, 2, 3)), ((1,), (2,)))


def test_two_frequent_words_are_a_pair_whatever_it_has() -> None:
    found = choose_lookup(_words(30_000, 20_000), CHUNKS, WANTED)
    assert (found.keys, found.pairs) == ((), (((1,), (0,)),))


@pytest.mark.parametrize("frequency", [ALL_POSTINGS + 1, CHUNKS])
def test_one_word_alone_is_always_looked_up(frequency: int) -> None:
    assert choose_lookup(_words(frequency), CHUNKS, WANTED).keys == (0,)


def test_beside_a_rare_word_a_frequent_one_fills_up_if_it_is_not_too_frequent() -> None:
    assert choose_lookup(_words(3, MOST), CHUNKS, WANTED).keys == (0, 1)
    assert choose_lookup(_words(3, MOST + 1), CHUNKS, WANTED).keys == (0,)
    pair = choose_lookup(_words(3, 1_000, 1_500), CHUNKS, WANTED)
    assert pair.keys == (0, 1), "their pair has 30: too few"
    assert pair.pairs == ()


@pytest.mark.parametrize("chunks", [1, 2_000, 50_000, 5_000_000])
def test_any_words_are_looked_up_within_reason(chunks: int) -> None:
    draw = random.Random(chunks)
    for _ in range(500):
        words = _words(*(int(chunks ** draw.random()) for _ in range(draw.randint(1, 14))))
        wanted = draw.choice([1, 100, 400, 12_800])
        found = choose_lookup(words, chunks, wanted)
        known = {word.lexemes[0].position: word for word in words}
        single = sum(known[key].frequency for key in found.keys)
        paired = [
            known[rarer].frequency * known[other].frequency / chunks
            for (rarer,), others in found.pairs
            for other in others
        ]
        assert found.keys or found.pairs
        assert not set(found.keys) & {key for pair in found.pairs for keys in pair for key in keys}
        enough = max(wanted, ALL_POSTINGS, MOST)
        last = max(paired, default=0.0)
        assert single + sum(paired) - last <= enough + MOST or len(found.keys) == 1
