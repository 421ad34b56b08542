"""A claim must deny what its source denies, and say neither the opposite nor more than it says."""

from collections.abc import Iterator, Sequence

from citewell.answer.cite.alignment import Change, changes
from citewell.answer.cite.opposites import (
    DENYING,
    DENYING_ALSO,
    DENYING_PREFIXES,
    EXCEPTING,
    FOR_ALL,
    FOR_ALL_CLAIMED,
    FOR_SOME,
    HEDGED,
    HEDGING,
    LIMITING,
    NOT_DENYING_BEFORE,
    poles_of,
)
from citewell.answer.cite.reading import Line, Reading, likeness
from citewell.answer.cite.tokens import Token

NEGATION, POLARITY = "negation_differs", "polarity_differs"

_FEW = 3
"""A denial that goes with more words goes with its clause."""

_REACH = 3
"""How many meaningful words after a denial it denies; the first two surely."""

_BESIDE = 4
_CLAUSE_ENDS = frozenset({",", ";", ":", ".", "(", ")", "—", "–", "!", "?"})
_MORE = frozenset(
    [
        "more",
        "over",
        "above",
        "exceeding",
        "greater",
        "least",
        "beyond",
        "mehr",
        "über",
        "plus",
        "más",
    ]
)
_FEWER = frozenset(
    ["less", "fewer", "under", "below", "most", "maximum", "weniger", "unter", "moins", "menos"]
)
_LEAST_WORD = 3


def check_polarity(claim: Reading, readings: Sequence[Reading]) -> Iterator[str]:
    """Yield the codes of where the claim's sense differs from that of the bearing sentences."""
    if not readings:
        return
    in_place = list(changes(claim, readings))
    if _negation_differs(claim, readings) or any(map(_changes_denial, in_place)):
        yield NEGATION
    if (
        any(_changes_sense(change, claim) for change in in_place)
        or _says_opposite(claim, readings)
        or _is_limited_otherwise(claim, readings)
        or _is_stronger(claim, readings)
        or _compares_otherwise(claim, readings)
    ):
        yield POLARITY


# Changes in place


def _changes_denial(change: Change) -> bool:
    """Say whether a denial came or went between words that stayed."""
    dropped, added = _folded(change.dropped), _folded(change.added)
    if max(len(dropped), len(added)) > _FEW:
        return False
    everything = {*dropped, *added}
    if everything & (DENYING_ALSO | NOT_DENYING_BEFORE) or any(map(_is_prefixed, everything)):
        return False
    return (
        sum(each in DENYING for each in dropped) % 2 != sum(each in DENYING for each in added) % 2
    )


def _is_prefixed(word: str) -> bool:
    return word.startswith(("un", "im", "in", "dis")) and len(word) > 2 * _LEAST_WORD


def _changes_sense(change: Change, claim: Reading) -> bool:
    """Say whether a word gave its place to its opposite, or to one that claims more."""
    dropped, added = set(_folded(change.dropped)), set(_folded(change.added))
    if (added & FOR_ALL_CLAIMED) and not dropped & FOR_ALL and not added & HEDGED:
        return True
    if dropped & HEDGED and not added & HEDGING and len(dropped) <= _FEW:
        return True
    if added & LIMITING and not dropped & LIMITING and not dropped & {"just"}:
        return True
    poles = poles_of(claim.tokenizer.language)
    theirs = {place for token in change.dropped for place in _poles(poles, token)}
    mine = {place for token in change.added for place in _poles(poles, token)}
    if not any((axis, 1 - pole) in theirs for axis, pole in mine - theirs):
        return False
    return (not added & DENYING) is (not dropped & DENYING)


def _folded(line: Line) -> list[str]:
    return [token.folded for token in line]


# Denials


def _denials(reading: Reading, cues: frozenset[str], reach: int) -> list[list[str]]:
    """Return what each denial denies: the stems after it in its clause, else those before it."""
    return [
        _denied(reading.tokens, place, reach, reading.tokenizer.language)
        for place, token in enumerate(reading.tokens)
        if (token.folded in cues or (reach > _REACH and _is_prefixed(token.folded)))
        and not _denies_nothing(reading.tokens, place)
    ]


def _denies_nothing(tokens: Sequence[Token], place: int) -> bool:
    following = tokens[place + 1].folded if place + 1 < len(tokens) else ""
    if tokens[place].folded == "no" and following in {".", "°"}:
        return True  # "No. 5"
    if tokens[place].folded in {"neither", "nor"} and place == 0:
        return False
    return following in NOT_DENYING_BEFORE and following in {"only", "just", "merely", "least"}


