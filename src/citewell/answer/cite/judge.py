"""Judge a sentence in a model's own words by the text of the chunks that it cites."""

from collections.abc import Sequence
from dataclasses import dataclass

from citewell.answer.cite.alignment import changes
from citewell.answer.cite.facts import check_facts
from citewell.answer.cite.meaning import Meaning
from citewell.answer.cite.polarity import check_polarity
from citewell.answer.cite.quoted import is_quoted_from, read_passages
from citewell.answer.cite.reading import Reading
from citewell.answer.cite.support import (
    Source,
    Support,
    coverage_elsewhere,
    find_support,
    find_verbatim,
)
from citewell.answer.cite.tokens import open_tokenizer

WEAK, ALTERED = "weak_support", "altered_quote"

SURE_COVERAGE = 0.85
"""From here on the words alone decide: the meaning is not asked."""

LEAST_COVERAGE = 0.25
"""Below this no closeness in meaning helps."""

COVERAGE, CLOSENESS = 0.4, 0.6
LEAST_SUPPORT = 0.55
"""Weights of both, and what they must reach together."""

BETTER_ELSEWHERE = 0.2
"""A claim that another chunk of the evidence covers so much better cites the wrong one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a sentence, and what bears it."""

    problems: tuple[str, ...]
    support: Support
    closeness: float | None = None


async def judge(
    text: str, cited: Sequence[Source], others: Sequence[Source], meaning: Meaning | None
) -> Verdict:
    """Check a sentence against its sources; ``others`` are the chunks that it does not cite.

    Without ``meaning`` the words alone decide: what they leave open is not borne out.

    Cost:    0.3 to 2 ms of words; an embedding only where the words leave it open.
    Raises:  ProviderError – the embedder failed.
    """
    repeated = find_verbatim(text, cited)
    if repeated is not None:
        return Verdict((), repeated)
    claim = Reading(text, open_tokenizer(text, cited[0].tokenizer.language))
    if claim.tokenizer.language != cited[0].tokenizer.language:
        claim = _in_the_sources_language(claim, cited[0])
    support = find_support(claim, cited)
    problems = [*_check_passages(text, cited)]
    in_place = list(changes(claim, support.readings))
    problems += check_facts(claim, support, in_place)
    problems += check_polarity(claim, support.readings, in_place)
    closeness = None
    if not claim.stems or not support.borne or support.coverage < LEAST_COVERAGE:
        problems.append(WEAK)
    elif support.coverage < SURE_COVERAGE:
        if meaning is None:
            return Verdict((*dict.fromkeys(problems), WEAK), support)
        closeness = await meaning.closeness(text, [each.text for each in support.readings])
        strength = COVERAGE * support.coverage + CLOSENESS * closeness
        better = coverage_elsewhere(claim, others) - support.coverage
        if strength < LEAST_SUPPORT or better > BETTER_ELSEWHERE:
            problems.append(WEAK)
    return Verdict(tuple(dict.fromkeys(problems)), support, closeness)


def _in_the_sources_language(claim: Reading, source: Source) -> Reading:
    """Read a short claim as its source is read, unless its own words tell otherwise."""
    own, other = claim.tokenizer.cut(claim.text), source.tokenizer.cut(claim.text)
    lights = sum(each.light and not each.is_mark for each in own)
    if lights > sum(each.light and not each.is_mark for each in other) + 1:
        return claim
    return Reading(claim.text, source.tokenizer)


def _check_passages(text: str, cited: Sequence[Source]) -> list[str]:
    for passage in read_passages(text):
        if not any(is_quoted_from(passage, source.plain) for source in cited):
            return [ALTERED]
    return []
