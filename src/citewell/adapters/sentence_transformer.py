"""Embed with any model that sentence-transformers can load; an extra, for it brings torch."""

# sentence-transformers is an extra, and its encode has a type for each of its options.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingImports=false, reportUnknownArgumentType=false

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from citewell.adapters.embedder_names import vector_name
from citewell.adapters.minilm_tokenizer import count_tokens
from citewell.adapters.unit_vectors import unit_rows
from citewell.errors import InputError, ProviderError
from citewell.ports import Purpose, Vectors

BATCH_TEXTS = 32
DEFAULT_WINDOW = 512
MISSING = (
    "Models of sentence-transformers need one more package, which brings torch. Install it with "
    "`pip install 'citewell[sentence-transformers]'`, then start again."
)


class SentenceTransformerEmbedder:
    """A SentenceTransformer on the CPU or whatever device the library finds.

    Its own prompts for queries and documents are used unless a prefix is set. Tokens are counted by
    MiniLM's tokenizer, which is an estimate for other models; longer texts are cut by the library.

    Holds:   questions run one by one, so that a vector depends on its text only. Code that comes
             with a model is not run.
    """

    def __init__(self, model: str, query_prefix: str = "", document_prefix: str = "") -> None:
        """Load a model by its name or folder; a name that is not on this machine is downloaded.

        Raises:  InputError – the package is missing, or the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise InputError(MISSING) from error
        try:
            self._model: Any = SentenceTransformer(model, trust_remote_code=False)
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise InputError(
                "The model that CITEWELL_EMBEDDER__MODEL names cannot be loaded by "
                "sentence-transformers. Correct the name or the folder; without a network the "
                "model must be on this machine."
            ) from error
        self.name = vector_name(f"sentence-transformers:{model}", document_prefix)
        dimension = self._model.get_embedding_dimension()
        if not isinstance(dimension, int):
            raise InputError("This model says no dimension. Name one that makes one vector a text.")
        self.dimension = dimension
        self.window_tokens = self._model.max_seq_length or DEFAULT_WINDOW
        self._prefixes = {"query": query_prefix, "document": document_prefix}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts.

        Shapes:  n texts → (n, dimension) float32, each row of unit length.
        Raises:  ProviderError – the model failed or returned something that is not a vector.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.embed_now, list(texts), purpose)

    def embed_now(self, texts: list[str], purpose: Purpose) -> Vectors:
        """Embed in this thread."""
        encode = self._model.encode_query if purpose == "query" else self._model.encode_document
        prefix = self._prefixes[purpose]
        given = {"prompt": prefix} if prefix else {}
        size = 1 if purpose == "query" else BATCH_TEXTS
        try:
            rows = encode(
                texts, batch_size=size, show_progress_bar=False, convert_to_numpy=True, **given
            )
        except (RuntimeError, ValueError, IndexError) as error:  # what torch raises
            raise ProviderError("The embedding model failed on a text.") from error
        return unit_rows(rows, len(texts), self.dimension)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Estimate each text's tokens."""
        return count_tokens(texts)
