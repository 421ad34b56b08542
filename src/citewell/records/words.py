"""What is searched for in a text: its words, its exact identifiers, and quoted phrases.

Chunks and questions go through the same functions, so that both are cut alike. How the words are
stemmed is PostgreSQL's part: ``citewell_terms`` (migration 0011).
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


class _WordsOnly(dict[int, str]):
    """Maps each character that parts words to a space; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "’ʼ":
            shown = "'"
        elif code < 128 or unicodedata.category(char)[0] not in "CPSZ":
            shown = char
        else:
            shown = " "
        self[code] = shown
        return shown


_words_only = _WordsOnly()
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d", "-"))
_PARTING = re.compile(r"/|(?<=\w)-(?=\d)|(?<=\d)-(?=\w)|(?<=\d):(?=\d)")
"""To PostgreSQL's parser client/server is a file's name, and the -2000 of XR-2000 a number."""

_PARAGRAPH = re.compile(r"§§?\s?(\d+\w*)")
_CANDIDATE = re.compile(
    r"(?<!\w)[a-z](?:\+\+|\#)(?!\w)|(?<![\w.])\.[a-z]\w+|\w+(?:(?:::|->|[-./:@\\+])\w+)*"
)
_BEFORE, _AFTER = "([{<\"'*", ".,;:!?)]}>\"'*%"
_JOINTS = re.compile(r"::|->|[/:@\\]")
_VERSION = re.compile(r"v(\d+(?:\.\d+)+.*)")
_DECIMAL = re.compile(r"\d+(?:\.\d+)?")
MOST_CHARACTERS = 100
"""A longer identifier is an encoded file or the like."""


def searchable(text: str) -> str:
    """Prepare text for PostgreSQL's parser, the same for chunks and questions.

    Under the collation C.UTF-8 the parser takes every character beyond ASCII for a letter, so that
    “clock” in curly quotes would be another word than clock: punctuation becomes a space here.
    """
    words = unicodedata.normalize("NFKC", text).translate(_words_only)
    return _PARTING.sub(" ", words)


def identifiers(text: str) -> dict[str, int]:
    """Return the part numbers, error codes, versions, file names and the like, as often as written.

    Shapes:  lower case, hyphens as ``-``; of a compound one (a path, ``ISO/IEC``) the parts that
             are identifiers count as well, and of ``v2.14.3`` the number.
    Cost:    about 40 µs for a chunk.
    """
    counts: dict[str, int] = {}
    folded = text.lower()
    if not text.isascii():
        folded = unicodedata.normalize("NFKC", folded.translate(_HYPHENS)).translate(_HYPHENS)
    for number in _PARAGRAPH.findall(folded) if "§" in folded else ():
        counts[f"§{number}"] = counts.get(f"§{number}", 0) + 1
    for run in folded.split():
        bare = run.lstrip(_BEFORE).rstrip(_AFTER)
        if bare.isalpha() or bare.isdecimal():
            continue
        for match in _CANDIDATE.finditer(run):
            for each in _forms(match[0]):
                counts[each] = counts.get(each, 0) + 1
    return counts


def _forms(token: str) -> Sequence[str]:
    """Return the token where it is an identifier, and those of its parts that are."""
    if len(token) > MOST_CHARACTERS:
        return ()
    forms = [token] if _is_identifier(token) else []
    parts = _JOINTS.split(token)
    if len(parts) > 1:
        forms += [part for part in parts if _is_identifier(part)]
    if version := _VERSION.fullmatch(token):
        forms.append(version[1])
    return forms


def _is_identifier(token: str) -> bool:
    """Say whether the token is more than a word, a number or a hyphenated word."""
    if token.isalpha() or _DECIMAL.fullmatch(token) or len(token) < 2:
        return False
    return any(char.isdigit() or char in "_./:@\\+>#" for char in token)


def is_code(identifier: str) -> bool:
    """Say whether it names one thing only, as part numbers and error codes do.

    Dates, spans of numbers and paths of words do not; neither do names with a digit or two, such as
    IL-6, COVID-19 or HTTP/2: questions that hold them ask for more than for these.
    """
    if any(char in "_@§" for char in identifier):
        return True
    digits = sum(map(str.isdigit, identifier))
    joints = sum(not char.isalnum() for char in identifier)
    return any(map(str.isalpha, identifier)) and (digits >= 3 or (digits == 2 and joints >= 2))


def identifier_terms(text: str) -> str:
    """Return the text's identifiers as PostgreSQL reads a tsvector, each as often as it occurs."""
    words: list[str] = []
    position = 1
    for identifier, count in identifiers(text).items():
        places = ",".join(str(n) for n in range(position, position + min(count, 200)))
        position += count
        quoted = identifier.replace("\\", "\\\\").replace("'", "''")
        words.append(f"'{quoted}':{places}")
        if position > MOST_POSITIONS:
            break
    return " ".join(words)


MOST_POSITIONS = 8_000
"""PostgreSQL counts positions to 16,383; identifiers come after the words."""

_QUOTED = re.compile(
    r'"([^"\n]{1,300})"|“([^“”\n]{1,300})[”“]|„([^„“”\n]{1,300})[“”]|«([^«»\n]{1,300})»'
)
_APOSTROPHES, _DASHES = "['’ʼ]", "[-\u2010\u2011\u2012\u2013\u2014\u2212]"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A quoted part of a question: its words, and the regular expression that its holders match."""

    text: str
    pattern: str


def phrases(question: str) -> list[Phrase]:
    """Return what a question has in quotation marks, as far as it holds a letter or digit.

    Holds:   the pattern ignores case, kinds of white space, apostrophes and hyphens, and begins and
             ends at words' ends.
    """
    found: list[Phrase] = []
    for match in _QUOTED.finditer(question):
        quoted = next(group for group in match.groups() if group)
        words = quoted.strip(" \t,.;:!?…").split()
        if any(char.isalnum() for char in quoted) and words:
            found.append(Phrase(" ".join(words), _pattern(words)))
    return found


def _pattern(words: Sequence[str]) -> str:
    body = r"\s+".join("".join(_character(char) for char in word) for word in words)
    before = r"(?<!\w)" if words[0][0].isalnum() else ""
    after = r"(?!\w)" if words[-1][-1].isalnum() else ""
    return before + body + after


def _character(char: str) -> str:
    if char in "'’ʼ":
        return _APOSTROPHES
    if char in "-\u2010\u2011\u2012\u2013\u2014\u2212":
        return _DASHES
    return (
        char
        if char.isalnum() or char == "_"
        else f"[{char}]"
        if char not in "\\^[]"
        else f"\\{char}"
    )
