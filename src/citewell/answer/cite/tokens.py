"""Cut a text into words, numbers, codes and marks, each with its stem and its place."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import Stemmer  # pyright: ignore[reportMissingImports] - the wheel carries no types

from citewell.answer.cite.languages import guess_language, is_function_word

Kind = Literal["word", "number", "time", "code", "mark"]

_RUN = re.compile(
    r"(?P<link>(?:https?://|www\.)[^\s<>\"”“»«)\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<time>\d{1,2}:\d{2}(?::\d{2})?(?![\d:]))"
    r"|(?P<sign>(?<![\w)\]])[-−–](?=\d)|−(?=\d)|(?<=[A-Z]{3})[-–](?=\d))"
    r"|(?P<number>\d{1,3}(?:[,.'’\u00a0\u202f\u2009\u0020]\d{3})+(?![\d\w])(?:[.,]\d+)?"
    r"|\d+(?:[.,]\d+)?(?![.,]?\d))"
    r"|(?P<letters>(?:[A-Za-z]\.){2,}|[A-Za-z](?:\.[A-Za-z])+(?![\w]))"
    r"|(?P<word>\w+(?:['’_]\w+)*)"
    r"|(?P<mark>[^\w\s])"
)
"""What a text consists of; the first that fits is taken."""

_CODE = re.compile(
    r"(?!(?:mid|pre|post|non|late|early)-)[A-Za-z_]+[-_./]?\d[\w]*(?:[-_./]\w+)*|[^\W\d]\w*(?:[_]\w+)+|\d+(?:\.\d+){2,}"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_ATTACHED = re.compile(r"(\d+(?:[.,]\d+)?)([^\W\d_]+)\Z")
_ORDINAL = re.compile(r"(?:st|nd|rd|th|s|er|ers|ère|e|ème|º|ª)\Z", re.IGNORECASE)
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DIGITS = re.compile(r"\d+|\D+")
_POSSESSIVE = re.compile(r"['’]s?\Z", re.IGNORECASE)
_CONTRACTED = re.compile(r"n['’]t\Z", re.IGNORECASE)
_ELIDED = re.compile(r"(?:[cdjlmnst]|qu)['’](?=\w\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text: as written, folded, stemmed, with its span.

    ``suffix`` is what a number carries without a space: an ordinal's ending or a unit.
    """

    text: str
    folded: str
    stem: str
    start: int
    end: int
    kind: Kind
    light: bool
    suffix: str = ""

    @property
    def is_mark(self) -> bool:
        """Say whether this is punctuation or a symbol."""
        return self.kind == "mark"

    @property
    def is_upper(self) -> bool:
        """Say whether the word begins with a capital."""
        return self.kind == "word" and self.text[:1].isupper()


class Tokenizer:
    """Cuts texts of one language; it keeps a stemmer, which only one thread may use."""

    def __init__(self, language: str | None) -> None:
        self.language = language
        self._stemmer = cast("Any", Stemmer).Stemmer(language) if language else None

    def cut(self, text: str) -> list[Token]:
        """Return the text's tokens in order; white space is between them."""
        return [self._token(*piece) for piece in _pieces(text)]

    def _token(self, text: str, start: int, end: int, kind: Kind, suffix: str) -> Token:
        folded = text.casefold().replace("’", "'")
        if kind != "word":
            return Token(text, folded, folded, start, end, kind, kind == "mark", suffix)
        folded = _POSSESSIVE.sub("", folded) or folded
        light = is_function_word(folded, self.language)
        stem = self._stemmer.stemWord(folded) if self._stemmer and not light else folded
        return Token(text, folded, stem, start, end, kind, light, suffix)


def open_tokenizer(text: str, default: str | None = "english") -> Tokenizer:
    """Return a tokenizer for the language that the text seems to be in."""
    folded = _LETTERS.findall(text[:4000].casefold())
    unknown = default if text[:400].isascii() or not _UNSPACED.search(text) else None
    return Tokenizer(guess_language(folded, unknown))


def _pieces(text: str) -> Iterator[tuple[str, int, int, Kind, str]]:
    """Yield each piece as text, span, kind and suffix."""
    place = 0
    while found := _RUN.search(text, place):
        start, end = found.span()
        code = (
            _CODE.match(text, start) if found.lastgroup in {"word", "number", "letters"} else None
        )
        if code and code.end() > end - 1 and _is_code(code.group()):
            yield code.group(), start, code.end(), "code", ""
            place = code.end()
            continue
        place = end
        match found.lastgroup:
            case "link":
                link = found.group().rstrip(".,;:!?'’")
                yield link, start, start + len(link), "code", ""
                place = start + len(link)
            case "time":
                yield found.group(), start, end, "time", ""
            case "number":
                following = _LETTERS.match(text, end)
                suffix = following.group() if following else ""
                place = end + len(suffix)
                yield found.group(), start, end, "number", suffix
            case "letters":
                yield found.group().replace(".", ""), start, end, "word", ""
            case "word":
                yield from _word(found.group(), start)
            case _:
                yield found.group(), start, end, "mark", ""


def _is_code(text: str) -> bool:
    """Say whether this is a name of a thing made of letters and digits, not a word or number."""
    return "_" in text.strip("_") or any(character.isdigit() for character in text)


def _word(text: str, start: int) -> Iterator[tuple[str, int, int, Kind, str]]:
    """Yield a word: scripts without spaces by pairs of characters, elisions and n't apart."""
    if attached := _ATTACHED.match(text):
        yield attached.group(1), start, start + attached.end(1), "number", attached.group(2)
    elif _UNSPACED.search(text):
        yield from _unspaced(text, start)
    elif _CONTRACTED.search(text):
        cut = len(text) - 3
        if cut:
            yield text[:cut], start, start + cut, "word", ""
        yield "not", start + cut, start + len(text), "word", ""
    else:
        elided = _ELIDED.match(text)
        if elided:
            yield text[: elided.end()], start, start + elided.end(), "word", ""
        cut = elided.end() if elided else 0
        yield text[cut:], start + cut, start + len(text), "word", ""


def _unspaced(text: str, start: int) -> Iterator[tuple[str, int, int, Kind, str]]:
    """Yield pairs of neighbouring characters, and numbers whole."""
    for part in _DIGITS.finditer(text):
        piece, first = part.group(), start + part.start()
        if piece[0].isdigit():
            yield piece, first, first + len(piece), "number", ""
            continue
        for at in range(max(1, len(piece) - 1)):
            pair = piece[at : at + 2]
            yield pair, first + at, first + at + len(pair), "word", ""


def is_ordinal_suffix(suffix: str) -> bool:
    """Say whether a number's suffix makes it an ordinal or a decade."""
    return _ORDINAL.match(suffix) is not None


def heavy_stems(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the stems of all that carries meaning."""
    return frozenset(token.stem for token in tokens if not token.light)
