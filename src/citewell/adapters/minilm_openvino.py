"""all-MiniLM-L6-v2 in bfloat16 by OpenVINO, where the processor computes that; an extra."""

# openvino is an extra, and brings incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingImports=false, reportUnknownArgumentType=false

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from citewell.adapters import minilm_tokenizer
from citewell.adapters.minilm import MODEL_SHA256, MiniLMEmbedder, make_batches, pad
from citewell.adapters.unit_vectors import unit_rows
from citewell.errors import InputError, ProviderError
from citewell.ports import Purpose, Vectors

MISSING = (
    "CITEWELL_EMBEDDER__RUNTIME=openvino needs one more package. Install it with "
    "`pip install 'citewell[openvino]'`, or set the runtime to onnx."
)
NO_BF16 = (
    "This processor does not compute in bfloat16 (AVX512-BF16 or AMX). Set "
    "CITEWELL_EMBEDDER__RUNTIME=onnx, which needs neither."
)


class OpenVinoMiniLM:
    """Embeds with the weights of MiniLMEmbedder, multiplied out to float and run in bfloat16.

    It bears the same name, so that stored vectors stay in use: its vectors lie within .988 to .996
    of the 8-bit graph's (.994 on average), which themselves move to .992 with their neighbours in a
    batch. Here a batch changes the last bits only; questions run one by one all the same.

    Cost:   2 s and 250 MB at the start, to build the graph in memory. On a processor with
            AVX512-BF16 and VNNI it embeds 0.9 as many texts a second as the 8-bit graph, and a
            question takes 3 times as long: it is for processors with AMX, and to be measured there
            (``bench.embed``).
    Holds:  the weights are the ones whose sha256 stands in minilm.py; longer texts are cut.
    """

    name = MiniLMEmbedder.name
    dimension = MiniLMEmbedder.dimension
    window_tokens = MiniLMEmbedder.window_tokens

    def __init__(self, threads: int = 0, parallel: int = 1) -> None:
        """Build and compile the graph for ``threads`` a run, ``parallel`` runs at once.

        Raises:  InputError – the package or the processor's instructions are missing.
                 ProviderError – the graph cannot be built.
        """
        self.tokenizer = minilm_tokenizer.open_tokenizer()
        self.tokenizer.enable_truncation(self.window_tokens)
        self._compiled = _compile(threads or (os.cpu_count() or 1), parallel)
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="embed")

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts; MiniLM itself makes no difference between questions and documents.

        Shapes:  n texts → (n, 384) float32, each row of unit length.
        Raises:  ProviderError – the model failed or returned something that is not a vector.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.embed_now, list(texts), purpose)

    def embed_now(self, texts: list[str], purpose: Purpose = "document") -> Vectors:
        """Embed in this thread: documents in batches of similar length, questions alone."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        lengths = [len(row) for row in ids]
        alone = ([row] for row in range(len(ids)))
        result = np.zeros((len(texts), self.dimension), np.float32)
        for rows in alone if purpose == "query" else make_batches(lengths):
            result[rows] = self._run([ids[row] for row in rows])
        return unit_rows(result, len(texts), self.dimension)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without the special tokens."""
        return minilm_tokenizer.count_tokens(texts)

    def _run(self, ids: list[list[int]]) -> Any:
        try:
            return self._compiled.create_infer_request().infer(pad(ids))[0]
        except RuntimeError as error:  # all that OpenVINO raises
            raise ProviderError("The embedding model failed on a text.") from error


def require_openvino() -> Any:
    """Return OpenVINO's core.

    Raises:  InputError – the package or the processor's instructions are missing.
    """
    try:
        import openvino  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError(MISSING) from error
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError(NO_BF16)
    return core


def _compile(threads: int, parallel: int) -> Any:
    core = require_openvino()
    from citewell.adapters import minilm_float_graph  # noqa: PLC0415 - it loads onnx

    graph = minilm_float_graph.build_float(MODEL_SHA256)
    config = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": threads * parallel,
        "NUM_STREAMS": parallel,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return core.compile_model(core.read_model(graph, b""), "CPU", config)
    except RuntimeError as error:
        raise ProviderError(
            "OpenVINO cannot load the embedding model. Set CITEWELL_EMBEDDER__RUNTIME=onnx."
        ) from error
