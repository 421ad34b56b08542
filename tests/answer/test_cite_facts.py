"""What the citation check reads as numbers, units, dates and names."""

from decimal import Decimal

import pytest

from citewell.answer.cite.dates import read_dates
from citewell.answer.cite.names import read_names
from citewell.answer.cite.numbers import read_numbers
from citewell.answer.cite.quoted import is_quoted_from, plain, read_passages
from citewell.answer.cite.tokens import Tokenizer


def numbers(text: str, language: str = "english") -> list[tuple[Decimal, str | None]]:
    return [
        (each.value, each.unit) for each in read_numbers(Tokenizer(language).cut(text), language)
    ]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1,234.50 of them", "1234.5", None),
        ("12 000 people", "12000", None),
        ("1’000 people", "1000", None),
        ("twenty-five clocks", "25", None),
        ("two hundred and five clocks", "205", None),
        ("three million two hundred thousand", "3200000", None),
        ("two thousand and five", "2005", None),
        ("a thousand clocks", "1000", None),
        ("a hundred clocks", "100", None),
        ("a dozen clocks", "12", None),
        ("3.5 million clocks", "3500000", None),
        ("10k users", "10000", None),
        ("the 3rd clock", "3", None),
        ("the twelfth clock", "12", None),
        ("in the 1980s", "1980", "decade"),
        ("the 19th-century clock", "19", "century"),
        ("a 20-year-old clock", "20", "year"),
        ("12%", "12", "%"),
        ("12 per cent", "12", "%"),
        ("9 percentage points", "9", "percentage point"),
        ("$3M", "3000000", "usd"),
        ("€5", "5", "eur"),
        ("five dollars", "5", "usd"),
        ("28 °C", "28", "°C"),
        ("28 degrees Celsius", "28", "°C"),
        ("−5 °F", "-5", "°F"),
        ("minus 5 degrees", "-5", "°"),
        ("5mg", "5", "mg"),
        ("5 milligrams", "5", "mg"),
        ("5 km/h", "5", "km/hour"),
        ("5 kilometres per hour", "5", "km/hour"),
        ("40 square miles", "40", "mile²"),
        ("60 seconds", "60", "second"),
        ("ten cent", "10", "cent"),
    ],
)
def test_a_number_and_its_unit(text: str, value: str, unit: str | None) -> None:
    assert numbers(text) == [(Decimal(value), unit)]


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("1.234,5 Meter", "german", "1234.5"),
        ("1.234 Meter", "german", "1234"),
        ("3,5 Meter", "german", "3.5"),
        ("fünfundzwanzig Meter", "german", "25"),
        ("2,5 Mio. Einwohner", "german", "2500000"),
        ("1 250,5 mètres", "french", "1250.5"),
        ("deux cent cinq mètres", "french", "205"),
        ("treinta y cinco metros", "spanish", "35"),
    ],
)
def test_numbers_of_other_languages(text: str, language: str, value: str) -> None:
    assert [each for each, _ in numbers(text, language)] == [Decimal(value)]


def test_ranges_share_their_unit() -> None:
    assert numbers("5–10 mg") == [(Decimal(5), "mg"), (Decimal(10), "mg")]
    assert numbers("from 5 to 10 km") == [(Decimal(5), "km"), (Decimal(10), "km")]
    assert numbers("1999-2001") == [(Decimal(1999), None), (Decimal(2001), None)]


@pytest.mark.parametrize("text", ["RFC9110", "COVID-19", "v1.2.3", "H4", "§ 2.3.1", "10:30", ""])
def test_identifiers_are_no_numbers(text: str) -> None:
    assert numbers(text) == []


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("on June 3rd, 1955", (1955, 6, 3)),
        ("on 3 June 1955", (1955, 6, 3)),
        ("on the 3rd of June 1955", (1955, 6, 3)),
        ("am 3. Juni 1955", (1955, 6, 3)),
        ("le 3 juin 1955", (1955, 6, 3)),
        ("el 3 de junio de 1955", (1955, 6, 3)),
        ("on 1955-06-03", (1955, 6, 3)),
        ("am 03.06.1955", (1955, 6, 3)),
        ("on 13/6/1955", (1955, 6, 13)),
        ("in June 1955", (1955, 6, None)),
        ("on 3 June", (None, 6, 3)),
        ("in June.", (None, 6, None)),
        ("in Sept. 1955", (1955, 9, None)),
    ],
)
def test_a_date(text: str, date: tuple[int | None, ...]) -> None:
    (found,) = read_dates(Tokenizer("english").cut(text))
    assert (found.year, found.month, found.day) == date


def test_a_date_that_two_countries_read_otherwise() -> None:
    (found,) = read_dates(Tokenizer("english").cut("on 5/6/1955"))
    assert set(found.readings()) == {(1955, 5, 6), (1955, 6, 5)}


@pytest.mark.parametrize("text", ["It may rain.", "They march on.", "in 1955", "99/99/1955"])
def test_no_date(text: str) -> None:
    assert read_dates(Tokenizer("english").cut(text)) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The clock of Louis Essen worked.", [("louis", "essen")]),
        ("Louis Essen built it.", [("louis", "essen")]),
        ("Clocks are old.", []),
        ("In June the U.S. Navy came.", [("us", "navy")]),
        ("It runs on PyTorch.", [("pytorch",)]),
        ("WHO says so.", [("who",)]),
        ("ALL OF THIS IS SHOUTED LOUDLY", []),
        ("A Title In Which All Words Have Capitals", []),
        ("It weighs 5 W.", []),
    ],
)
def test_names_that_are_sure(text: str, names: list[tuple[str, ...]]) -> None:
    found = read_names(Tokenizer("english").cut(text), "english")
    assert [each.words for each in found if each.sure] == names


def test_german_nouns_are_no_sure_names() -> None:
    found = read_names(Tokenizer("german").cut("Die Uhr im Turm ging falsch."), "german")
    assert not [each for each in found if each.sure]


QUOTED = 'The Court held that it was "not bound" by the old rule, and left it “as it stood” then.'


@pytest.mark.parametrize(
    ("sentence", "passages"),
    [
        ('He said "it was not bound by it" then.', ["it was not bound by it"]),
        ("He said “as it stood” then.", ["as it stood"]),
        ("Er sagte „so wie es war“ dann.", ["so wie es war"]),
        ("Il dit « comme il était » alors.", ["comme il était"]),
        ('He was "not bound" then.', []),
        ('The answer to "Who was it then?" is no.', []),
        ('It says "held that it was "not bound" by it".', ['held that it was "not bound" by it']),
        ('"One two three" and "four five six".', ["One two three", "four five six"]),
    ],
)
def test_passages_in_quotation_marks(sentence: str, passages: list[str]) -> None:
    assert list(read_passages(sentence)) == passages


@pytest.mark.parametrize(
    ("passage", "there"),
    [
        ("held that it was 'not bound'", False),
        ('held that it was "not bound" by the old rule', True),
        ("the Court held that it", True),
        ("held that … the old rule,", True),
        ("the old rule … held that", False),
        ("held that [...] as it stood", True),
        ("left it", True),
        ("left i", False),
        ("eft it", False),
    ],
)
def test_a_passage_is_there_letter_by_letter(passage: str, there: bool) -> None:
    assert is_quoted_from(passage, plain(QUOTED)) is there
