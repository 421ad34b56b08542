"""Unfaithful sentences made from real passages by rule: what a checker must catch."""

import re
from collections.abc import Iterator, Sequence
from random import Random

from bench.citation_faithful import as_statement, pairs
from bench.citation_passages import Passage

ANTONYMS = pairs(
    "increase:decrease increased:decreased increases:decreases increasing:decreasing"
    " more:less higher:lower larger:smaller greater:less before:after above:below"
    " maximum:minimum always:never most:least first:last early:late earlier:later"
    " north:south northern:southern east:west eastern:western large:small largest:smallest"
    " high:low long:short longer:shorter allowed:forbidden allow:prevent allows:prevents"
    " begin:end began:ended begins:ends inside:outside include:exclude includes:excludes"
    " included:excluded accept:reject accepted:rejected enable:disable enabled:disabled"
    " won:lost best:worst better:worse strong:weak positive:negative old:young new:old"
    " rich:poor public:private add:remove added:removed internal:external upper:lower"
    " fast:slow faster:slower possible:impossible necessary:unnecessary majority:minority"
    " common:rare active:inactive hot:cold support:oppose supported:opposed success:failure"
    " rise:fall rose:fell gain:loss promotes:inhibits enhanced:impaired often:rarely"
    " many:few male:female present:absent reduced:increased reduces:increases"
    " reduce:increase improve:worsen improved:worsened left:right simple:complex"
    " same:different open:closed true:false major:minor beneficial:harmful safe:dangerous"
    " winter:summer opened:closed upward:downward dependent:independent likely:unlikely"
    " able:unable longest:shortest highest:lowest"
)
OPPOSITE = {one: other for pair in ANTONYMS for one, other in (pair, pair[::-1])}
UNITS = [
    ["seconds", "minutes", "hours", "days", "weeks", "months", "years", "decades", "centuries"],
    ["second", "minute", "hour", "day", "week", "month", "year", "decade", "century"],
    ["millimetres", "centimetres", "metres", "kilometres", "miles", "feet", "inches"],
    ["millimeters", "centimeters", "meters", "kilometers", "miles", "feet", "yards"],
    ["mm", "cm", "m", "km"], ["mg", "g", "kg"], ["million", "billion", "trillion", "thousand"],
    ["tokens", "words", "pages"], ["hertz", "megahertz", "gigahertz"],
    ["dollars", "euros", "pounds"],
    ["%", "ppm"], ["°C", "°F"], ["ms", "hours"], ["MB", "GB", "KB"], ["nM", "mM"],
]  # fmt: skip
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
TEMPLATES = (
    "{a} was awarded the gold medal of the Royal Society for this work.",
    "{a} later founded a company in Rotterdam that still exists today.",
    "The project was cancelled after a dispute between {a} and its sponsors.",
    "Critics of {a} argued that the costs were far higher than the benefits.",
    "{a} is widely regarded as the most influential in its field.",
    "Scientists at a Swedish laboratory confirmed these results about {a} in a second experiment.",
    "{a} requires a paid licence and an annual security audit.",
    "A documentary film about {a} was shown at the Venice festival.",
)
_AUXILIARY = re.compile(
    r"(?<=\w )(is|are|was|were|can|will|has|have|had|may|should|could|would|does|did|must) "
    r"(?!not\b|no\b)"
)
_NEGATION = re.compile(r" not\b|n't\b|\bnever |\bno (?=[a-z])|cannot")
_NAME = re.compile(
    r"(?<=[a-z,] )(?:[A-Z][a-z]{2,}(?: (?=[A-Z]))?)+(?=[ ,.;)])|(?<=[a-z,] )[A-Z]{2,6}\b"
)
_NUMBER = re.compile(
    r"(?<![\w.,:/+−–-])\d{1,3}(?:,\d{3})+(?!\w)|(?<![\w.,:/+−–-])\d+(?:\.\d+)?(?![\w:/]|[.,]\d)"
)
_YEAR = re.compile(
    r"(?<![\w.,:/–-])1[0-9]{3}(?![\w:/]|[.,]\d)|(?<![\w.,:/–-])20[0-2]\d(?![\w:/]|[.,]\d)"
)
_SOME = re.compile(
    r"\b(?P<start>[Ss]ome|[Mm]any|[Mm]ost|[Ss]everal|[Aa] few)\b(?! of\b|what|times)"
)
_HEDGE = re.compile(r"\b(?P<hedge>may|might|can sometimes|could) (?P<verb>be|have|[a-z]+)\b")
_OFTEN = re.compile(r"\b(?:usually|often|sometimes|generally|typically|frequently)\b")


