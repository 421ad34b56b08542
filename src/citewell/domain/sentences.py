"""Cut canonical text into sentences by rules, each as an exact span of it.

A line is a unit of its own, because canonical text has wrapped lines already joined: so a heading,
a list item, a table row and a line of code are never mixed with their neighbours.

Source:  own rules; pysbd 0.3.4 is from 2021 and slow, sentencex needs the language and knows no
         lines, and both leave the cutting of long units to the caller.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]


def _words(joined: str) -> frozenset[str]:
    return frozenset(joined.split())


MAX_CHARACTERS = 600
"""A longer unit says more than one thing and outgrows the embedder's window: it is cut."""

MAX_BRACKET_CHARACTERS = 300
"""A bracket that closes within this keeps its sentences together; a longer one is a stray."""

MIN_WORDS, MIN_UNSPACED_CHARACTERS = 3, 6
"""A shorter unit says nothing alone; scripts that write no spaces count characters."""

_NEVER_LAST = _words("approx ca cf e.g eg esp i.e ie messrs nos v viz vs")
"""Abbreviations after which the sentence goes on, whatever follows."""

_TITLES = _words(
    "Adm Brig Capt Cmdr Col Cpl Dept Dr Fr Gen Gov Hon Lt Maj Mlle Mme Mr Mrs Ms Mt Mts Pres Prof"
    " Rep Rev Sen Sgt Sr St Ste Univ"
)
"""Capitalised abbreviations that a name follows."""

_MAYBE_LAST = _words(
    "a.d a.m ad al apr aug b.c bc bros c.e co corp dec d.c e.u ed eds etc feb inc jan jr jul jun"
    " ltd mar max min nov oct p.m ph.d plc sep sept u.k u.n u.s u.s.a"
)
"""Abbreviations that may end a sentence: they do when a usual opening word follows."""

_BEFORE_NUMBER = _words(
    "app art c cap ch chap chaps col eq eqs ex fig figs l ll n no nr op p para paras pl pp pt ref"
    " refs sec secs sect tab tbl vol vols"
)
"""Words that are abbreviations only before a number: "No. 5", but "He said no. Then"."""

_OPENERS = _words(
    "a after all although an and another as at because before both but by during each for from he"
    " her here his how however i if in it its later many more most my no not of on once one only"
    " other our see she since so some such that the their then there these they this those though"
    " thus to today under until we what when where which while who why with you your"
)
"""Words that open sentences, and that a name rarely begins with."""

_STOP = re.compile(
    r"(?P<wide>[。！？｡]+[」』）】”’\"]*)"
    r"|[.!?…]+[\"'”’»)\]}]*(?:\[\d{1,3}\])*(?=\s)"
)
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_WORD_BEFORE = re.compile(r"[^\s(\[{\"'“‘«—–/]*\Z")
_WORD_AFTER = re.compile(r"\s+[\"'“‘«(\[]*(\w*)")
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_LIST_MARK = re.compile(r"[(\[]?(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[ivxlc]{1,5})[.)\]]*\Z")
_CLAUSE_BORDERS = (
    re.compile(r"[;:；：][\"'”’)]*\s*"),
    re.compile(r"(?:,|，|、| [—–-])\s*"),
    re.compile(r"\s+"),
)
"""Where a long unit is cut, the strongest border first."""


def split_sentences(text: str) -> list[Span]:
    """Return the spans of the text's sentences, in order, trimmed, never overlapping.

    Shapes:  n code points → spans ``[start, end)``; all that lies between them is white space.
    Holds:   no span is empty, crosses a line or is longer than ``MAX_CHARACTERS``.
    Cost:    linear; ~15 million characters a second.
    """
    spans: list[Span] = []
    for line in _LINE.finditer(text):
        for start, end in _sentences(line.group()):
            spans.extend(_trimmed(text, line.start() + start, line.start() + end))
    return spans


def stands_alone(sentence: str) -> bool:
    """Say whether a sentence can be quoted by itself: it is no scrap and no question."""
    if sentence.endswith(("?", "？")):
        return False
    words, characters = _WORD.findall(sentence), _UNSPACED.findall(sentence)
    return len(words) >= MIN_WORDS or len(characters) >= MIN_UNSPACED_CHARACTERS


def _sentences(line: str) -> Iterator[Span]:
    start = 0
    for stop in _STOP.finditer(line):
        if _ends_sentence(line, start, stop):
            yield start, stop.end()
            start = stop.end()
    yield start, len(line)


def _ends_sentence(line: str, start: int, stop: re.Match[str]) -> bool:
    """Decide whether the stop ends the sentence that began at ``start``."""
    if stop.group("wide") is not None:
        return not _inside_bracket(line, start, stop.end())
    following = _WORD_AFTER.match(line, stop.end())
    after = following.group(1) if following else ""
    if after[:1].islower() or _inside_bracket(line, start, stop.end()):
        return False
    if line[stop.start() : stop.end()] != ".":
        return True
    return _full_stop_ends(line[start : stop.start()], after)


def _full_stop_ends(before: str, after: str) -> bool:
    """Decide about one full stop by the word before it and the word after it."""
    if _LIST_MARK.fullmatch(before.strip()):
        return False
    found = _WORD_BEFORE.search(before)
    word = found.group() if found else ""
    folded = word.lower()
    if folded in _NEVER_LAST or word in _TITLES:
        return False
    if folded in _BEFORE_NUMBER and after[:1].isdigit():
        return False
    initial = len(word) == 1 and word.isupper()
    if initial or _INITIALS.fullmatch(word) or folded in _MAYBE_LAST:
        return after.lower() in _OPENERS
    return True


def _inside_bracket(line: str, start: int, stop: int) -> bool:
    """Say whether a round bracket opened since ``start`` closes soon after ``stop``."""
    depth = line.count("(", start, stop) - line.count(")", start, stop)
    if depth <= 0:
        return False
    closing = line.find(")", stop, stop + MAX_BRACKET_CHARACTERS)
    opening = line.find("(", stop, stop + MAX_BRACKET_CHARACTERS)
    return closing >= 0 and (opening < 0 or closing < opening)


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut the span where it is too long, and trim white space off its pieces."""
    while start < end:
        while start < end and text[start].isspace():
            start += 1
        cut = end if end - start <= MAX_CHARACTERS else _clause_border(text, start)
        stop = cut
        while stop > start and text[stop - 1].isspace():
            stop -= 1
        if start < stop:
            yield start, stop
        start = cut


def _clause_border(text: str, start: int) -> int:
    """Return where to cut: the strongest border in the later part of the longest allowed piece."""
    least, most = start + MAX_CHARACTERS // 3, start + MAX_CHARACTERS
    for border in _CLAUSE_BORDERS:
        cuts = [found.end() for found in border.finditer(text, least, most)]
        if cuts:
            return cuts[-1]
    return most
