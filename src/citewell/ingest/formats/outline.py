"""Numbered headings in a PDF's lines, taken only where their numbers make one unbroken sequence."""

import re

Place = tuple[int, int]
Number = tuple[int, ...]

_HEADING = re.compile(
    r"^(?P<number>\d{1,3}(?:\.\d{1,3}){0,4})(?P<mark>\.?)\s+(?P<title>[A-Z].{1,80})$"
)
_NO_TITLE = re.compile(r"\.{3,}|(?:\. ){3,}|\s\d{1,4}$|[.;,:]$|\.\s+[A-Z]|^[^(]*\)|\([^)]*$")
_LEAST_HEADINGS = 3
_LONGEST_MARKED = 60
_LIST_DISTANCE = 8


def find_headings(pages: list[list[str]]) -> dict[int, dict[int, int]]:
    """Return page index → {line index → level} of the headings that are beyond reasonable doubt.

    Holds:   numbers follow each other without a gap (1, 1.1, 1.2, 2 …). A document with fewer than
             3 such lines, with only the numbers of a list, or with many lines that break the
             sequence has none: no section is better than a wrong one.
    """
    candidates = _candidates(pages)
    taken: list[tuple[Place, Number, str]] = []
    strays = 0
    for place, number, mark in candidates:
        last = taken[-1][1] if taken else ()
        same_style = not taken or mark == taken[0][2] or len(number) > 1
        if same_style and _follows(last, number):
            taken.append((place, number, mark))
        elif len(number) > 1 and number > last and number not in {seen for _, seen, _ in taken}:
            strays += 1
    deep = sum(len(number) > 1 for _, number, _ in taken)
    bare = sum(len(number) == 1 and not mark for _, number, mark in taken)
    if len(taken) < _LEAST_HEADINGS or (deep < 2 and bare < _LEAST_HEADINGS):
        return {}
    if strays * 5 > len(taken):
        return {}
    headings: dict[int, dict[int, int]] = {}
    for (page, line), number, _ in taken:
        headings.setdefault(page, {})[line] = len(number)
    return headings


def _candidates(pages: list[list[str]]) -> list[tuple[Place, Number, str]]:
    found: list[tuple[Place, Number, str]] = []
    for page, lines in enumerate(pages):
        for place, line in enumerate(lines):
            match = _HEADING.match(line.strip())
            if not match or _NO_TITLE.search(match["title"]) or not _stands_alone(lines, place):
                continue
            number = tuple(int(part) for part in match["number"].split("."))
            marked = bool(match["mark"]) and len(number) == 1
            if marked and (
                len(match["title"]) > _LONGEST_MARKED or _in_list(lines, place, number[0])
            ):
                continue
            found.append(((page, place), number, match["mark"]))
    return found


def _in_list(lines: list[str], place: int, number: int) -> bool:
    """Say whether the next or last number stands close by, as in a list."""
    near = lines[max(0, place - _LIST_DISTANCE) : place + _LIST_DISTANCE + 1]
    return any(line.lstrip().startswith((f"{number - 1}. ", f"{number + 1}. ")) for line in near)


def _follows(last: Number, number: Number) -> bool:
    """Say whether a number comes right after another: a first child, or the next of an ancestor."""
    if not last:
        return number in {(1,), (1, 1)}
    if number[:-1] == last:
        return number[-1] == 1
    depth = len(number)
    return depth <= len(last) and number == (*last[: depth - 1], last[depth - 1] + 1)


def _stands_alone(lines: list[str], place: int) -> bool:
    """Say whether no sentence runs into the line or out of it."""
    before = next((line for line in reversed(lines[:place]) if line.strip()), "")
    after = next((line for line in lines[place + 1 :] if line.strip()), "")
    runs_in = len(before) > 60 and before[-1:].islower()
    return not runs_in and not after[:1].islower()
