"""Units of measure by all the names that they go by."""

from collections.abc import Sequence

from citewell.answer.cite.tokens import Token

_NAMES = {
    "%": "% percent percentage pct prozent pourcent",
    "percentage point": "pp",
    "‰": "‰ permille promille",
    "usd": "$ usd dollar dollars dólar dólares",
    "eur": "€ eur euro euros",
    "gbp": "£ gbp pound pounds pfund livre livres",
    "jpy": "¥ jpy yen",
    "chf": "chf franken",
    "inr": "₹ inr rupee rupees",
    "cny": "cny yuan renminbi",
    "cent": "¢ cent cents",
    "nanosecond": "ns nanosecond nanoseconds nanosekunde nanosekunden nanoseconde nanosecondes",
    "microsecond": "µs μs microsecond microseconds mikrosekunde mikrosekunden",
    "millisecond": "ms millisecond milliseconds millisekunde millisekunden",
    "second": "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos",
    "minute": "min mins minute minutes minuten minuto minutos",
    "hour": "h hr hrs hour hours stunde stunden heure heures hora horas hourly",
    "day": "day days tag tage tagen jour jours día días daily",
    "week": "week weeks wk wks woche wochen semaine semaines semana semanas weekly",
    "month": "month months monat monate monaten mois mes meses monthly",
    "year": "year years yr yrs jahr jahre jahren ans année années año años yearly annually",
    "decade": "decade decades jahrzehnt jahrzehnte décennie décennies década décadas",
    "century": "century centuries jahrhundert jahrhunderte siècle siècles siglo siglos",
    "millennium": "millennium millennia jahrtausend jahrtausende",
    "nm": "nm nanometer nanometers nanometre nanometres",
    "µm": "µm μm um micron microns micrometer micrometers micrometre micrometres",
    "mm": "mm millimeter millimeters millimetre millimetres millimètre millimètres milímetros",
    "cm": "cm centimeter centimeters centimetre centimetres zentimeter centimètres centímetros",
    "m": "m meter meters metre metres mètre mètres metro metros",
    "km": "km kilometer kilometers kilometre kilometres kilomètre kilomètres kilómetro kilómetros",
    "mile": "mi mile miles meile meilen",
    "nautical mile": "nmi",
    "yard": "yd yard yards",
    "foot": "ft foot feet fuß pied pieds pies",
    "inch": "inch inches zoll pouce pouces pulgada pulgadas",
    "light-year": "lightyear lightyears lichtjahr lichtjahre",
    "hectare": "ha hectare hectares hektar hectárea hectáreas",
    "acre": "acre acres",
    "µg": "µg μg ug mcg microgram micrograms",
    "mg": "mg milligram milligrams milligramm milligrammes miligramos",
    "g": "g gram grams gramm gramme grammes gramo gramos",
    "kg": "kg kilogram kilograms kilo kilos kilogramm kilogrammes kilogramo kilogramos",
    "tonne": "t ton tons tonne tonnes tonnen tonelada toneladas",
    "pound of weight": "lb lbs",
    "ounce": "oz ounce ounces",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "l": "l liter liters litre litres litro litros",
    "gallon": "gal gallon gallons",
    "pint": "pint pints",
    "°": "° degree degrees grad degré degrés grado grados",
    "°C": "celsius centigrade",
    "°F": "fahrenheit",
    "kelvin": "kelvin kelvins",
    "hertz": "hz hertz", "khz": "khz kilohertz", "mhz": "mhz megahertz", "ghz": "ghz gigahertz",
    "watt": "w watt watts", "kw": "kw kilowatt kilowatts", "mw": "mw megawatt megawatts",
    "gw": "gw gigawatt gigawatts", "kwh": "kwh",
    "volt": "v volt volts", "ampere": "amp amps ampere amperes",
    "joule": "j joule joules", "kj": "kj kilojoule kilojoules",
    "calorie": "cal calorie calories", "kcal": "kcal kilocalorie kilocalories",
    "newton": "newton newtons", "pascal": "pa pascal pascals", "kpa": "kpa", "bar": "bar bars",
    "bit": "bit bits", "byte": "byte bytes", "kb": "kb kilobyte kilobytes kib",
    "mb": "mb megabyte megabytes mib", "gb": "gb gigabyte gigabytes gib",
    "tb": "tb terabyte terabytes tib",
    "token": "token tokens", "page": "page pages", "word": "word words",
    "mol": "mol moles", "mmol": "mmol", "db": "db decibel decibels", "mph": "mph", "knot": "knots",
    "kbps": "kbps", "mbps": "mbps", "gbps": "gbps", "rpm": "rpm", "ppm": "ppm",
}  # fmt: skip
UNITS = {name: unit for unit, names in _NAMES.items() for name in names.split()}

SPOKEN = frozenset(
    name for name, unit in UNITS.items() if len(name) > 2 and unit not in {"token", "page", "word"}
)
"""Names that are a unit even without a number before them: "several hours"."""

_PREFIXES = {
    "square": "²", "cubic": "³", "sq": "²", "quadrat": "²", "carrés": "²", "cuadrados": "²",
    "nautical": "nautical ", "light": "light-", "metric": "", "us": "", "calendar": "",
}  # fmt: skip
_PERCENT = {("per", "cent"), ("pour", "cent"), ("por", "ciento")}
_PER = {"per", "a", "an", "pro", "par", "por", "each"}
_JOINING = {"-", "–", "‑", "°"}


def read_unit(tokens: Sequence[Token], at: int) -> tuple[str | None, int]:
    """Return the unit that begins at ``tokens[at]``, and the place after it.

    A unit by another one ("km/h", "metres per second") is one unit.
    """
    place = at
    while place < len(tokens) and tokens[place].text in _JOINING - {"°"}:
        place += 1
    pair = tuple(token.folded for token in tokens[place : place + 2])
    if pair in _PERCENT:
        return "%", place + 2
    unit, end = _single(tokens, place)
    if unit is None:
        return None, at
    if end + 1 < len(tokens) and (tokens[end].text == "/" or tokens[end].folded in _PER):
        below, after = _single(tokens, end + 1)
        if below is not None:
            return f"{unit}/{below}", after
    return unit, end


def _single(tokens: Sequence[Token], at: int) -> tuple[str | None, int]:
    if at >= len(tokens):
        return None, at
    folded = tokens[at].folded
    if folded in _PREFIXES and at + 1 < len(tokens):
        after = at + 2 if tokens[at + 1].text == "-" else at + 1
        inner = UNITS.get(tokens[after].folded) if after < len(tokens) else None
        return (None, at) if inner is None else (_prefixed(folded, inner), after + 1)
    unit = UNITS.get(folded)
    if unit == "°":
        scale = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if scale in {"C", "F"} or scale.casefold() in {"celsius", "fahrenheit"}:
            return f"°{scale[0].upper()}", at + 2
    if unit == "%" and at + 1 < len(tokens) and tokens[at + 1].folded in {"point", "points"}:
        return "percentage point", at + 2
    return unit, at + 1


def _prefixed(prefix: str, unit: str) -> str:
    mark = _PREFIXES[prefix]
    return f"{unit}{mark}" if mark in {"²", "³"} else f"{mark}{unit}"
