"""A question's path, in order: understand → find → select → guard → write → cite, as events."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from citewell.answer.budget import Budget, StageTimes
from citewell.answer.cite import Citer, must_hide
from citewell.answer.expand import Expansion, expand
from citewell.answer.fuse import fuse, join
from citewell.answer.generate import generate
from citewell.answer.guard import (
    UNSUPPORTED,
    WEAK_EVIDENCE,
    guard_evidence,
    guard_question,
    guard_scope,
)
from citewell.answer.manifest import Retrieval, make_manifest
from citewell.answer.modes import read_mode
from citewell.answer.path import Mode, Question, QuestionPath
from citewell.answer.rerank import rerank
from citewell.answer.retrieve import Retrieved, retrieve
from citewell.answer.rewrite import make_standalone, rewrite
from citewell.domain import (
    Answer,
    AnswerEvent,
    AnswerSentence,
    Candidate,
    DraftSentence,
    DroppedSentence,
    EvidenceFound,
    Findings,
    Finished,
    Scope,
    Started,
    Usage,
    WorkspaceId,
)
from citewell.errors import ProviderError
from citewell.ports import (
    ChatModel,
    ChunkIndex,
    Embedder,
    LanguageModel,
    Reranker,
    VectorStore,
    WritingTask,
)
from citewell.telemetry import Stopwatch


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best chunks, the question's term weights, and milliseconds per stage."""

    candidates: tuple[Candidate, ...]
    term_idf: dict[str, float]
    timings_ms: dict[str, float]
    generations: Mapping[str, int]


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
    expansion: Expansion
    language_model: LanguageModel | None = None
    reranker: Reranker | None = None
    rerank_candidates: int = 30
    makers: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    times: StageTimes = field(default_factory=StageTimes)

    async def search(
        self, workspace_id: WorkspaceId, query: str, scope: Scope, limit: int
    ) -> SearchResult:
        """Find the best ``limit`` chunks for one query: retrieve → fuse → load.

        Holds:   a document that was replaced between finding and loading is searched once more.
        Raises:  ProviderError, Unavailable – as the ports say.
        """
        return await self.search_all(workspace_id, (query,), scope, limit)

    async def search_all(
        self, workspace_id: WorkspaceId, queries: tuple[str, ...], scope: Scope, limit: int
    ) -> SearchResult:
        """Find the best ``limit`` chunks for several queries that ask for the same."""
        result, complete = await self._search_once(workspace_id, queries, scope, limit)
        if not complete:
            result, _ = await self._search_once(workspace_id, queries, scope, limit)
        return result

    async def _search_once(
        self, workspace_id: WorkspaceId, queries: tuple[str, ...], scope: Scope, limit: int
    ) -> tuple[SearchResult, bool]:
        """Search, and tell whether all that was found could be loaded."""
        watch = Stopwatch()
        found: list[Retrieved] = []
        for query in queries:
            found.append(
                await retrieve(
                    workspace_id,
                    query,
                    scope,
                    max(self.candidates, limit),
                    self.embedder,
                    self.store,
                    self.index,
                )
            )
            watch.add(found[-1].timings_ms)
        with watch.stage("fuse"):
            rankings = [
                fuse(each.dense.scores, each.lexical.scores, self.dense_weight) for each in found
            ]
            best = join(rankings)[:limit]
        with watch.stage("load"):
            loaded = await self.index.load(workspace_id, [item.chunk_id for item in best])
        candidates = tuple(
            replace(loaded[item.chunk_id], score=item.score, scores=item.scores)
            for item in best
            if item.chunk_id in loaded
        )
        lexical = found[0].lexical
        result = SearchResult(
            candidates, dict(lexical.term_idf), watch.finish(), lexical.generations
        )
        return result, len(candidates) == len(best)

    def start(self, question: Question) -> "AnswerRun":
        """Begin a question's path; nothing runs until its events are read.

        Raises:  Unprocessable – there is no such mode.
        """
        return AnswerRun(self, question, read_mode(question.mode))


