"""Check each sentence against the evidence before a reader sees it, and mark its sources.

A sentence passes when every span that it names lies inside the chunk that it names, and the quoted
text is exactly there. What does not pass is dropped.
"""

from collections.abc import Sequence

from citewell.domain import AnswerSentence, Candidate, ChunkId, Citation, DraftSentence, Quote
from citewell.ports import Embedder


class Citer:
    """Numbers one answer's sources: [§2.3.1] where the section has a number, else [1], [2]."""

    def __init__(self, evidence: Sequence[Candidate], embedder: Embedder) -> None:
        self._evidence = evidence
        self._embedder = embedder
        self._numbers: dict[ChunkId, int] = {}

    async def cite(self, draft: DraftSentence) -> AnswerSentence:
        """Return the sentence with its citations, and the codes of what does not check."""
        if not draft.quotes or not all(self._is_inside(quote) for quote in draft.quotes):
            return AnswerSentence(draft.text, (), ("no_source",))
        if not _is_made_of(draft.text, [self._quoted(quote) for quote in draft.quotes]):
            return AnswerSentence(draft.text, (), ("altered_quote",))
        citations = tuple(self._citation(quote) for quote in draft.quotes)
        markers = " ".join(dict.fromkeys(citation.marker for citation in citations))
        return AnswerSentence(f"{draft.text.strip()} {markers}", citations)

    def _is_inside(self, quote: Quote) -> bool:
        if not 0 <= quote.index < len(self._evidence):
            return False
        source = self._evidence[quote.index]
        return source.start <= quote.start < quote.end <= source.end

    def _quoted(self, quote: Quote) -> str:
        source = self._evidence[quote.index]
        return source.text[quote.start - source.start : quote.end - source.start]

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
