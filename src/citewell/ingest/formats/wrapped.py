"""Undo the line breaks that only the width of a page or column made.

A line is joined to the next only on evidence: in text files, when every line of the paragraph would
have run over the column with the next line's first word; in PDF, when the line is about as long as
the page's full lines or the next one goes on in lower case. Lists, code, poems and tables stay.
"""

import re
from collections import Counter
from itertools import pairwise

_ITEM = re.compile(r"^\s*(?:[-*•‣▪◦●○·–—]\s|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]\s|§)")
_HYPHENATED = re.compile(r"[^\W\d_]-$")
_SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’)\]]*$")
_LEADERS = re.compile(r"\.{4,}|(?:\. ){4,}|_{4,}")
_NUMBERED_LINE = re.compile(r"^\d{1,3}(?:\.\d{1,3})*\.?\s+[A-Z]")
_LABEL = re.compile(r"^[A-Z][^.!?:]{1,48}:(?:\s|$)")
_SMALL_WORDS = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "the", "to")
)
_MANY_LEVELS = re.compile(r"^\d{1,4}(?:\.\d{1,3}){1,5}(?:-\d{1,4})?\.?\s+[A-Z]")
_FIGURES = re.compile(r"^[\d.,:/%+()$€£¥-]*\d[\d.,:/%+()$€£¥-]*$")


def join_wrapped(text: str) -> str:
    """Join the wrapped lines of a text file's paragraphs; other paragraphs stay as they are.

    Cost:    linear.
    """
    paragraphs = text.split("\n\n")
    columns = Counter(
        max(len(line) for line in lines)
        for lines in (paragraph.split("\n") for paragraph in paragraphs)
        if len(lines) >= 3 and _is_wrapped(lines, max(len(line) for line in lines))
    )
    if not columns:
        return text
    column = max(columns)
    return "\n\n".join([_join_paragraph(paragraph, column) for paragraph in paragraphs])


def _join_paragraph(paragraph: str, column: int) -> str:
    lines = paragraph.split("\n")
    if len(lines) < 2:
        return paragraph
    width = max(len(line) for line in lines)
    least = width if len(lines) >= 3 else column - 12
    return " ".join(lines) if _is_wrapped(lines, max(width, least)) else paragraph


def _is_wrapped(lines: list[str], column: int) -> bool:
    """Say whether the lines fill a column as a typist or a program wraps them."""
    if not 50 <= max(len(line) for line in lines) <= 100 or column > 100:
        return False
    if any(not line or line[0].isspace() or _ITEM.match(line) for line in lines):
        return False
    if any("\t" in line or "   " in line or "|" in line for line in lines):
        return False
    return all(
        len(line) + 1 + len(following.split(maxsplit=1)[0]) > column - 3
        for line, following in pairwise(lines)
    )


def page_width(lines: list[str]) -> int:
    """Return how long the full lines of a PDF page are, in characters."""
    lengths = sorted(len(line) for line in lines if len(line) > 20)
    return lengths[int(len(lengths) * 0.65)] if lengths else 0


def join_page(lines: list[str]) -> list[str]:
    """Join a PDF page's lines into paragraphs and undo the hyphens at line ends."""
    width = page_width(lines)
    paragraphs: list[list[str]] = []
    last = ""
    for line in lines:
        if line and last and _goes_on(last, line, width):
            paragraphs[-1].append(join_lines(last, line)[len(last) :])
        else:
            paragraphs.append([line])
        last = line
    return ["".join(parts) for parts in paragraphs]


def join_lines(first: str, second: str) -> str:
    """Join two lines of a paragraph by a space; none after a hyphen or a Han character."""
    if first.endswith("-") and second[:1].isalnum() and first[-2:-1].isalnum():
        return first + second
    wide = bool(first) and first[-1] >= "\u2e80" and not "\uac00" <= first[-1] <= "\ud7a3"
    return first + second if wide else f"{first} {second}"


def sentence_goes_on(first: str, second: str) -> bool:
    """Say whether a page's last paragraph goes on at the top of the next page."""
    return (
        len(first) > 40
        and not _SENTENCE_END.search(first)
        and second[:1].islower()
        and not _ITEM.match(second)
    )


def _goes_on(first: str, second: str, width: int) -> bool:
    """Say whether the second line belongs to the first one's paragraph."""
    if _begins_anew(first, second, width):
        return False
    length = len(first)
    if _HYPHENATED.search(first) and second[:1].islower():
        return True
    if _SENTENCE_END.search(first):
        return length >= width * 0.85 and len(second) >= 20
    share = 0.4 if second[:1].islower() else 0.6 if first.endswith(",") else 0.78
    return length >= width * share


def _begins_anew(first: str, second: str, width: int) -> bool:
    """Say whether one of the lines is an item, a row, a heading or a label."""
    short = len(second) < width * 0.8 and len(first) < width * 0.95
    return bool(
        _ITEM.match(second)
        or _MANY_LEVELS.match(second)
        or _LEADERS.search(first)
        or _LEADERS.search(second)
        or _is_figures(first)
        or _is_figures(second)
        or _LABEL.match(second)
        or (_is_title(second) and len(second) < width * 0.6)
        or (_NUMBERED_LINE.match(second) and short)
        or (_NUMBERED_LINE.match(first) and len(first) < width * 0.7 and second[:1].isupper())
    )


def _is_title(line: str) -> bool:
    """Say whether a line is written as titles are: capitals, and no full stop."""
    words = line.split()
    return (
        len(words) > 1
        and line[-1].isalnum()
        and all(word[0].isupper() for word in words if word.lower() not in _SMALL_WORDS)
    )


def _is_figures(line: str) -> bool:
    """Say whether a line is a table's row: mostly numbers."""
    words = line.split()
    figures = sum(len(word) < 30 and bool(_FIGURES.match(word)) for word in words)
    return figures >= 3 and figures * 2 >= len(words)