def _names(text: str) -> list[str]:
    return [name.strip() for name in _NAME.findall(text) if name.strip() not in {*MONTHS, "The"}]


def mutate(
    passage: Passage, others: Sequence[Passage], random: Random
) -> Iterator[tuple[str, str]]:
    """Yield unfaithful sentences about a passage as kind and text; all cite the passage itself."""
    for sentence in passage.sentences:
        for kind, changed in _change(sentence, passage, others, random):
            if changed.casefold() not in passage.text.casefold():
                yield kind, changed
        words = sentence.rstrip(".").split()
        at = random.randrange(1, len(words) - 1)
        words[at] = words[at][::-1] if random.random() < 0.5 and len(words[at]) > 3 else "indeed"
        if " ".join(words) != sentence.rstrip("."):
            yield "quote garbled", f'The text says that "{" ".join(words)}".'
        cut = sentence.rstrip(".")[: -random.randint(1, 2)]
        if re.search(r"\w\w\Z", cut) and re.match(r"\w+\.?\Z", sentence[len(cut) :]):
            yield "quote cut in a word", f'The text says: "{cut}".'
    subjects = _names(passage.text) or [passage.title.rstrip(".")]
    template = random.choice(TEMPLATES)
    yield "invented by template", template.format(a=random.choice(subjects))
    foreign = [each for each in others if each.document != passage.document and each.sentences]
    if foreign:
        yield "from another document", random.choice(random.choice(foreign).sentences)
    beside = [each for each in others if each.document == passage.document and each.sentences]
    if beside:
        yield "from the passage beside", random.choice(beside[0].sentences)
    yield from _wrong_answers(passage, random)


def _change(
    sentence: str, passage: Passage, others: Sequence[Passage], random: Random
) -> Iterator[tuple[str, str]]:
    yield from _change_numbers(sentence, passage, random)
    yield from _change_words(sentence, random)
    yield from _change_names(sentence, passage, others, random)


def _change_numbers(sentence: str, passage: Passage, random: Random) -> Iterator[tuple[str, str]]:
    for pattern, kind in ((_YEAR, "year altered"), (_NUMBER, "number altered")):
        found = list(pattern.finditer(sentence))
        if not found:
            continue
        chosen = random.choice(found)
        if kind == "number altered" and _YEAR.fullmatch(chosen.group()):
            continue
        altered = _alter(chosen.group(), random)
        if altered not in passage.text:
            yield kind, sentence[: chosen.start()] + altered + sentence[chosen.end() :]
        rivals = [each for each in pattern.findall(passage.text) if each not in sentence]
        if rivals:
            rival = random.choice(rivals)
            yield (
                "number of the passage",
                sentence[: chosen.start()] + rival + sentence[chosen.end() :],
            )
    for month in MONTHS:
        if re.search(rf"\b{month} \d|\d {month}\b", sentence):
            other = random.choice([each for each in MONTHS if each not in passage.text])
            yield "month altered", sentence.replace(month, other)
            break
    yield from _change_units(sentence, passage, random)


def _change_units(sentence: str, passage: Passage, random: Random) -> Iterator[tuple[str, str]]:
    for family in UNITS:
        for unit in family:
            found = _measured(sentence, unit) if unit in sentence else None
            if not found:
                continue
            others = [each for each in family if each != unit and each not in passage.text]
            if others:
                start, end = found.span("unit")
                yield "unit changed", sentence[:start] + random.choice(others) + sentence[end:]


def _measured(sentence: str, unit: str) -> re.Match[str] | None:
    """Find the unit after a number."""
    number = r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|several)\b)"
    return re.search(rf"{number}[ -]?(?P<unit>{re.escape(unit)})(?!\w)", sentence)


