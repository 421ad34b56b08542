"""Let a text take one place among the results, however many copies of it were found.

Two chunks are near-duplicates when their runs of three words overlap by 0.9 (Jaccard), and they
differ in no number, no name and no denial: those change what a text says. Chunks of one version
that overlap are two views of one place, never copies.

Source: Broder, On the Resemblance and Containment of Documents, 1997 (shingles).
"""

import re
from collections.abc import Iterable
from functools import cached_property

from citewell.answer.cite.cues import DENYING
from citewell.domain import Candidate, ChunkId

RUN_WORDS = 3
RESEMBLANCE = 0.9
LONGEST = 5
"""Of so many of its longest words, which few texts share, a near-duplicate has half at least."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBER = re.compile(r"(?:(?<!\w)[-\u2212+<>≤≥±~$€£]\s?)?\d+(?:[.,:/]\d+)*")
_NOT = re.compile(r"n['’]t$")


class Distinct:
    """The best chunks whose texts differ, at most ``limit``, and the near-duplicates of each.

    Holds:   where no text comes nearly twice, the first ``limit`` are kept, in their order.
    Cost:    some 15 µs a chunk; 50 µs more where it shares its longest words.
    """

    def __init__(self, limit: int, *, collapses: bool = True) -> None:
        self.kept: list[Candidate] = []
        self.duplicates: dict[ChunkId, list[Candidate]] = {}
        self._limit = limit
        self._collapses = collapses
        self._texts: list[_Text] = []
        self._by_text: dict[str, int] = {}
        self._by_word: dict[str, list[int]] = {}

    @property
    def missing(self) -> int:
        """How many more may be kept."""
        return self._limit - len(self.kept)

    def add(self, ranked: Iterable[Candidate]) -> None:
        """Take the next chunks, best first: each is kept, or known as a copy of a better one."""
        for candidate in ranked:
            text = _Text(candidate)
            place = self._place_of_copied(text) if self._collapses else None
            if place is not None:
                kept = self.kept[place].chunk_id
                self.duplicates.setdefault(kept, []).append(candidate)
            elif self.missing > 0:
                self._keep(text)

    def _keep(self, text: "_Text") -> None:
        place = len(self.kept)
        self.kept.append(text.candidate)
        self._texts.append(text)
        if self._collapses:
            self._by_text.setdefault(text.candidate.text, place)
            for word in text.longest:
                self._by_word.setdefault(word, []).append(place)

    def _place_of_copied(self, text: "_Text") -> int | None:
        """Return the place of the best kept chunk that this one nearly repeats."""
        same = self._by_text.get(text.candidate.text)
        if same is not None and not _overlap(self.kept[same], text.candidate):
            return same
        shared: list[int] = []
        for word in text.longest:
            shared += self._by_word.get(word, ())
        for at in sorted(set(shared)):
            if 2 * shared.count(at) >= len(text.longest) and self._texts[at].is_nearly(text):
                return at
        return None


class _Text:
    """A chunk's text, with what it is compared by; each is computed when it is asked for."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate

    @cached_property
    def longest(self) -> frozenset[str]:
        return frozenset(sorted(self.candidate.text.casefold().split(), key=len)[-LONGEST:])

    @cached_property
    def folded(self) -> list[str]:
        return _WORD.findall(self.candidate.text.casefold())

    @cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        size = min(RUN_WORDS, len(self.folded))
        return frozenset(zip(*(self.folded[at:] for at in range(size)), strict=False))

    @cached_property
    def facts(self) -> list[str]:
        """The words that may be names, and those that deny, in their order."""
        words = _WORD.findall(self.candidate.text)
        return [w for w in words if w != w.lower() or w in DENYING or _NOT.search(w)]

    @cached_property
    def numbers(self) -> list[str]:
        return ["".join(each.split()) for each in _NUMBER.findall(self.candidate.text)]

    def is_nearly(self, other: "_Text") -> bool:
        """Say whether the texts are near-duplicates."""
        if _overlap(self.candidate, other.candidate):
            return False
        shared = len(self.runs & other.runs)
        if shared < RESEMBLANCE * (len(self.runs) + len(other.runs) - shared):
            return False
        same = self.folded == other.folded or self.facts == other.facts
        return same and self.numbers == other.numbers


def _overlap(one: Candidate, other: Candidate) -> bool:
    """Say whether both show a same place of one version."""
    return one.version_id == other.version_id and one.start < other.end and other.start < one.end
