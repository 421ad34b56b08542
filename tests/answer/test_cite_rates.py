"""A small slice of bench.citations, from the examples alone, must stay near the published rates."""

from random import Random

import pytest
from bench.citation_passages import read_examples
from bench.citations import Case, build_cases, check, right

from citewell.adapters.minilm import MiniLMEmbedder

CASES = 100
LEAST_DETECTED, LEAST_LET_PASS = 0.94, 0.94


def slice_of(cases: list[Case], faithful: bool) -> list[Case]:
    """Return half of the slice, the kinds of wording or of fault in turn."""
    by_kind: dict[str, list[Case]] = {}
    for case in cases:
        if case.faithful is faithful:
            by_kind.setdefault(case.kind, []).append(case)
    kinds = sorted(by_kind)
    random = Random(7)
    return [random.choice(by_kind[kinds[n % len(kinds)]]) for n in range(CASES // 2)]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return build_cases(list(read_examples()), most=12)


async def test_faults_are_detected(cases: list[Case], embedder: MiniLMEmbedder) -> None:
    chosen = slice_of(cases, faithful=False)
    assert len({case.kind for case in chosen}) >= 15
    missed = [
        (case.kind, case.text)
        for case in chosen
        if not right(case, (await check(case, embedder))[0])
    ]
    assert len(missed) <= (1 - LEAST_DETECTED) * len(chosen), missed


async def test_true_sentences_are_let_pass(cases: list[Case], embedder: MiniLMEmbedder) -> None:
    chosen = slice_of(cases, faithful=True)
    assert len({case.kind for case in chosen}) >= 7
    checked = [(case, (await check(case, embedder))[0]) for case in chosen]
    rejected = [(case.kind, case.text, got.problems) for case, got in checked if got.problems]
    assert len(rejected) <= (1 - LEAST_LET_PASS) * len(chosen), rejected
    for case, sentence in checked:
        chunks = {each.chunk_id: each for each in case.evidence}
        for citation in sentence.citations:
            source = chunks[citation.chunk_id]
            start, end = citation.start - source.start, citation.end - source.start
            assert source.text[start:end] == citation.quote