def _denied(tokens: Sequence[Token], place: int, reach: int, language: str | None) -> list[str]:
    after: list[str] = []
    for token in tokens[place + 1 :]:
        if token.text in _CLAUSE_ENDS and (after or token.text in {".", ";"}):
            break
        if not token.light:
            after.append(token.stem)
        if len(after) == reach:
            break
    before: list[str] = []
    if language == "german" or not after:
        for token in reversed(tokens[:place]):
            if token.text in _CLAUSE_ENDS or len(before) == reach:
                break
            if not token.light:
                before.append(token.stem)
    return after + before


def _negation_differs(claim: Reading, readings: Sequence[Reading]) -> bool:
    claimed = _denials(claim, DENYING, _REACH)
    said = [denied for each in readings for denied in _denials(each, DENYING, _REACH)]
    loosely = [
        denied for each in readings for denied in _denials(each, DENYING | DENYING_ALSO, 2 * _REACH)
    ]
    if any(denied and not _meet(denied, loosely) for denied in claimed):
        return not _has_opposite_of_denied(claim, claimed, readings)
    return _loses_denial(claim, claimed, said, readings) or _turns_prefix(claim, readings)


def _meet(denied: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    return any(not other or not set(denied).isdisjoint(other) for other in others)


def _has_opposite_of_denied(
    claim: Reading, claimed: Sequence[Sequence[str]], readings: Sequence[Reading]
) -> bool:
    """Say whether the source has the opposite of what the claim denies: "not open", "closed"."""
    poles = poles_of(claim.tokenizer.language)
    stems = {token.stem for each in readings for token in each.tokens}
    for stem in (stem for denied in claimed for stem in denied):
        for axis, pole in poles.get(stem, ()):
            if any((axis, 1 - pole) in poles.get(other, ()) for other in stems):
                return True
        if any(f"{prefix}{stem}" in stems for prefix in DENYING_PREFIXES):
            return True
    return False


def _loses_denial(
    claim: Reading,
    claimed: Sequence[Sequence[str]],
    said: Sequence[Sequence[str]],
    readings: Sequence[Reading],
) -> bool:
    """Say whether the claim affirms what the bearing sentences deny."""
    if not said:
        return False
    if not DENYING_ALSO.isdisjoint(claim.folded):
        return False
    if any("until" in reading.folded for reading in readings) and "until" not in claim.folded:
        said = [denied for denied in said if not _is_until(denied, readings)]
    counted = [token.stem for each in readings for token in each.tokens if not token.light]
    for denied in said:
        surely = [stem for stem in denied[:2] if stem in claim.stems]
        if not surely or surely[0] != denied[0] or _meet(denied, claimed):
            continue
        if counted.count(denied[0]) == 1 and not _has_opposite(claim, denied):
            return True
    return False


def _is_until(denied: Sequence[str], readings: Sequence[Reading]) -> bool:
    return any(
        "until" in reading.folded and not set(denied).isdisjoint(reading.stems)
        for reading in readings
    )


def _has_opposite(claim: Reading, denied: Sequence[str]) -> bool:
    return any(
        f"{prefix}{stem}" in claim.stems for prefix in DENYING_PREFIXES for stem in denied[:2]
    )


def _turns_prefix(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether "able" became "unable" or the other way, with no denial to make up for it."""
    stems = {stem for reading in readings for stem in reading.stems}
    denials = (
        len(_denials(claim, DENYING, 1)),
        sum(len(_denials(reading, DENYING, 1)) for reading in readings),
    )
    if denials[0] != denials[1]:
        return False
    mine, theirs = claim.stems - stems, stems - claim.stems
    return any(
        f"{prefix}{one}" == other
        for one, other in ((a, b) for a in mine for b in theirs if a[-1:] == b[-1:])
        for prefix in DENYING_PREFIXES
        if len(one) > _LEAST_WORD
    ) or any(
        f"{prefix}{other}" == one
        for one, other in ((a, b) for a in mine for b in theirs if a[-1:] == b[-1:])
        for prefix in DENYING_PREFIXES
        if len(other) > _LEAST_WORD
    )


# Opposites


def _says_opposite(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether a word of the claim stands where the source has its opposite."""
    poles = poles_of(claim.tokenizer.language)
    own = {form for token in claim.tokens for form in (token.folded, token.stem)}
    said = {
        form for each in readings for token in each.tokens for form in (token.folded, token.stem)
    }
    for place, token in enumerate(claim.tokens):
        mine = _poles(poles, token)
        if not mine:
            continue
        known = token.folded in said or token.stem in said
        for reading in readings:
            for at, other in enumerate(reading.tokens):
                turned = any((axis, 1 - pole) in _poles(poles, other) for axis, pole in mine)
                if not turned or other.folded in own or other.stem in own:
                    continue
                if _stands_for(claim, place, reading, at, known, readings):
                    return not _is_denied_once(claim, token, reading, other)
    return False


def _poles(
    poles: dict[str, frozenset[tuple[int, int]]], token: Token
) -> frozenset[tuple[int, int]]:
    return poles.get(token.folded) or poles.get(token.stem) or frozenset()


def _stands_for(
    claim: Reading, place: int, reading: Reading, at: int, known: bool, readings: Sequence[Reading]
) -> bool:
    """Say whether the claim's word stands where the source has the other one."""
    like = sum(likeness(claim, (place, place), reading, (at, at)))
    if known:
        folded = claim.tokens[place].folded
        own = max(
            sum(likeness(claim, (place, place), each, (other, other)))
            for each in readings
            for other, token in enumerate(each.tokens)
            if token.folded == folded or token.stem == claim.tokens[place].stem
        )
        return like >= 1.0 and like > own
    if like >= 0.5:
        return True
    around = claim.heavy_around((place, place), _BESIDE)
    return not around.isdisjoint(reading.heavy_around((at, at), _BESIDE))


def _is_denied_once(claim: Reading, token: Token, reading: Reading, other: Token) -> bool:
    """Say whether just one of two opposites is denied: "not open" is "closed"."""
    one = any(token.stem in denied for denied in _denials(claim, DENYING, _REACH))
    two = any(other.stem in denied for denied in _denials(reading, DENYING, _REACH))
    return one is not two


# Limits, quantities, certainty


def _is_limited_otherwise(claim: Reading, readings: Sequence[Reading]) -> bool:
    said = frozenset().union(*(reading.folded for reading in readings))
    denies = not DENYING.isdisjoint(said)
    limits = not LIMITING.isdisjoint(claim.folded)
    if limits and LIMITING.isdisjoint(said) and "just" not in said and not denies:
        return True
    if not EXCEPTING.isdisjoint(claim.folded & frozenset(("except", "unless", "excluding"))):
        return EXCEPTING.isdisjoint(said) and not denies and "if" not in said
    if not limits and _keeps_what_is_limited(claim, readings):
        return True
    holds_for_all = not (FOR_ALL_CLAIMED | {"each", "any"}).isdisjoint(claim.folded)
    return (
        holds_for_all
        and not EXCEPTING.isdisjoint(said)
        and EXCEPTING.isdisjoint(claim.folded)
        and "except" in said
    )


def _keeps_what_is_limited(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether the claim lost an "only" and kept the words on both of its sides."""
    for reading in readings:
        for place, token in enumerate(reading.tokens):
            if token.folded not in {"only", "nur", "solely", "exclusively", "seulement", "sólo"}:
                continue
            if place and reading.tokens[place - 1].folded in {"not", "the", "an"}:
                continue
            before = reading.heavy_around((place, place), 2)
            if before and before <= claim.stems and "just" not in claim.folded:
                return True
    return False


def _is_stronger(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether the claim holds for all, or for sure, where the source says some or may."""
    said = frozenset().union(*(reading.folded for reading in readings))
    claimed = claim.folded & FOR_ALL_CLAIMED
    if claimed and said.isdisjoint(FOR_ALL) and not (claimed & said):
        return True
    weaker = (said & FOR_SOME) - claim.folded
    if claimed - said and weaker:
        return True
    return _loses_hedge(claim, readings)


def _loses_hedge(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether "may cause" became "causes"."""
    if not HEDGING.isdisjoint(claim.folded):
        return False
    for reading in readings:
        for place, token in enumerate(reading.tokens):
            if token.folded not in HEDGED or token.text == "May":
                continue
            following = _denied(reading.tokens, place, 1, "english")
            if following and following[0] in claim.stems:
                return True
    return False


def _compares_otherwise(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether "more than 5" became "less than 5"."""
    for number in claim.numbers:
        mine = _direction(claim, number.first)
        if not mine:
            continue
        theirs = [
            _direction(reading, other.first)
            for reading in readings
            for other in reading.numbers
            if other.value == number.value
        ]
        if theirs and all(direction != mine for direction in theirs):
            return True
    return False


def _direction(reading: Reading, place: int) -> int:
    """Return 1 for "more than" before the number, -1 for "less than", 0 for neither."""
    before = [token.folded for token in reading.tokens[max(0, place - 3) : place]]
    denied = -1 if "no" in before or "not" in before else 1
    for at, word in enumerate(before):
        if word in {"more", "less", "fewer", "greater", "mehr", "weniger", "plus", "moins", "más",
                    "menos"} and not {"than", "als", "de", "que"} & set(before[at:]):  # fmt: skip
            continue
        if word in {"least", "most"} and before[at - 1 : at] != ["at"]:
            continue
        if word in _MORE:
            return denied
        if word in _FEWER:
            return -denied
    return 0
