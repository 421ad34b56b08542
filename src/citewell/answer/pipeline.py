"""A question's path, in order: understand → find → select → guard → write → cite, as events."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter

from citewell.answer.budget import OVER_BUDGET, Budget, StageTimes, no_price
from citewell.answer.cite import Citer, must_hide
from citewell.answer.deadline import in_time
from citewell.answer.expand import Expansion, expand
from citewell.answer.generate import generate
from citewell.answer.guard import (
    UNSUPPORTED,
    WEAK_EVIDENCE,
    guard_evidence,
    guard_question,
    guard_scope,
)
from citewell.answer.manifest import Replay, compare, read_search
from citewell.answer.modes import read_mode
from citewell.answer.optional import attempt
from citewell.answer.path import Mode, Question, QuestionPath
from citewell.answer.remembered import RememberedSearches
from citewell.answer.rerank import rerank
from citewell.answer.result import make_answer
from citewell.answer.rewrite import make_standalone, rewrite
from citewell.answer.search import Legs, Search, SearchResult, search
from citewell.answer.tokens import estimate_tokens
from citewell.domain import (
    Answer,
    AnswerEvent,
    AnswerSentence,
    DraftSentence,
    DroppedSentence,
    EvidenceFound,
    Finished,
    Json,
    Scope,
    Started,
    Usage,
    WorkspaceId,
)
from citewell.ports import (
    ChatModel,
    ChunkIndex,
    Embedder,
    LanguageModel,
    Reranker,
    VectorStore,
    WritingTask,
)


@dataclass(frozen=True, slots=True)
class AnswerPipeline:
    """The stages' partners, chosen by wiring, and the numbers that tune them."""

    embedder: Embedder
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
    store: VectorStore | None = None
    """A dense leg in place of the index's own."""
    embeds_here: bool = False
    """Whether the embedder computes in this process."""
    remembered: RememberedSearches[SearchResult] | None = None
    """Results of the last searches, which are not made again."""
    times: StageTimes = field(default_factory=StageTimes)
    quoting: "AnswerPipeline | None" = None
    """The same path without any language model, for workspaces that choose so."""

    async def search(
        self,
        workspace_id: WorkspaceId,
        query: str,
        scope: Scope,
        limit: int,
        *,
        min_similarity: float = 0.0,
        collapse_duplicates: bool = True,
        anew: bool = False,
    ) -> SearchResult:
        """Find the best ``limit`` chunks for one query: retrieve → fuse → load.

        ``anew`` searches whatever is remembered, and so knows each leg's ranking.
        Raises:  ProviderError, Unavailable – as the ports say.
        """
        wanted = Search(
            (query,),
            scope,
            limit,
            max(self.candidates, limit),
            self.dense_weight,
            min_similarity,
            collapse_duplicates,
        )
        return await search(workspace_id, wanted, self._legs, None if anew else self.remembered)

    async def search_all(
        self,
        workspace_id: WorkspaceId,
        queries: tuple[str, ...],
        scope: Scope,
        limit: int,
        *,
        dense_weight: float | None = None,
    ) -> SearchResult:
        """Find the best ``limit`` chunks for several queries that ask for the same."""
        weight = self.dense_weight if dense_weight is None else dense_weight
        wanted = Search(queries, scope, limit, max(self.candidates, limit), weight)
        return await search(workspace_id, wanted, self._legs, self.remembered)

    def forgetful(self) -> "AnswerPipeline":
        """Return the same path, which makes every search anew: for who measures it."""
        quoting = self.quoting and replace(self.quoting, remembered=None)
        return replace(self, remembered=None, quoting=quoting)

    async def replay(self, workspace_id: WorkspaceId, manifest: Json) -> Replay:
        """Do the search that a manifest tells of once more, and say what differs.

        Raises:  ProviderError, Unavailable – as the ports say.
        """
        again = await search(workspace_id, read_search(manifest), self._legs)
        return compare(manifest, again, self._makers_of(manifest))

    def start(self, question: Question) -> "AnswerRun":
        """Begin a question's path; nothing runs until its events are read.

        Raises:  Unprocessable – there is no such mode.
        """
        mode = read_mode(question.mode)
        if question.policy.model == "extractive" and self.quoting is not None:
            return AnswerRun(self.quoting, question, mode)
        return AnswerRun(self, question, mode)

    def _makers_of(self, manifest: Json) -> Mapping[str, str | None]:
        """Return the makers of now: of the path without a model, if an answer came by that."""
        quoting = self.quoting
        model = manifest["makers"].get("model")
        return (
            self.makers if quoting is None or model != quoting.makers["model"] else quoting.makers
        )

    @property
    def _legs(self) -> Legs:
        return Legs(self.embedder, self.index, self.store, self.embeds_here)


