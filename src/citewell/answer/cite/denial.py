"""A claim must deny what its source denies, and nothing else."""

from collections.abc import Sequence

from citewell.answer.cite.alignment import Change
from citewell.answer.cite.cues import (
    BARELY_DENYING_BEFORE,
    DENYING,
    DENYING_ALSO,
    DENYING_PREFIXES,
    NOT_DENYING_BEFORE,
)
from citewell.answer.cite.opposites import poles_of
from citewell.answer.cite.reading import Reading

REACH = 3
"""How many meaningful words after a denial it denies; the first two surely."""

_FEW = 3
"""A denial that goes with more words goes with its clause."""

_LEAST_WORD = 3
_CLAUSE_ENDS = frozenset({",", ";", ":", ".", "(", ")", "—", "–", "!", "?"})


def moves_denial(changes: Sequence[Change]) -> bool:
    """Say whether a denial came or went between words that stayed, and none did the reverse."""
    balance = [(id(change.reading), _balance(change)) for change in changes]
    return any(own and (reading, -own) not in balance for reading, own in balance)


def _balance(change: Change) -> int:
    """Return 1 where a denial came, -1 where one went, else 0."""
    dropped = [token.folded for token in change.dropped]
    added = [token.folded for token in change.added if token.text != "None"]
    if max(len(dropped), len(added)) > _FEW:
        return 0
    everything = {*dropped, *added}
    if everything & (DENYING_ALSO | NOT_DENYING_BEFORE) or any(map(_is_prefixed, everything)):
        return 0
    return sum(each in DENYING for each in added) % 2 - sum(each in DENYING for each in dropped) % 2


def _is_prefixed(word: str) -> bool:
    return word.startswith(("un", "im", "in", "dis")) and len(word) > 2 * _LEAST_WORD


def denials(reading: Reading, cues: frozenset[str], reach: int) -> list[list[str]]:
    """Return what each denial denies: the stems after it in its clause, else those before it."""
    return [
        governed(reading, place, reach)
        for place, token in enumerate(reading.tokens)
        if (token.folded in cues or (reach > REACH and _is_prefixed(token.folded)))
        and not _denies_nothing(reading, place)
    ]


def _denies_nothing(reading: Reading, place: int) -> bool:
    """Say whether the word denies nothing here: "No. 5", "not only", the value None."""
    token = reading.tokens[place]
    following = reading.tokens[place + 1].folded if place + 1 < len(reading.tokens) else ""
    if token.folded == "sin" and reading.tokenizer.language != "spanish":
        return True
    if token.text == "None" and place > 0 and not following.startswith("of"):
        return True
    if token.folded == "no" and following in {".", "°"}:
        return True
    return following in BARELY_DENYING_BEFORE


def governed(reading: Reading, place: int, reach: int) -> list[str]:
    """Return the next ``reach`` meaningful stems in the clause, in German those before as well."""
    after: list[str] = []
    for token in reading.tokens[place + 1 :]:
        if token.text in _CLAUSE_ENDS and (after or token.text in {".", ";", ")"}):
            break
        if not token.light:
            after.append(token.stem)
        if len(after) == reach:
            break
    before: list[str] = []
    if reading.tokenizer.language == "german" or not after:
        for token in reversed(reading.tokens[:place]):
            if token.text in _CLAUSE_ENDS or len(before) == reach:
                break
            if not token.light:
                before.append(token.stem)
    return after + before


def denies_otherwise(claim: Reading, readings: Sequence[Reading]) -> bool:
    """Say whether the claim denies what the source does not, or affirms what it denies."""
    claimed = denials(claim, DENYING, REACH)
    said = [denied for each in readings for denied in denials(each, DENYING, REACH)]
    loosely = [
        denied for each in readings for denied in denials(each, DENYING | DENYING_ALSO, 2 * REACH)
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
    said = sum(len(denials(reading, DENYING, 1)) for reading in readings)
    if len(denials(claim, DENYING, 1)) != said:
        return False
    mine, theirs = claim.stems - stems, stems - claim.stems
    return any(_is_turned(one, other) or _is_turned(other, one) for one in mine for other in theirs)


def _is_turned(word: str, other: str) -> bool:
    if len(word) <= _LEAST_WORD or not other.endswith(word):
        return False
    return other.removesuffix(word) in DENYING_PREFIXES
