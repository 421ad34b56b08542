"""Put a dataset's questions to a search and an answerer, and measure what comes back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from time import perf_counter

from citewell.domain import Answer, Candidate, Citation, Json, VersionId
from citewell.errors import CitewellError, LimitExceeded, Unavailable
from citewell.evals.compare import ROUNDED, Rows, percentiles, summarise
from citewell.evals.datasets import EvalQuestion
from citewell.evals.metrics import (
    SHOWN,
    Found,
    measure_answer,
    measure_search,
    of_candidate,
    of_citation,
    share_exact,
)

DEPTH = 200
"""Chunks that are searched for: enough for a hundred documents in most collections."""

SearchStep = Callable[[str], Awaitable[Sequence[Candidate]]]
AnswerStep = Callable[[str], Awaitable[Answer]]
ReadText = Callable[[VersionId], Awaitable[str | None]]
"""Returns a version's canonical text; None where it is gone, or hidden."""


class Examiner:
    """Measures questions one after the other; texts that it read are kept for the next ones.

    Without a search of its own it measures the evidence that the answers rest on.
    """

    def __init__(
        self, search: SearchStep | None, answer: AnswerStep | None, read_text: ReadText
    ) -> None:
        self._search = search
        self._answer = answer
        self._read_text = read_text
        self._texts: dict[VersionId, str | None] = {}

    async def examine_all(
        self, questions: Sequence[EvalQuestion], told: Callable[[int], None] = lambda _: None
    ) -> list[Json]:
        """Return a row for each question, in their order; ``told`` hears how many are done."""
        rows: list[Json] = []
        for question in questions:
            rows.append(await self.examine(question))
            told(len(rows))
        return rows

    async def examine(self, question: EvalQuestion) -> Json:
        """Search and answer one question; return its metrics, its times and what became of it.

        Holds:   the row has no word of a document.
        Raises:  Unavailable, LimitExceeded – questions cannot be answered now; another
                 failure of an answer is a result.
        """
        row: Json = {"id": question.id, "question": question.text,
                     "answerable": question.answerable}  # fmt: skip
        measured: dict[str, float] = {}
        if self._search is not None:
            started = perf_counter()
            chunks = await self._search(question.text)
            row["search_ms"] = round((perf_counter() - started) * 1000, 3)
            measured |= await self._measure_search(question, chunks)
        if self._answer is not None:
            measured |= await self._examine_answer(question, self._answer, row)
        row["metrics"] = {name: round(value, ROUNDED) for name, value in measured.items()}
        return row

    async def _measure_search(
        self, question: EvalQuestion, chunks: Sequence[Candidate]
    ) -> dict[str, float]:
        found = [of_candidate(each) for each in chunks]
        measured = measure_search(question, found)
        exact = await self._exactness(chunks[:SHOWN], found[:SHOWN])
        return measured if exact is None else {**measured, "exactness": exact}

    async def _examine_answer(
        self, question: EvalQuestion, ask: AnswerStep, row: Json
    ) -> dict[str, float]:
        started = perf_counter()
        try:
            answer = await ask(question.text)
        except (Unavailable, LimitExceeded):
            raise
        except CitewellError as error:
            row |= {"refused": None, "reason": error.reason}
            return {"refusal_accuracy": 0.0, "answered" if question.answerable else "refused": 0.0}
        row |= {
            "answer_ms": round((perf_counter() - started) * 1000, 3),
            "cost_usd": answer.usage.cost_usd,
            "tokens": answer.usage.input_tokens + answer.usage.output_tokens,
            "refused": answer.refused,
            "reason": answer.reason,
            "citations": len(answer.citations),
        }
        measured: dict[str, float] = {}
        if self._search is None:
            measured |= await self._measure_search(question, answer.sources)
        around = {each.chunk_id: of_candidate(each).sections for each in answer.sources}
        cited = [
            of_citation(each, around.get(each.chunk_id, frozenset())) for each in answer.citations
        ]
        measured |= measure_answer(question, answer.answer, cited, refused=answer.refused)
        exact = await self._exactness(answer.citations, cited)
        return measured if exact is None else {**measured, "citation_exactness": exact}

    async def _exactness(
        self, pieces: Sequence[Candidate | Citation], found: Sequence[Found]
    ) -> float | None:
        texts = [await self._text(each.version_id) for each in pieces]
        return share_exact(found, texts)

    async def _text(self, version_id: VersionId) -> str | None:
        if version_id not in self._texts:
            self._texts[version_id] = await self._read_text(version_id)
        return self._texts[version_id]


def rows_by_key(rows: Sequence[Mapping[str, object]]) -> Rows:
    """Return rows' metrics, by each question's id and text; those not measured yet are left out."""
    return {
        (str(row["id"]), str(row["question"])): row["metrics"]  # pyright: ignore[reportReturnType]
        for row in rows
        if row.get("metrics") is not None
    }


def total(rows: Sequence[Json]) -> Json:
    """Return a run's figures: means with intervals, times, and what it cost."""
    spent = [row["cost_usd"] for row in rows if row.get("cost_usd") is not None]
    return {
        "metrics": {
            name: asdict(mean) for name, mean in summarise([r["metrics"] for r in rows]).items()
        },
        "search_ms": percentiles([row["search_ms"] for row in rows if "search_ms" in row]),
        "answer_ms": percentiles([row["answer_ms"] for row in rows if "answer_ms" in row]),
        "cost_usd": round(sum(spent), 6) if spent else None,
        "tokens": sum(row.get("tokens", 0) for row in rows),
        "failed": sum("refused" in row and row["refused"] is None for row in rows),
    }
