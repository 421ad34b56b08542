"""/v1/embeddings: vectors of texts by the model that search uses."""

import asyncio
import base64
import json
from typing import Annotated, Literal, cast
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from citewell.api.deps import CleanText, ServicesDep, WorkspaceDep, storable
from citewell.api.openai.conversation import EVERYTHING
from citewell.api.openai.errors import OpenAIRoute, ParameterError, UnknownModel
from citewell.api.openai.leaving import gone, until_gone
from citewell.api.openai.wire import MOST_MODEL_CHARACTERS
from citewell.ports import Embedder, Vectors
from citewell.records.quotas import check_day
from citewell.records.usage import Entry, book

router = APIRouter(route_class=OpenAIRoute)

MOST_INPUTS = 2048
AT_ONCE = 64
"""Texts for the model in one go: other callers get their turn between, and a client may leave."""

Encoding = Literal["float", "base64"]


def _read_input(given: object) -> list[str]:
    """Return the texts that are to be embedded."""
    texts: list[object] = cast("list[object]", given) if isinstance(given, list) else [given]
    if not 0 < len(texts) <= MOST_INPUTS:
        raise ValueError(f"must be a text, or a list of 1 to {MOST_INPUTS} texts")
    if any(isinstance(text, int | list) for text in texts):
        raise ValueError(
            "must hold texts; another model's tokens mean nothing here, so switch token arrays off "
            "in the client (LangChain: check_embedding_ctx_length=False)"
        )
    for text in texts:
        if not isinstance(text, str) or not text:
            raise ValueError("must hold texts that are not empty")
        storable(text)
    return cast("list[str]", texts)


class EmbeddingsRequest(BaseModel):
    """Texts to embed; parameters that are not named here have no effect."""

    model_config = ConfigDict(extra="ignore")

    model: CleanText = Field(max_length=MOST_MODEL_CHARACTERS, examples=["all-MiniLM-L6-v2"])
    input: Annotated[
        list[str],
        BeforeValidator(_read_input),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ]
    encoding_format: Encoding = "float"
    dimensions: int | None = None
    input_type: Literal["document", "query"] = "document"


class Embedding(BaseModel):
    """One text's vector: numbers, or their little-endian float32 bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """The texts' tokens as the embedder counts them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


@router.post("/embeddings", response_model=EmbeddingsReply)
async def embed(
    request: Request, services: ServicesDep, workspace_id: WorkspaceDep, body: EmbeddingsRequest
) -> Response:
    """Embed texts with the model that search uses; what is longer than its window is cut."""
    embedder = services.embedder
    if body.model not in {embedder.name, EVERYTHING}:
        raise UnknownModel(f"The only model for embeddings here is {embedder.name}. Name that one.")
    if body.dimensions not in {None, embedder.dimension}:
        raise ParameterError(
            "dimensions",
            f"dimensions must be {embedder.dimension}, the model's own. Leave it out.",
        )
    longest = services.settings.answer.max_question_characters
    if body.input_type == "query" and any(len(text) > longest for text in body.input):
        raise ParameterError(
            "input",
            f"A text of input_type query has at most {longest} characters. Send it as a document.",
        )
    async with services.database.transaction(workspace_id) as connection:
        await check_day(connection, workspace_id, None)
    written = await until_gone(request, _write(embedder, body))
    if written is None:
        return gone()
    reply, tokens = written
    async with services.database.transaction(workspace_id) as connection:
        await book(connection, workspace_id, [Entry("embedding", uuid4(), input_tokens=tokens)])
    return Response(reply, media_type="application/json")


async def _write(embedder: Embedder, body: EmbeddingsRequest) -> tuple[str, int]:
    """Embed and write the reply as JSON, some texts at a time, so that nothing else waits long.

    Returns the reply and the texts' tokens.
    """
    rows: list[str] = []
    tokens = 0
    for first in range(0, len(body.input), AT_ONCE):
        texts = body.input[first : first + AT_ONCE]
        vectors = await embedder.embed(texts, body.input_type)
        tokens += sum(await asyncio.to_thread(embedder.count_tokens, texts))
        rows += _rows(vectors, first, body.encoding_format)
    usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens).model_dump_json()
    model = json.dumps(embedder.name)
    data = ",".join(rows)
    return f'{{"object":"list","data":[{data}],"model":{model},"usage":{usage}}}', tokens


def _rows(vectors: Vectors, first: int, encoding: Encoding) -> list[str]:
    return [
        Embedding(
            index=index,
            embedding=base64.b64encode(vector.astype("<f4").tobytes()).decode()
            if encoding == "base64"
            else vector.tolist(),
        ).model_dump_json()
        for index, vector in enumerate(vectors, first)
    ]
