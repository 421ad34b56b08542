"""Ways to cut a document: the product's chunker, with other sizes, overlaps and prefixes."""

from dataclasses import dataclass, replace

from citewell.domain import Chunk, Chunking, ParsedDocument
from citewell.domain.sentences import split_sentences
from citewell.ingest.chunk import WordCosts, chunk

LONGEST_SENTENCE_TOKENS = 60
"""A longer one is not repeated in the chunk after it."""


@dataclass(frozen=True)
class Cut:
    """How documents become chunks.

    ``prefix`` is what stands before a chunk's text where it is embedded and searched: ``none``, the
    document's ``title``, or also the ``section``'s path. ``sentence`` repeats the last sentence of
    the chunk before, however long up to a limit, in place of ``overlap_tokens``.
    """

    size_tokens: int
    overlap_tokens: int = 0
    prefix: str = "section"
    sentence: bool = False


def cut_document(document: ParsedDocument, cut: Cut, costs: WordCosts, window: int) -> list[Chunk]:
    """Cut a document as ingestion does, and give its chunks the prefix that is wanted."""
    size = cut.size_tokens - (LONGEST_SENTENCE_TOKENS // 2 if cut.sentence else 0)
    made = chunk(document, Chunking(size, cut.overlap_tokens, window), costs)
    if cut.sentence:
        before = [None, *made[:-1]]
        made = [_with_sentence(*pair, document, costs) for pair in zip(before, made, strict=True)]
    if cut.prefix == "section":
        return made
    prefix = document.title if cut.prefix == "title" else ""
    return [replace(each, context=prefix) for each in made]


def _with_sentence(
    before: Chunk | None, own: Chunk, document: ParsedDocument, costs: WordCosts
) -> Chunk:
    """Begin a chunk with the last sentence of the one before, where both are of one section."""
    if before is None or before.section != own.section:
        return own
    start = before.start + split_sentences(before.text)[-1][0]
    if costs.count_tokens([document.text[start : before.end]])[0] > LONGEST_SENTENCE_TOKENS:
        return own
    return replace(own, start=start, text=document.text[start : own.end])
