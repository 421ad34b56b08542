"""Put evidence before a language model: numbered, fenced as data, and inside its window."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from citewell.answer.tokens import estimate_tokens
from citewell.domain import Candidate, DraftSentence, Message, Quote

CountTokens = Callable[[str], int]

MARGIN = 0.05
"""Share of the window that stays free, because tokens are estimated."""
HISTORY_SHARE = 0.25
"""Most of the room beside the prompt that earlier messages may take."""
LEAST_SOURCE_TOKENS = 64
"""A source that has no room for this much is left out, but for the first one."""
FRAME_TOKENS = 48
"""What a source's fence and the name of its place take, about."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The evidence as a model sees it: source n is ``texts[n - 1]``, the beginning of its chunk."""

    evidence: Sequence[Candidate]
    texts: Sequence[str]
    mark: str

    def fenced(self) -> str:
        """Return the sources, each between lines that its text cannot forge."""
        return "\n".join(
            f"BEGIN SOURCE {number} {self.mark}\n{_place(source)}\n{text}\n"
            f"END SOURCE {number} {self.mark}"
            for number, (source, text) in enumerate(zip(self.evidence, self.texts, strict=False), 1)
        )

    def draft(self, sentence: str, numbers: Sequence[int]) -> DraftSentence:
        """Return a sentence with the spans of the sources that it names; unknown numbers go."""
        known = dict.fromkeys(number for number in numbers if 1 <= number <= len(self.texts))
        quotes = tuple(
            Quote(
                number - 1,
                self.evidence[number - 1].start,
                self.evidence[number - 1].start + len(self.texts[number - 1]),
            )
            for number in known
        )
        return DraftSentence(sentence, quotes)


def show(
    evidence: Sequence[Candidate],
    room_tokens: int,
    most_characters: int | None = None,
    count: CountTokens = estimate_tokens,
) -> Shown:
    """Choose what the model sees: the best sources, as many as there is room for.

    Holds:   the first is there always, cut where it must be; only the last one is cut for want of
             room; none is longer than ``most_characters``.
    """
    texts: list[str] = []
    for source in evidence:
        text = _cut(source.text[:most_characters], room_tokens - FRAME_TOKENS, count)
        whole = text == source.text[:most_characters]
        if texts and not whole and count(text) < LEAST_SOURCE_TOKENS:
            break
        texts.append(text)
        room_tokens -= count(text) + FRAME_TOKENS
        if not whole:
            break
    return Shown(evidence, texts, _mark(texts))


@dataclass(frozen=True, slots=True)
class PromptForm:
    """The rules of one task, to be filled with a question and as many sources as have room.

    ``rules`` has the fields ``{mark}`` and, if it likes, ``{sentences}``.
    """

    rules: str
    window_tokens: int
    output_tokens: int
    sentences: int = 0
    most_source_characters: int | None = None
    count: CountTokens = estimate_tokens

    def fill(
        self, question: str, evidence: Sequence[Candidate], history: Sequence[Message] = ()
    ) -> tuple[list[Message], Shown]:
        """Return the messages (rules, what was said before, sources and question) and the sources.

        Holds:   rules, the latest messages, sources and output fit the window together.
        """
        free = int(self.window_tokens * (1 - MARGIN)) - self.output_tokens
        room = max(free - self.count(self.rules) - self.count(question), 0)
        kept = _latest(history, room * HISTORY_SHARE, self.count)
        room -= sum(self.count(message.content) for message in kept)
        shown = show(evidence, room, self.most_source_characters, self.count)
        rules = self.rules.format(sentences=self.sentences, mark=shown.mark)
        asked = f"{shown.fenced()}\n\nQuestion: {question}"
        return [Message("system", rules), *kept, Message("user", asked)], shown


def _latest(history: Sequence[Message], room_tokens: float, count: CountTokens) -> list[Message]:
    """Return the last messages that fit into the room."""
    kept: list[Message] = []
    for message in reversed(history):
        room_tokens -= count(message.content)
        if room_tokens < 0:
            break
        kept.append(message)
    return kept[::-1]


def _cut(text: str, room_tokens: int, count: CountTokens) -> str:
    """Return the beginning of the text that fits, ending at a word's end."""
    least = max(room_tokens, LEAST_SOURCE_TOKENS)
    while (tokens := count(text)) > least and len(text) > 1:
        shorter = text[: max(1, min(len(text) * least // tokens, len(text) - 1))]
        text = shorter.rsplit(None, 1)[0] if " " in shorter.strip() else shorter
    return text


def _place(source: Candidate) -> str:
    """Name the document and the section, on one line."""
    return " ".join(" > ".join((source.document_title, *source.section_path)).split())[:200]


def _mark(texts: Sequence[str]) -> str:
    """Return a code that no source can know: it comes from the sources themselves."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
