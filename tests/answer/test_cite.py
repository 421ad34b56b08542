"""No sentence passes whose quotes are not exactly where they are said to be."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import perf_counter
from uuid import UUID

import numpy as np
import pytest

from citewell.answer.cite import Citer, must_hide
from citewell.domain import (
    AnswerSentence,
    Candidate,
    ChunkId,
    CitationPolicy,
    DocumentId,
    DraftSentence,
    Quote,
    VersionId,
)
from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors

TEXT = "Huygens built a clock. It kept time. \U0001f570 Später kam H4. The end."
START = 1_000


class NoEmbedder:
    """What quotes exactly must pass without any meaning; this one fails when it is asked."""

    name = "none"
    dimension = 2
    window_tokens = 256

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or ProviderError("The embedding model was asked.")

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        del purpose
        if texts:
            raise self.error
        return np.zeros((0, 2), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def source(
    number: int, text: str = TEXT, start: int = START, section: str | None = None
) -> Candidate:
    return Candidate(
        chunk_id=ChunkId(UUID(int=number)),
        document_id=DocumentId(UUID(int=90 + number)),
        document_name=f"{number}.txt",
        document_title="Title",
        version_id=VersionId(UUID(int=80 + number)),
        ordinal=number,
        text=text,
        start=start,
        end=start + len(text),
        page=number,
        section_number=section,
        section_title="Clocks",
        section_path=("Clocks",),
        anchor="clocks",
        metadata={},
    )


def quote(part: str, index: int = 0, text: str = TEXT, start: int = START) -> Quote:
    at = text.index(part)
    return Quote(index, start + at, start + at + len(part))


def citing(*evidence: Candidate, error: Exception | None = None) -> Citer:
    return Citer(evidence, NoEmbedder(error))


async def cite(citer: Citer, text: str, *quotes: Quote) -> AnswerSentence:
    return await citer.cite(DraftSentence(text, quotes))


async def test_a_true_quote_becomes_an_exact_citation() -> None:
    cited = await cite(citing(source(1)), "It kept time.", quote("It kept time."))
    assert cited.problems == ()
    assert cited.text == "It kept time. [1]"
    (citation,) = cited.citations
    assert citation.quote == "It kept time." == TEXT[citation.start - START : citation.end - START]
    assert (citation.document_name, citation.page, citation.anchor) == ("1.txt", 1, "clocks")
    assert (citation.section, citation.section_title) == ("Clocks", "Clocks")
    assert citation.chunk_id == UUID(int=1)
    assert citation.version_id == UUID(int=81)


async def test_a_quoting_sentence_is_checked_in_microseconds() -> None:
    citer, draft = citing(source(1)), DraftSentence("It kept time.", (quote("It kept time."),))
    times = []
    for _ in range(200):
        started = perf_counter()
        await citer.cite(draft)
        times.append(perf_counter() - started)
    assert sorted(times)[len(times) // 2] < 0.0001


async def test_offsets_count_code_points_past_the_first_plane() -> None:
    part = "\U0001f570 Später kam H4."
    (citation,) = (await cite(citing(source(1)), part, quote(part))).citations
    assert citation.quote == part
    assert citation.end - citation.start == 16


@pytest.mark.parametrize(
    ("quotes", "problem"),
    [
        ([], "no_source"),
        ([Quote(1, START, START + 7)], "no_source"),
        ([Quote(-1, START, START + 7)], "no_source"),
        ([quote("Huygens"), Quote(7, START, START + 7)], "no_source"),
        ([Quote(0, START - 1, START + 5)], "span_outside"),
        ([Quote(0, START, START + len(TEXT) + 1)], "span_outside"),
        ([Quote(0, START + 5, START + 5)], "span_outside"),
        ([Quote(0, START + 9, START + 5)], "span_outside"),
        ([Quote(0, 0, 7)], "span_outside"),
        ([quote("Huygens"), Quote(0, START + len(TEXT), START + len(TEXT) + 3)], "span_outside"),
    ],
)
async def test_places_outside_of_the_evidence(quotes: Iterable[Quote], problem: str) -> None:
    citer = citing(source(1))
    assert await cite(citer, "Huygens", *quotes) == AnswerSentence("Huygens", (), (problem,))
    assert (await cite(citer, "Huygens", quote("Huygens"))).citations


async def test_a_sentence_that_names_no_source_is_given_the_one_that_holds_its_words() -> None:
    citer = citing(source(1), source(2, text="Harrison built the marine timekeeper H4 in 1759."))
    found = await cite(citer, "In 1759 Harrison built the marine timekeeper H4.")
    (citation,) = found.citations
    assert citation.quote == "Harrison built the marine timekeeper H4 in 1759."
    assert found.text == "In 1759 Harrison built the marine timekeeper H4. [1]"
    for wrong in (
        "In 1761 Harrison built the marine timekeeper H4.",
        "In 1759 Huygens built the marine timekeeper H4.",
        "In 1759 Harrison did not build the marine timekeeper H4.",
        "Harrison worked for years on a watch for ships.",
        "Harrison built it.",
    ):
        assert await cite(citer, wrong) == AnswerSentence(wrong, (), ("no_source",))


@pytest.mark.parametrize(
    "text",
    ["Huygens built a watch.", "Huygens built a clock", "huygens built a clock.", "",
     "Huygens built a clock. Surely.", "Surely: Huygens built a clock.", "Huygens built aclock."],
)  # fmt: skip
async def test_words_that_are_not_the_quote(text: str) -> None:
    cited = await cite(citing(source(1)), text, quote("Huygens built a clock."))
    assert (cited.text, cited.citations, cited.problems) == (text, (), ("altered_quote",))


async def test_white_space_does_not_matter() -> None:
    text = "Huygens\n  built a\u00a0clock."
    cited = await cite(citing(source(1, text)), "  Huygens built a clock. ", quote(text, text=text))
    assert cited.text == "Huygens built a clock. [1]"
    assert cited.citations[0].quote == text


async def test_several_quotes_are_joined_in_their_order() -> None:
    first, second = quote("Huygens built a clock."), quote("The end.", 1)
    citer = citing(source(1), source(2))
    cited = await cite(citer, "Huygens built a clock. The end.", first, second)
    assert cited.text == "Huygens built a clock. The end. [1] [2]"
    assert [citation.document_name for citation in cited.citations] == ["1.txt", "2.txt"]
    turned = await cite(citer, "The end. Huygens built a clock.", first, second)
    assert turned.problems == ("altered_quote",)


async def test_markers_are_section_numbers_or_running_numbers() -> None:
    citer = citing(source(1), source(2, section="2.3.1"), source(3), source(4, section="2.3.1"))
    answers = [
        await cite(citer, "It kept time.", quote("It kept time.", index))
        for index in (2, 1, 0, 2, 3)
    ]
    markers = [answer.citations[0].marker for answer in answers]
    assert markers == ["[1]", "[§2.3.1]", "[2]", "[1]", "[§2.3.1]"]


async def test_a_dropped_sentence_takes_no_number() -> None:
    citer = citing(source(1), source(2))
    assert (await cite(citer, "It lost time.", quote("It kept time."))).problems
    cited = await cite(citer, "It kept time.", quote("It kept time.", 1))
    assert cited.text.endswith("[1]")


async def test_one_marker_for_two_quotes_of_one_chunk() -> None:
    cited = await cite(
        citing(source(1)), "It kept time. The end.", quote("It kept time."), quote("The end.")
    )
    assert cited.text == "It kept time. The end. [1]"
    assert len(cited.citations) == 2


async def test_a_section_without_a_number_is_named_by_its_title() -> None:
    unnamed = replace(source(1), section_title=None)
    cited = await cite(citing(unnamed), "It kept time.", quote("It kept time."))
    assert cited.citations[0].section is None


@pytest.mark.parametrize(("part", "page"), [("The pendulum", 3), ("kept", 4)])
async def test_the_page_is_the_one_that_the_quote_begins_on(part: str, page: int) -> None:
    text = "The pendulum was long. It kept time."
    broken = replace(source(3, text), page_breaks=(START + text.index("It kept"),))
    cited = await cite(citing(broken), part, quote(part, text=text))
    assert cited.citations[0].page == page


@pytest.mark.parametrize("error", [ProviderError("No."), ValueError("A bug."), KeyError("x")])
async def test_a_checker_that_fails_shows_nothing(error: Exception) -> None:
    text = "Huygens designed the clock, and it measured time rather well."
    whole = Quote(0, START, START + len(TEXT))
    cited = await cite(citing(source(1), error=error), text, whole)
    assert cited == AnswerSentence(text, (), ("check_failed",))
    policies: list[CitationPolicy] = ["drop", "mark", "refuse"]
    assert all(must_hide(cited, policy) for policy in policies)


@pytest.mark.parametrize(("policy", "hidden"), [("drop", True), ("mark", False), ("refuse", True)])
def test_what_does_not_check_goes_by_the_policy(policy: CitationPolicy, hidden: bool) -> None:
    assert must_hide(AnswerSentence("No.", (), ("weak_support",)), policy) is hidden
    assert not must_hide(AnswerSentence("Yes.", ()), policy)
