"""How close a sentence comes in meaning to those that bear it; each text is embedded once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from citewell.ports import Embedder


class Meaning:
    """Embeds for one answer and keeps the vectors of the evidence's sentences.

    Cost:   one call of the embedder a sentence, for it and those sources that are new.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}

    async def closeness(self, claim: str, sentences: Sequence[str]) -> float:
        """Return the greatest cosine of the claim and a sentence, or all of them together.

        Raises:  ProviderError – the embedder failed.
        """
        windows = list(dict.fromkeys([*sentences, " ".join(sentences)]))
        new = [window for window in windows if window not in self._vectors]
        vectors = await self._embedder.embed([claim, *new], "document")
        self._vectors.update(zip(new, vectors[1:], strict=True))
        return max(float(self._vectors[window] @ vectors[0]) for window in windows)
