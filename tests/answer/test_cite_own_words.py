"""Sentences in a model's own words: what the cited text bears passes, what not is named.

The real embedder; each test says what is cited and what is wrong.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from answer.test_cite import START, source
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.answer.cite import Citer
from citewell.domain import AnswerSentence, Candidate, DraftSentence, Quote

NORMANS = (
    "The Normans were people who gave their name to Normandy, a region in France. They were"
    " descended from Norse raiders who, under their leader Rollo, agreed to swear fealty to King"
    " Charles III of West Francia in 911. Most of them later settled in the Duchy, and some may"
    " have moved to Sicily."
)
CLOCKS = (
    "The first caesium clock fit for regular use was built by Louis Essen and Jack Parry at the"
    " National Physical Laboratory, and began to work on 3 June 1955. It did not use ammonia."
    " It would have been wrong by one second in about 300 years. A later model drew 1,250 watts,"
    " 3.5 percent more than the first, and could only be used at temperatures above 20 °C."
    " Visitors are allowed to see it except on Sundays. Its identifier is NPL-CS1."
    ' The report says that "the clock was a great success in every respect".'
)


def whole(*evidence: Candidate) -> list[Quote]:
    return [Quote(at, each.start, each.end) for at, each in enumerate(evidence)]


async def check(embedder: MiniLMEmbedder, text: str, *cited: str) -> AnswerSentence:
    """Check a sentence that cites all of these texts whole."""
    evidence = [source(number, each) for number, each in enumerate(cited, start=1)]
    return await Citer(evidence, embedder).cite(DraftSentence(text, tuple(whole(*evidence))))


@pytest.mark.parametrize(
    "text",
    [
        "The first caesium clock was built by Louis Essen and Jack Parry.",
        "Louis Essen and Jack Parry built the first regular caesium clock at the NPL.",
        "It started to work on June 3, 1955.",
        "It started to work in June 1955.",
        "The clock began to work on 1955-06-03.",
        "According to the document, the clock would be wrong by 1 second in 300 years.",
        "A later model drew 1250 watts, which was 3.5% more.",
        "A later model needed 1,250 W.",
        "It could only be used at temperatures above 20 °C.",
        "The clock didn't use ammonia.",
        "Visitors may see it except on Sundays.",
        "The clock is identified as NPL-CS1.",
        "The report says that “the clock was a great success”.",
        'The report calls it "a great success … in every respect".',
        "At the National Physical Laboratory, the clock was built by Essen and Parry.",
    ],
)
async def test_what_the_source_says_passes(embedder: MiniLMEmbedder, text: str) -> None:
    cited = await check(embedder, text, CLOCKS)
    assert cited.problems == ()
    assert cited.text == f"{text} [1]"
    for citation in cited.citations:
        assert citation.quote == CLOCKS[citation.start - START : citation.end - START]
        assert len(citation.quote) < len(CLOCKS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("The clock would be wrong by one second in 3,000 years.", "number_not_in_source"),
        ("A later model drew 1,520 watts, 3.5 percent more.", "number_not_in_source"),
        ("A later model drew 1,250 watts, 35 percent more.", "number_not_in_source"),
        ("The clock would be wrong by three seconds in about 300 years.", "number_not_in_source"),
        ("The first caesium clock began to work on 3 July 1955.", "date_not_in_source"),
        ("The first caesium clock began to work on 4 June 1955.", "date_not_in_source"),
        ("The first caesium clock began to work in June 1956.", "date_not_in_source"),
        ("The first caesium clock began to work in 1965.", "date_not_in_source"),
        ("Visitors are allowed to see it except on Mondays.", "date_not_in_source"),
        ("It would have been wrong by one minute in about 300 years.", "unit_not_in_source"),
        ("A later model drew 1,250 kilowatts.", "unit_not_in_source"),
        ("It could only be used at temperatures above 20 °F.", "unit_not_in_source"),
        ("The first clock was built by Louis Essen and Harold Lyons.", "name_not_in_source"),
        ("It was built at the National Bureau of Standards.", "name_not_in_source"),
        ("Its identifier is NPL-CS2.", "name_not_in_source"),
        ("It did use ammonia.", "negation_differs"),
        ("It would not have been wrong by one second in about 300 years.", "negation_differs"),
        ("Visitors are not allowed to see it except on Sundays.", "negation_differs"),
        ("A later model drew 1,250 watts, 3.5 percent less than the first.", "polarity_differs"),
        ("It could be used at temperatures above 20 °C.", "polarity_differs"),
        ("It could only be used at temperatures below 20 °C.", "polarity_differs"),
        ("Visitors are forbidden to see it except on Sundays.", "polarity_differs"),
        ("Visitors are always allowed to see it.", "polarity_differs"),
        ("The report says that “the clock was a modest success”.", "altered_quote"),
        ('The report calls it "a great success in every respec".', "altered_quote"),
        ("The laboratory sold its clocks to a rich merchant of Rotterdam.", "weak_support"),
        ("Yes.", "weak_support"),
        ("…", "weak_support"),
    ],
)
async def test_what_the_source_does_not_say_is_named(
    embedder: MiniLMEmbedder, text: str, problem: str
) -> None:
    cited = await check(embedder, text, CLOCKS)
    assert problem in cited.problems
    assert (cited.text, cited.citations) == (text, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("The Norse raiders swore fealty to Charles III under their leader Rollo.", None),
        ("They swore fealty to Rollo under their leader Charles III.", "name_not_in_source"),
        ("Under their leader Normandy they agreed to swear fealty.", "name_not_in_source"),
        ("Most of them later settled in the Duchy.", None),
        ("All of them later settled in the Duchy.", "polarity_differs"),
        ("Some of them may have moved to Sicily.", None),
        ("Some of them moved to Sicily.", "polarity_differs"),
    ],
)
async def test_who_did_what_and_how_many(
    embedder: MiniLMEmbedder, text: str, problem: str | None
) -> None:
    cited = await check(embedder, text, NORMANS)
    assert cited.problems == () if problem is None else problem in cited.problems


GERMAN = (
    "Die erste Pendeluhr wurde 1656 von Christiaan Huygens entworfen. Sie ging am Tag höchstens"
    " 15 Sekunden falsch. Der Preis betrug 1.250,50 Gulden. Der Turm darf nicht betreten werden."
)
FRENCH = (
    "La première horloge à pendule a été construite en 1656 par Christiaan Huygens. Elle coûtait"
    " 1 250,5 florins et pesait 3,5 kilogrammes. Les visiteurs ne sont pas admis dans la tour."
)
SPANISH = (
    "El primer reloj de péndulo fue construido el 25 de diciembre de 1656 por Christiaan Huygens."
    " Pesaba 3,5 kilogramos. Los visitantes nunca pueden subir a la torre."
)


@pytest.mark.parametrize(
    ("text", "cited", "problem"),
    [
        ("Christiaan Huygens entwarf 1656 die erste Pendeluhr.", GERMAN, None),
        ("Der Preis war 1250,50 Gulden.", GERMAN, None),
        ("Der Turm darf nicht betreten werden.", GERMAN, None),
        ("Christiaan Huygens entwarf 1665 die erste Pendeluhr.", GERMAN, "date_not_in_source"),
        ("Der Preis betrug 1.520,50 Gulden.", GERMAN, "number_not_in_source"),
        ("Sie ging am Tag höchstens 15 Minuten falsch.", GERMAN, "unit_not_in_source"),
        ("Der Turm darf betreten werden.", GERMAN, "negation_differs"),
        ("Huygens a construit la première horloge à pendule en 1656.", FRENCH, None),
        ("L'horloge pesait 3,5 kg.", FRENCH, None),
        ("Elle pesait 5,3 kilogrammes.", FRENCH, "number_not_in_source"),
        ("Les visiteurs sont admis dans la tour.", FRENCH, "negation_differs"),
        ("El reloj fue construido por Huygens en diciembre de 1656.", SPANISH, None),
        ("El reloj fue construido el 25 de enero de 1656.", SPANISH, "date_not_in_source"),
        ("Pesaba 3,5 gramos.", SPANISH, "unit_not_in_source"),
        ("Los visitantes siempre pueden subir a la torre.", SPANISH, "polarity_differs"),
    ],
)
async def test_other_languages(
    embedder: MiniLMEmbedder, text: str, cited: str, problem: str | None
) -> None:
    checked = await check(embedder, text, cited)
    assert checked.problems == () if problem is None else problem in checked.problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("東京は日本の首都です。", ()),
        ("大阪は1999年にできました。", ("date_not_in_source", "weak_support")),
    ],
)
async def test_scripts_without_spaces(
    embedder: MiniLMEmbedder, text: str, problems: Sequence[str]
) -> None:
    source_text = "東京は日本の首都です。人口は約1400万人です。"
    checked = await check(embedder, f"{text} ", source_text)
    assert set(problems) <= set(checked.problems)
    assert bool(problems) is bool(checked.problems)


async def test_right_to_left_text_is_checked(embedder: MiniLMEmbedder) -> None:
    text = "القاهرة هي عاصمة مصر ويسكنها 10 ملايين نسمة."
    assert (await check(embedder, "القاهرة هي عاصمة مصر.", text)).problems == ()
    wrong = await check(embedder, "يسكن القاهرة عاصمة مصر 20 مليون نسمة.", text)
    assert "number_not_in_source" in wrong.problems


async def test_a_citation_is_narrowed_to_the_sentences_that_bear_it(
    embedder: MiniLMEmbedder,
) -> None:
    cited = await check(embedder, "The clock began to work in 1955 and used no ammonia.", CLOCKS)
    (citation,) = cited.citations
    assert citation.quote.startswith("The first caesium clock")
    assert citation.quote.endswith("It did not use ammonia.")
    (citation,) = (await check(embedder, "The Normans had a leader, Rollo.", NORMANS)).citations
    assert citation.quote.startswith("They were descended")


async def test_the_page_is_that_of_the_bearing_sentence(embedder: MiniLMEmbedder) -> None:
    broken = replace(source(4, CLOCKS), page_breaks=(START + CLOCKS.index("Visitors"),))
    citer = Citer([broken], embedder)
    draft = DraftSentence("The clock's identifier is NPL-CS1.", tuple(whole(broken)))
    assert (await citer.cite(draft)).citations[0].page == 5


async def test_two_sources_bear_a_sentence_together(embedder: MiniLMEmbedder) -> None:
    text = "The Normans gave their name to Normandy, and the first caesium clock began in 1955."
    cited = await check(embedder, text, NORMANS, CLOCKS)
    assert cited.problems == ()
    assert cited.text.endswith("[1] [2]")
    assert {each.document_name for each in cited.citations} == {"1.txt", "2.txt"}


async def test_a_source_that_bears_nothing_is_not_cited(embedder: MiniLMEmbedder) -> None:
    cited = await check(embedder, "The first caesium clock began in June 1955.", NORMANS, CLOCKS)
    assert [each.document_name for each in cited.citations] == ["2.txt"]
    assert cited.text.endswith("1955. [1]")


async def test_a_swapped_source_is_a_fault_and_not_set_right(embedder: MiniLMEmbedder) -> None:
    evidence = [source(1, NORMANS), source(2, CLOCKS)]
    for text in (
        "They were descended from raiders who agreed to swear fealty.",
        "People gave their name to a region.",
    ):
        right, wrong = (Quote(at, START, each.end) for at, each in enumerate(evidence))
        citer = Citer(evidence, embedder)
        assert (await citer.cite(DraftSentence(text, (right,)))).problems == ()
        swapped = await citer.cite(DraftSentence(text, (wrong,)))
        assert "weak_support" in swapped.problems
        assert swapped.citations == ()


async def test_names_may_come_from_the_titles(embedder: MiniLMEmbedder) -> None:
    text = "It was built in 1859 and strikes every quarter of an hour."
    titled = replace(source(1, text), document_title="The Westminster Clock")
    claim = DraftSentence("The Westminster clock was built in 1859.", tuple(whole(titled)))
    assert (await Citer([titled], embedder).cite(claim)).problems == ()
    untitled = await Citer([source(1, text)], embedder).cite(claim)
    assert untitled.problems == ("name_not_in_source",)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    claim=st.text(st.sampled_from("aB19 .,%-–−'’\"“”(§$°€/:_é東א🕰\n不nNo "), max_size=60),
    cited=st.text(
        st.sampled_from("aB19 .,%-–−'’\"“”(§$°€/:_é東א🕰\n不nNo "), min_size=1, max_size=90
    ),
)
async def test_no_text_makes_the_checker_fail(
    embedder: MiniLMEmbedder, claim: str, cited: str
) -> None:
    checked = await check(embedder, claim, cited)
    assert "check_failed" not in checked.problems
    for citation in checked.citations:
        assert citation.quote == cited[citation.start - START : citation.end - START]
    if cited.strip():
        repeated = await check(embedder, cited, cited)
        assert repeated.problems == ()
