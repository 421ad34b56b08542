"""Turn headings into the tree of numbered sections.

A heading's own number ("2.3.1", "A.2", "Chapter 4", "§ 1308.01") is parted from its title. A number
that might be a mere word of the title ("3 ways to …") counts only when a neighbour confirms it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from citewell.domain import Section

LONGEST_TITLE = 500
"""Characters of a section's title: every section below repeats it in its path."""
_WORDS = "chapter|section|part|appendix|article|annex|kapitel|abschnitt|anhang|teil|chapitre|partie"
_NAMED = re.compile(
    rf"^(?:{_WORDS})\s+(?P<number>[A-Z]?\d+(?:\.\d+)*|[IVXLC]+|[A-Z](?:\.\d+)*)(?![\w'’])[.:)]?"
    r"[\s\u2013\u2014:-]*(?P<title>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_SIGN = re.compile(r"^§+\s*(?P<number>\w+(?:[.-]\w+)*)\.?(?:[\s:]+(?P<title>.*))?$", re.DOTALL)
_DOTTED = re.compile(
    r"^(?P<number>(?:\d{1,4}|[A-Z])(?:\.\d{1,4})+)[.:)]?(?:\s+(?P<title>.*))?$", re.DOTALL
)
_SINGLE = re.compile(
    r"^(?P<number>\d{1,3}|[A-Z]|[IVXLC]{2,6})(?P<mark>[.:)]?)\s+(?P<title>\S.*)$", re.DOTALL
)
_OWN_NUMBER = re.compile(
    r"^(?:§+\s*)?(?P<number>[A-Z]?\d+(?:\.\d+)*|[A-Z](?:\.\d+)*|[IVXLC]+)[.:)]?$"
)
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line in the canonical text: ``text[start:body_start]`` with what follows its line.

    ``number`` is set where the source marks it as such; otherwise it is read from the title.
    """

    start: int
    body_start: int
    level: int
    title: str
    number: str | None = None
    anchor: str | None = None


def section(text: str, headings: Sequence[Heading]) -> tuple[Section, ...]:
    """Return the sections that the headings open, in the order of the text.

    Holds:   the sections partition the text; text before the first heading belongs to a section of
             level 0 with an empty title; ``path`` leaves empty titles out.
    Cost:    linear in the number of headings.
    """
    if not text:
        return ()
    numbered = _numbered(headings)
    sections: list[Section] = []
    if not numbered or text[: numbered[0].start].strip():
        end = numbered[0].start if numbered else len(text)
        sections.append(Section(0, None, 0, None, "", None, (), 0, 0, end))
    elif numbered[0].start:
        numbered[0] = replace(numbered[0], start=0)
    open_sections: list[Section] = []
    for index, heading in enumerate(numbered):
        end = numbered[index + 1].start if index + 1 < len(numbered) else len(text)
        while open_sections and open_sections[-1].level >= heading.level:
            open_sections.pop()
        parent = open_sections[-1] if open_sections else None
        path = (
            ((*parent.path, heading.title) if heading.title else parent.path)
            if parent
            else ((heading.title,) if heading.title else ())
        )
        made = Section(
            ordinal=len(sections),
            parent=parent.ordinal if parent else None,
            level=heading.level,
            number=heading.number,
            title=heading.title,
            anchor=heading.anchor,
            path=path,
            start=heading.start,
            body_start=min(heading.body_start, end),
            end=end,
        )
        sections.append(made)
        open_sections.append(made)
    return tuple(sections)


def own_number(label: str) -> str | None:
    """Return the number if the label is nothing but a section number ("1.1", "§ A.2", "IV.")."""
    found = _OWN_NUMBER.match(label.strip())
    return found["number"] if found else None


def split_number(heading: str) -> tuple[str | None, str, bool]:
    """Part a heading into number, title and whether the number is beyond doubt."""
    for pattern in (_NAMED, _SIGN, _DOTTED):
        found = pattern.match(heading)
        if found:
            return found["number"], (found["title"] or "").strip() or heading, True
    found = _SINGLE.match(heading)
    if found and (found["mark"] or found["number"].isdigit()):
        return found["number"], found["title"].strip(), False
    return None, heading, False


def _numbered(headings: Sequence[Heading]) -> list[Heading]:
    """Give each heading its number and bare title."""
    parts = [
        (heading.number, heading.title, True) if heading.number else split_number(heading.title)
        for heading in headings
    ]
    labels = {number for number, _, _ in parts if number}
    firsts = {re.split(r"[.-]", number, maxsplit=1)[0] for number in labels if "." in number}
    numbered: list[Heading] = []
    for heading, (number, whole, sure) in zip(headings, parts, strict=True):
        title = whole[:LONGEST_TITLE]
        if number and (sure or number in firsts or not labels.isdisjoint(_neighbours(number))):
            numbered.append(replace(heading, number=number, title=title))
        else:
            numbered.append(replace(heading, number=None, title=heading.title[:LONGEST_TITLE]))
    return numbered


def _neighbours(number: str) -> set[str]:
    """Return the labels that come right before and after a single-level number."""
    if number.isdigit():
        return {str(int(number) - 1), str(int(number) + 1)}
    near: set[str] = set()
    if len(number) == 1:
        near |= {chr(ord(number) - 1), chr(ord(number) + 1)}
    if set(number) <= _ROMAN.keys():
        value = _roman_value(number)
        near |= {_roman(value - 1), _roman(value + 1)}
    return near - {""}


def _roman_value(number: str) -> int:
    values = [_ROMAN[letter] for letter in number]
    return sum(
        -value if value < following else value
        for value, following in zip(values, [*values[1:], 0], strict=True)
    )


def _roman(value: int) -> str:
    result = ""
    for letters, worth in (("C", 100), ("XC", 90), ("L", 50), ("XL", 40), ("X", 10), ("IX", 9),
                           ("V", 5), ("IV", 4), ("I", 1)):  # fmt: skip
        while value >= worth:
            result += letters
            value -= worth
    return result
