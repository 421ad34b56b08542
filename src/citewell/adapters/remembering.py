"""Keep the vectors of the questions that were asked last."""

import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from secrets import token_bytes

import numpy as np

from citewell.ports import Embedder, Purpose, Vectors


class RememberingEmbedder:
    """Embeds each question once for as long as it is among the ``most`` last ones.

    A question is embedded in its normalised form (NFC, single spaces), so that its vector is the
    same whether it was kept or not. Documents pass through.

    Holds:   of a question only its vector and a digest, keyed by a secret of this process; 1.5 kB
             for 384 dimensions. A vector follows from the text alone, so workspaces share it: who
             times replies may learn that a question was asked lately, though not by whom. 0 keeps
             none.
    """

    def __init__(self, embedder: Embedder, most: int) -> None:
        self.name = embedder.name
        self.dimension = embedder.dimension
        self.window_tokens = embedder.window_tokens
        self._embedder = embedder
        self._most = most
        self._secret = token_bytes(32)
        self._known: OrderedDict[bytes, Vectors] = OrderedDict()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """Embed n texts, questions only as far as they are new.

        Shapes:  n texts → (n, dimension) float32, each row of unit length.
        Raises:  ProviderError – the model failed.
        """
        if purpose != "query":
            return await self._embedder.embed(texts, purpose)
        asked = {self._key(text): text for text in map(normalise, texts)}
        found = {key: row for key in asked if (row := self._find(key)) is not None}
        new = [key for key in asked if key not in found]
        if new:
            rows = await self._embedder.embed([asked[key] for key in new], purpose)
            for key, row in zip(new, rows, strict=True):
                found[key] = row.copy()
                self._keep(key, found[key])
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for place, text in enumerate(map(normalise, texts)):
            vectors[place] = found[self._key(text)]
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as the model sees them."""
        return self._embedder.count_tokens(texts)

    def _key(self, text: str) -> bytes:
        given = "\0".join((self.name, "query", text))
        return blake2b(
            given.encode(errors="surrogatepass"), key=self._secret, digest_size=16
        ).digest()

    def _find(self, key: bytes) -> Vectors | None:
        row = self._known.get(key)
        if row is not None:
            self._known.move_to_end(key)
        return row

    def _keep(self, key: bytes, row: Vectors) -> None:
        self._known[key] = row
        while len(self._known) > self._most:
            self._known.popitem(last=False)


def normalise(question: str) -> str:
    """Return the form in which a question is embedded: NFC, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", question).split())
