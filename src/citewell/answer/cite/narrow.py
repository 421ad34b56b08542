"""Narrow a cited chunk to the sentences that bear a claim."""

from citewell.answer.cite.reading import Span
from citewell.answer.cite.support import Source, Support

_MOST_BETWEEN = 2
"""White space that may lie between sentences of one citation."""


def narrow(source: Source, support: Support) -> list[Span]:
    """Return the spans, in canonical offsets, of this source's bearing sentences.

    Sentences that follow each other are one span. A source that bears nothing has none.
    """
    numbers = sorted({each.number for each in support.borne if each.source is source})
    offset = source.candidate.start
    spans: list[Span] = []
    for place, number in enumerate(numbers):
        sentence = source.sentences[number]
        follows = place > 0 and numbers[place - 1] == number - 1
        if follows and sentence.start + offset - spans[-1][1] <= _MOST_BETWEEN:
            spans[-1] = (spans[-1][0], sentence.end + offset)
        else:
            spans.append((sentence.start + offset, sentence.end + offset))
    return spans
