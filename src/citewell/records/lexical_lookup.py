"""Which chunks BM25 scores: those with a rare word of the question, or with two of its others.

To score a chunk costs far more than to pass its posting by, and a chunk that has only one frequent
word is seldom among the best. So a budget of chunks is filled with the rarest words first, then
with the pairs of the others that occur together least often, as their frequencies let expect.
docs/decisions/0018 has the measurements.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from citewell.records.asked import Word

ALL_POSTINGS = 1_000
"""When all words together have no more postings, every chunk with any of them is scored."""
SHARE, LEAST, MOST = 1 / 200, 1_000, 3_000
"""Else the budget is this share of the chunks, between these; half of it is for single words."""
MOST_PAIRED = 12
"""Words that are paired; a question of hundreds has thousands of pairs."""

Keys = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Keys of which a chunk has one, and pairs of sets of keys of which it has one each.

    ``instead`` are the keys to look up alone when that finds fewer than are wanted: words may occur
    together less often than their frequencies let expect. It is empty where nothing was left out.
    """

    keys: Keys
    pairs: tuple[tuple[Keys, Keys], ...] = ()
    instead: Keys = ()


def choose_lookup(words: Sequence[Word], chunk_count: int, wanted: int) -> Lookup:
    """Choose which words, and which pairs of words, a chunk is scored for.

    Units:   ``chunk_count`` are the chunks in scope, ``wanted`` those that are to be returned.
    Holds:   the rarest word is looked up alone unless more than ``MOST`` chunks have it; pairs are
             taken beyond the budget while fewer chunks than wanted are expected.
    """
    ranked = sorted(dict.fromkeys(words), key=lambda word: (word.frequency, word.name))
    frequencies = [min(word.frequency, chunk_count) for word in ranked]
    keys = [tuple(key for lexeme in word.lexemes for key in lexeme.keys) for word in ranked]
    if min(sum(frequencies), chunk_count) <= ALL_POSTINGS:
        return Lookup(_joined(keys))
    budget = min(max(chunk_count * SHARE, LEAST), MOST)
    alone = 1 if frequencies[0] <= MOST else 0
    while alone < len(keys) and sum(frequencies[: alone + 1]) <= budget / 2:
        alone += 1
    expected = float(sum(frequencies[:alone]))
    room = max(budget - expected, budget / 2)
    partners: defaultdict[int, list[Keys]] = defaultdict(list)
    for chunks, first, second in _pairs(frequencies[: alone + MOST_PAIRED], alone, chunk_count):
        if expected >= wanted and chunks > room:
            break
        expected, room = expected + chunks, room - chunks
        partners[first].append(keys[second])
    enough = max(2, alone + 1)
    while enough < len(keys) and sum(frequencies[:enough]) < wanted:
        enough += 1
    return Lookup(
        _joined(keys[:alone]),
        tuple((keys[first], _joined(others)) for first, others in partners.items()),
        _joined(keys[:enough]) if alone < len(keys) else (),
    )


def _pairs(
    frequencies: Sequence[int], alone: int, chunk_count: int
) -> list[tuple[float, int, int]]:
    """Return how many chunks are expected to have two of the words, for those that are not alone.

    Shapes:  n frequencies, ascending → pairs of places, the rarer one first; fewest chunks first.
    """
    return sorted(
        (frequencies[first] * frequencies[second] / chunk_count, first, second)
        for first in range(alone, len(frequencies))
        for second in range(first + 1, len(frequencies))
    )


def _joined(keys: Sequence[Keys]) -> Keys:
    return tuple(key for each in keys for key in each)
