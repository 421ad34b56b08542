"""Measure the citation check: what share of altered sentences it catches, and of true ones it lets.

    python -m bench.citations [--shared ../shared/data] [--most 40]

Builds cases from real passages by rule, with a seed: true sentences in several wordings, and each
way to be wrong. The thresholds were set by one half of the documents; the table is of the other.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.citation_faithful import paraphrase
from bench.citation_mutations import mutate
from bench.citation_passages import Passage, as_candidate, half_of, neighbours, read_all
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.answer.cite import Citer
from citewell.domain import AnswerSentence, Candidate, DraftSentence, Quote
from citewell.ports import Embedder
from citewell.settings import Settings

SEED = 20_240
EVIDENCE = 6
WRONG_PLACES = {
    "cites another chunk",
    "span outside",
    "from another document",
    "from the passage beside",
}
"""Kinds whose text is in the evidence: only the place that they name is wrong."""
PASSAGES = 150
"""Passages drawn from each half of each corpus."""


@dataclass(frozen=True)
class Case:
    """A sentence that cites ``quotes`` of the evidence, and whether that is right."""

    corpus: str
    half: int
    kind: str
    faithful: bool
    text: str
    evidence: tuple[Candidate, ...]
    quotes: tuple[Quote, ...]
    natural: bool = False


def build_cases(passages: Sequence[Passage], most: int) -> list[Case]:
    """Return at most ``most`` cases of each kind for each corpus and half, drawn with a seed."""
    random = Random(SEED)
    pools: dict[tuple[str, int, str, bool], list[tuple[Passage, str]]] = defaultdict(list)
    by_corpus: dict[str, list[Passage]] = defaultdict(list)
    drawn: Counter[tuple[str, int]] = Counter()
    for passage in passages:
        by_corpus[passage.corpus].append(passage)
    for passage in random.sample(passages, len(passages)):
        drawn[passage.corpus, half_of(passage)] += 1
        if drawn[passage.corpus, half_of(passage)] > PASSAGES:
            continue
        others = neighbours(passage, by_corpus[passage.corpus], EVIDENCE - 1)
        key = passage.corpus, half_of(passage)
        made = [(kind, text, True) for kind, text in paraphrase(passage, random)]
        made += [(kind, text, False) for kind, text in mutate(passage, others, random)]
        made += [("cites another chunk", text, False) for text in passage.sentences[:2]]
        made += [("span outside", text, False) for text in passage.sentences[:1]]
        made += [("claim judged true by people", text, True) for text in passage.supported]
        made += [("claim judged false by people", text, False) for text in passage.contradicted]
        for kind, text, faithful in made:
            pools[*key, kind, faithful].append((passage, text))
    cases: list[Case] = []
    for (corpus, half, kind, faithful), pool in pools.items():
        for passage, text in random.sample(pool, min(most, len(pool))):
            others = neighbours(passage, by_corpus[corpus], EVIDENCE - 1)
            evidence = [as_candidate(each) for each in (passage, *others)]
            natural = "by people" in kind
            quotes = tuple(_quotes(kind, evidence, random))
            order = random.sample(range(EVIDENCE), EVIDENCE)
            quotes = tuple(Quote(order.index(q.index), q.start, q.end) for q in quotes)
            shuffled = tuple(evidence[at] for at in order)
            cases.append(Case(corpus, half, kind, faithful, text, shuffled, quotes, natural))
    return cases


def _quotes(kind: str, evidence: Sequence[Candidate], random: Random) -> Iterator[Quote]:
    index = random.randrange(1, len(evidence)) if kind == "cites another chunk" else 0
    cited = evidence[index]
    if kind == "span outside":
        shift = random.choice([-40, 40, 5000])
        yield Quote(index, cited.start + shift, cited.end + shift)
    else:
        yield Quote(index, cited.start, cited.end)


async def check(
    case: Case, embedder: Embedder, *, unnamed: bool = False
) -> tuple[AnswerSentence, float]:
    """Check one case anew; return the sentence and how many milliseconds it took.

    An ``unnamed`` one names no source, as small models write.
    """
    citer = Citer(case.evidence, embedder)
    started = time.process_time()
    sentence = await citer.cite(DraftSentence(case.text, () if unnamed else case.quotes))
    return sentence, (time.process_time() - started) * 1000


async def time_answers(cases: Sequence[Case], embedder: Embedder) -> list[float]:
    """Return milliseconds a sentence where five sentences share one answer's evidence."""
    by_evidence: dict[frozenset[object], list[Case]] = defaultdict(list)
    for case in cases:
        if case.faithful and not case.natural:
            key = frozenset(each.chunk_id for each in case.evidence)
            by_evidence[key].append(case)
    times: list[float] = []
    for group in by_evidence.values():
        evidence = group[0].evidence
        places = {each.chunk_id: at for at, each in enumerate(evidence)}
        citer = Citer(evidence, embedder)
        for case in group[:5]:
            quotes = tuple(
                Quote(places[case.evidence[quote.index].chunk_id], quote.start, quote.end)
                for quote in case.quotes
            )
            started = time.process_time()
            await citer.cite(DraftSentence(case.text, quotes))
            times.append((time.process_time() - started) * 1000)
    return times


