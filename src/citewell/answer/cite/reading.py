"""A text as the checks read it: its tokens, what they say, and what stands beside what."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from citewell.answer.cite.dates import Date, read_dates
from citewell.answer.cite.languages import words
from citewell.answer.cite.names import Name, read_names
from citewell.answer.cite.numbers import Number, read_numbers
from citewell.answer.cite.tokens import Token, Tokenizer, heavy_stems

_PASSED_OVER = words(
    "percent a an the der die das den dem des ein eine einen einem einer eines le la les l'"
    " un une des el los las una unos unas"
)
_MOST_BESIDE = 3
_BORDER = 0.5
_LIGHT = 0.5
Span = tuple[int, int]
Line = list[Token]


@dataclass(frozen=True)
class Reading:
    """One sentence; ``start`` is its place in the text that it was taken from."""

    text: str
    tokenizer: Tokenizer
    start: int = 0
    tokens: list[Token] = field(init=False)

    def __post_init__(self) -> None:
        """Cut the text once."""
        object.__setattr__(self, "tokens", self.tokenizer.cut(self.text))

    @property
    def end(self) -> int:
        """Where the sentence ends in the text that it was taken from."""
        return self.start + len(self.text)

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of all words that carry meaning, and the numbers as written."""
        return heavy_stems(self.tokens)

    @cached_property
    def folded(self) -> frozenset[str]:
        """All words, small ones too, without their case."""
        return frozenset(token.folded for token in self.tokens)

    @cached_property
    def numbers(self) -> list[Number]:
        """Its numbers, those inside of dates too."""
        return read_numbers(self.tokens, self.tokenizer.language)

    @cached_property
    def dates(self) -> list[Date]:
        """Its dates that name a month."""
        return read_dates(self.tokens)

    @cached_property
    def names(self) -> list[Name]:
        """Its names and acronyms."""
        return read_names(self.tokens, self.tokenizer.language)

    @cached_property
    def line(self) -> Line:
        """Its tokens without articles and marks."""
        return [token for token in self.tokens if _counts(token)]

    @cached_property
    def _places(self) -> list[int]:
        """For each token its place in the line, or that of the next one that is there."""
        places: list[int] = []
        at = 0
        for token in self.tokens:
            places.append(at)
            at += _counts(token)
        return places

    def neighbours(self, span: Span, step: int) -> Iterator[Token | None]:
        """Yield the words before (-1) or after (1) a span of tokens, nearest first, then None."""
        first, last = span
        at = (
            self._places[first] - 1 if step < 0 else self._places[last] + _counts(self.tokens[last])
        )
        while 0 <= at < len(self.line):
            yield self.line[at]
            at += step
        yield None

    def heavy_around(self, span: Span, reach: int) -> frozenset[str]:
        """Return the stems that stand up to ``reach`` words before or after these tokens."""
        beside = [
            token
            for step in (-1, 1)
            for token in islice(self.neighbours(span, step), reach)
            if token
        ]
        return frozenset(token.stem for token in beside if not token.light)


def _counts(token: Token) -> bool:
    return not token.is_mark and token.folded not in _PASSED_OVER


def likeness(one: Reading, span: Span, other: Reading, beside: Span) -> tuple[float, float]:
    """Return how alike the words before two spans of tokens are, and those after: 0 for not at all.

    Each equal neighbour counts one, a small word half, up to three words on each side until one
    differs; to be the first or last words of both sentences counts half.
    """
    return (
        _side(one.neighbours(span, -1), other.neighbours(beside, -1)),
        _side(one.neighbours(span, 1), other.neighbours(beside, 1)),
    )


def _side(one: Iterator[Token | None], other: Iterator[Token | None]) -> float:
    total = 0.0
    for mine, theirs in islice(zip(one, other, strict=False), _MOST_BESIDE):
        if mine is None or theirs is None:
            return total + (_BORDER if mine is theirs else 0.0)
        if mine.stem != theirs.stem:
            return total
        total += _LIGHT if mine.light else 1.0
    return total
