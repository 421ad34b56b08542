"""Which chunks BM25 scores: those with a rare word of the question, or with two of its others.

To score a chunk costs far more than to pass its posting by, and a chunk that has only one frequent
word is not among the best. So a budget of chunks is filled with the rarest words first, then with
the pairs of the others that occur together least often, as far as their frequencies let expect.
docs/decisions/0018 has the measurements.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from citewell.records.asked import Word

ALL_POSTINGS = 1_000
"""When all words together have no more postings, every chunk with any of them is scored."""
SHARE, LEAST, MOST = 1 / 200, 500, 3_000
"""Else the budget is this share of the chunks, between these; half of it is for single words."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Keys of which a chunk has one, and pairs of sets of keys of which it has one each."""

    keys: tuple[int, ...]
    pairs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def choose_lookup(words: Sequence[Word], chunk_count: int, wanted: int) -> Lookup:
    """Choose which words, and which pairs of words, a chunk is scored for.

    Units:   ``chunk_count`` are the chunks in scope, ``wanted`` those that are to be returned.
    Holds:   while fewer than wanted are expected, the budget is exceeded: by pairs, and by a single
             word that has not more than ``MOST`` chunks or beside which there is none.
    """
    ranked = sorted(words, key=lambda word: (word.frequency, word.name))
    if sum(word.frequency for word in ranked) <= ALL_POSTINGS:
        return Lookup(_keys(ranked), ())
    budget = min(max(chunk_count * SHARE, LEAST), MOST)
    expected, alone = 0.0, 0
    while alone < len(ranked) and expected + ranked[alone].frequency <= budget / 2:
        expected += ranked[alone].frequency
        alone += 1
    rest = ranked[alone:]
    together = sorted(
        (rarer.frequency * other.frequency / max(chunk_count, 1), first, second)
        for first, rarer in enumerate(rest)
        for second, other in enumerate(rest[first + 1 :], first + 1)
    )
    partners: defaultdict[int, list[Word]] = defaultdict(list)
    for chunks, first, second in together:
        if expected >= wanted and expected + chunks > budget:
            break
        expected += chunks
        partners[first].append(rest[second])
    if rest and expected < wanted and (not expected or rest[0].frequency <= MOST):
        alone += 1
        partners.pop(0, None)
    return Lookup(
        _keys(ranked[:alone]),
        tuple((_keys([rest[first]]), _keys(others)) for first, others in partners.items()),
    )


def _keys(words: Sequence[Word]) -> tuple[int, ...]:
    return tuple(key for word in words for lexeme in word.lexemes for key in lexeme.keys)
