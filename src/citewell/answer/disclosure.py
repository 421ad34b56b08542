"""Notice a text that repeats what only the prompt says."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

RUN_WORDS = 7
"""So many words in a row that the prompt has, and no source, are taken from the prompt."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Knows the runs of words of one prompt; ``mark`` is the code of its sources' fences."""

    runs: frozenset[tuple[str, ...]]
    mark: str

    @classmethod
    def of(cls, prompt: str, sources: Iterable[str], mark: str) -> "Disclosure":
        """Learn a prompt; what the sources say too may be quoted."""
        known = {run for source in sources for run in _runs(source)}
        return cls(frozenset(_runs(prompt) - known), mark)

    def is_in(self, text: str) -> bool:
        """Say whether the text repeats the prompt, word by word."""
        return self.mark in text or not self.runs.isdisjoint(_runs(text))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + RUN_WORDS]) for at in range(len(words) - RUN_WORDS + 1)}
