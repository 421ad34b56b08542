"""Read a text's numbers with their units, in digits or words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from citewell.answer.cite.tokens import Token, is_ordinal_suffix
from citewell.answer.cite.units import UNITS, read_unit

_SMALL = {
    "english": "zero one two three four five six seven eight nine ten eleven twelve thirteen"
    " fourteen fifteen sixteen seventeen eighteen nineteen twenty",
    "german": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn"
    " vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig",
    "french": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze"
    " quinze seize dix-sept dix-huit dix-neuf vingt",
    "spanish": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce"
    " quince dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés"
    " veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve",
}
_TENS = {
    "english": "twenty thirty forty fifty sixty seventy eighty ninety",
    "german": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "french": "vingt trente quarante cinquante soixante",
    "spanish": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}
_ORDINALS = {
    "english": "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
    " thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth",
    "french": "premier deuxième troisième quatrième cinquième sixième septième huitième",
    "spanish": "primero segundo tercero cuarto quinto sexto séptimo octavo",
}
_SCALES = {
    1000: "thousand thousands tausend mille mil k",
    10**6: "million millions millionen mio millón millones mn",
    10**9: "billion billions milliarde milliarden milliard milliards mrd bn",
    10**12: "trillion trillions billionen",
}
_GERMAN_UNITS = "ein zwei drei vier fünf sechs sieben acht neun"
_SOFT = frozenset({"one", "first", "second", "third", "half", "un", "uno", "eins", "segundo"})
"""Words that are as often no number: they are compared where they stand, not looked up."""

_SCALE_OF = {name: value for value, names in _SCALES.items() for name in names.split()}
_SUFFIX_SCALES = {"k": 1000, "K": 1000, "M": 10**6, "bn": 10**9, "B": 10**9}
_ARTICLES = {"a", "an", "ein", "eine", "einer", "un"}
_HUNDRED = {"english": "hundred", "german": "hundert", "french": "cent", "spanish": "cientos"}
_DASHES = {"-", "–", "—", "−"}
_RANGE = {"to", "and", "or", "bis", "und", "à", "a", "et", "y", "by", "x", "×"} | _DASHES
_NEGATIVE = {"minus", "negative", "moins", "menos"}


def _spelled() -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    small: dict[str, dict[str, int]] = {}
    tens: dict[str, dict[str, int]] = {}
    for language, names in _SMALL.items():
        own = {name: value for value, name in enumerate(names.split())}
        for value, name in enumerate(_ORDINALS.get(language, "").split(), start=1):
            own.setdefault(name, value)
        small[language] = own
        tens[language] = {
            name: 10 * value for value, name in enumerate(_TENS[language].split(), start=2)
        }
    for value, name in enumerate(_GERMAN_UNITS.split(), start=1):
        for ten, tenfold in tens["german"].items():
            small["german"][f"{name}und{ten}"] = tenfold + value
    english = tens["english"]
    small["english"].update({f"{ten[:-1]}ieth": value for ten, value in english.items()})
    small["english"].update({"dozen": 12, "dozens": 12})
    return small, tens


_SMALL_OF, _TENS_OF = _spelled()


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a text: its value, its unit where it has one, and which tokens it is.

    ``soft`` says that the word may be none, as in "one of them".
    """

    value: Decimal
    unit: str | None
    first: int
    last: int
    soft: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """Its first and its last token."""
        return self.first, self.last

    @property
    def is_year(self) -> bool:
        """Say whether it may be a year."""
        return self.unit is None and 1000 <= self.value <= 2100 and self.value % 1 == 0


def read_numbers(tokens: Sequence[Token], language: str | None) -> list[Number]:
    """Return the numbers in order; one that shares its unit with the next has it too.

    "5 to 10 mg" is twice in mg; "3.5 million" is 3,500,000; "$5" is in dollars.
    """
    found = list(_read(tokens, language))
    for place in range(len(found) - 2, -1, -1):
        number, following = found[place], found[place + 1]
        between = tokens[number.last + 1 : following.first]
        shares = len(between) == 1 and between[0].folded in _RANGE
        if shares and number.unit is None and following.unit:
            found[place] = replace(number, unit=following.unit)
    return found


def _read(tokens: Sequence[Token], language: str | None) -> Iterator[Number]:
    place = 0
    while place < len(tokens):
        value, end, soft = _value(tokens, place, language)
        if value is None:
            place += 1
            continue
        unit, after = _unit(tokens, place, end)
        if _is_negative(tokens, place):
            value = -value
        yield Number(value, unit, place, end - 1, soft and unit is None)
        place = max(after, end)


