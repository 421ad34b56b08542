"""Cut and index a tuning set by the product's own parts, and ask both legs each of its questions.

The chunker, the section prefix, the embedder and BM25 in PostgreSQL are the product's. The dense
leg is exact here: how much HNSW finds of that is measured elsewhere (``bench.search``).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.tuning_cut import Cut, cut_document
from bench.tuning_sets import TuningSet
from citewell.domain import (
    PUBLIC_WORKSPACE,
    Candidate,
    Chunk,
    ChunkId,
    CollectionId,
    DocumentId,
    LegResult,
    ParsedDocument,
    Scope,
    VersionId,
)
from citewell.domain.languages import DEFAULT_LANGUAGE
from citewell.ingest.chunk import WordCosts
from citewell.ingest.embed import embed
from citewell.ports import Embedder, Vectors
from citewell.records import lexical, lexical_lookup
from citewell.records.session import Database
from citewell.records.statements import text
from citewell.records.version_rows import (
    chunk_id,
    chunk_values,
    insert_chunks,
    terms_of,
    vector_literal,
)

DEPTH = 200
"""Chunks that are asked of each leg: cases with fewer candidates take the first of them."""
DOCUMENTS_AT_ONCE = 200
KEPT_TOGETHER = 512
"""Chunks whose vectors are one file of the folder."""

ADD_DOCUMENTS = """
WITH new AS (SELECT * FROM unnest(CAST(:documents AS uuid[]), CAST(:versions AS uuid[]),
    CAST(:names AS text[]), CAST(:languages AS text[]), CAST(:sizes AS integer[]))
    AS n (document, version, name, language, size)), made AS (
    INSERT INTO documents (workspace_id, id, collection_id, name, source, active_version_id,
        chunk_count, language)
    SELECT :workspace, document, :collection, name, name, version, size, language FROM new)
INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, media_type, title,
    published_at)
SELECT :workspace, version, document, 1, CAST(version AS text), 0, 'text/plain', name, now()
FROM new
"""


@dataclass(frozen=True)
class Legs:
    """What both legs found for a question, at most ``DEPTH`` each, best first."""

    dense: dict[ChunkId, float]
    lexical: LegResult


@dataclass(frozen=True)
class Indexed:
    """A set's chunks, in order, with their vectors, and the collection that holds their terms."""

    chunks: dict[ChunkId, Candidate]
    ids: list[ChunkId]
    vectors: Vectors
    collection_id: CollectionId


class Bench:
    """A database with a collection for each set and cut, and vectors that are kept in a folder."""

    def __init__(self, database: Database, embedder: Embedder, cache: Path | None) -> None:
        self._database = database
        self._embedder = embedder
        self._cache = cache
        self._costs = WordCosts(embedder.count_tokens)

    async def index(self, found: TuningSet, cut: Cut) -> Indexed:
        """Cut, embed and write a set."""
        name = f"{found.name} {cut}"
        collection = CollectionId(uuid5(NAMESPACE_URL, name))
        window = self._embedder.window_tokens
        cuts = {
            document: cut_document(parsed, cut, self._costs, window)
            for document, parsed in found.documents.items()
        }
        chunks = [each for part in cuts.values() for each in part]
        vectors = await self._embed_chunks(chunks)
        async with self._database.transaction(PUBLIC_WORKSPACE) as connection:
            await connection.execute(
                text("INSERT INTO collections (workspace_id, id, name, chunk_count) "
                     "VALUES (:workspace, :id, :name, :count)"),
                {"workspace": PUBLIC_WORKSPACE, "id": collection, "name": name,
                 "count": len(chunks)},
            )  # fmt: skip
        names = list(cuts)
        for first in range(0, len(names), DOCUMENTS_AT_ONCE):
            some = {each: cuts[each] for each in names[first : first + DOCUMENTS_AT_ONCE]}
            async with self._database.transaction(PUBLIC_WORKSPACE) as connection:
                await _write(connection, collection, found, some)
        async with self._database.transaction(PUBLIC_WORKSPACE) as connection:
            await lexical.refresh_lexemes(connection, PUBLIC_WORKSPACE, collection)
        made = {
            chunk_id(_version(collection, document), each.ordinal):
            _candidate(collection, document, found.documents[document], each)
            for document, part in cuts.items() for each in part
        }  # fmt: skip
        return Indexed(made, list(made), vectors, collection)

    async def ask(self, found: TuningSet, indexed: Indexed, budget: int | None) -> list[Legs]:
        """Ask both legs each question; the lexical one with so large a budget, or none."""
        questions = [each.text for each in found.questions]
        asked = await self._embedder.embed(questions, "query")
        before = lexical_lookup.LEAST, lexical_lookup.MOST
        lexical_lookup.LEAST = lexical_lookup.MOST = 10**9 if budget is None else budget
        scope = Scope(collection_id=indexed.collection_id)
        legs: list[Legs] = []
        try:
            for question, vector in zip(questions, asked, strict=True):
                async with self._database.reading(PUBLIC_WORKSPACE) as reading:
                    words = await lexical.search_lexical(
                        reading, PUBLIC_WORKSPACE, question, scope, DEPTH
                    )
                legs.append(Legs(_nearest(indexed, vector), words))
        finally:
            lexical_lookup.LEAST, lexical_lookup.MOST = before
        return legs

    async def _embed_chunks(self, chunks: Sequence[Chunk]) -> Vectors:
        """Embed chunks as ingestion does, or read what was embedded before."""
        parts = [
            await self._embed_some(chunks[first : first + KEPT_TOGETHER])
            for first in range(0, len(chunks), KEPT_TOGETHER)
        ]
        return np.concatenate(parts)

    async def _embed_some(self, chunks: Sequence[Chunk]) -> Vectors:
        if self._cache is None:
            return await embed(chunks, self._embedder, _ignore)
        digest = hashlib.sha256(self._embedder.name.encode())
        for each in chunks:
            digest.update(f"{each.context}\n{each.text}\0".encode())
        kept = self._cache / f"{digest.hexdigest()[:32]}.npy"
        if kept.is_file():
            return np.load(kept)
        vectors = await embed(chunks, self._embedder, _ignore)
        np.save(kept, vectors)
        return vectors


