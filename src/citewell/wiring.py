"""The only place that names adapters: settings in, open services out."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass

from celery import Celery
from pydantic import SecretStr

from citewell.adapters.celery_queue import CeleryQueue, make_celery
from citewell.adapters.extractive import ExtractiveChatModel
from citewell.adapters.local_blobs import LocalBlobStore
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.pgvector import PgVectorStore
from citewell.adapters.postgres import PostgresChunkIndex
from citewell.answer.pipeline import AnswerPipeline
from citewell.errors import InputError, Unavailable
from citewell.ingest.pipeline import IngestPipeline
from citewell.ingest.sandbox import ParserPool
from citewell.ports import BlobStore, Embedder, Queue
from citewell.records.reconcile import Reconciler
from citewell.records.session import Database
from citewell.records.verify import verify
from citewell.records.versions import read_server_versions
from citewell.settings import Settings


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

    async def check_ready(self) -> dict[str, str]:
        """Return what each dependency says: "ok", or a sentence on what is wrong."""
        return {
            "database": await self._check_database(),
            "broker": await self._check_broker(),
        }

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

    async def verify(self) -> list[dict[str, str | int]]:
        """Check every invariant; return each with its count of breaches."""
        return [asdict(check) for check in await verify(self.database, self.blobs)]


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
async def open_services(
    settings: Settings, *, embedder_threads: int | None = None, embedder_parallel: int = 1
) -> AsyncGenerator[Services]:
    """Open everything that answers questions and takes uploads; close it at the end.

    Raises:  InputError – a server's URL is missing.
    """
    async with AsyncExitStack() as stack:
        database = Database(_url(settings.database_url, "DATABASE"), settings.database_pool)
        stack.push_async_callback(database.close)
        queue = CeleryQueue(_url(settings.redis_url, "REDIS"))
        stack.push_async_callback(queue.close)
        embedder = MiniLMEmbedder(
            settings.cache,
            settings.embedder.threads if embedder_threads is None else embedder_threads,
            embedder_parallel,
        )
        blobs = LocalBlobStore(settings.blobs_folder)
        yield Services(
            settings=settings,
            database=database,
            blobs=blobs,
            queue=queue,
            embedder=embedder,
            answers=_answer_pipeline(settings, database, embedder),
            reconciler=Reconciler(
                database,
                queue,
                blobs,
                settings.jobs.max_attempts,
                settings.jobs.unsent_after_seconds,
                settings.answer.keep_days,
                settings.retrieval.exact_below_chunks,
            ),
        )


@asynccontextmanager
async def open_ingest(services: Services) -> AsyncGenerator[IngestPipeline]:
    """Open the parser processes and the file's path; close them at the end."""
    settings = services.settings
    parser = ParserPool(
        processes=settings.parse.processes,
        timeout_seconds=settings.parse.timeout_seconds,
        memory_bytes=settings.parse.memory_bytes,
        max_text_characters=settings.parse.max_text_characters,
    )
    try:
        yield IngestPipeline(
            parser=parser,
            embedder=services.embedder,
            size_tokens=settings.chunk.size_tokens,
            overlap_tokens=settings.chunk.overlap_tokens,
        )
    finally:
        await parser.close()


def open_celery(settings: Settings) -> Celery:
    """Make the Celery app that a worker process consumes with."""
    return make_celery(_url(settings.redis_url, "REDIS"))


def _answer_pipeline(settings: Settings, database: Database, embedder: Embedder) -> AnswerPipeline:
    retrieval = settings.retrieval
    return AnswerPipeline(
        embedder=embedder,
        store=PgVectorStore(
            database, embedder.name, retrieval.exact_below_chunks, retrieval.hnsw_ef_search
        ),
        index=PostgresChunkIndex(database),
        chat_model=ExtractiveChatModel(embedder, max_sentences=settings.answer.max_sentences),
        candidates=retrieval.candidates,
        dense_weight=retrieval.dense_weight,
        max_question_characters=settings.answer.max_question_characters,
    )


def _url(url: SecretStr | None, name: str) -> str:
    if url is None:
        raise InputError(
            f"CITEWELL_{name}_URL is not set. Set it, or start with `citewell up`, "
            "which brings its own servers."
        )
    return url.get_secret_value()
