"""Quoting: exact spans, the right sentences, no repetition, refusal."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID
from zlib import crc32

import numpy as np
import pytest
import Stemmer

from citewell.adapters.extractive import MAX_UNITS, ExtractiveChatModel
from citewell.domain import Candidate, ChunkId, DocumentId, DraftSentence, VersionId, WorkspaceId
from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors, WritingTask

STEMMER: Any = Stemmer.Stemmer("english")  # pyright: ignore
STOPWORDS = frozenset(
    ("a", "and", "are", "by", "did", "does", "for", "how", "in", "is", "it", "of", "on", "the")
) | {"to", "was", "what", "when", "who", "why"}


class BagOfWordsEmbedder:
    """Hashes stems into a vector: texts that share words are near. Counts its calls."""

    name = "bag"
    dimension = 512
    window_tokens = 10_000

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], Purpose]] = []

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.calls.append((list(texts), purpose))
        vectors = np.full((len(texts), self.dimension), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for stem in _stems(text):
                vectors[row, crc32(stem.encode()) % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class BrokenEmbedder(BagOfWordsEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        raise ProviderError


def _stems(text: str) -> list[str]:
    words = re.findall(r"[^\W_]+", text.lower())
    return STEMMER.stemWords([word for word in words if word not in STOPWORDS])


def _idf(question: str, idf: float = 3.0) -> dict[str, float]:
    return dict.fromkeys(_stems(question), idf)


def _source(text: str, number: int = 1, start: int = 0, version: int = 1) -> Candidate:
    return Candidate(
        chunk_id=ChunkId(UUID(int=1000 + number)),
        document_id=DocumentId(UUID(int=version)),
        document_name=f"{version}.txt",
        document_title="Old papers",
        version_id=VersionId(UUID(int=version)),
        ordinal=number,
        text=text,
        start=start,
        end=start + len(text),
        page=None,
        section_number="2.1",
        section_title="The prize",
        section_path=("Old times", "The prize"),
        anchor=None,
        metadata={},
        score=1.0 / number,
        scores={"dense": 0.5},
    )


async def _write(
    model: ExtractiveChatModel,
    question: str,
    evidence: Sequence[Candidate],
    term_idf: dict[str, float],
) -> list[DraftSentence]:
    task = WritingTask(WorkspaceId(UUID(int=1)), question, evidence, term_idf, 60.0)
    drafts = [draft async for draft in model.write(task)]
    sentences = [draft for draft in drafts if isinstance(draft, DraftSentence)]
    assert len(sentences) == len(drafts), "quoting costs nothing"
    return sentences


async def _answer(
    question: str, *evidence: Candidate, idf: dict[str, float] | None = None, **options: float
) -> list[DraftSentence]:
    model = ExtractiveChatModel(BagOfWordsEmbedder(), **options)  # pyright: ignore[reportArgumentType]
    term_idf = _idf(question) if idf is None else idf
    drafts = await _write(model, question, evidence, term_idf)
    for draft in drafts:
        (quote,) = draft.quotes
        source = evidence[quote.index]
        assert source.start <= quote.start < quote.end <= source.end
        exact = source.text[quote.start - source.start : quote.end - source.start]
        assert " ".join(exact.split()) == draft.text
    return drafts


QUESTION = "Who won the longitude prize in 1773?"
PRIZE = "John Harrison won the longitude prize in 1773."
OTHER = "Bread is baked from flour and water."


async def test_quotes_the_best_sentence_alone() -> None:
    (draft,) = await _answer(QUESTION, _source(f"{OTHER} {PRIZE} {OTHER}", start=100))
    assert draft.text == PRIZE
    assert (draft.quotes[0].start, draft.quotes[0].end) == (137, 137 + len(PRIZE))


async def test_counts_offsets_in_code_points() -> None:
    text = f"🕰🕰 𝔗ime is short. {PRIZE}"
    (draft,) = await _answer(QUESTION, _source(text, start=7))
    assert draft.quotes[0].start == 7 + text.index(PRIZE)


async def test_keeps_white_space_in_the_quote_and_collapses_it_in_the_text() -> None:
    spaced = PRIZE.replace("longitude prize", "longitude \u00a0 prize")
    (draft,) = await _answer(QUESTION, _source(spaced))
    assert draft.text == PRIZE
    assert draft.quotes[0].end == len(PRIZE) + 2


async def test_answers_in_document_order() -> None:
    late = _source("The longitude prize went to Harrison in 1773.", 1, start=500)
    early = _source("Harrison claimed the longitude prize of 1773 again.", 2, start=10)
    second = _source("In 1773 he won: the longitude prize was paid.", 3, version=2)
    drafts = await _answer(QUESTION, late, second, early, min_share=0.1)
    assert [draft.quotes[0].index for draft in drafts] == [2, 0, 1]


async def test_never_repeats_itself() -> None:
    overlapping = _source(PRIZE, 2, start=len(OTHER) + 1)
    copy = _source(PRIZE.replace("won", "had won"), 3, version=2)
    sources = (_source(f"{OTHER} {PRIZE}"), overlapping, copy)
    assert len(await _answer(QUESTION, *sources, min_share=0.1, min_sufficiency=0.0)) == 2


async def test_other_numbers_are_no_repetition() -> None:
    paid = "The board of longitude paid John Harrison his large prize money in {}."
    text = " ".join(paid.format(year) for year in (1765, 1773, 1773))
    assert len(await _answer("When was the longitude prize paid?", _source(text))) == 2


async def test_stops_where_the_next_sentence_is_much_worse() -> None:
    weak = "Silver is dear in London."
    assert len(await _answer(QUESTION, _source(f"{PRIZE} {weak}"))) == 1
    assert len(await _answer(QUESTION, _source(f"{PRIZE} {weak}"), min_share=0.1)) == 2


async def test_quotes_no_more_than_it_may() -> None:
    text = " ".join(f"Harrison won the longitude prize number {number}." for number in range(9))
    assert len(await _answer(QUESTION, _source(text), max_sentences=2)) == 2


@pytest.mark.parametrize("idf", [None, {}])
async def test_refuses_when_no_sentence_is_about_it(idf: dict[str, float] | None) -> None:
    assert await _answer(QUESTION, _source(OTHER), idf=idf) == []


async def test_answers_by_meaning_when_no_word_is_known() -> None:
    (draft,) = await _answer(QUESTION, _source(f"{OTHER} {PRIZE}"), idf={}, min_sufficiency=0.7)
    assert draft.text == PRIZE


async def test_asks_for_more_where_the_words_are_rarer() -> None:
    question = "Who paid the longitude prize to John in London in the end?"
    source = _source(PRIZE)
    assert await _answer(question, source, idf=_idf(question, 1.0), min_sufficiency=0.5)
    assert not await _answer(question, source, idf=_idf(question, 10.0), min_sufficiency=0.5)


async def test_yields_nothing_without_evidence() -> None:
    assert await _answer(QUESTION) == []
    assert await _answer(QUESTION, _source("")) == []


async def test_quotes_neither_headings_nor_questions_nor_scraps() -> None:
    text = f"2.1 The prize\nWho won the longitude prize in 1773?\nLongitude prize.\n{PRIZE}"
    drafts = await _answer(QUESTION, _source(text), min_share=0.0)
    assert [draft.text for draft in drafts] == [PRIZE]


async def test_quotes_no_heading_that_only_repeats_the_question() -> None:
    text = f"Winners of the longitude prize\n{PRIZE}\nlongitude prize money paid"
    drafts = await _answer("Winners of the longitude prize?", _source(text), min_share=0.0)
    assert [draft.text for draft in drafts] == [PRIZE, "longitude prize money paid"]


async def test_quotes_a_scrap_that_is_the_whole_text() -> None:
    assert len(await _answer("longitude prize", _source("Longitude prize!"))) == 1


async def test_a_pronoun_takes_its_meaning_from_the_sentence_before() -> None:
    text = f"The Harrison chronometer is famous. It was built in 1759. {OTHER}"
    question, embedder = "When was the Harrison chronometer built?", BagOfWordsEmbedder()
    model = ExtractiveChatModel(embedder)
    drafts = await _write(model, question, [_source(text)], _idf(question))
    assert "It was built in 1759." in [draft.text for draft in drafts]
    assert embedder.calls[1][0] == [
        "The prize: The Harrison chronometer is famous.",
        "The prize: The Harrison chronometer is famous. It was built in 1759.",
        f"The prize: {OTHER}",
    ]


async def test_the_sentence_that_the_best_one_leans_on_is_quoted_with_it() -> None:
    text = (
        f"{OTHER} A carpenter from Barrow made the sea clock. He won the longitude prize in 1773."
    )
    drafts = await _answer(QUESTION, _source(text), min_share=0.9)
    assert [draft.text for draft in drafts] == [
        "A carpenter from Barrow made the sea clock.",
        "He won the longitude prize in 1773.",
    ]
    (draft,) = await _answer(QUESTION, _source(text), min_share=0.9, max_sentences=1)
    assert draft.text == "He won the longitude prize in 1773."


@pytest.mark.parametrize("before", ["2.1 The prize", "Who made the sea clock?", "Rain, snow."])
async def test_no_heading_question_or_scrap_comes_with_the_best_one(before: str) -> None:
    text = f"{OTHER}\n{before}\nHe won the longitude prize in 1773."
    (draft,) = await _answer(QUESTION, _source(text), min_share=0.9)
    assert draft.text == "He won the longitude prize in 1773."


async def test_the_sentence_leant_on_comes_only_once() -> None:
    leant_on = "Harrison sought the longitude prize."
    text = f"{leant_on} He won the longitude prize in 1773."
    sources = (_source(text), _source(leant_on, 2, version=2))
    drafts = await _answer(QUESTION, *sources, min_share=0.1)
    assert [draft.text for draft in drafts] == [leant_on, "He won the longitude prize in 1773."]


async def test_a_near_passage_counts_for_an_answer() -> None:
    near, far = (replace(_source(PRIZE), scores={"dense": cosine}) for cosine in (0.9, 0.1))
    question = "Who won the longitude medal at sea for clocks?"
    assert await _answer(question, near, min_sufficiency=0.4)
    assert not await _answer(question, far, min_sufficiency=0.4)
    assert await _answer(question, far, near, min_sufficiency=0.4)


async def test_decides_without_the_passages_cosine() -> None:
    unknown = replace(_source(PRIZE), scores={"lexical": 3.0})
    assert await _answer(QUESTION, unknown)
    assert not await _answer(QUESTION, replace(_source(OTHER), scores={"lexical": 3.0}))


@pytest.mark.parametrize(
    ("question", "explains"),
    [("Why did the clock stop?", True), ("When did the clock stop?", False)],
)
async def test_an_explanation_may_go_on(question: str, explains: bool) -> None:
    going_on = "Therefore no oil reached any wheel."
    text = f"The clock did stop after the winter. {going_on}"
    drafts = await _answer(question, _source(text), min_share=0.9)
    assert (going_on in [draft.text for draft in drafts]) is explains


async def test_an_explanation_goes_on_only_in_the_next_sentence() -> None:
    text = "The clock did stop after the winter.\nWho saw it?\nTherefore no oil reached any wheel."
    assert len(await _answer("Why did the clock stop?", _source(text), min_share=0.9)) == 1


async def test_compounds_count_by_their_parts() -> None:
    idf = {"state-of-the-art": 9.0, "state": 2.0, "art": 2.0, "-20": 3.0}
    text = "The state of the art is at 20 degrees."
    assert len(await _answer("?", _source(text), idf=idf, min_sufficiency=0.3)) == 1
    text = "This version 2.3.1 is new."
    assert len(await _answer("?", _source(text), idf={"2.3.1": 3.0})) == 1


async def test_embeds_the_question_once_and_the_sentences_in_one_call() -> None:
    text = "\n".join(f"row {number} of the longitude table" for number in range(MAX_UNITS + 30))
    embedder = BagOfWordsEmbedder()
    source = _source(f"{text}\n{PRIZE}")
    drafts = await _write(ExtractiveChatModel(embedder), QUESTION, [source], _idf(QUESTION))
    assert [(len(texts), purpose) for texts, purpose in embedder.calls] == [
        (1, "query"),
        (MAX_UNITS, "document"),
    ]
    assert [draft.text for draft in drafts] == [PRIZE]


async def test_the_order_of_equals_is_always_the_same() -> None:
    sources = [_source(f"{PRIZE} Note {number}.", number, version=number) for number in (1, 2, 3)]
    sources = [replace(source, score=0.5) for source in sources]
    assert await _answer(QUESTION, *sources) == await _answer(QUESTION, *sources)


async def test_passes_on_the_embedders_error() -> None:
    model = ExtractiveChatModel(BrokenEmbedder())
    with pytest.raises(ProviderError):
        await _write(model, QUESTION, [_source(PRIZE)], {})