class AnswerRun:
    """One question: its events as they come, and at any time what is known of its answer."""

    def __init__(self, pipeline: AnswerPipeline, question: Question, mode: Mode) -> None:
        self._pipeline = pipeline
        self._question = question
        self._mode = mode
        model = pipeline.language_model
        price = no_price if model is None else model.estimate_cost
        budget = Budget(question.allowance, pipeline.times, price)
        self._path = QuestionPath(question, budget, question.text)

    @property
    def language_model(self) -> LanguageModel | None:
        """The configured language model."""
        return self._pipeline.language_model

    async def events(self) -> AsyncGenerator[AnswerEvent]:
        """Answer from the evidence or refuse; the last event is Finished with the whole result.

        Holds:   it ends by the question's deadline, whatever a partner does.
        Raises:  ProviderError, Unavailable – as the ports say, at any time; ``result`` then holds
                 what was written until then.
        """
        path, question = self._path, self._question
        yield Started(
            question.answer_id, self._mode.name, self._pipeline.chat_model.name, question.session_id
        )
        async with in_time(path.budget):
            await self._gather_evidence()
        if path.refusal is None:
            yield EvidenceFound(path.evidence)
            async with aclosing(self._write()) as sentences:
                async for sentence in sentences:
                    yield sentence
        if self._mode.fill is not None:
            self._mode.fill(path)
        if path.refusal is not None:
            yield path.refusal
        yield Finished(self.result())

    def result(self) -> Answer:
        """Return what is known of the answer, whole or not."""
        pipeline = self._pipeline
        return make_answer(self._path, self._mode.name, pipeline.chat_model.name, pipeline.makers)

    async def find(
        self, path: QuestionPath, queries: tuple[str, ...], *, dense_weight: float | None = None
    ) -> None:
        """Search → rerank → expand; ``path`` holds what was found and the evidence afterwards."""
        pipeline, question = self._pipeline, self._question
        wide = pipeline.reranker is not None or pipeline.expansion.widens
        limit = max(question.limit, pipeline.rerank_candidates) if wide else question.limit
        found = await pipeline.search_all(
            question.workspace_id, queries, question.scope, limit, dense_weight=dense_weight
        )
        path.queries, path.term_idf, path.found = queries, found.term_idf, found
        path.watch.add(found.timings_ms)
        path.budget.skipped += [each for each in found.skipped if each not in path.budget.skipped]
        candidates = found.candidates
        reranker = pipeline.reranker
        if reranker is not None and candidates:
            ranked = await attempt(
                path,
                "rerank",
                lambda seconds: rerank(
                    question.workspace_id,
                    path.text,
                    found.candidates,
                    reranker,
                    seconds,
                    pipeline.rerank_candidates,
                ),
            )
            candidates = candidates if ranked is None else ranked
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

    async def _gather_evidence(self) -> None:
        """Take the question as far as it goes before writing; ``path`` may hold a refusal then."""
        path, question = self._path, self._question
        path.refusal = guard_question(
            question.text, self._pipeline.max_question_characters, question.policy
        )
        if path.refusal is None:
            await self._understand()
            path.refusal = await guard_scope(path.text, question.policy, self._pipeline.embedder)
        if path.refusal is None:
            await self.find(path, path.queries)
            if self._mode.select is not None:
                await self._mode.select(path, self)
        if path.refusal is None:
            path.refusal = guard_evidence(
                path.text,
                path.evidence,
                path.term_idf,
                question.policy,
                found=len(path.found.candidates) if path.found else 0,
            )
        if path.refusal is None and not path.budget.affords_writing(
            estimate_tokens(path.text, *(each.text for each in path.evidence))
        ):
            path.refusal = OVER_BUDGET

    async def _understand(self) -> None:
        """Make the question stand alone, and say in more ways what to look for."""
        path, question, model = self._path, self._question, self._pipeline.language_model
        workspace_id, history, how = (
            question.workspace_id,
            question.history,
            question.policy.rewriting,
        )
        if history:
            text = None
            if model is not None:
                text = await attempt(
                    path,
                    "standalone",
                    lambda seconds: make_standalone(
                        workspace_id, question.text, history, model, seconds
                    ),
                )
            if text is None:  # by rules: there is no model, or no time for it
                text, _ = await make_standalone(
                    workspace_id, question.text, history, None, path.budget.seconds_left
                )
            path.text = text
        path.queries = (path.text,)
        if how != "off" and model is not None:
            queries = await attempt(
                path,
                "rewrite",
                lambda seconds: rewrite(workspace_id, path.text, how, model, seconds),
            )
            path.queries = path.queries if queries is None else queries

    async def _write(self) -> AsyncGenerator[AnswerSentence]:
        """Yield the sentences that a reader may see; what does not check goes by the policy.

        Holds:   under ``refuse`` nothing is shown or kept before the last sentence has checked.
        """
        path, policy = self._path, self._question.policy.citations
        citer = Citer(path.evidence, self._pipeline.embedder)
        started = perf_counter()
        usage = Usage()
        held: list[AnswerSentence] = []
        drafts = generate(self._drafts(), path.budget)
        try:
            async for draft in drafts:
                if isinstance(draft, Usage):
                    usage += draft
                    continue
                async with in_time(path.budget):
                    sentence = await citer.cite(draft)
                if must_hide(sentence, policy):
                    path.dropped.append(DroppedSentence(sentence.problems))
                    if policy == "refuse":
                        path.refusal = UNSUPPORTED
                        break
                elif policy == "refuse":
                    held.append(sentence)
                else:
                    path.sentences.append(sentence)
                    yield sentence
        finally:
            await drafts.aclose()
            path.spend("generate", started, usage)
        if path.refusal is not None:
            path.sentences.clear()
            return
        if not path.sentences and not held:
            path.refusal = UNSUPPORTED if path.dropped else WEAK_EVIDENCE
        for sentence in held:
            path.sentences.append(sentence)
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
