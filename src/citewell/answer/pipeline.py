"""A question's path: guard → retrieve → fuse → load → guard → generate → cite, as events."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from uuid import uuid4

from citewell.answer.cite import Citer
from citewell.answer.fuse import fuse
from citewell.answer.generate import generate
from citewell.answer.guard import WEAK_EVIDENCE, guard_evidence, guard_question
from citewell.answer.retrieve import retrieve
from citewell.domain import (
    Answer,
    AnswerEvent,
    AnswerId,
    AnswerSentence,
    Candidate,
    EvidenceFound,
    Finished,
    Refusal,
    Scope,
    Started,
    Usage,
    WorkspaceId,
)
from citewell.ports import ChatModel, ChunkIndex, Embedder, VectorStore
from citewell.telemetry import Stopwatch


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, where to look, and on how much evidence the answer may rest."""

    workspace_id: WorkspaceId
    text: str
    scope: Scope
    limit: int
    mode: str = "standard"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best chunks, the question's term weights, and milliseconds per stage."""

    candidates: tuple[Candidate, ...]
    term_idf: dict[str, float]
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class AnswerPipeline:
    """The stages' partners, chosen by wiring, and the numbers that tune them."""

    embedder: Embedder
    store: VectorStore
    index: ChunkIndex
    chat_model: ChatModel
    candidates: int
    dense_weight: float
    max_question_characters: int

    async def search(self, question: Question) -> SearchResult:
        """Find the best ``limit`` chunks: retrieve → fuse → load.

        Holds:   a document that was replaced between finding and loading is searched once more.
        Raises:  ProviderError, Unavailable – as the ports say.
        """
        result, complete = await self._search_once(question)
        if not complete:
            result, _ = await self._search_once(question)
        return result

    async def _search_once(self, question: Question) -> tuple[SearchResult, bool]:
        """Search, and tell whether all that was found could be loaded."""
        watch = Stopwatch()
        found = await retrieve(
            question.workspace_id,
            question.text,
            question.scope,
            max(self.candidates, question.limit),
            self.embedder,
            self.store,
            self.index,
        )
        watch.include(found.timings_ms)
        with watch.stage("fuse"):
            fused = fuse(found.dense.scores, found.lexical.scores, self.dense_weight)
        best = fused[: question.limit]
        with watch.stage("load"):
            loaded = await self.index.load(question.workspace_id, [item.chunk_id for item in best])
        candidates = tuple(
            replace(loaded[item.chunk_id], score=item.score, scores=item.scores)
            for item in best
            if item.chunk_id in loaded
        )
        result = SearchResult(candidates, dict(found.lexical.term_idf), watch.finish())
        return result, len(candidates) == len(best)

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """Answer from the evidence or refuse; the last event is Finished with the whole result.

        Raises:  ProviderError, Unavailable – as the ports say, at any time.
        """
        watch = Stopwatch()
        answer_id = AnswerId(uuid4())
        yield Started(answer_id, question.mode, self.chat_model.name)
        evidence: tuple[Candidate, ...] = ()
        sentences: list[AnswerSentence] = []
        term_idf: dict[str, float] = {}
        refusal = guard_question(question.text, self.max_question_characters)
        if refusal is None:
            found = await self.search(question)
            evidence, term_idf = found.candidates, found.term_idf
            watch.include(found.timings_ms)
            refusal = guard_evidence(question.text, evidence, term_idf)
        if refusal is None:
            yield EvidenceFound(evidence)
            started, citer = perf_counter(), Citer(evidence)
            async for draft in generate(question.text, evidence, term_idf, self.chat_model):
                if sentence := citer.cite(draft):
                    sentences.append(sentence)
                    yield sentence
            watch.timings_ms["generate"] = (perf_counter() - started) * 1000
            refusal = None if sentences else WEAK_EVIDENCE
        if refusal is not None:
            yield refusal
        yield Finished(
            _result(question, answer_id, self.chat_model.name, sentences, evidence, refusal, watch)
        )


def _result(
    question: Question,
    answer_id: AnswerId,
    model: str,
    sentences: Sequence[AnswerSentence],
    evidence: tuple[Candidate, ...],
    refusal: Refusal | None,
    watch: Stopwatch,
) -> Answer:
    return Answer(
        answer_id=answer_id,
        question=question.text,
        answer=" ".join(sentence.text for sentence in sentences),
        citations=tuple(citation for sentence in sentences for citation in sentence.citations),
        sources=evidence,
        refused=refusal is not None,
        reason=refusal.reason if refusal else None,
        message=refusal.message if refusal else None,
        mode=question.mode,
        model=model,
        timings_ms=watch.finish(),
        usage=Usage(),
    )