def _unit(tokens: Sequence[Token], first: int, end: int) -> tuple[str | None, int]:
    """Return the unit of the number ``tokens[first:end]`` and the place after both."""
    before = tokens[first - 1].text if first else ""
    if before in {"$", "€", "£", "¥", "₹"}:
        return UNITS[before], end
    suffix = tokens[end - 1].suffix
    if suffix == "s" and len(tokens[end - 1].text) == 4:
        return "decade", end
    if suffix and not is_ordinal_suffix(suffix) and suffix.casefold() in UNITS:
        return UNITS[suffix.casefold()], end
    return read_unit(tokens, end)


def _is_negative(tokens: Sequence[Token], first: int) -> bool:
    if not first:
        return False
    before = tokens[first - 1]
    if before.folded in _NEGATIVE:
        return True
    if before.text not in {"-", "−", "–"} or before.end != tokens[first].start:
        return False
    earlier = tokens[first - 2] if first > 1 else None
    return earlier is None or earlier.end < before.start or before.text == "−"


def _value(
    tokens: Sequence[Token], at: int, language: str | None
) -> tuple[Decimal | None, int, bool]:
    """Return the number that begins at ``tokens[at]``, the place after it, and if it is soft."""
    token = tokens[at]
    if token.kind == "number":
        value = parse_digits(token.text, language)
        if value is not None:
            value *= _SUFFIX_SCALES.get(token.suffix, 1)
        end, soft = at + 1, False
    elif token.kind == "word":
        spelled, end = _spelled_value(tokens, at, language)
        value = None if spelled is None else Decimal(spelled)
        soft = end == at + 1 and token.folded in _SOFT
    else:
        return None, at, False
    while value is not None and end < len(tokens) and tokens[end].folded in _SCALE_OF:
        scale = _SCALE_OF[tokens[end].folded]
        value, end, soft = value * scale, end + 1, False
        if token.kind == "word":
            rest, end = _rest(tokens, end, scale, language)
            value += rest
    return value, end, soft


def _rest(tokens: Sequence[Token], at: int, scale: int, language: str | None) -> tuple[int, int]:
    """Read what follows "two thousand": "two hundred", "and five"; 0 for nothing."""
    after = at + 1 if at < len(tokens) and tokens[at].folded in {"and", "und"} else at
    if after >= len(tokens) or tokens[after].kind != "word":
        return 0, at
    rest, end = _spelled_value(tokens, after, language)
    if rest is not None and end < len(tokens) and _SCALE_OF.get(tokens[end].folded, scale) < scale:
        rest, end = rest * _SCALE_OF[tokens[end].folded], end + 1
    return (rest, end) if rest is not None and rest < scale else (0, at)


def _spelled_value(
    tokens: Sequence[Token], at: int, language: str | None
) -> tuple[int | None, int]:
    """Read "two hundred and twenty-five": its value and the place after it."""
    small = _SMALL_OF.get(language or "english", _SMALL_OF["english"])
    tens = _TENS_OF.get(language or "english", _TENS_OF["english"])
    hundred = _HUNDRED.get(language or "english")
    value, end = _below_hundred(tokens, at, small, tens)
    if value is None and at and tokens[at - 1].folded in _ARTICLES:
        if tokens[at].folded in _SCALE_OF:
            return 1, at
        value = 1 if tokens[at].folded == hundred else None
    if value is not None and end < len(tokens) and tokens[end].folded == hundred:
        value, end = value * 100, end + 1
        after = end + 1 if end < len(tokens) and tokens[end].folded == "and" else end
        rest, rest_end = _below_hundred(tokens, after, small, tens)
        if rest is not None:
            value, end = value + rest, rest_end
    return value, end


def _below_hundred(
    tokens: Sequence[Token], at: int, small: Mapping[str, int], tens: Mapping[str, int]
) -> tuple[int | None, int]:
    if at >= len(tokens):
        return None, at
    folded = tokens[at].folded
    if folded not in tens:
        return (small[folded], at + 1) if folded in small else (None, at)
    after = at + 1
    if after < len(tokens) and tokens[after].folded in {"-", "y", "et"}:
        after += 1
    if after < len(tokens) and 0 < small.get(tokens[after].folded, 0) < 10:
        return tens[folded] + small[tokens[after].folded], after + 1
    return tens[folded], at + 1


def parse_digits(text: str, language: str | None) -> Decimal | None:
    """Return the value of digits with separators, read as the language writes them."""
    plain = "".join(text.replace("’", "'").replace("'", "").split())
    comma_is_point = language in {"german", "french", "spanish"}
    thousands, point = (".", ",") if comma_is_point else (",", ".")
    head, mark, tail = plain.rpartition(point)
    if mark and thousands not in tail:
        plain = f"{head.replace(thousands, '').replace(point, '')}.{tail}"
    elif thousands in plain and not _is_grouped(plain, thousands):
        plain = plain.replace(thousands, ".")
    else:
        plain = plain.replace(thousands, "")
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None


def _is_grouped(plain: str, mark: str) -> bool:
    first, *rest = plain.split(mark)
    return len(first) <= 3 and all(len(group) == 3 for group in rest)