class AnswerRun:
    """One question: its events as they come, and at any time what is known of its answer."""

    def __init__(self, pipeline: AnswerPipeline, question: Question, mode: Mode) -> None:
        self._pipeline = pipeline
        self._question = question
        self._mode = mode
        budget = Budget(question.allowance, pipeline.times)
        self._path = QuestionPath(question, budget, question.text)

    @property
    def language_model(self) -> LanguageModel | None:
        """The configured language model."""
        return self._pipeline.language_model

    async def events(self) -> AsyncGenerator[AnswerEvent]:
        """Answer from the evidence or refuse; the last event is Finished with the whole result.

        Raises:  ProviderError, Unavailable – as the ports say, at any time; ``result`` then holds
                 what was written until then.
        """
        path, question = self._path, self._question
        yield Started(
            question.answer_id, self._mode.name, self._pipeline.chat_model.name, question.session_id
        )
        path.refusal = guard_question(
            question.text, self._pipeline.max_question_characters, question.policy
        )
        if path.refusal is None:
            await self._understand()
            path.refusal = await guard_scope(path.text, question.policy, self._pipeline.embedder)
        if path.refusal is None:
            await self.find(path, path.queries)
            if self._mode.select is not None and path.refusal is None:
                await self._mode.select(path, self)
        if path.refusal is None:
            path.refusal = guard_evidence(
                path.text, path.evidence, path.term_idf, question.policy, found=path.found
            )
        if path.refusal is None:
            yield EvidenceFound(path.evidence)
            async for sentence in self._write():
                yield sentence
        if self._mode.fill is not None:
            self._mode.fill(path)
        if path.refusal is not None:
            yield path.refusal
        yield Finished(self.result())

    async def find(self, path: QuestionPath, queries: tuple[str, ...]) -> None:
        """Search → rerank → expand; ``path`` holds the evidence afterwards."""
        pipeline, question = self._pipeline, self._question
        wide = pipeline.reranker is not None or pipeline.expansion.widens
        limit = max(question.limit, pipeline.rerank_candidates) if wide else question.limit
        found = await pipeline.search_all(question.workspace_id, queries, question.scope, limit)
        path.queries, path.term_idf, path.found = queries, found.term_idf, len(found.candidates)
        path.watch.add(found.timings_ms)
        candidates = found.candidates
        if pipeline.reranker is not None and candidates and path.budget.allows("rerank"):
            started = perf_counter()
            usage = Usage()
            try:
                candidates, usage = await rerank(
                    question.workspace_id,
                    path.text,
                    candidates,
                    pipeline.reranker,
                    path.budget.seconds_left,
                    pipeline.rerank_candidates,
                )
            except ProviderError:
                path.budget.fail("rerank")
            path.spend("rerank", started, usage)
        started = perf_counter()
        path.evidence = await expand(
            question.workspace_id,
            candidates,
            question.limit,
            question.policy.min_similarity,
            pipeline.expansion,
            pipeline.index,
        )
        path.spend("expand", started, Usage())
        path.manifest = make_manifest(
            question,
            self._mode.name,
            Retrieval(
                queries,
                limit,
                max(pipeline.candidates, limit),
                pipeline.dense_weight,
                found.generations,
                found.candidates,
            ),
            path.evidence,
            pipeline.makers,
        )

    async def _understand(self) -> None:
        """Make the question stand alone, and say in more ways what to look for."""
        path, question, model = self._path, self._question, self._pipeline.language_model
        if question.history:
            started = perf_counter()
            usage = Usage()
            asked = model if model is None or path.budget.allows("standalone") else None
            for each in (asked, None):  # what the model fails at is done by rule
                try:
                    path.text, usage = await make_standalone(
                        question.workspace_id,
                        question.text,
                        question.history,
                        each,
                        path.budget.seconds_left,
                    )
                    break
                except ProviderError:
                    path.budget.fail("standalone")
            path.spend("standalone", started, usage)
        path.queries = (path.text,)
        how = question.policy.rewriting
        if how != "off" and model is not None and path.budget.allows("rewrite"):
            started = perf_counter()
            usage = Usage()
            try:
                path.queries, usage = await rewrite(
                    question.workspace_id, path.text, how, model, path.budget.seconds_left
                )
            except ProviderError:
                path.budget.fail("rewrite")
            path.spend("rewrite", started, usage)

    async def _write(self) -> AsyncGenerator[AnswerSentence]:
        """Yield the sentences that a reader may see; what does not check goes by the policy."""
        path, policy = self._path, self._question.policy
        citer = Citer(path.evidence, self._pipeline.embedder)
        started = perf_counter()
        usage = Usage()
        drafts = generate(self._drafts())
        try:
            async for draft in drafts:
                if isinstance(draft, Usage):
                    usage += draft
                    continue
                sentence = await citer.cite(draft)
                if must_hide(sentence, policy.citations):
                    path.dropped.append(DroppedSentence(sentence.problems))
                    if policy.citations == "refuse":
                        path.refusal = UNSUPPORTED
                        break
                    continue
                path.sentences.append(sentence)
                if policy.citations != "refuse":
                    yield sentence
        finally:
            await drafts.aclose()
            path.spend("generate", started, usage)
        if path.refusal is not None:
            path.sentences.clear()
        elif not path.sentences:
            path.refusal = UNSUPPORTED if path.dropped else WEAK_EVIDENCE
        elif policy.citations == "refuse":
            for sentence in path.sentences:
                yield sentence

    def _drafts(self) -> AsyncGenerator[DraftSentence | Usage]:
        path, pipeline = self._path, self._pipeline
        if self._mode.write is not None and pipeline.language_model is not None:
            return self._mode.write(path, pipeline.language_model)
        return pipeline.chat_model.write(
            WritingTask(
                self._question.workspace_id,
                path.text,
                path.evidence,
                path.term_idf,
                path.budget.seconds_left,
                self._question.history,
            )
        )

    def result(self) -> Answer:
        """Return what is known of the answer, whole or not."""
        path, question, refusal = self._path, self._question, self._path.refusal
        return Answer(
            answer_id=question.answer_id,
            question=question.text,
            answer=" ".join(sentence.text for sentence in path.sentences),
            sentences=tuple(path.sentences),
            citations=tuple(
                citation for sentence in path.sentences for citation in sentence.citations
            ),
            sources=path.evidence,
            refused=refusal is not None,
            reason=refusal.reason if refusal else None,
            message=refusal.message if refusal else None,
            mode=self._mode.name,
            model=self._pipeline.chat_model.name,
            timings_ms=path.watch.finish(),
            usage=path.budget.spent,
            findings=Findings(
                standalone=path.text if path.text != question.text else None,
                queries=path.queries,
                strategy=path.strategy,
                rephrased=path.rephrased,
                grades=path.grades,
                confidence=path.confidence,
                cannot_answer=path.cannot_answer,
                reasoning=path.reasoning,
                dropped=tuple(path.dropped),
                skipped=tuple(path.budget.skipped),
            ),
            session_id=question.session_id,
            manifest=path.manifest,
        )
