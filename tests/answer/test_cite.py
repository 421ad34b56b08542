"""No sentence passes whose quotes are not exactly where they are said to be."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import pytest

from citewell.answer.cite import Citer
from citewell.domain import (
    Candidate,
    ChunkId,
    DocumentId,
    DraftSentence,
    Quote,
    VersionId,
)

TEXT = "Huygens built a clock. It kept time. \U0001f570 Später kam H4. The end."
START = 1_000


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
        start=START,
        end=START + len(text),
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


def draft(text: str, *quotes: Quote) -> DraftSentence:
    return DraftSentence(text, quotes)


def test_a_true_quote_becomes_an_exact_citation() -> None:
    cited = Citer([source(1)]).cite(draft("It kept time.", quote("It kept time.")))
    assert cited is not None
    assert cited.text == "It kept time. [1]"
    (citation,) = cited.citations
    assert citation.quote == "It kept time." == TEXT[citation.start - START : citation.end - START]
    assert (citation.document_name, citation.page, citation.anchor) == ("1.txt", 1, "clocks")
    assert (citation.section, citation.section_title) == ("Clocks", "Clocks")
    assert citation.chunk_id == UUID(int=1)
    assert citation.version_id == UUID(int=81)


def test_offsets_count_code_points_past_the_first_plane() -> None:
    part = "\U0001f570 Später kam H4."
    cited = Citer([source(1)]).cite(draft(part, quote(part)))
    assert cited is not None
    assert cited.citations[0].quote == part
    assert cited.citations[0].end - cited.citations[0].start == 16


@pytest.mark.parametrize(
    "quotes",
    [
        [],
        [Quote(0, START - 1, START + 5)],
        [Quote(0, START, START + len(TEXT) + 1)],
        [Quote(0, START + 5, START + 5)],
        [Quote(0, START + 9, START + 5)],
        [Quote(0, 0, 7)],
        [Quote(1, START, START + 7)],
        [Quote(-1, START, START + 7)],
        [quote("Huygens"), Quote(0, START + len(TEXT), START + len(TEXT) + 3)],
    ],
)
def test_quotes_outside_of_the_evidence_are_dropped(quotes: Iterable[Quote]) -> None:
    citer = Citer([source(1)])
    assert citer.cite(draft("Huygens", *quotes)) is None
    assert citer.cite(draft("Huygens", quote("Huygens"))) is not None


@pytest.mark.parametrize(
    "text",
    ["Huygens built a watch.", "Huygens built a clock", "huygens built a clock.", "",
     "Huygens built a clock. Surely.", "Surely: Huygens built a clock.", "Huygens built aclock."],
)  # fmt: skip
def test_words_that_are_not_the_quote_are_dropped(text: str) -> None:
    assert Citer([source(1)]).cite(draft(text, quote("Huygens built a clock."))) is None


def test_white_space_does_not_matter() -> None:
    text = "Huygens\n  built a\u00a0clock."
    cited = Citer([source(1, text)]).cite(
        draft("  Huygens built a clock. ", quote(text, text=text))
    )
    assert cited is not None
    assert cited.text == "Huygens built a clock. [1]"
    assert cited.citations[0].quote == text


def test_several_quotes_are_joined_in_their_order() -> None:
    first, second = quote("Huygens built a clock."), quote("The end.", 1)
    citer = Citer([source(1), source(2)])
    cited = citer.cite(draft("Huygens built a clock. The end.", first, second))
    assert cited is not None
    assert cited.text == "Huygens built a clock. The end. [1] [2]"
    assert [citation.document_name for citation in cited.citations] == ["1.txt", "2.txt"]
    assert citer.cite(draft("The end. Huygens built a clock.", first, second)) is None


def test_markers_are_section_numbers_or_running_numbers() -> None:
    citer = Citer([source(1), source(2, section="2.3.1"), source(3), source(4, section="2.3.1")])
    answers = [
        citer.cite(draft("It kept time.", quote("It kept time.", index)))
        for index in (2, 1, 0, 2, 3)
    ]
    markers = [answer.citations[0].marker for answer in answers if answer]
    assert markers == ["[1]", "[§2.3.1]", "[2]", "[1]", "[§2.3.1]"]


def test_a_dropped_sentence_takes_no_number() -> None:
    citer = Citer([source(1), source(2)])
    assert citer.cite(draft("It lost time.", quote("It kept time."))) is None
    cited = citer.cite(draft("It kept time.", quote("It kept time.", 1)))
    assert cited is not None
    assert cited.text.endswith("[1]")


def test_one_marker_for_two_quotes_of_one_chunk() -> None:
    cited = Citer([source(1)]).cite(
        draft("It kept time. The end.", quote("It kept time."), quote("The end."))
    )
    assert cited is not None
    assert cited.text == "It kept time. The end. [1]"
    assert len(cited.citations) == 2


def test_a_section_without_a_number_is_named_by_its_title() -> None:
    unnamed = replace(source(1), section_title=None)
    cited = Citer([unnamed]).cite(draft("It kept time.", quote("It kept time.")))
    assert cited is not None
    assert cited.citations[0].section is None


@pytest.mark.parametrize(("part", "page"), [("The pendulum", 3), ("kept", 4)])
def test_the_page_is_the_one_that_the_quote_begins_on(part: str, page: int) -> None:
    text = "The pendulum was long. It kept time."
    broken = replace(source(3, text), page_breaks=(START + text.index("It kept"),))
    cited = Citer([broken]).cite(draft(part, quote(part, text=text)))
    assert cited is not None
    assert cited.citations[0].page == page
