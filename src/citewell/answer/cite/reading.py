"""A text as the checks read it: its tokens, what they say, and what stands beside what."""

from dataclasses import dataclass, field
from functools import cached_property

from citewell.answer.cite.dates import Date, read_dates
from citewell.answer.cite.names import Name, read_names
from citewell.answer.cite.numbers import Number, read_numbers
from citewell.answer.cite.tokens import Token, Tokenizer, heavy_stems

_ARTICLES = frozenset(
    "a an the der die das den dem des ein eine einen einem einer eines le la les l' un une des el"
    " los las una unos unas".split()
)
_MOST_BESIDE = 3
_BORDER = 0.5
_LIGHT = 0.5
Span = tuple[int, int]


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
    def _line(self) -> tuple[list[Token], list[int]]:
        """The tokens without articles and marks, and each token's place among them."""
        line: list[Token] = []
        places: list[int] = []
        for token in self.tokens:
            places.append(len(line))
            if not token.is_mark and token.folded not in _ARTICLES:
                line.append(token)
        return line, places

    def heavy_around(self, first: int, last: int, reach: int) -> frozenset[str]:
        """Return the stems that stand up to ``reach`` words before or after these tokens."""
        line, places = self._line
        left, right = places[first], places[last] + 1
        beside = line[max(0, left - reach) : left] + line[right : right + reach]
        return frozenset(token.stem for token in beside if not token.light)


def likeness(one: Reading, span: Span, other: Reading, beside: Span) -> float:
    """Return how alike the surroundings of two spans of tokens are: 0 for not at all.

    Each equal neighbour counts one, a small word half, up to three words on each side until one
    differs; to be the first or last words of both sentences counts half.
    """
    return _side(one, span, other, beside, -1) + _side(one, span, other, beside, 1)


def _side(one: Reading, span: Span, other: Reading, beside: Span, step: int) -> float:
    (line, places), (second, second_places) = one._line, other._line  # noqa: SLF001 - its own class's
    if step < 0:
        at, there = places[span[0]] - 1, second_places[beside[0]] - 1
    else:
        at, there = places[span[1]] + 1, second_places[beside[1]] + 1
    total = 0.0
    for _ in range(_MOST_BESIDE):
        inside, within = 0 <= at < len(line), 0 <= there < len(second)
        if not inside or not within:
            return total + (_BORDER if inside == within else 0.0)
        if line[at].stem != second[there].stem:
            return total
        total += _LIGHT if line[at].light else 1.0
        at, there = at + step, there + step
    return total