async def _ignore(_: int) -> None:
    """Take word of how many chunks are embedded."""


def _nearest(indexed: Indexed, vector: Vectors) -> dict[ChunkId, float]:
    scores = indexed.vectors @ vector
    count = min(DEPTH, len(scores))
    best = cast("list[int]", np.argpartition(-scores, count - 1)[:count].tolist())
    ranked = sorted((-float(scores[at]), indexed.ids[at]) for at in best)
    return {key: -score for score, key in ranked}


def _version(collection: CollectionId, document: str) -> VersionId:
    return VersionId(uuid5(collection, document))


def _document(collection: CollectionId, document: str) -> DocumentId:
    return DocumentId(uuid5(_version(collection, document), "document"))


def _candidate(
    collection: CollectionId, document: str, parsed: ParsedDocument, own: Chunk
) -> Candidate:
    version = _version(collection, document)
    section = None if own.section is None else parsed.sections[own.section]
    return Candidate(
        chunk_id=chunk_id(version, own.ordinal),
        document_id=_document(collection, document),
        document_name=document,
        document_title=parsed.title,
        version_id=version,
        ordinal=own.ordinal,
        text=own.text,
        start=own.start,
        end=own.end,
        page=None,
        section_number=None,
        section_title=section.title if section else None,
        section_path=section.path if section else (),
        anchor=str(own.section),
        metadata={},
    )


async def _write(
    connection: AsyncConnection,
    collection: CollectionId,
    found: TuningSet,
    cuts: dict[str, list[Chunk]],
) -> None:
    """Write documents and their chunks by the product's statement; the vectors stay outside."""
    outside = vector_literal(np.eye(1, 384, dtype=np.float32)[0])
    languages = [found.documents[each].report.language or DEFAULT_LANGUAGE for each in cuts]
    await connection.execute(
        text(ADD_DOCUMENTS),
        {
            "workspace": PUBLIC_WORKSPACE,
            "collection": collection,
            "documents": [_document(collection, each) for each in cuts],
            "versions": [_version(collection, each) for each in cuts],
            "names": list(cuts),
            "languages": languages,
            "sizes": [len(each) for each in cuts.values()],
        },
    )
    rows: list[dict[str, object]] = [
        {
            **chunk_values(_version(collection, document), replace(each, section=None), ()),
            "collection": collection,
            "document": _document(collection, document),
            "version": _version(collection, document),
            "language": language,
            **terms_of(each.context, each.text),
            "model": "outside",
            "vector": outside,
        }
        for (document, part), language in zip(cuts.items(), languages, strict=True)
        for each in part
    ]
    await insert_chunks(connection, PUBLIC_WORKSPACE, rows)


class Beside:
    """Knows what stands beside each chunk of an indexed set, as the ledger does."""

    def __init__(self, indexed: Indexed) -> None:
        self._at = {(each.version_id, each.ordinal): each for each in indexed.chunks.values()}
        self._chunks = indexed.chunks

    async def neighbours(
        self, _workspace: UUID, chunk_ids: Sequence[ChunkId], reach: int
    ) -> dict[ChunkId, list[Candidate]]:
        """Return up to ``reach`` chunks on each side, of the same section."""
        found: dict[ChunkId, list[Candidate]] = {}
        for key in chunk_ids:
            own = self._chunks[key]
            around = [self._at.get((own.version_id, own.ordinal + step))
                      for step in range(-reach, reach + 1) if step]  # fmt: skip
            found[key] = [each for each in around if each and each.anchor == own.anchor]
        return found
