"""Check each sentence against the evidence before a reader sees it, and mark its sources.

A sentence that is its quotes and nothing else passes when they are exactly where it says. One in a
model's own words is judged by the chunks that it names, and cites the sentences that bear it. One
that names no chunk is shown only when the words of a single one bear it.
"""

import re
from collections.abc import Sequence

import structlog

from citewell.answer.cite.judge import Verdict, judge
from citewell.answer.cite.meaning import Meaning
from citewell.answer.cite.narrow import narrow
from citewell.answer.cite.policy import CHECK_FAILED
from citewell.answer.cite.support import Source, open_source
from citewell.domain import AnswerSentence, Candidate, ChunkId, Citation, DraftSentence, Quote
from citewell.ports import Embedder

_log = structlog.get_logger(__name__)

WORD = re.compile(r"[^\W\d_]{4,}")
LEAST_WORDS = 4
"""Words of four letters or more, without which a sentence that names no source is anybody's."""


class Citer:
    """Numbers one answer's sources: [§2.3.1] where the section has a number, else [1], [2].

    Cost:   a quoting sentence some microseconds; another about a millisecond, and an embedding
            where its words alone do not decide.
    Holds:  what fails to be checked has the problem ``check_failed`` and is never shown.
    """

    def __init__(self, evidence: Sequence[Candidate], embedder: Embedder) -> None:
        self._evidence = evidence
        self._meaning = Meaning(embedder)
        self._sources: dict[int, Source] = {}
        self._numbers: dict[ChunkId, int] = {}

    async def cite(self, draft: DraftSentence) -> AnswerSentence:
        """Return the sentence with its citations, or without them and with what is wrong."""
        if draft.quotes:
            problem = self._misplaced(draft.quotes)
            if problem:
                return AnswerSentence(draft.text, (), (problem,))
            if _is_made_of(draft.text, [self._quoted(quote) for quote in draft.quotes]):
                return self._with_markers(draft.text, draft.quotes)
            if not all(self._is_whole(quote) for quote in draft.quotes):
                return AnswerSentence(draft.text, (), ("altered_quote",))
        try:
            return await (self._check(draft) if draft.quotes else self._find_source(draft))
        except Exception:  # noqa: BLE001 - a door: see below
            # Whatever is wrong with the checker, an unchecked sentence must not reach a reader,
            # and the other sentences of the answer may still be sound.
            _log.exception("A sentence could not be checked, so it is not shown.")
            return AnswerSentence(draft.text, (), (CHECK_FAILED,))

    async def _check(self, draft: DraftSentence) -> AnswerSentence:
        """Judge a sentence in a model's own words by the chunks that it names."""
        indexes = list(dict.fromkeys(quote.index for quote in draft.quotes))
        cited = [self._source(index) for index in indexes]
        others = [self._source(at) for at in range(len(self._evidence)) if at not in indexes]
        verdict = await judge(draft.text, cited, others, self._meaning)
        if verdict.problems:
            return AnswerSentence(draft.text, (), verdict.problems)
        return self._with_markers(draft.text, self._bearing(indexes, verdict))

    async def _find_source(self, draft: DraftSentence) -> AnswerSentence:
        """Cite the best chunk that holds nearly all the words of a sentence which names none."""
        few = len(WORD.findall(draft.text)) < LEAST_WORDS
        for index in range(0 if few else len(self._evidence)):
            verdict = await judge(draft.text, [self._source(index)], [], None)
            if not verdict.problems:
                return self._with_markers(draft.text, self._bearing([index], verdict))
        return AnswerSentence(draft.text, (), ("no_source",))

    def _bearing(self, indexes: Sequence[int], verdict: Verdict) -> list[Quote]:
        return [
            Quote(index, start, end)
            for index in indexes
            for start, end in narrow(self._source(index), verdict.support)
        ]

    def _source(self, index: int) -> Source:
        if index not in self._sources:
            self._sources[index] = open_source(self._evidence[index])
        return self._sources[index]

    def _misplaced(self, quotes: Sequence[Quote]) -> str | None:
        """Return what is wrong with the places that a sentence names."""
        if not all(0 <= quote.index < len(self._evidence) for quote in quotes):
            return "no_source"
        for quote in quotes:
            source = self._evidence[quote.index]
            if not source.start <= quote.start < quote.end <= source.end:
                return "span_outside"
        return None

    def _is_whole(self, quote: Quote) -> bool:
        source = self._evidence[quote.index]
        return (quote.start, quote.end) == (source.start, source.end)

    def _quoted(self, quote: Quote) -> str:
        source = self._evidence[quote.index]
        return source.text[quote.start - source.start : quote.end - source.start]

    def _with_markers(self, text: str, quotes: Sequence[Quote]) -> AnswerSentence:
        citations = tuple(self._citation(quote) for quote in quotes)
        markers = " ".join(dict.fromkeys(citation.marker for citation in citations))
        return AnswerSentence(f"{text.strip()} {markers}", citations)

    def _citation(self, quote: Quote) -> Citation:
        source = self._evidence[quote.index]
        return Citation(
            marker=self._marker(source),
            document_id=source.document_id,
            document_name=source.document_name,
            version_id=source.version_id,
            chunk_id=source.chunk_id,
            start=quote.start,
            end=quote.end,
            quote=self._quoted(quote),
            page=source.page_at(quote.start),
            section=source.section,
            section_title=source.section_title,
            anchor=source.anchor,
        )

    def _marker(self, source: Candidate) -> str:
        if source.section_number:
            return f"[§{source.section_number}]"
        return f"[{self._numbers.setdefault(source.chunk_id, len(self._numbers) + 1)}]"


def _is_made_of(sentence: str, quotes: Sequence[str]) -> bool:
    """Tell whether the sentence is its quotes and nothing else, white space aside."""
    return sentence.split() == " ".join(quotes).split()