def right(case: Case, sentence: AnswerSentence) -> bool:
    """Say whether the checker was right about a case."""
    return (not sentence.problems) is case.faithful


def rows_of(results: Sequence[tuple[Case, AnswerSentence]]) -> list[tuple[str, bool, int, int]]:
    """Return kind, whether it is faithful, how many cases, how many of them right."""
    counts: Counter[tuple[bool, str]] = Counter()
    rights: Counter[tuple[bool, str]] = Counter()
    for case, sentence in results:
        counts[case.faithful, case.kind] += 1
        rights[case.faithful, case.kind] += right(case, sentence)
    return [
        (kind, faithful, count, rights[faithful, kind])
        for (faithful, kind), count in sorted(counts.items())
    ]


def print_table(title: str, results: Sequence[tuple[Case, AnswerSentence]]) -> None:
    """Print detection a mutation and false rejects a wording as Markdown."""
    print(f"\n### {title}\n")
    for faithful, head, column in (
        (False, "Altered", "detected"), (True, "True", "rejected wrongly"),
    ):  # fmt: skip
        chosen = [row for row in rows_of(results) if row[1] is faithful]
        if not chosen:
            continue
        print(f"| {head} | cases | {column} |\n|---|---|---|")
        for kind, _, count, correct in chosen:
            shown = correct if not faithful else count - correct
            print(f"| {kind} | {count} | {shown / count:.1%} |")
        total, correct = sum(row[2] for row in chosen), sum(row[3] for row in chosen)
        shown = correct if not faithful else total - correct
        print(f"| **all** | **{total}** | **{shown / total:.1%}** |\n")


async def run(arguments: argparse.Namespace) -> None:
    """Build, check, and print."""
    embedder = MiniLMEmbedder(Settings().cache, threads=1)
    passages = read_all(arguments.shared)
    if {each.corpus for each in passages} == {"examples"}:
        print(f"There is no shared data at {arguments.shared}: only the examples are measured.")
    cases = build_cases(passages, arguments.most)
    if arguments.unnamed:
        cases = [case for case in cases if case.kind not in WRONG_PLACES]
    results: list[tuple[Case, AnswerSentence]] = []
    times: list[float] = []
    for case in cases:
        sentence, milliseconds = await check(case, embedder, unnamed=arguments.unnamed)
        results.append((case, sentence))
        times.append(milliseconds)
        if arguments.wrong and not right(case, sentence) and case.half == arguments.half:
            _print_wrong(case, sentence)
    in_answers = await time_answers(cases, embedder)
    made = [each for each in results if not each[0].natural]
    for half, name in ((0, "Half that the thresholds were set by"), (1, "Held-out half")):
        print_table(name, [each for each in made if each[0].half == half])
    for corpus in dict.fromkeys(case.corpus for case in cases):
        chosen = [each for each in made if each[0].corpus == corpus and each[0].half == 1]
        for faithful, name in ((False, "detected"), (True, "let pass")):
            part = [right(*each) for each in chosen if each[0].faithful is faithful]
            if part:
                print(f"{corpus}, held out: {sum(part) / len(part):.1%} of {len(part)} {name}")
    print_table("Claims written by people", [each for each in results if each[0].natural])
    print(f"first sentence of an answer: p50 {statistics.median(times):.2f} ms")
    print(f"one of five sentences of an answer: p50 {statistics.median(in_answers):.2f} ms, "
          f"p95 {sorted(in_answers)[int(len(in_answers) * 0.95)]:.2f} ms")  # fmt: skip


def _print_wrong(case: Case, sentence: AnswerSentence) -> None:
    print(json.dumps({
        "corpus": case.corpus, "kind": case.kind, "faithful": case.faithful,
        "problems": sentence.problems, "text": case.text,
        "source": case.evidence[case.quotes[0].index].text,
    }, ensure_ascii=False))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--most", type=int, default=40, help="cases of a kind, corpus and half")
    parser.add_argument("--wrong", action="store_true", help="print what was judged wrongly")
    parser.add_argument("--unnamed", action="store_true", help="sentences that name no source")
    parser.add_argument("--half", type=int, default=0, help="the half that --wrong prints")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
