"""The embedder that settings name."""

import os
from contextlib import AsyncExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from citewell.adapters.batching import BatchingEmbedder
from citewell.adapters.embedder_names import EmbedderChoice, read_dimension, read_embedder
from citewell.adapters.http_embedder import EmbeddingLimits, HttpEmbedder, Wording
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.adapters.minilm_openvino import OpenVinoMiniLM, require_openvino
from citewell.adapters.remembering import RememberingEmbedder
from citewell.adapters.sentence_transformer import MISSING, SentenceTransformerEmbedder
from citewell.errors import InputError
from citewell.ports import Embedder
from citewell.settings import Settings


def open_embedder(settings: Settings, stack: AsyncExitStack, *, worker: bool) -> Embedder:
    """Make the embedder, which ``stack`` closes; an API process's remembers questions.

    A worker's local model takes the texts of several documents together.
    Raises:  InputError – a name, address, key or package is not right.
    """
    choice = _choose(settings)
    parallel = max(1, (os.cpu_count() or 1) // settings.jobs.processes) if worker else 1
    if choice.kind in {"openai", "ollama"}:
        embedder = _open_api(choice, settings)
        stack.push_async_callback(embedder.close)
    elif choice.kind == "sentence-transformers":
        named = settings.embedder
        embedder = _open_sentence_transformer(
            choice.model, named.query_prefix, named.document_prefix
        )
        if worker:
            return BatchingEmbedder(embedder, 2)
    else:
        embedder = _open_local(settings, 1 if worker else settings.embedder.threads, parallel)
        if worker:
            return BatchingEmbedder(embedder, parallel + 1)
    return embedder if worker else RememberingEmbedder(embedder, settings.embedder.cache_questions)


def embeds_here(settings: Settings) -> bool:
    """Say whether the embedder computes in this process, and not behind an API."""
    return _choose(settings).kind not in {"openai", "ollama"}


def check_embedder(settings: Settings) -> None:
    """Read what the settings name, and load nothing.

    Raises:  InputError – a name, address, key or package is not right.
    """
    choice = _choose(settings)
    if choice.kind in {"openai", "ollama"}:
        named = settings.embedder
        read_dimension(choice, named.dimension, send=named.send_dimension)
    if choice.kind == "minilm" and settings.embedder.runtime == "openvino":
        require_openvino()
    if choice.kind == "sentence-transformers" and find_spec("sentence_transformers") is None:
        raise InputError(MISSING)


def _choose(settings: Settings) -> EmbedderChoice:
    named = settings.embedder
    key = named.api_key.get_secret_value() if named.api_key is not None else None
    return read_embedder(named.model, named.base_url, key)


def _open_api(choice: EmbedderChoice, settings: Settings) -> HttpEmbedder:
    named = settings.embedder
    return HttpEmbedder(
        choice,
        read_dimension(choice, named.dimension, send=named.send_dimension),
        Wording(
            query_prefix=named.query_prefix,
            document_prefix=named.document_prefix,
            query_input_type=named.query_input_type,
            document_input_type=named.document_input_type,
            input_type_field=named.input_type_field,
        ),
        EmbeddingLimits(
            window_tokens=named.window_tokens,
            batch_texts=named.batch_texts,
            batch_tokens=named.batch_tokens,
            timeout_seconds=named.timeout_seconds,
            max_concurrent=named.max_concurrent,
            max_attempts=named.max_attempts,
        ),
        send_dimension=named.send_dimension,
    )


def _open_local(settings: Settings, threads: int, parallel: int) -> Embedder:
    if settings.embedder.runtime == "openvino":
        return _open_openvino(threads, parallel)
    return _open_minilm(settings.cache, threads, parallel)


@cache
def _open_openvino(threads: int, parallel: int) -> OpenVinoMiniLM:
    return OpenVinoMiniLM(threads, parallel)


@cache
def _open_minilm(folder: Path, threads: int, parallel: int) -> MiniLMEmbedder:
    """Load the model once in a process, however often its services are opened."""
    return MiniLMEmbedder(folder, threads, parallel)


@cache
def _open_sentence_transformer(
    model: str, query_prefix: str, document_prefix: str
) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(model, query_prefix, document_prefix)
