"""Cut a document into spans that fit the embedder, at the best places near an even size.

Tokens are counted once per distinct word and summed, which is what makes it fast; the finished
chunks are then counted as they are, and a chunk that came out too large is cut again.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice

from citewell.domain import Chunk, Chunking, ParsedDocument, Section

CountTokens = Callable[[Sequence[str]], list[int]]

CONTEXT_TOKENS = 48
_SPECIAL_TOKENS = 2
_LONGEST_PIECE = 40
_CHARACTERS_PER_TOKEN = 8
_WORDS_KEPT = 65_536
_BLOCK_CHARACTERS = 65_536
_CHUNKS_AHEAD = 4
_CHUNKS_COUNTED_AT_ONCE = 256
_WIDE = "\u2e80-\u2fff\u3003-\u9fff\uf900-\ufaff\uff10-\uff19\uff21-\uff5a\uff66-\uff9f"
_PIECE = re.compile(
    rf"([{_WIDE}]{{1,4}}[。！？、，；：」』）]*|[^\s{_WIDE}]{{1,{_LONGEST_PIECE}}})(\s*)"
)
_SENTENCE_END = re.compile(r"(?:[.!?…]|[。！？।؟۔])[\"'”’»)\]]*$")
_ABBREVIATION = re.compile(
    r"^\(?(?:[A-Z]|e\.g|i\.e|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|Sec|Vol|pp?|al|approx|etc)\.$"
)
_CONTEXT_JOINT = " \u2014 "
_PATH_JOINT = " > "

# What a cut is worth, against an even size: a paragraph's end may be 60 % off the ideal size.
_PARAGRAPH, _LINE, _SENTENCE, _CLAUSE, _WORD, _INSIDE = 1.0, 0.75, 0.65, 0.25, 0.1, 0.0
_UNEVENNESS = 1.4


class WordCosts:
    """Counts each distinct word once, and remembers the words from document to document.

    ``count_tokens`` is the embedder's own count, without its special tokens.
    """

    def __init__(self, count_tokens: CountTokens) -> None:
        self.count_tokens = count_tokens
        self._known: dict[str, int] = {}

    def of(self, words: Sequence[str]) -> list[int]:
        """Return what each word costs, at least one token."""
        if len(self._known) > _WORDS_KEPT:
            self._known = {}
        known = self._known
        if new := list(set(words).difference(known)):
            # A word of a script that the tokenizer does not know counts as one token, however long.
            known.update(
                (word, max(1, tokens, len(word) // _CHARACTERS_PER_TOKEN))
                for word, tokens in zip(new, self.count_tokens(new), strict=True)
            )
        return [known[word] for word in words]


def chunk(document: ParsedDocument, chunking: Chunking, costs: WordCosts) -> list[Chunk]:
    """Cut each section's body into chunks, in the order of the text.

    Holds:   ``text == document.text[start:end]`` without white space at its ends; no chunk
             crosses a section; context + text + 2 special tokens ≤ window; headings are
             chunks only in a document that holds nothing else.
    Cost:    linear in time; words are held for one block of the text at a time.
    """
    text = document.text
    bodies = [(section, section.body_start, section.end) for section in document.sections]
    if not any(text[start:end].strip() for _, start, end in bodies):
        bodies = [(section, section.start, section.end) for section in document.sections]
    spans = _spans(document, bodies, chunking, costs)
    chunks: list[Chunk] = []
    while batch := list(islice(spans, _CHUNKS_COUNTED_AT_ONCE)):
        chunks += _finished(document, batch, len(chunks), costs.count_tokens)
    return chunks


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    limit: int
    section: Section
    context: str


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Words (or parts of very long ones) that are never cut, and the white space after each.

    Shapes:  n words and gaps; n + 1 starts and sums of tokens.
    """

    words: Sequence[str]
    gaps: Sequence[str]
    starts: Sequence[int]
    sums: Sequence[int]

    def end(self, index: int) -> int:
        """Return where a piece ends."""
        return self.starts[index] + len(self.words[index])

    def worth(self, index: int) -> float:
        """Say how good a place the end of a piece is for a cut."""
        word, gap = self.words[index], self.gaps[index]
        last = word[-1]
        if not gap:
            return _SENTENCE if last in "。！？" else _CLAUSE if last in "、，；：" else _INSIDE
        if "\n" in gap:
            return _PARAGRAPH if "\n\n" in gap else _LINE
        if last in ".!?…\"'”’»)]。！？।؟۔" and _SENTENCE_END.search(word):
            return _WORD if _ABBREVIATION.match(word) else _SENTENCE
        return _CLAUSE if last in ",;:、，；：" else _WORD


