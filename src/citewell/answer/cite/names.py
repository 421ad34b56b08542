"""Find the proper names, acronyms and codes of a sentence, and whether a text has them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from citewell.answer.cite.dates import MONTHS, WEEKDAYS
from citewell.answer.cite.languages import words
from citewell.answer.cite.tokens import Token
from citewell.answer.cite.units import UNITS

_ENDINGS = words("s es n an ian ean y ish ese i ic er ers a e en in sche schen")
"""What turns a name into its people, its adjective or its plural: Austria, Austrian."""

_TITLE_CASE = 0.7
"""From this share of capitalised words on, capitals tell nothing."""

_LEAST_TITLE = 5
_JOINS_NAMES = words("of the de la le von van der di da del du des and")
_OPENS = frozenset({":", '"', "“", "„", "«", "(", "[", ".", "!", "?", "…", "•", "·", "*"})
_LEAST_STEM = 4


@dataclass(frozen=True, slots=True)
class Name:
    """A name of one or more words, and which tokens it is.

    ``sure`` is false for a single capitalised word where any word has a capital.
    """

    words: tuple[str, ...]
    first: int
    last: int
    sure: bool

    @property
    def span(self) -> tuple[int, int]:
        """Its first and its last token."""
        return self.first, self.last


def read_names(tokens: Sequence[Token], language: str | None) -> list[Name]:
    """Return the names in order: runs of capitalised words, acronyms, words with inner capitals."""
    heading = _is_title_case(tokens)
    found: list[Name] = []
    run: list[int] = []
    for place in range(len(tokens) + 1):
        if place < len(tokens) and _is_capitalised(tokens, place):
            run.append(place)
            continue
        if run:
            found.extend(_name(tokens, run, language, heading))
        run = []
    return found


def _is_capitalised(tokens: Sequence[Token], place: int) -> bool:
    token = tokens[place]
    if token.kind != "word" or token.text == "I":
        return False
    if token.folded in MONTHS or token.folded.removesuffix("s") in WEEKDAYS:
        return False
    if place and tokens[place - 1].kind == "number" and token.folded in UNITS:
        return False
    if _has_inner_capital(token):
        return True
    return token.is_upper and not token.light


def _has_inner_capital(token: Token) -> bool:
    return len(token.text) > 1 and any(character.isupper() for character in token.text[1:])


def _name(
    tokens: Sequence[Token], run: Sequence[int], language: str | None, heading: bool
) -> Iterator[Name]:
    first = tokens[run[0]]
    opening = _opens(tokens, run[0])
    capital_anyway = heading or language == "german"
    for_sure = not capital_anyway and not (opening and len(run) == 1)
    if len(run) > 1 and language == "german" and not heading:
        for_sure = not opening or len(run) > 2
    if len(run) == 1 and _has_inner_capital(first) and not _is_shouting(tokens):
        for_sure = True
    yield Name(tuple(tokens[place].folded for place in run), run[0], run[-1], for_sure)


def _opens(tokens: Sequence[Token], place: int) -> bool:
    """Say whether a word here has a capital whatever it is."""
    return place == 0 or tokens[place - 1].text in _OPENS


def _is_shouting(tokens: Sequence[Token]) -> bool:
    written = [token for token in tokens if token.kind == "word" and len(token.text) > 1]
    return bool(written) and sum(token.text.isupper() for token in written) * 2 > len(written)


def _is_title_case(tokens: Sequence[Token]) -> bool:
    """Say whether most words have a capital, small ones or not."""
    written = [token for token in tokens if token.kind == "word"]
    if _is_shouting(tokens):
        return True
    capitals = sum(token.is_upper for token in written)
    return len(written) >= _LEAST_TITLE and capitals >= _TITLE_CASE * len(written)


def has_word(word: str, known: Collection[str]) -> bool:
    """Say whether a name's word is known, perhaps as the adjective or people of the name."""
    if word in known:
        return True
    if len(word) < _LEAST_STEM:
        return False
    return any(_is_form(word, other) for other in known)


def _is_form(one: str, other: str) -> bool:
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return len(short) >= _LEAST_STEM and long.startswith(short) and long[len(short) :] in _ENDINGS


def initials(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the initials of each run of capitalised words: "who" of World Health Organization."""
    found: set[str] = set()
    letters: list[str] = []
    for token in tokens:
        if token.kind == "word" and token.text[:1].isupper():
            letters.append(token.folded[0])
            found.update("".join(letters[start:]) for start in range(len(letters) - 1))
        elif token.folded not in _JOINS_NAMES:
            letters = []
    return frozenset(found)


def is_acronym_of(name: Name, known: Collection[str]) -> bool:
    """Say whether the text has the initials of this name as a word of its own."""
    return len(name.words) > 1 and "".join(word[0] for word in name.words) in known


def read_codes(tokens: Sequence[Token]) -> list[Token]:
    """Return identifiers, addresses and times of day: they must be found letter by letter."""
    return [token for token in tokens if token.kind in {"code", "time"}]
