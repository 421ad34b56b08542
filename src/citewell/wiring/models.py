"""The models that settings name, and the question's path made of them."""

import hashlib
import json
from contextlib import AsyncExitStack
from dataclasses import replace

from citewell.adapters.extractive import ExtractiveChatModel
from citewell.adapters.http_reranker import HttpReranker
from citewell.adapters.model_reranker import ModelReranker
from citewell.adapters.onnx_reranker import OnnxReranker
from citewell.adapters.postgres import PostgresChunkIndex
from citewell.adapters.provider_names import read_provider
from citewell.adapters.provider_turns import GuardedLanguageModel
from citewell.answer.expand import Expansion
from citewell.answer.modes import read_mode
from citewell.answer.pipeline import AnswerPipeline
from citewell.answer.prompts import PROMPTS_SHA256
from citewell.answer.prompts.rank import RANK
from citewell.answer.remembered import RememberedSearches
from citewell.answer.search import SearchResult
from citewell.answer.writer import GroundedWriter
from citewell.errors import InputError, Unprocessable
from citewell.ports import ChatModel, Embedder, LanguageModel, Reranker
from citewell.records.dense import DenseSearch
from citewell.records.session import Database
from citewell.settings import Settings
from citewell.wiring.embedders import check_embedder, embeds_here


def open_language_model(settings: Settings) -> GuardedLanguageModel | None:
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


def open_reranker(
    settings: Settings, language_model: LanguageModel | None, stack: AsyncExitStack
) -> Reranker | None:
    """Make the reranker that the settings name; ``stack`` closes it.

    Raises:  InputError – what it needs is not set, or is not there.
    """
    rerank = settings.rerank
    if rerank.by == "model":
        if language_model is None:
            raise InputError(
                "CITEWELL_RERANK__BY=model needs a language model. Name one in "
                "CITEWELL_ANSWER__CHAT_MODEL, or rerank by http or onnx."
            )
        return ModelReranker(language_model, RANK, rerank.timeout_seconds)
    if rerank.by == "http":
        if rerank.url is None:
            raise InputError("CITEWELL_RERANK__BY=http needs an address. Set CITEWELL_RERANK__URL.")
        key = rerank.api_key.get_secret_value() if rerank.api_key is not None else None
        served = HttpReranker(rerank.url, rerank.model, key, rerank.timeout_seconds, rerank.form)
        stack.push_async_callback(served.close)
        return served
    if rerank.by == "onnx":
        if rerank.folder is None:
            raise InputError(
                "CITEWELL_RERANK__BY=onnx needs a folder with model.onnx and tokenizer.json. Set "
                "CITEWELL_RERANK__FOLDER."
            )
        local = OnnxReranker(rerank.folder, rerank.timeout_seconds, settings.embedder.threads)
        stack.push_async_callback(local.close)
        return local
    return None


async def check_models(settings: Settings) -> None:
    """Open and close what the settings name, so that a wrong one is told before servers start.

    Raises:  InputError – a mode, model, embedder or reranker is not right; the message names its
             variable.
    """
    try:
        read_mode(settings.answer.mode)
    except Unprocessable as error:
        raise InputError(f"CITEWELL_ANSWER__MODE: {error.message}") from error
    check_embedder(settings)
    async with AsyncExitStack() as stack:
        language_model = open_language_model(settings)
        if language_model is not None:
            stack.push_async_callback(language_model.close)
        open_reranker(settings, language_model, stack)


PROMPT_TOKENS = 1000
WINDOW_SHARE = 0.8
"""What of a model's window is not for evidence: the prompt with the question and the history, and
what the embedder's tokenizer counts less than the model's own."""


def _expansion(settings: Settings, embedder: Embedder) -> Expansion:
    """Say how evidence is chosen; the extractive model has no window that it must fit in."""
    answer, model = settings.answer, settings.model
    room = int((model.window_tokens - model.max_output_tokens - PROMPT_TOKENS) * WINDOW_SHARE)
    return Expansion(
        neighbours=answer.neighbours,
        most_tokens=0 if answer.chat_model == "extractive" else max(room, model.window_tokens // 4),
        same_meaning=answer.same_meaning,
        count_tokens=embedder.count_tokens,
    )


def make_dense_search(settings: Settings, embedder: Embedder) -> DenseSearch:
    """Say how the embedder's vectors are searched."""
    retrieval = settings.retrieval
    return DenseSearch(
        embedder.name,
        retrieval.exact_below_chunks,
        retrieval.hnsw_ef_search,
        embedder.dimension,
    )


def make_answer_pipeline(
    settings: Settings,
    database: Database,
    embedder: Embedder,
    language_model: LanguageModel | None,
    reranker: Reranker | None,
    *,
    remember: bool,
) -> AnswerPipeline:
    """Put the question's path together, and beside a language model's the one without it.

    ``remember`` keeps the results of searches; a worker is rarely asked for the same again.
    """
    most = settings.retrieval.cache_searches if remember else 0
    remembered = RememberedSearches[SearchResult](most) if most else None
    extractive = ExtractiveChatModel(embedder, settings.answer.max_sentences)
    if language_model is None:
        pipeline = _make_pipeline(settings, database, embedder, extractive, reranker)
        return replace(pipeline, remembered=remembered)
    writer = GroundedWriter(language_model, most_output_tokens=settings.model.max_output_tokens)
    own = None if settings.rerank.by == "model" else reranker
    quoting = _make_pipeline(settings, database, embedder, extractive, own)
    return replace(
        _make_pipeline(settings, database, embedder, writer, reranker),
        language_model=language_model,
        quoting=replace(
            quoting,
            expansion=replace(quoting.expansion, most_tokens=0),
            remembered=remembered,
        ),
        remembered=remembered,
    )


def _make_pipeline(
    settings: Settings,
    database: Database,
    embedder: Embedder,
    chat_model: ChatModel,
    reranker: Reranker | None,
) -> AnswerPipeline:
    retrieval = settings.retrieval
    return AnswerPipeline(
        embedder=embedder,
        index=PostgresChunkIndex(database, make_dense_search(settings, embedder)),
        chat_model=chat_model,
        candidates=retrieval.candidates,
        dense_weight=retrieval.dense_weight,
        max_question_characters=settings.answer.max_question_characters,
        expansion=_expansion(settings, embedder),
        reranker=reranker,
        rerank_candidates=settings.rerank.candidates,
        embeds_here=embeds_here(settings),
        makers={
            "embedder": embedder.name,
            "model": chat_model.name,
            "reranker": reranker.name if reranker is not None else None,
            "prompts": PROMPTS_SHA256,
            "settings": hash_settings(settings),
        },
    )


def hash_settings(settings: Settings) -> str:
    """Return the sha256 of the settings that answers rest on, without secrets and addresses."""
    chosen = settings.model_dump(
        mode="json",
        include={"answer", "retrieval", "chunk", "embedder", "model", "rerank"},
        exclude={
            "model": {"api_key", "base_url"},
            "rerank": {"api_key", "url", "folder"},
            "embedder": {"api_key", "base_url"},
        },
    )
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
