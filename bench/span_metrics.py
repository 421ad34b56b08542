"""How much of the expected characters a retrieval brings, and how much else with them.

Source:  Smith, Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma 2024: recall is the
         share of the expected characters that came, precision the share of what came that was
         expected, IoU their intersection over their union; text that comes twice counts twice.
"""

from collections.abc import Sequence

from citewell.evals.datasets import Place
from citewell.evals.metrics import Found


def measure_spans(places: Sequence[Place], found: Sequence[Found]) -> dict[str, float]:
    """Return recall, precision and IoU of pieces against the places' spans; none of no piece is 0.

    Units:   characters, shares from 0 to 1; places without a span count nothing.
    Raises:  ValueError – no place has a span.
    """
    expected = [(place.document, *place.span) for place in places if place.span is not None]
    if not expected:
        raise ValueError("Spans are measured where places have them.")
    wanted = _length(expected)
    brought = sum(each.end - each.start for each in found)
    met = _length([
        (document, max(start, each.start), min(end, each.end))
        for document, start, end in expected
        for each in found
        if each.document == document and each.start < end and start < each.end
    ])  # fmt: skip
    return {
        "recall": met / wanted,
        "precision": met / brought if brought else 0.0,
        "iou": met / (brought + wanted - met),
    }


def within(found: Sequence[Found], characters: int) -> list[Found]:
    """Return the first pieces that together have so many characters; the last one is cut."""
    kept: list[Found] = []
    for each in found:
        room = min(characters, each.end - each.start)
        if room <= 0:
            break
        end = each.start + room
        kept.append(Found(each.document, each.sections, each.pages, each.start, end,
                          each.text[:room]))  # fmt: skip
        characters -= room
    return kept


def _length(spans: Sequence[tuple[str, int, int]]) -> int:
    """Return how many characters spans have together; those in several count once."""
    total = 0
    reached: tuple[str, int] = ("", 0)
    for document, start, end in sorted(spans):
        begin = max(start, reached[1]) if reached[0] == document else start
        total += max(0, end - begin)
        reached = document, max(end, reached[1]) if reached[0] == document else end
    return total


def map_offsets(source: str, canonical: str) -> list[int]:
    """Return where each offset of a source, and its end, lies in its canonical text.

    Holds:   both have the same characters but for white space, which the canonical text has less
             of; an offset before dropped white space lies where that was.
    Raises:  ValueError – another character differs.
    """
    at: list[int] = []
    reached = 0
    for char in source:
        at.append(min(reached, len(canonical)))
        if reached < len(canonical) and canonical[reached] == char:
            reached += 1
        elif not char.isspace():
            raise ValueError("The canonical text has other characters than its source.")
    return [*at, reached]
