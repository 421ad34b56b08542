"""Cut a document into spans that fit the embedder, at the best places near an even size.

Tokens are counted once per distinct word and summed, which is what makes it fast; the finished
chunks are then counted as they are, and a chunk that came out too large is cut again.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from citewell.domain import Chunk, ParsedDocument, Section

CountTokens = Callable[[Sequence[str]], list[int]]

CONTEXT_TOKENS = 48
_SPECIAL_TOKENS = 2
_LONGEST_PIECE = 40
_CHARACTERS_PER_TOKEN = 8
_WIDE = "\u2e80-\u2fff\u3003-\u9fff\uf900-\ufaff\uff10-\uff19\uff21-\uff5a\uff66-\uff9f"
_PIECE = re.compile(rf"[{_WIDE}]{{1,4}}[。！？、，；：」』）]*|[^\s{_WIDE}]{{1,{_LONGEST_PIECE}}}")
_SENTENCE_END = re.compile(r"(?:[.!?…]|[。！？।؟۔])[\"'”’»)\]]*$")
_ABBREVIATION = re.compile(
    r"^\(?(?:[A-Z]|e\.g|i\.e|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|Sec|Vol|pp?|al|approx|etc)\.$"
)
_CLAUSE_END = re.compile(r"[,;:、，；：]$")
_CONTEXT_JOINT = " \u2014 "
_PATH_JOINT = " > "

# What a cut is worth, against an even size: a paragraph's end may be 60 % off the ideal size.
_PARAGRAPH, _LINE, _SENTENCE, _CLAUSE, _WORD, _INSIDE = 1.0, 0.75, 0.65, 0.25, 0.1, 0.0
_UNEVENNESS = 1.4


def chunk(
    document: ParsedDocument,
    size_tokens: int,
    overlap_tokens: int,
    window_tokens: int,
    count_tokens: CountTokens,
) -> list[Chunk]:
    """Cut each section's body into chunks, in the order of the text.

    ``count_tokens`` is the embedder's own count, without its special tokens.
    Holds:   ``text == document.text[start:end]`` without white space at its ends; no chunk
             crosses a section; context + text + 2 special tokens ≤ window; headings are
             chunks only in a document that holds nothing else.
    Cost:    about 2 s for 5 MB of text.
    """
    contexts = _contexts(document, count_tokens)
    text = document.text
    bodies = [(section, section.body_start, section.end) for section in document.sections]
    if not any(text[start:end].strip() for _, start, end in bodies):
        bodies = [(section, section.start, section.end) for section in document.sections]
    spans: list[_Span] = []
    cost = _WordCosts(count_tokens)
    for section, start, end in bodies:
        context, used = contexts[section.ordinal]
        limit = max(1, min(size_tokens, window_tokens - _SPECIAL_TOKENS - used))
        overlap = min(overlap_tokens, limit // 2)
        pieces = cost.pieces(text, start, end)
        spans += [
            _Span(span[0], span[1], limit, section, context)
            for span in _cut(pieces, limit, overlap)
        ]
    return _finished(document, spans, count_tokens)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    limit: int
    section: Section
    context: str


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Words (or parts of very long ones) with what they cost and what a cut after them is worth."""

    starts: list[int]
    ends: list[int]
    worth: list[float]
    sums: list[int]


