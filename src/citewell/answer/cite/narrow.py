"""Narrow a cited chunk to the sentences that bear a claim."""

from collections.abc import Iterator

from citewell.answer.cite.reading import Span
from citewell.answer.cite.support import Source, Support

_MOST_BETWEEN = 2
"""White space that may lie between sentences of one citation."""


def narrow(source: Source, support: Support) -> Iterator[Span]:
    """Yield the spans, in canonical offsets, of this source's bearing sentences.

    Sentences that follow each other are one span. A source that bears nothing yields none.
    """
    numbers = sorted({each.number for each in support.borne if each.source is source})
    start: int | None = None
    for place, number in enumerate(numbers):
        sentence = source.sentences[number]
        start = sentence.start if start is None else start
        following = numbers[place + 1] if place + 1 < len(numbers) else None
        if following == number + 1:
            gap = source.sentences[following].start - sentence.end
            if gap <= _MOST_BETWEEN:
                continue
        yield source.candidate.start + start, source.candidate.start + sentence.end
        start = None
