"""Embed by an API that speaks OpenAI's protocol: OpenAI, Ollama, vLLM, Jina, Voyage and others."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx2
import numpy as np
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from citewell.adapters.embedder_names import EmbedderChoice, vector_name
from citewell.adapters.embedding_replies import read_vectors, require_success
from citewell.adapters.minilm_tokenizer import count_tokens
from citewell.adapters.provider_http import open_http_client
from citewell.adapters.provider_turns import REFUSED, Breaker
from citewell.errors import ProviderBadReply, ProviderBusy, ProviderError, ProviderTimeout
from citewell.ports import Purpose, Vectors

PAUSE_AFTER_FAILURES, PAUSE_SECONDS = 5, 30.0
_backoff = wait_exponential_jitter(initial=0.25, max=8.0, jitter=0.25)


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said to the model beside the texts: text before them, and what they are."""

    query_prefix: str = ""
    document_prefix: str = ""
    query_input_type: str | None = None
    document_input_type: str | None = None
    input_type_field: str = "input_type"

    def prefix(self, purpose: Purpose) -> str:
        """Return the text that stands before each text."""
        return self.query_prefix if purpose == "query" else self.document_prefix

    def input_type(self, purpose: Purpose) -> dict[str, str]:
        """Return the field that says what the texts are; nothing where none is set."""
        named = self.query_input_type if purpose == "query" else self.document_input_type
        return {self.input_type_field: named} if named else {}


@dataclass(frozen=True, slots=True)
class EmbeddingLimits:
    """What one call and all calls together may take."""

    window_tokens: int = 512
    batch_texts: int = 64
    batch_tokens: int = 16_384
    timeout_seconds: float = 30.0
    max_concurrent: int = 4
    max_attempts: int = 4


class HttpEmbedder:
    """Sends texts to the address that the settings name, batch by batch, and checks the vectors.

    Tokens are counted by MiniLM's tokenizer, which is an estimate for other models.

    Holds:   the key goes to that address only: no redirect is followed and no proxy is used. A
             batch ends by ``timeout_seconds``, tries and pauses included; after five failures in a
             row the API is left alone for half a minute. No vector is returned that has another
             dimension, is no number, or is zero.
    """

    def __init__(
        self,
        choice: EmbedderChoice,
        dimension: int,
        wording: Wording,
        limits: EmbeddingLimits,
        *,
        send_dimension: bool = False,
    ) -> None:
        """Prepare a client; nothing is sent yet."""
        self.dimension = dimension
        self.window_tokens = limits.window_tokens
        self._asked_dimension = {"dimensions": dimension} if send_dimension else {}
        self.name = vector_name(
            choice.name,
            wording.document_prefix,
            wording.document_input_type,
            dimension if send_dimension else None,
        )
        self._choice = choice
        self._wording = wording
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.max_concurrent)
        self._breaker = Breaker(PAUSE_AFTER_FAILURES, PAUSE_SECONDS)
        self._client = open_http_client()
        self._headers = {"Accept": "application/json"}
        if choice.api_key:
            self._headers["Authorization"] = f"Bearer {choice.api_key}"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts in batches within the API's limits.

        Shapes:  n texts → (n, dimension) float32, each row of unit length.
        Raises:  ProviderTimeout, ProviderBusy, ProviderBadReply, ProviderError – what went wrong.
        """
        prefix = self._wording.prefix(purpose)
        room = max(1, self.window_tokens - sum(count_tokens([prefix])))
        cut = [prefix + shorten(text, room) for text in texts]
        parts = [await self._embed_batch(batch, purpose) for batch in self._batches(cut)]
        return np.concatenate([np.zeros((0, self.dimension), np.float32), *parts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Estimate each text's tokens."""
        return count_tokens(texts)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text, tokens in zip(texts, count_tokens(texts), strict=True):
            full = len(batch) == self._limits.batch_texts
            if batch and (full or size + tokens > self._limits.batch_tokens):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += tokens
        if batch:
            yield batch

    async def _embed_batch(self, texts: list[str], purpose: Purpose) -> Vectors:
        try:
            async with asyncio.timeout(self._limits.timeout_seconds), self._turns:
                return await self._retrying()(self._call, texts, purpose)
        except TimeoutError as error:
            raise ProviderTimeout(
                "The embedding API did not answer in time. Try again, or raise "
                "CITEWELL_EMBEDDER__TIMEOUT_SECONDS."
            ) from error

    async def _call(self, texts: list[str], purpose: Purpose) -> Vectors:
        """Send one request; the breaker learns how it ended."""
        alone = self._breaker.enter()
        outcome = "failed"
        try:
            body = await self._post(texts, purpose)
            # A large reply takes long to read: elsewhere, so that nothing else waits for it.
            vectors = await asyncio.to_thread(read_vectors, body, len(texts), self.dimension)
            outcome = "worked"
        except asyncio.CancelledError:
            outcome = "unknown"
            raise
        except ProviderError as error:
            if isinstance(error, ProviderBadReply) or error.reason == REFUSED:
                outcome = "worked"
            raise
        finally:
            self._breaker.leave(outcome, alone=alone)
        return vectors

    async def _post(self, texts: list[str], purpose: Purpose) -> bytes:
        request = {
            "model": self._choice.model,
            "input": texts,
            "encoding_format": "float",
            **self._asked_dimension,
            **self._wording.input_type(purpose),
        }
        try:
            reply = await self._client.post(
                f"{self._choice.base_url}/embeddings", json=request, headers=self._headers
            )
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise ProviderError(
                "The embedding API cannot be reached, or broke off. See that it runs, and that "
                "CITEWELL_EMBEDDER__BASE_URL is its address."
            ) from error
        require_success(reply.status_code, reply.headers.get("Retry-After"))
        return reply.content

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(_may_try_again),
            wait=_pause,
            stop=stop_after_attempt(self._limits.max_attempts)
            | stop_before_delay(self._limits.timeout_seconds),
            sleep=asyncio.sleep,
            reraise=True,
        )


def shorten(text: str, most_tokens: int) -> str:
    """Cut a text's end until it has at most so many tokens, by MiniLM's count."""
    (count,) = count_tokens([text])
    while count > most_tokens:
        text = text[: min(len(text) - 1, len(text) * most_tokens // count)]
        (count,) = count_tokens([text])
    return text


def _may_try_again(error: BaseException) -> bool:
    if isinstance(error, ProviderBadReply | ProviderTimeout):
        return False
    return isinstance(error, ProviderError) and error.reason != REFUSED


def _pause(state: RetryCallState) -> float:
    """Return how long to wait before the next try: as asked, else twice as long as before."""
    error = state.outcome.exception() if state.outcome is not None else None
    return error.retry_after_seconds if isinstance(error, ProviderBusy) else _backoff(state)