class _WordCosts:
    """Counts each distinct word once."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._known: dict[str, int] = {}

    def pieces(self, text: str, start: int, end: int) -> _Pieces:
        """Part a body into pieces that are never cut."""
        found = list(_PIECE.finditer(text, start, end))
        if not found:
            return _Pieces([], [], [], [0])
        words = [match[0] for match in found]
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        if new:
            # A word of a script that the tokenizer does not know counts as one token, however long.
            self._known.update(
                (word, max(1, tokens, len(word) // _CHARACTERS_PER_TOKEN))
                for word, tokens in zip(new, self._count_tokens(new), strict=True)
            )
        starts = [match.start() for match in found]
        ends = [match.end() for match in found]
        worth = [
            _worth(word, text[stop:after])
            for word, stop, after in zip(words, ends, [*starts[1:], end], strict=True)
        ]
        sums = [0, *accumulate(self._known[word] for word in words)]
        return _Pieces(starts, ends, worth, sums)


def _worth(word: str, gap: str) -> float:
    """Say how good a place between a word and what follows is for a cut."""
    if not gap:
        return _SENTENCE if word[-1] in "。！？" else _CLAUSE if word[-1] in "、，；：" else _INSIDE
    if "\n" in gap:
        return _PARAGRAPH if "\n\n" in gap else _LINE
    if word[-1] in ".!?…\"'”’»)]。！？।؟۔" and _SENTENCE_END.search(word):
        return _WORD if _ABBREVIATION.match(word) else _SENTENCE
    return _CLAUSE if _CLAUSE_END.search(word) else _WORD


def _cut(pieces: _Pieces, limit: int, overlap: int) -> list[tuple[int, int]]:
    """Return spans of at most ``limit`` tokens, as even as good places allow."""
    sums, total = pieces.sums, len(pieces.starts)
    fresh = limit - overlap
    spans: list[tuple[int, int]] = []
    first = 0
    while first < total:
        base = sums[first]
        room = limit if not spans else fresh
        last = bisect_right(sums, base + room, first + 1) - 1
        last = max(last, first + 1)
        if last < total:
            last = _best_end(pieces, first, last, room)
        begin = _overlap_start(pieces, first, overlap) if spans else first
        spans.append((pieces.starts[begin], pieces.ends[last - 1]))
        first = last
    return spans


def _best_end(pieces: _Pieces, first: int, last: int, room: int) -> int:
    """Choose where the chunk that begins at ``first`` ends: ``last`` is the furthest place."""
    sums, base = pieces.sums, pieces.sums[first]
    left = sums[-1] - base
    # Look a few chunks ahead only: with many left, an even share is simply a full chunk.
    ideal = left / -(-left // room) if left < room * 4 else room * 0.9
    lowest = base + ideal * 0.35
    best, best_score = last, float("-inf")
    for end in range(last, first, -1):
        if sums[end] < lowest:
            break
        score = pieces.worth[end - 1] - abs(sums[end] - base - ideal) / ideal * _UNEVENNESS
        if score > best_score:
            best, best_score = end, score
    return best


def _overlap_start(pieces: _Pieces, first: int, overlap: int) -> int:
    """Return where a chunk begins when it repeats the end of the one before."""
    begin = first
    best, best_worth = first, -1.0
    while begin > 0 and pieces.sums[first] - pieces.sums[begin - 1] <= overlap:
        begin -= 1
        worth = pieces.worth[begin - 1] if begin else _PARAGRAPH
        if worth >= max(best_worth, _WORD):
            best, best_worth = begin, worth
    return best


def _finished(
    document: ParsedDocument, spans: list[_Span], count_tokens: CountTokens
) -> list[Chunk]:
    """Count the chunks as they are; one that is too large after all is halved."""
    text = document.text
    chunks: list[Chunk] = []
    tokens = count_tokens([text[span.start : span.end] for span in spans])
    for span, count in zip(spans, tokens, strict=True):
        for part, size in _fitting(text, span, count, count_tokens):
            page = bisect_right(document.page_starts, part.start) or None
            chunks.append(
                Chunk(
                    ordinal=len(chunks),
                    start=part.start,
                    end=part.end,
                    text=text[part.start : part.end],
                    context=part.context,
                    section=part.section.ordinal,
                    page=page if document.page_starts else None,
                    tokens=size,
                )
            )
    return chunks


def _fitting(
    text: str, span: _Span, count: int, count_tokens: CountTokens
) -> list[tuple[_Span, int]]:
    """Halve a span until each part fits; a single character is never cut."""
    waiting = [(span, count)]
    done: list[tuple[_Span, int]] = []
    while waiting:
        part, size = waiting.pop()
        if size <= part.limit or part.end - part.start < 2:
            done.append((part, size))
            continue
        halves = [replace(part, start=a, end=b) for a, b in _halves(text, part.start, part.end)]
        sizes = count_tokens([text[half.start : half.end] for half in halves])
        waiting += reversed(list(zip(halves, sizes, strict=True)))
    return done


def _halves(text: str, start: int, end: int) -> list[tuple[int, int]]:
    middle = (start + end) // 2
    space = text.rfind(" ", start + (end - start) // 4, middle)
    cut = space if space > start else middle
    return [
        (begin + len(part) - len(part.lstrip()), begin + len(part.rstrip()))
        for begin, part in ((start, text[start:cut]), (cut, text[cut:end]))
        if part.strip()
    ]


def _contexts(document: ParsedDocument, count_tokens: CountTokens) -> dict[int, tuple[str, int]]:
    """Return each section's "Title — Path > Subpath" with its tokens, at most 48."""
    full = [_context(document.title, section.path) for section in document.sections]
    counts = count_tokens(full)
    contexts: dict[int, tuple[str, int]] = {}
    for section, context, count in zip(document.sections, full, counts, strict=True):
        if count > CONTEXT_TOKENS:
            contexts[section.ordinal] = _shortened(document.title, section.path, count_tokens)
        else:
            contexts[section.ordinal] = (context, count)
    return contexts


def _context(title: str, path: Sequence[str]) -> str:
    shown = path[1:] if path and path[0] == title else path
    return title + _CONTEXT_JOINT + _PATH_JOINT.join(shown) if shown else title


def _shortened(title: str, path: tuple[str, ...], count_tokens: CountTokens) -> tuple[str, int]:
    """Leave out the upper titles first, then the ends of the words."""
    variants = [_context(title, path[drop:]) for drop in range(1, len(path))]
    words = _context(title, path[-1:]).split(" ")
    lowest = _context(_clipped(title, 12), [_clipped(path[-1], 20)] if path else [])
    variants += [lowest, " ".join(words[:16])[:160], lowest[:80], lowest[:40], ""]
    for variant, count in zip(variants, count_tokens(variants), strict=True):
        if count <= CONTEXT_TOKENS:
            return variant, count
    return "", 0


def _clipped(text: str, words: int) -> str:
    parts = text.split()
    return text if len(parts) <= words else " ".join(parts[:words]) + " …"