def _pieces(text: str, start: int, end: int, costs: WordCosts) -> _Pieces:
    found: list[tuple[str, str]] = _PIECE.findall(text, start, end)
    if not found:
        return _Pieces((), (), (end,), (0,))
    words, gaps = zip(*found, strict=True)
    sizes = [len(word) + len(gap) for word, gap in found]
    starts = list(accumulate(sizes, initial=end - sum(sizes)))
    return _Pieces(words, gaps, starts, list(accumulate(costs.of(words), initial=0)))


def _spans(
    document: ParsedDocument,
    bodies: Iterable[tuple[Section, int, int]],
    chunking: Chunking,
    costs: WordCosts,
) -> Iterator[_Span]:
    for section, start, end in bodies:
        context, used = _fitting_context(document.title, section.path, costs.count_tokens)
        limit = max(1, min(chunking.size_tokens, chunking.window_tokens - _SPECIAL_TOKENS - used))
        overlap = min(chunking.overlap_tokens, limit // 2)
        for first, last in _cut(document.text, start, end, costs, limit, overlap):
            yield _Span(first, last, limit, section, context)


def _cut(
    text: str, start: int, end: int, costs: WordCosts, limit: int, overlap: int
) -> Iterator[tuple[int, int]]:
    """Yield spans of at most ``limit`` tokens, as even as good places allow.

    Holds:   the text is parted block by block, and cut as if it were parted at once.
    """
    ahead = limit * _CHUNKS_AHEAD
    block = max(_BLOCK_CHARACTERS, ahead * _CHARACTERS_PER_TOKEN * 2)
    first, room = 0, limit
    while start < end:
        final = end - start <= block
        pieces = _pieces(text, start, end if final else start + block, costs)
        # Where a block ends inside of the text, its last word may be cut off.
        total = len(pieces.words) - (not final)
        sums, begun = pieces.sums, first
        while first < total and (final or sums[total] - sums[first] >= ahead):
            last = bisect_right(sums, sums[first] + room, first + 1, total + 1) - 1
            last = max(last, first + 1)
            if last < total:
                last = _best_end(pieces, first, last, room, sums[total] - sums[first])
            begin = first if room == limit else _overlap_start(pieces, first, overlap)
            yield pieces.starts[begin], pieces.end(last - 1)
            first, room = last, limit - overlap
        if final:
            return
        if first == begun:
            block *= 2
        kept = first
        while kept and sums[first] - sums[kept] <= overlap:
            kept -= 1
        start, first = pieces.starts[kept], first - kept


def _best_end(pieces: _Pieces, first: int, last: int, room: int, left: int) -> int:
    """Choose where the chunk that begins at ``first`` ends: ``last`` is the furthest place."""
    sums, base = pieces.sums, pieces.sums[first]
    # Look a few chunks ahead only: with many left, an even share is simply a full chunk.
    ideal = left / -(-left // room) if left < room * _CHUNKS_AHEAD else room * 0.9
    lowest = base + ideal * 0.35
    best, best_score = last, float("-inf")
    for end in range(last, first, -1):
        if sums[end] < lowest:
            break
        off = sums[end] - base - ideal
        uneven = abs(off) / ideal * _UNEVENNESS
        if _PARAGRAPH - uneven <= best_score:
            if off < 0:
                break
            continue
        score = pieces.worth(end - 1) - uneven
        if score > best_score:
            best, best_score = end, score
    return best


def _overlap_start(pieces: _Pieces, first: int, overlap: int) -> int:
    """Return where a chunk begins when it repeats the end of the one before."""
    begin = first
    best, best_worth = first, -1.0
    while begin > 0 and pieces.sums[first] - pieces.sums[begin - 1] <= overlap:
        begin -= 1
        worth = pieces.worth(begin - 1) if begin else _PARAGRAPH
        if worth >= max(best_worth, _WORD):
            best, best_worth = begin, worth
    return best


def _finished(
    document: ParsedDocument, spans: list[_Span], ordinal: int, count_tokens: CountTokens
) -> Iterator[Chunk]:
    """Count the chunks as they are; one that is too large after all is halved."""
    text = document.text
    tokens = count_tokens([text[span.start : span.end] for span in spans])
    for span, count in zip(spans, tokens, strict=True):
        for part, size in _fitting(text, span, count, count_tokens):
            page = bisect_right(document.page_starts, part.start) or None
            yield Chunk(
                ordinal=ordinal,
                start=part.start,
                end=part.end,
                text=text[part.start : part.end],
                context=part.context,
                section=part.section.ordinal,
                page=page if document.page_starts else None,
                tokens=size,
            )
            ordinal += 1


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


def _fitting_context(
    title: str, path: tuple[str, ...], count_tokens: CountTokens
) -> tuple[str, int]:
    """Return a section's "Title — Path > Subpath" with its tokens, at most 48."""
    context = _context(title, path)
    (count,) = count_tokens([context])
    return (context, count) if count <= CONTEXT_TOKENS else _shortened(title, path, count_tokens)


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
