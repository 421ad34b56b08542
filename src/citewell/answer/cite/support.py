"""Find the sentences of the cited chunks that bear a claim, and how much of it they cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from citewell.answer.cite.names import has_word, initials
from citewell.answer.cite.quoted import plain
from citewell.answer.cite.reading import Reading
from citewell.answer.cite.tokens import Tokenizer, open_tokenizer
from citewell.domain import Candidate
from citewell.domain.sentences import split_sentences

NAMED = 1.5
"""What a name or a number weighs in the coverage; another word weighs one."""

MOST_SENTENCES = 3
LEAST_GAIN = 0.12
"""A further sentence must add so much of the claim; else it only looks as if it bore it."""

RELATED = 0.7
"""How much another form of a word covers of it."""

ELSEWHERE = 0.5
"""What is left open of a word that only another sentence of the cited chunks has."""

_LEAST_PREFIX = 5


@dataclass(frozen=True)
class Source:
    """A cited chunk, cut into sentences once; ``place`` are the words of its titles."""

    candidate: Candidate
    tokenizer: Tokenizer

    @cached_property
    def sentences(self) -> list[Reading]:
        """Its sentences, with their offsets in the chunk."""
        text = self.candidate.text
        return [
            Reading(text[start:end], self.tokenizer, start) for start, end in split_sentences(text)
        ]

    @cached_property
    def place(self) -> Reading:
        """Its titles: names may come from there."""
        source = self.candidate
        titles = (source.document_title, source.section_title or "", *source.section_path)
        return Reading(" . ".join((*titles, source.document_name)), self.tokenizer)

    @cached_property
    def stems(self) -> frozenset[str]:
        """All stems of its sentences."""
        return frozenset(stem for each in self.sentences for stem in each.stems)

    @cached_property
    def folded(self) -> frozenset[str]:
        """All words of its sentences and titles, with the initials of names."""
        found = set(self.place.folded)
        for sentence in (*self.sentences, self.place):
            found |= sentence.folded | initials(sentence.tokens)
        return frozenset(found)

    @cached_property
    def plain(self) -> str:
        """Its text for the search of quoted passages."""
        return plain(self.candidate.text)


@dataclass(frozen=True, slots=True)
class Borne:
    """A sentence of a source that bears a part of the claim."""

    source: Source
    number: int

    @property
    def reading(self) -> Reading:
        """The sentence."""
        return self.source.sentences[self.number]


@dataclass(frozen=True)
class Support:
    """What of the cited sources bears a claim, and what share of the claim that is."""

    sources: Sequence[Source]
    borne: Sequence[Borne]
    coverage: float

    @cached_property
    def readings(self) -> list[Reading]:
        """The bearing sentences."""
        return [each.reading for each in self.borne]

    @cached_property
    def cited(self) -> list[Reading]:
        """All sentences of the cited chunks."""
        return [sentence for source in self.sources for sentence in source.sentences]

    @cached_property
    def folded(self) -> frozenset[str]:
        """All words of the cited chunks and of their titles."""
        return frozenset(word for source in self.sources for word in source.folded)

    @cached_property
    def place(self) -> frozenset[str]:
        """The words of the cited chunks' titles."""
        return frozenset(word for source in self.sources for word in source.place.folded)


def open_source(candidate: Candidate) -> Source:
    """Prepare a chunk; nothing is cut before it is asked for."""
    return Source(candidate, open_tokenizer(candidate.text))


def find_verbatim(text: str, sources: Sequence[Source]) -> Support | None:
    """Return the source sentence that the claim repeats word for word, if there is one."""
    wanted = text.split()
    for source in sources:
        for number, sentence in enumerate(source.sentences):
            if sentence.text.split() == wanted:
                return Support(sources, [Borne(source, number)], 1.0)
    return None


def weigh(claim: Reading) -> dict[str, float]:
    """Return the claim's meaningful stems with their weights; names and numbers weigh more."""
    named = {place for name in claim.names for place in range(name.first, name.last + 1)}
    weights: dict[str, float] = {}
    for place, token in enumerate(claim.tokens):
        if token.light:
            continue
        telling = place in named or token.kind != "word"
        weights[token.stem] = max(weights.get(token.stem, 0.0), NAMED if telling else 1.0)
    return weights