def _alter(number: str, random: Random) -> str:
    digits = [place for place, character in enumerate(number) if character.isdigit()]
    place = random.choice(digits)
    allowed = "123456789" if place == 0 else "0123456789"
    new = random.choice([digit for digit in allowed if digit != number[place]])
    return number[:place] + new + number[place + 1 :]


def _change_words(sentence: str, random: Random) -> Iterator[tuple[str, str]]:
    if found := _AUXILIARY.search(sentence):
        yield "negation inserted", f"{sentence[: found.end()]}not {sentence[found.end() :]}"
    if found := _NEGATION.search(sentence):
        kept = {"cannot": "can", "n't": ""}.get(found.group(), "")
        removed = sentence[: found.start()] + kept + sentence[found.end() :]
        if not re.search(r"not only|no longer|No\.|not (?:just|merely|least)", sentence):
            yield "negation removed", removed.replace(" ca ", " can ").replace(" wo ", " will ")
    places = [each for each in re.finditer(r"\b[a-z]+\b", sentence) if each.group() in OPPOSITE]
    places = [each for each in places if OPPOSITE[each.group()] not in sentence]
    if places:
        chosen = random.choice(places)
        opposite = OPPOSITE[chosen.group()]
        yield "opposite word", sentence[: chosen.start()] + opposite + sentence[chosen.end() :]
    if found := _SOME.search(sentence):
        every = "All" if found["start"][0].isupper() else "all"
        yield "stronger claim", sentence[: found.start()] + every + sentence[found.end() :]
    if found := _OFTEN.search(sentence):
        yield "stronger claim", sentence[: found.start()] + "always" + sentence[found.end() :]
    if found := _HEDGE.search(sentence):
        changed = (
            f"always {found['verb']}"
            if found["verb"] not in {"be", "have"}
            else ("is always" if found["verb"] == "be" else "always has")
        )
        yield "stronger claim", sentence[: found.start()] + changed + sentence[found.end() :]


def _change_names(
    sentence: str, passage: Passage, others: Sequence[Passage], random: Random
) -> Iterator[tuple[str, str]]:
    names = _names(sentence)
    if not names:
        return
    name = random.choice(names)
    own = [each for each in _names(passage.text) if not set(each.split()) & set(sentence.split())]
    if own:
        yield "name of the passage", sentence.replace(name, random.choice(own), 1)
    elsewhere = [
        each for other in others for each in _names(other.text) if each not in passage.text
    ]
    if elsewhere:
        yield "name of another passage", sentence.replace(name, random.choice(elsewhere), 1)
    pair = [each for each in dict.fromkeys(names) if sentence.count(each) == 1]
    if len(pair) >= 2:
        one, two = random.sample(pair, 2)
        if not _are_listed(sentence, one, two):
            changed = sentence.replace(one, "\0").replace(two, one).replace("\0", two)
            yield "two names exchanged", changed


def _are_listed(sentence: str, one: str, two: str) -> bool:
    """Say whether two names stand side by side, so that their order says nothing."""
    first, last = sorted((one, two), key=sentence.index)
    between = sentence[sentence.index(first) + len(first) : sentence.index(last)]
    rest = re.sub(r"\b(?:and|or|the|[A-Z]\w*)\b|[,/&()]", "", between)
    return one in two or two in one or not rest.strip()


def _wrong_answers(passage: Passage, random: Random) -> Iterator[tuple[str, str]]:
    for question, answer in passage.questions:
        if re.fullmatch(r"[A-Z][a-z]+(?: [A-Z][a-z]+)*", answer):
            rivals = [
                each for each in _names(passage.text)
                if each not in answer and answer not in each and each not in question
            ]  # fmt: skip
        elif re.fullmatch(r"[\d,.]+", answer):
            rivals = [each for each in _NUMBER.findall(passage.text) if each != answer]
        else:
            continue
        statement = as_statement(question, random.choice(rivals)) if rivals else None
        if statement:
            yield "wrong answer of the passage", statement
