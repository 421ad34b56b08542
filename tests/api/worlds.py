"""Small workspaces, each twice: with documents that a caller may not see, and without them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import CollectionId, DocumentId, VersionId, WorkspaceId, is_reader
from citewell.ports import Vectors
from citewell.records.lexical import refresh_lexemes
from citewell.records.publish import publish
from citewell.records.readers import set_readers
from citewell.records.session import Database
from records.rows import KEPT, publication

MAKERS = ["Christiaan Huygens", "John Harrison", "Salomon Coster", "Thomas Tompion", "A smith"]
THINGS = ["the pendulum clock", "a marine chronometer", "the tower clock", "a silver watch",
          "the sundial in the garden"]  # fmt: skip
PLACES = ["The Hague", "London", "Leiden", "the harbour of Lisbon", "Greenwich"]
LINES = [
    f"{maker} built {thing} in {place} in {1650 + 7 * n}, and it was {10 + n} minutes late."
    for n, (maker, thing, place) in enumerate(
        (maker, thing, place)
        for place in PLACES
        for thing in THINGS
        for maker in MAKERS
        if (len(maker) + len(thing) + len(place)) % 3
    )
]
READERS = [["group:red"], ["group:green"], ["group:red", "role:editor"], ["role:editor"],
           ["group:green", "group:blue"], ["role:admin"], []]  # fmt: skip
QUESTIONS = [
    "Who built {0} in {1}?",
    "When was {0} built in {1}?",
    "Which clock is in {1}?",
    "How late was {0}?",
    "{0}",
    "What did the gardener eat?",
]


@dataclass(frozen=True, slots=True)
class Paper:
    """A document of a small workspace; ``late`` ones were open first and limited afterwards."""

    document_id: DocumentId
    version_id: VersionId
    name: str
    collection: int
    lines: tuple[int, ...]
    kind: str
    readers: list[str] | None
    late: bool


@dataclass(frozen=True, slots=True)
class World:
    """What one random draw gave: a workspace's papers, and what is asked of it."""

    number: int
    papers: tuple[Paper, ...]
    collections: tuple[CollectionId, ...]
    search: Mapping[str, object]
    question: Mapping[str, object]

    def hidden_from(self, tags: Sequence[str] | None) -> list[Paper]:
        return [paper for paper in self.papers if not is_reader(paper.readers, tags)]

    def workspace(self, variant: int) -> WorkspaceId:
        """Return the id of one of its variants."""
        return WorkspaceId(UUID(int=(self.number << 8) + variant + 1, version=4))


def draw_world(number: int) -> World:
    """Draw a workspace of three to nine papers."""
    drawn = random.Random(number)

    def new_id() -> UUID:
        return UUID(int=drawn.getrandbits(128), version=4)

    papers = tuple(
        Paper(
            DocumentId(new_id()),
            VersionId(new_id()),
            f"paper-{place}.txt",
            drawn.randrange(2),
            tuple(drawn.sample(range(len(LINES)), drawn.randint(1, 3))),
            drawn.choice(["essay", "letter"]),
            drawn.choice([None, drawn.choice(READERS)]),
            drawn.random() < 0.3,
        )
        for place in range(drawn.randint(3, 9))
    )

    def question() -> str:
        return drawn.choice(QUESTIONS).format(drawn.choice(THINGS), drawn.choice(PLACES))

    def scope() -> dict[str, object]:
        named = [paper.name for paper in drawn.sample(papers, 2)]
        return drawn.choice([
            {}, {}, {"collection": "default"}, {"filters": {"kind": "essay"}},
            {"filters": {"document_name": named}}, {"filters": {"kind": {"ne": "letter"}}},
            {"filters": {"section": "2"}}, {"filters": {"created": {"gte": "2020-01-01"}}},
            {"filters": {"any": [{"section": ["1", "S2"]}, {"kind": {"contains": "ESS"}}]}},
            {"filters": {"not": {"document_name": named[0]}, "media_type": "text/*"}},
        ])  # fmt: skip

    how = drawn.choice([{}, {"explain": True, "highlight": True}, {"min_similarity": 0.5}])
    return World(
        number,
        papers,
        (CollectionId(new_id()), CollectionId(new_id())),
        {"query": question(), "limit": drawn.randint(1, 8), **scope(), **how},
        {"question": question(), **scope()},
    )


async def build(
    database: Database, world: World, variant: int, papers: Sequence[Paper], vectors: Vectors
) -> None:
    """Fill one variant of a workspace with these papers, as uploads, workers and admins do."""
    workspace = world.workspace(variant)
    async with database.system_transaction() as connection:
        await connection.execute(
            text("INSERT INTO workspaces (id, name) VALUES (:w, :n)"),
            {"w": workspace, "n": f"{world.number}/{variant}"},
        )
        for name, collection in zip(("default", "second"), world.collections, strict=True):
            await connection.execute(
                text("INSERT INTO collections (workspace_id, id, name) VALUES (:w, :id, :n)"),
                {"w": workspace, "id": collection, "n": name},
            )
    async with database.transaction(workspace) as connection:
        await _add_papers(connection, world, workspace, papers, vectors)
        for collection in world.collections:
            await refresh_lexemes(connection, workspace, collection)
    late = {paper.document_id: paper.readers for paper in papers if paper.late}
    if late:
        async with database.transaction(workspace) as connection:
            await set_readers(connection, workspace, late, None)


async def _add_papers(
    connection: AsyncConnection,
    world: World,
    workspace: WorkspaceId,
    papers: Sequence[Paper],
    vectors: Vectors,
) -> None:
    for paper in papers:
        await connection.execute(
            text(
                "INSERT INTO documents (workspace_id, id, collection_id, name, source, metadata, "
                "readers) VALUES (:w, :id, :c, :n, :n, CAST(:m AS jsonb), CAST(:r AS text[]))"
            ),
            {
                "w": workspace,
                "id": paper.document_id,
                "c": world.collections[paper.collection],
                "n": paper.name,
                "m": f'{{"kind": "{paper.kind}"}}',
                "r": None if paper.late else paper.readers,
            },
        )
        await connection.execute(
            text(
                "INSERT INTO versions (workspace_id, id, document_id, number, sha256, size_bytes, "
                "media_type) VALUES (:w, :v, :d, 1, :v, 1, 'text/plain')"
            ),
            {"w": workspace, "v": paper.version_id, "d": paper.document_id},
        )
    made = [
        publication(
            paper.document_id,
            paper.version_id,
            [LINES[line] for line in paper.lines],
            np.stack([vectors[line] for line in paper.lines]),
        )
        for paper in papers
    ]
    if made:
        await publish(connection, workspace, made, KEPT)
