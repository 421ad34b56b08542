"""Cut a model's growing text into sentences, each with the numbers of the sources that it names."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from citewell.domain.sentences import MAX_BRACKET_CHARACTERS, Span, split_sentences

MOST_CHARACTERS = 2000
"""A longer sentence is one no more: it is cut, so that a runaway text does not fill the memory."""
MOST_MARKER_CHARACTERS = 60
"""A bracket that is open for longer is no marker that is still on its way."""
MOST_RANGE = 20

_NUMBERS = r"\^?(?:sources?\s*)?\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*"
_MARKER = re.compile(
    rf"\s*(?:\[\s*({_NUMBERS})\s*\]|【\s*(\d{{1,3}})[^】\n]{{0,40}}】)", re.IGNORECASE
)
_PART = re.compile(r"(\d{1,3})(?:\s*[–-]\s*(\d{1,3}))?")
_OPEN = re.compile(r"[\[【][^\]】\n]*\Z")
_LIST_MARK = re.compile(r"\A\s*(?:[-*•–]|\(?\d{1,2}[.)])\s+(?=\S)")
_HEADING = re.compile(r"\A\s*(?:#{1,6}\s|\*\*[^*.!?]+\*\*:?\s*\Z)")
_LINE_BEGINS = re.compile(r"(?:\A|\n)[ \t]*(?:[-*•–]|\(?\d{1,2}[.)])?[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence as a model wrote it, without markers, and the numbers that it named."""

    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Marker:
    start: int
    end: int
    numbers: tuple[int, ...]


class DraftCutter:
    """Takes pieces of text as they come, and gives sentences as soon as they are surely whole.

    Markers may stand before or after the full stop, or alone on the next line; one that begins a
    line belongs to what follows on it. Headings are left out; the marks of list items too.
    """

    def __init__(self) -> None:
        self._pending = ""

    def add(self, piece: str) -> Iterator[Written]:
        """Yield the sentences that this piece completes."""
        self._pending += piece
        waiting = _OPEN.search(self._pending, max(0, len(self._pending) - MOST_MARKER_CHARACTERS))
        ready = self._pending[: waiting.start()] if waiting else self._pending
        yield from self._cut(ready, last=len(self._pending) > MOST_CHARACTERS)

    def finish(self) -> Iterator[Written]:
        """Yield what is left: the text is at its end."""
        yield from self._cut(self._pending, last=True)

    def _cut(self, ready: str, *, last: bool) -> Iterator[Written]:
        markers = list(_markers(ready))
        words = _without(ready, markers)
        spans = split_sentences(words, MOST_CHARACTERS)
        whole = len(spans) if last else _count_whole(words, spans)
        if not whole:
            return
        owners = _owners(words, spans, markers)
        following = [marker.start for marker, owner in zip(markers, owners, strict=True)
                     if owner >= whole]  # fmt: skip
        ends = [spans[whole][0]] if whole < len(spans) else [len(ready)]
        self._pending = self._pending[min(ends + following) :]
        for index, (start, end) in enumerate(spans[:whole]):
            own = [marker for marker, owner in zip(markers, owners, strict=True) if owner == index]
            text = _plain(ready[start:end])
            if text:
                numbers = (number for marker in own for number in marker.numbers)
                yield Written(text, tuple(dict.fromkeys(numbers)))


def cut_drafts(text: str) -> Iterator[Written]:
    """Yield the sentences of a text that is there as a whole."""
    cutter = DraftCutter()
    yield from cutter.add(text)
    yield from cutter.finish()


def _markers(text: str) -> Iterator[_Marker]:
    for found in _MARKER.finditer(text):
        numbers: list[int] = []
        for first, last in _PART.findall(found.group(1) or found.group(2)):
            most = min(int(last or first), int(first) + MOST_RANGE)
            numbers += range(int(first), most + 1)
        bracket = found.end() - len(found.group().lstrip())
        yield _Marker(bracket, found.end(), tuple(numbers))


def _without(text: str, markers: list[_Marker]) -> str:
    """Return the text with spaces for the markers: all other places stay the same."""
    for marker in markers:
        blank = " " * (marker.end - marker.start)
        text = text[: marker.start] + blank + text[marker.end :]
    return text


def _count_whole(words: str, spans: list[Span]) -> int:
    """Count the sentences that no further text can change: one with a whole word follows each."""
    whole = 0
    for (start, end), (after, after_end) in pairwise(spans):
        same_line = "\n" not in words[end:after]
        word_ended = after_end < len(words) or any(map(str.isspace, words[after:after_end]))
        bracket = words.count("(", start, end) > words.count(")", start, end)
        if same_line and (
            not word_ended or (bracket and len(words) - end < MAX_BRACKET_CHARACTERS)
        ):
            break
        whole += 1
    return whole


def _owners(words: str, spans: list[Span], markers: list[_Marker]) -> list[int]:
    """Return for each marker which sentence it belongs to."""
    starts = [start for start, _ in spans]
    owners: list[int] = []
    for marker in markers:
        before = bisect_right(starts, marker.start) - 1
        rest = words[marker.end :].split("\n", 1)[0]
        begins_line = _LINE_BEGINS.search(words[: marker.start]) is not None
        if before < 0 or (begins_line and rest.strip() and before + 1 < len(spans)
                          and spans[before][1] <= marker.start):  # fmt: skip
            before += 1
        owners.append(before)
    return owners


def _plain(text: str) -> str:
    """Return a sentence without markers, list mark and emphasis; nothing when it is a heading."""
    text = _MARKER.sub("", text)
    if _HEADING.match(text):
        return ""
    text = " ".join(_LIST_MARK.sub("", text).replace("**", "").split())
    return text if any(map(str.isalnum, text)) else ""
