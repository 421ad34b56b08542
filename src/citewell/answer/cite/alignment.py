"""Lay a claim beside the sentences that bear it, and list where words were changed in place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from citewell.answer.cite.reading import Line, Reading

_MOST_WORDS = 6
"""A longer change is another clause and no change in place."""

_LEAST_EQUAL = 0.5
"""Below this share of the claim found in the same order, a place tells nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """Words of the source that stand in the claim's place of others; either may be empty."""

    reading: Reading
    dropped: Line
    added: Line


def changes(claim: Reading, readings: Sequence[Reading]) -> Iterator[Change]:
    """Yield the small changes between words that both have, sentence by sentence.

    Holds:   only what lies between two equal stretches, or at a border of both sentences.
    """
    own = claim.line
    for reading in readings:
        line = reading.line
        matcher = SequenceMatcher(
            None, [token.stem for token in line], [token.stem for token in own], autojunk=False
        )
        codes = matcher.get_opcodes()
        equal = sum(end - start for tag, _, _, start, end in codes if tag == "equal")
        if equal < _LEAST_EQUAL * min(len(own), len(line)):
            continue
        for place, (tag, first, last, start, end) in enumerate(codes):
            if tag == "equal" or max(last - first, end - start) > _MOST_WORDS:
                continue
            at_border = place in {0, len(codes) - 1}
            if at_border and not (last > first and end > start):
                continue
            yield Change(reading, line[first:last], own[start:end])
