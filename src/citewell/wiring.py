"""The only place that names adapters: settings in, open services out."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from celery import Celery
from pydantic import SecretStr

from citewell.adapters.batching import BatchingEmbedder
from citewell.adapters.celery_diagnostics import CeleryDiagnostics
from citewell.adapters.celery_queue import CeleryQueue, make_celery
from citewell.adapters.diagnostic_tasks import register_diagnostics
from citewell.adapters.egress import CheckedEgress
from citewell.adapters.extractive import ExtractiveChatModel
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.pgvector import PgVectorStore
from citewell.adapters.postgres import PostgresChunkIndex
from citewell.adapters.provider_names import read_provider
from citewell.adapters.provider_turns import GuardedLanguageModel
from citewell.answer.expand import Expansion
from citewell.answer.pipeline import AnswerPipeline
from citewell.domain import Chunking
from citewell.errors import InputError, Unavailable
from citewell.ingest.ocr import is_enabled as ocr_is_enabled
from citewell.ingest.pipeline import IngestPipeline
from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import ParserLimits
from citewell.ports import BlobStore, Diagnostics, Egress, Embedder, LanguageModel, Queue
from citewell.records.reconcile import Reconciler
from citewell.records.repair import Repair, repair
from citewell.records.session import Database
from citewell.records.verify import Check, verify
from citewell.records.versions import read_server_versions
from citewell.records.webhook_sender import WebhookSender
from citewell.settings import Settings

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

    async def check_ready(self) -> dict[str, str]:
        """Return what each dependency says: "ok", or a sentence on what is wrong."""
        database, broker = await asyncio.gather(self._check_database(), self._check_broker())
        return {"database": database, "broker": broker}

    async def read_server_versions(self) -> list[tuple[str, str | None]]:
        """Return each server's version, with a sentence when it is too old to be safe."""
        async with self.database.system_transaction() as connection:
            return await read_server_versions(connection)

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
        database = Database(_url(settings.database_url, "DATABASE"), settings.database_pool)
        stack.push_async_callback(database.close)
        queue = CeleryQueue(_url(settings.redis_url, "REDIS"))
        stack.push_async_callback(queue.close)
        embedder = _open_embedder(settings, worker=worker)
        blobs = LocalBlobStore(settings.blobs_folder)
        egress = CheckedEgress(settings.egress.enabled, settings.egress.allow_private)
        redis_url = _url(settings.redis_url, "REDIS")
        language_model = _open_language_model(settings)
        if language_model is not None:
            stack.push_async_callback(language_model.close)
        diagnostics = CeleryDiagnostics(make_celery(redis_url), redis_url)
        stack.push_async_callback(diagnostics.close)
        yield Services(
            settings=settings,
            database=database,
            blobs=blobs,
            queue=queue,
            embedder=embedder,
            answers=_answer_pipeline(settings, database, embedder, language_model),
            reconciler=Reconciler(
                database,
                queue,
                blobs,
                settings.jobs.max_attempts,
                settings.jobs.unsent_after_seconds,
                settings.answer.keep_days,
                settings.retrieval.exact_below_chunks,
            ),
            egress=egress,
            webhooks=WebhookSender(database, egress),
            diagnostics=diagnostics,
        )


def _open_embedder(settings: Settings, *, worker: bool) -> Embedder:
    if not worker:
        return MiniLMEmbedder(settings.cache, settings.embedder.threads)
    parallel = max(1, (os.cpu_count() or 1) // settings.jobs.processes)
    return BatchingEmbedder(MiniLMEmbedder(settings.cache, 1, parallel), parallel)


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


def _open_language_model(settings: Settings) -> GuardedLanguageModel | None:
    """Make the language model that the settings name; None is ``extractive``.

    Raises:  InputError – a name, address or key is not right, or a package is missing.
    """
    model = settings.model
    key = model.api_key.get_secret_value() if model.api_key is not None else None
    choice = read_provider(settings.answer.chat_model, model.base_url, key)
    if choice is None:
        return None
    from citewell.adapters import language_models  # noqa: PLC0415 - 1.7 s that quoting does without

    price_in, price_out = model.input_usd_per_million, model.output_usd_per_million
    return language_models.open_language_model(
        choice,
        language_models.ModelLimits(
            timeout_seconds=model.timeout_seconds,
            window_tokens=model.window_tokens,
            max_concurrent=model.max_concurrent,
            max_attempts=model.max_attempts,
            pause_after_failures=model.pause_after_failures,
            pause_seconds=model.pause_seconds,
            temperature=model.temperature,
            structured=model.structured,
            usd_per_million=None
            if price_in is None or price_out is None
            else (price_in, price_out),
        ),
    )


def _answer_pipeline(
    settings: Settings,
    database: Database,
    embedder: Embedder,
    language_model: LanguageModel | None,
) -> AnswerPipeline:
    retrieval = settings.retrieval
    chat_model = ExtractiveChatModel(embedder, max_sentences=settings.answer.max_sentences)
    return AnswerPipeline(
        embedder=embedder,
        store=PgVectorStore(
            database, embedder.name, retrieval.exact_below_chunks, retrieval.hnsw_ef_search
        ),
        index=PostgresChunkIndex(database),
        chat_model=chat_model,
        language_model=language_model,
        candidates=retrieval.candidates,
        dense_weight=retrieval.dense_weight,
        max_question_characters=settings.answer.max_question_characters,
        expansion=Expansion(
            neighbours=settings.answer.neighbours, same_meaning=settings.answer.same_meaning
        ),
        makers={"embedder": embedder.name, "model": chat_model.name},
    )


def _url(url: SecretStr | None, name: str) -> str:
    if url is None:
        raise InputError(
            f"CITEWELL_{name}_URL is not set. Set it, or start with `citewell up`, "
            "which brings its own servers."
        )
    return url.get_secret_value()
