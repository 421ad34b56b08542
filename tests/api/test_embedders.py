"""Another embedder than MiniLM, from its settings to search; and what its change does."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.embedding_server import DIMENSION, Server, serving
from api.stage import Api, open_api
from citewell.ingest.pipeline import IngestPipeline
from citewell.settings import EmbedderSettings, Settings

TEXT = "The pendulum clock was built in 1656 by Salomon Coster after the drawings of Huygens."
WORDS_ONLY = [{"stage": "dense", "why": "other_model"}]
Open = Callable[[EmbedderSettings], Any]


@pytest.fixture
def opened(
    database_url: str,
    make_settings: Callable[..., Settings],
    ingest: IngestPipeline,
    tmp_path: Path,
) -> Open:
    """Open the application on one database, with an embedder of the test's choice."""

    @asynccontextmanager
    async def open_with(embedder: EmbedderSettings) -> AsyncIterator[Api]:
        settings = make_settings(database_url, tmp_path)
        settings = settings.model_copy(update={"embedder": embedder})
        async with open_api(settings, ingest) as api:
            own = replace(ingest, embedder=api.services.embedder)
            yield replace(api, ingest=own)

    return open_with


def named(server: Server, **more: Any) -> EmbedderSettings:
    return EmbedderSettings(
        model="openai:words",
        base_url=server.url,
        api_key=SecretStr("key"),
        dimension=DIMENSION,
        query_prefix="query: ",
        document_prefix="passage: ",
        **more,
    )


async def search(api: Api, query: str) -> dict[str, Any]:
    reply = await api.client.post("/search", json={"query": query})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_an_api_embeds_documents_and_questions(opened: Open) -> None:
    async with serving() as server, opened(named(server)) as api:
        await api.add("clock.txt", TEXT)
        found = await search(api, "pendulum clock drawings")
        again = await search(api, "pendulum  clock drawings ")
        assert await api.services.check_vectors() is None
    (result,) = found["results"]
    assert result["scores"]["dense"] > 0.3
    assert found["skipped"] == []
    assert again["results"] == found["results"]
    sent = [text for asked in server.asked for text in asked.body["input"]]
    assert [text for text in sent if text.startswith("query: ")] == [
        "query: pendulum clock drawings"
    ]
    assert any(text.startswith("passage: ") and TEXT in text for text in sent)


async def test_after_a_change_of_model_words_alone_find_until_the_reindex(opened: Open) -> None:
    async with opened(EmbedderSettings()) as api:
        await api.add("clock.txt", TEXT)
        assert (await search(api, "pendulum clock"))["skipped"] == []
    async with serving() as server, opened(named(server)) as api:
        found = await search(api, "pendulum clock")
        assert found["skipped"] == WORDS_ONLY
        assert set(found["results"][0]["scores"]) == {"lexical"}
        answer = await api.ask("Who built the pendulum clock in 1656?")
        assert answer["skipped"] == WORDS_ONLY
        assert "1656" in answer["answer"]
        problem = await api.services.check_vectors()
        assert problem is not None
        assert "all-MiniLM-L6-v2" in problem
        assert "citewell reindex" in problem
        reply = await api.client.post("/collections/default/reindex")
        assert reply.status_code == 202, reply.text
        await api.work()
        assert await api.services.check_vectors() is None
        found = await search(api, "pendulum clock")
        assert found["skipped"] == []
        assert set(found["results"][0]["scores"]) == {"dense", "lexical"}


async def test_a_failing_api_fails_the_search_with_a_providers_error(opened: Open) -> None:
    async with serving() as server, opened(named(server, max_attempts=1)) as api:
        await api.add("clock.txt", TEXT)

        async def refuse(_: Any) -> tuple[int, Any, str]:
            return 401, {"error": "the key"}, ""

        server.respond = refuse
        reply = await api.client.post("/search", json={"query": "a new question"})
        assert reply.status_code == 502
        assert reply.json()["code"] == "provider_refused"
        assert "CITEWELL_EMBEDDER__API_KEY" in reply.json()["detail"]