def find_support(claim: Reading, sources: Sequence[Source]) -> Support:
    """Choose greedily the sentences that together cover most of the claim.

    Shapes:  at most ``MOST_SENTENCES`` a source; the first covers most, each further one adds.
    """
    weights = weigh(claim)
    total = sum(weights.values()) or 1.0
    place = {stem for source in sources for stem in source.place.stems}
    open_stems = dict(weights)
    borne: list[Borne] = []
    all_of = [Borne(source, at) for source in sources for at in range(len(source.sentences))]
    covered_by = [_covered(weights, each.reading) for each in all_of]
    while all_of:
        gains = [
            sum(open_stems.get(stem, 0.0) * share for stem, share in covered.items())
            + _tightness(covered, each.reading)
            for covered, each in zip(covered_by, all_of, strict=True)
        ]
        best = max(range(len(all_of)), key=gains.__getitem__)
        if not covered_by[best] or _is_full(borne, all_of[best].source):
            break
        if borne and not _adds_enough(open_stems, best, weights, covered_by):
            break
        borne.append(all_of[best])
        for stem, share in covered_by[best].items():
            open_stems[stem] = open_stems.get(stem, 0.0) * (1.0 - share)
    around = {stem for source in sources for stem in source.stems}
    left = sum(
        weight * (ELSEWHERE if stem in around else 1.0)
        for stem, weight in open_stems.items()
        if stem not in place
    )
    return Support(sources, borne, 1.0 - left / total)


def _is_full(borne: Sequence[Borne], source: Source) -> bool:
    return sum(each.source is source for each in borne) >= MOST_SENTENCES


def _adds_enough(
    open_stems: Mapping[str, float],
    place: int,
    weights: Mapping[str, float],
    covered_by: Sequence[Mapping[str, float]],
) -> bool:
    """Say whether a sentence adds several words, or one that no other sentence has.

    Names and numbers alone are not enough: here they may be said of another thing.
    """
    added = {
        stem: open_stems[stem] * share
        for stem, share in covered_by[place].items()
        if open_stems[stem] > 0
    }
    ordinary = [stem for stem in added if weights[stem] < NAMED]
    if any(sum(stem in each for each in covered_by) == 1 for stem in ordinary):
        return True
    enough = sum(added.values()) > LEAST_GAIN * sum(weights.values())
    return bool(ordinary) and len(added) > 1 and enough


def _tightness(covered: Mapping[str, float], sentence: Reading) -> float:
    """Return a little for a sentence that says not much else: it decides between equals."""
    return 0.01 * len(covered) / (len(sentence.stems) or 1)


def _covered(weights: Mapping[str, float], sentence: Reading) -> dict[str, float]:
    """Return which of the claim's stems the sentence has, and how surely."""
    covered: dict[str, float] = {}
    for stem, weight in weights.items():
        if stem in sentence.stems or stem in sentence.folded or _is_name_of(stem, weight, sentence):
            covered[stem] = 1.0
        elif _is_related(stem, sentence.stems):
            covered[stem] = RELATED
    return covered


def _is_name_of(stem: str, weight: float, sentence: Reading) -> bool:
    return weight >= NAMED and stem.isalpha() and has_word(stem, sentence.folded)


def _is_related(stem: str, stems: frozenset[str]) -> bool:
    """Say whether a longer or shorter form of the stem is there: "measur" and "measurement"."""
    if len(stem) < _LEAST_PREFIX:
        return False
    head = stem[:_LEAST_PREFIX]
    return any(
        other.startswith(head) and (other.startswith(stem[:-1]) or stem.startswith(other[:-1]))
        for other in stems
        if len(other) >= _LEAST_PREFIX
    )


def coverage_elsewhere(claim: Reading, sources: Sequence[Source]) -> float:
    """Return the greatest coverage that one of these chunks alone would give."""
    return max((find_support(claim, [source]).coverage for source in sources), default=0.0)
