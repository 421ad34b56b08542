"""Rerank by a cross-encoder on this machine: a folder with model.onnx and tokenizer.json."""

# onnxruntime and tokenizers bring incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort,  # pyright: ignore[reportAttributeAccessIssue]
)
from tokenizers import Encoding, Tokenizer

from citewell.domain import Usage, WorkspaceId
from citewell.errors import InputError, ProviderBadReply, ProviderError, ProviderTimeout

BATCH_TOKENS = 2048
MOST_PADDING = 1.25
DEFAULT_WINDOW, LARGEST_WINDOW = 512, 8192
NEEDED = "model.onnx and tokenizer.json"
KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
RUNTIME_ERRORS = cast(
    "tuple[type[Exception], ...]",
    (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoSuchFile,
     ort.NotImplemented, ort.RuntimeException, ort.EPFail),
)  # fmt: skip


class OnnxReranker:
    """Scores pairs of question and text by a graph that ends in one number, or in two classes.

    Holds:   batches hold pairs of similar length; a pair that is too long is cut at its longer
             side. One call runs at a time; one that nobody waits for ends after its batch.
    """

    def __init__(self, folder: Path, timeout_seconds: float, threads: int = 0) -> None:
        """Load the folder, and score one pair to see that it is a cross-encoder.

        Raises:  InputError – a file is missing or cannot be read, or the graph is another one.
        """
        self._tokenizer = _open_tokenizer(folder)
        graph = _find(folder, "model.onnx")
        self._session = _open_session(graph, threads or (os.cpu_count() or 1))
        self._inputs = _read_inputs(self._session)
        self._timeout_seconds = timeout_seconds
        self.name = f"onnx:{_digest(graph)[:16]}"
        try:
            self._run(self._tokenizer.encode_batch([("a", "b"), ("a", "c d")]))
        except ProviderError as error:
            raise InputError(
                f"The model in CITEWELL_RERANK__FOLDER is no cross-encoder: {error.message} "
                "Put one there that scores pairs of texts."
            ) from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rerank")

    async def close(self) -> None:
        """End the thread; what it does is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def score(
        self,
        workspace_id: WorkspaceId,  # noqa: ARG002 - nobody shares this with others by turns
        question: str,
        texts: Sequence[str],
        deadline_seconds: float,
    ) -> tuple[Sequence[float], Usage]:
        """Score n texts in a thread of their own.

        Raises:  ProviderTimeout – not all until the deadline.  ProviderError – the model failed.
        """
        ends = monotonic() + min(deadline_seconds, self._timeout_seconds)
        stop = Event()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._thread, self._score_now, question, list(texts), ends, stop
        )
        try:
            async with asyncio.timeout(max(0.0, ends - monotonic())):
                return await work, Usage()
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            stop.set()

    def _score_now(self, question: str, texts: list[str], ends: float, stop: Event) -> list[float]:
        """Score in this thread, batch by batch, while somebody waits."""
        encodings = self._tokenizer.encode_batch([(question, text) for text in texts])
        scores = np.zeros(len(texts), np.float64)
        for rows in _batches([len(each.ids) for each in encodings]):
            if stop.is_set() or monotonic() > ends:
                raise _too_slow()
            scores[rows] = self._run([encodings[row] for row in rows])
        return scores.tolist()

    def _run(self, encodings: Sequence[Encoding]) -> NDArray[np.float64]:
        longest = max(len(each.ids) for each in encodings)
        feed: dict[str, NDArray[Any]] = {}
        for name, kind in self._inputs.items():
            values = np.zeros((len(encodings), longest), kind)
            for row, each in enumerate(encodings):
                values[row, : len(each.ids)] = _column(each, name)
            feed[name] = values
        try:
            logits = np.asarray(self._session.run(None, feed)[0], np.float64)
        except RUNTIME_ERRORS as error:
            raise ProviderError("The rerank model failed on a text.") from error
        if logits.shape == (len(encodings), 2):
            logits = logits[:, 1] - logits[:, 0]
        if logits.shape not in {(len(encodings),), (len(encodings), 1)}:
            raise ProviderBadReply("The rerank model does not give one number for each text.")
        if not np.isfinite(logits).all():
            raise ProviderBadReply("The rerank model returned a score that is not a number.")
        return logits.reshape(-1)


def _column(encoding: Encoding, name: str) -> Sequence[int]:
    if name == "input_ids":
        return encoding.ids
    if name == "attention_mask":
        return encoding.attention_mask
    return encoding.type_ids if name == "token_type_ids" else range(len(encoding.ids))


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Group row numbers by similar length, so that little is spent on padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = lengths[row] * (len(batch) + 1) > BATCH_TOKENS
        if batch and (full or lengths[row] > MOST_PADDING * lengths[batch[0]] + 8):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _find(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise InputError(
            f"The folder that CITEWELL_RERANK__FOLDER names holds no {name}. "
            f"It must hold {NEEDED} of a cross-encoder."
        )
    return file


def _open_tokenizer(folder: Path) -> Tokenizer:
    file = _find(folder, "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing more exact
        raise _unreadable("tokenizer.json") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(_read_window(folder), strategy="longest_first")
    return tokenizer


def _read_window(folder: Path) -> int:
    """Return the most tokens of a pair, as config.json says, else as most cross-encoders have."""
    file = folder / "config.json"
    if not file.is_file():
        return DEFAULT_WINDOW
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable("config.json") from error
    positions: Any = config.get("max_position_embeddings") if isinstance(config, dict) else None
    if type(positions) is not int or positions < 16:
        return DEFAULT_WINDOW
    # RoBERTa's positions begin behind its padding token.
    offset = 2 if "roberta" in str(config.get("model_type", "")) else 0
    return min(positions - offset, LARGEST_WINDOW)


def _open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise _unreadable("model.onnx") from error


def _read_inputs(session: onnxruntime.InferenceSession) -> dict[str, type[np.integer[Any]]]:
    """Return the graph's inputs by name, with the kind of integer each takes."""
    inputs: dict[str, type[np.integer[Any]]] = {}
    for each in session.get_inputs():
        if each.name not in KNOWN_INPUTS or each.type not in INTEGERS:
            raise InputError(
                f"model.onnx in CITEWELL_RERANK__FOLDER asks for {each.name[:40]!r}, which is not "
                f"known. It may ask for {', '.join(KNOWN_INPUTS)}; export it anew."
            )
        inputs[each.name] = INTEGERS[each.type]
    return inputs


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unreadable(name: str) -> InputError:
    return InputError(
        f"{name} in the folder that CITEWELL_RERANK__FOLDER names cannot be read. "
        f"Put {NEEDED} of a cross-encoder there."
    )


def _too_slow() -> ProviderTimeout:
    return ProviderTimeout(
        "The rerank model did not end in time. Lower CITEWELL_RERANK__CANDIDATES, or raise "
        "CITEWELL_RERANK__TIMEOUT_SECONDS."
    )
