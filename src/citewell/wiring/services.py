"""What the doors open: settings in, services out."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from celery import Celery
from pydantic import SecretStr

from citewell.adapters.celery_diagnostics import CeleryDiagnostics
from citewell.adapters.celery_queue import CeleryQueue, make_celery
from citewell.adapters.diagnostic_tasks import register_diagnostics
from citewell.adapters.egress import CheckedEgress
from citewell.adapters.limits_fallback import FallbackLimiter
from citewell.adapters.limits_memory import MemoryLimiter
from citewell.adapters.limits_valkey import ValkeyLimiter
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.answer.path import Question, new_answer_id
from citewell.answer.pipeline import AnswerPipeline, AnswerRun
from citewell.domain import AnswerId, AnswerPolicy, Chunking, Message, WorkspaceId
from citewell.errors import InputError, Unavailable
from citewell.ingest.ocr import is_enabled as ocr_is_enabled
from citewell.ingest.pipeline import IngestPipeline
from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import ParserLimits
from citewell.ports import (
    BlobStore,
    Diagnostics,
    Egress,
    Embedder,
    IdentityProvider,
    Limiter,
    Queue,
)
from citewell.records.questions import Asked
from citewell.records.recall_canary import measure_recall
from citewell.records.reconcile import Reconciler
from citewell.records.repair import Repair, repair
from citewell.records.session import Database
from citewell.records.vector_tables import (
    FIRST_DIMENSION,
    ensure_vector_table,
    list_stored_models,
)
from citewell.records.verify import Check, verify
from citewell.records.versions import read_server_versions
from citewell.records.webhook_sender import WebhookSender
from citewell.settings import Settings
from citewell.wiring.embedders import open_embedder
from citewell.wiring.identity import open_identity
from citewell.wiring.models import (
    make_answer_pipeline,
    make_dense_search,
    open_language_model,
    open_reranker,
)

MINILM_COUNT_TOKENS = "citewell.adapters.minilm_tokenizer:count_tokens"
"""What parser processes count with: the embedder's own counter, without its model."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a door needs: the ledger, blobs, the queue, and the question's path."""

    settings: Settings
    database: Database
    blobs: BlobStore
    queue: Queue
    embedder: Embedder
    answers: AnswerPipeline
    reconciler: Reconciler
    egress: Egress
    webhooks: WebhookSender
    diagnostics: Diagnostics
    limiter: Limiter
    identity: IdentityProvider | None = None

    def start_answer(
        self,
        workspace_id: WorkspaceId,
        asked: Asked,
        policy: AnswerPolicy,
        history: Sequence[Message] = (),
        answer_id: AnswerId | None = None,
    ) -> AnswerRun:
        """Begin a question's path, by a workspace's rules and after what was said before.

        Raises:  Unprocessable – there is no such mode.
        """
        return self.answers.start(
            Question(
                workspace_id=workspace_id,
                text=asked.text,
                scope=asked.scope,
                limit=asked.limit,
                mode=asked.mode,
                policy=replace(
                    policy, min_similarity=max(policy.min_similarity, asked.min_similarity)
                ),
                allowance=asked.allowance,
                history=tuple(history),
                session_id=asked.session_id,
                answer_id=answer_id or new_answer_id(),
            )
        )

    async def check_ready(self) -> dict[str, str]:
        """Return what each dependency says: "ok", or a sentence on what is wrong."""
        database, broker = await asyncio.gather(self._check_database(), self._check_broker())
        return {"database": database, "broker": broker}

    async def read_server_versions(self) -> list[tuple[str, str | None]]:
        """Return each server's version, with a sentence when it is too old to be safe."""
        async with self.database.system_transaction() as connection:
            return await read_server_versions(connection)

    async def check_vectors(self) -> str | None:
        """Return a sentence when stored vectors are of another model than the settings name."""
        async with self.database.system_transaction() as connection:
            stored = await list_stored_models(connection)
        others = [model for model in stored if model != self.embedder.name]
        if not others:
            return None
        return (
            f"Documents are embedded with {', '.join(others)}, and the settings name "
            f"{self.embedder.name}: these documents are found by their words only. Run `citewell "
            "reindex` for each collection, or set CITEWELL_EMBEDDER__MODEL back."
        )

    async def measure_recall(self) -> float | None:
        """Return what the vector index finds of the exactly nearest chunks; None without a need."""
        return await measure_recall(self.database, make_dense_search(self.settings, self.embedder))

    async def _check_database(self) -> str:
        try:
            await self.database.check()
        except Unavailable as error:
            return error.message
        return "ok"

    async def _check_broker(self) -> str:
        try:
            await self.queue.count_waiting()
        except Unavailable as error:
            return error.message
        return "ok"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the checker needs: the database and the blobs."""

    database: Database
    blobs: BlobStore

    async def verify(self) -> list[Check]:
        """Check every invariant; return each with what breaks it."""
        return await verify(self.database, self.blobs)

    async def repair(self, checks: list[Check]) -> list[Repair]:
        """Cure what the checks found, where it can be cured."""
        return await repair(self.database, self.blobs, checks)


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncGenerator[Ledger]:
    """Open the records only; close them at the end.

    Raises:  InputError – the database's URL is missing.
    """
    database = Database(_url(settings.database_url, "DATABASE"), settings.database_pool)
    try:
        yield Ledger(database, LocalBlobStore(settings.blobs_folder))
    finally:
        await database.close()


@asynccontextmanager
async def open_services(settings: Settings, *, worker: bool = False) -> AsyncGenerator[Services]:
    """Open everything that answers questions and takes uploads; close it at the end.

    A worker's embedder takes the texts of several documents together, one core a batch.
    Raises:  InputError – a server's URL is missing.
    """
    async with AsyncExitStack() as stack:
        redis_url = _url(settings.redis_url, "REDIS")
        database = Database(_url(settings.database_url, "DATABASE"), settings.database_pool)
        stack.push_async_callback(database.close)
        queue = CeleryQueue(redis_url)
        stack.push_async_callback(queue.close)
        embedder = open_embedder(settings, stack, worker=worker)
        if embedder.dimension != FIRST_DIMENSION:
            await ensure_vector_table(database, embedder.dimension)
        blobs = LocalBlobStore(settings.blobs_folder)
        egress = CheckedEgress(settings.egress.enabled, settings.egress.allow_private)
        language_model = open_language_model(settings)
        if language_model is not None:
            stack.push_async_callback(language_model.close)
        reranker = open_reranker(settings, language_model, stack)
        diagnostics = CeleryDiagnostics(make_celery(redis_url), redis_url)
        stack.push_async_callback(diagnostics.close)
        limiter = _open_limiter(redis_url, stack)
        yield Services(
            settings=settings,
            database=database,
            blobs=blobs,
            queue=queue,
            embedder=embedder,
            answers=make_answer_pipeline(
                settings, database, embedder, language_model, reranker, remember=not worker
            ),
            reconciler=Reconciler(
                database,
                queue,
                blobs,
                settings.jobs.max_attempts,
                settings.jobs.unsent_after_seconds,
                settings.answer.keep_days,
                settings.retrieval.exact_below_chunks,
                embedder.dimension,
                make_dense_search(settings, embedder),
            ),
            egress=egress,
            webhooks=WebhookSender(database, egress),
            diagnostics=diagnostics,
            identity=None if worker else open_identity(settings),
            limiter=limiter,
        )


@asynccontextmanager
async def open_ingest(services: Services) -> AsyncGenerator[IngestPipeline]:
    """Open the parser processes and the file's path; close them at the end."""
    settings = services.settings
    parser = ParserPool(
        chunking=Chunking(
            size_tokens=settings.chunk.size_tokens,
            overlap_tokens=settings.chunk.overlap_tokens,
            window_tokens=services.embedder.window_tokens,
        ),
        count_tokens=MINILM_COUNT_TOKENS,
        processes=settings.parse.processes,
        limits=ParserLimits(
            timeout_seconds=settings.parse.timeout_seconds,
            cpu_seconds=settings.parse.cpu_seconds or int(settings.parse.timeout_seconds) + 1,
            memory_bytes=settings.parse.memory_bytes,
            max_written_bytes=settings.parse.max_written_bytes,
            max_threads=settings.parse.max_threads,
            max_text_characters=settings.parse.max_text_characters,
            ocr_seconds=settings.parse.ocr_seconds if ocr_is_enabled(settings.parse.ocr) else 0.0,
        ),
    )
    try:
        yield IngestPipeline(parser=parser, embedder=services.embedder)
    finally:
        await parser.close()


def open_celery(settings: Settings) -> Celery:
    """Make the Celery app that a worker process consumes with; it has the diagnostic tasks."""
    app = make_celery(_url(settings.redis_url, "REDIS"))
    register_diagnostics(app)
    return app


def _open_limiter(redis_url: str, stack: AsyncExitStack) -> FallbackLimiter:
    limiter = FallbackLimiter(ValkeyLimiter(redis_url), MemoryLimiter())
    stack.push_async_callback(limiter.close)
    return limiter


def _url(url: SecretStr | None, name: str) -> str:
    if url is None:
        raise InputError(
            f"CITEWELL_{name}_URL is not set. Set it, or start with `citewell up`, "
            "which brings its own servers."
        )
    return url.get_secret_value()
