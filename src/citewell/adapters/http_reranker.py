"""Rerank by a server's API, in the form of Cohere and Jina or of Text Embeddings Inference."""

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import httpx

from citewell.domain import Usage, WorkspaceId
from citewell.errors import (
    InputError,
    ProviderBadReply,
    ProviderBusy,
    ProviderError,
    ProviderTimeout,
)

RerankForm = Literal["cohere", "tei"]
MOST_REPLY_BYTES = 1_000_000
"""A reply that sends 200 texts back fits; it is asked not to."""
TEI_BATCH = 32
"""Texts that Text Embeddings Inference takes at once, unless it is told otherwise."""
MOST_WAIT_SECONDS = 60.0


class HttpReranker:
    """Sends a question and texts to an address that the settings name, and reads their scores.

    ``cohere`` sends {query, documents, model, top_n}: Cohere, Jina, Voyage, vLLM, llama.cpp,
    Infinity, LiteLLM; ``tei`` sends {query, texts} in batches. A reply is read by what it looks
    like: {"results" | "data": [{index, relevance_score}]} or [{index, score}].

    Holds:   the key goes to that address only: no redirect is followed and no proxy is used.
    """

    def __init__(
        self,
        url: str,
        model: str | None,
        api_key: str | None,
        timeout_seconds: float,
        form: RerankForm = "cohere",
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Raises:  InputError – the address is none.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InputError("CITEWELL_RERANK__URL is not an address. Correct it.") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise InputError(
                "CITEWELL_RERANK__URL must begin with http:// or https://. Correct it."
            )
        self.name = f"http:{parsed.host}/{model or 'default'}"
        self._url, self._model, self._form = parsed, model, form
        self._timeout_seconds = timeout_seconds
        headers = {"Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(headers=headers, timeout=None, trust_env=False)  # noqa: S113 - each call has a deadline of its own

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def score(
        self,
        workspace_id: WorkspaceId,  # noqa: ARG002 - nobody shares this with others by turns
        question: str,
        texts: Sequence[str],
        deadline_seconds: float,
    ) -> tuple[Sequence[float], Usage]:
        """Score n texts by one request, or by one for each batch, all within the deadline.

        Raises:  ProviderTimeout, ProviderBusy, ProviderBadReply, ProviderError – what went wrong.
        """
        seconds = min(deadline_seconds, self._timeout_seconds)
        size = TEI_BATCH if self._form == "tei" else max(len(texts), 1)
        scores: list[float] = []
        try:
            async with asyncio.timeout(seconds):
                for start in range(0, len(texts), size):
                    batch = texts[start : start + size]
                    body = await self._post(self._request(question, batch))
                    scores += _read_scores(body, len(batch))
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ProviderTimeout(
                "The rerank API did not answer in time. Try again, or raise "
                "CITEWELL_RERANK__TIMEOUT_SECONDS."
            ) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise ProviderError(
                "The rerank API cannot be reached, or broke off. Check CITEWELL_RERANK__URL and "
                "the server behind it."
            ) from error
        return scores, Usage()

    def _request(self, question: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._form == "tei":
            return {"query": question, "texts": list(texts), "truncate": True}
        request = {"query": question, "documents": list(texts), "top_n": len(texts)}
        return request | {"model": self._model} if self._model else request

    async def _post(self, request: dict[str, Any]) -> bytes:
        async with self._client.stream("POST", self._url, json=request) as reply:
            _require_success(reply)
            body = bytearray()
            async for piece in reply.aiter_bytes():
                body += piece
                if len(body) > MOST_REPLY_BYTES:
                    raise ProviderBadReply(
                        "The rerank API's reply is too large. Check that CITEWELL_RERANK__URL is "
                        "the address of a rerank API."
                    )
            return bytes(body)


def _require_success(reply: httpx.Response) -> None:
    if reply.is_success:
        return
    if reply.status_code in {401, 403}:
        raise ProviderError(
            "The rerank API refuses the key. Check CITEWELL_RERANK__API_KEY.",
            code="provider_refused",
        )
    if reply.status_code in {429, 503}:
        raise ProviderBusy(
            "The rerank API has too much to do. Wait and try again.",
            retry_after_seconds=_read_wait(reply.headers.get("Retry-After")),
        )
    if reply.status_code in {408, 504}:
        raise ProviderTimeout("The rerank API did not end in time. Try again.")
    raise ProviderError(
        f"The rerank API replied with the status {reply.status_code}. Check CITEWELL_RERANK__URL, "
        "CITEWELL_RERANK__MODEL and CITEWELL_RERANK__FORM."
    )


def _read_wait(value: str | None) -> float:
    """Return how many seconds to wait: what the server says, in bounds, else a few."""
    if value is None or not value.strip().isdecimal() or len(value) > 6:
        return 5.0
    return min(float(value), MOST_WAIT_SECONDS)


def _read_scores(body: bytes, count: int) -> list[float]:
    """Return the scores in the order of the texts.

    Raises:  ProviderBadReply – it is not JSON, or not exactly one number for each text.
    """
    try:
        reply: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("is not JSON") from error
    if isinstance(reply, dict):
        named = cast("dict[str, Any]", reply)
        reply = named.get("results", named.get("data"))
    if not isinstance(reply, list):
        raise _bad("holds no list of results")
    scores: dict[int, float] = {}
    for item in cast("list[Any]", reply):
        if not isinstance(item, dict):
            raise _bad("holds a result without an index and a score")
        result = cast("dict[str, Any]", item)
        index: object = result.get("index")
        score: object = result.get("relevance_score", result.get("score"))
        if isinstance(index, bool) or not isinstance(index, int):
            raise _bad("holds a result without an index and a score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise _bad("holds a result without an index and a score")
        if not 0 <= index < count or index in scores or not math.isfinite(score):
            raise _bad("holds an index or a score that cannot be")
        scores[index] = float(score)
    if len(scores) != count:
        raise _bad(f"scores {len(scores)} texts of {count}")
    return [scores[index] for index in range(count)]


def _bad(what: str) -> ProviderBadReply:
    return ProviderBadReply(
        f"The rerank API's reply {what}. Check CITEWELL_RERANK__URL and CITEWELL_RERANK__FORM."
    )
