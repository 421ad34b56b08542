"""The tokenizer of all-MiniLM-L6-v2, without the model: parser processes count with it."""

# tokenizers brings incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from threading import Lock

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from citewell.errors import ProviderError

VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_WORDS_KEPT = 65_536
_LONGEST_WORD_KEPT = 64
_NO_SPACE_HERE = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
"""White space for Python; the tokenizer drops them and joins what stands around."""


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Count each text's tokens, without the special tokens.

    Cost:   a look into a table for each word that was seen before.
    """
    return _counter().count(texts)


class _WordCounter:
    """Counts by words: the tokenizer never makes a token across white space."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}
        self._lock = Lock()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens."""
        parted = [[text] if _NO_SPACE_HERE.search(text) else text.split() for text in texts]
        with self._lock:
            known = self._known
            if new := list(set[str]().union(*parted).difference(known)):
                encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
                known.update(zip(new, [len(encoding.ids) for encoding in encodings], strict=True))
            counts = [sum([known[word] for word in words]) for words in parted]
            if new:
                self._forget(new)
        return counts

    def _forget(self, new: list[str]) -> None:
        """Keep the table small, whatever words a hostile file brings."""
        if len(self._known) > _WORDS_KEPT:
            self._known = {}
        else:
            for word in new:
                if len(word) > _LONGEST_WORD_KEPT:
                    del self._known[word]


@cache
def _counter() -> _WordCounter:
    tokenizer = open_tokenizer()
    tokenizer.no_truncation()
    return _WordCounter(tokenizer)


def open_tokenizer() -> Tokenizer:
    """Make the tokenizer from the vocabulary that this package carries.

    Raises:  ProviderError – the vocabulary's bytes are others.
    """
    data = files("citewell.adapters").joinpath("minilm_vocab.txt").read_bytes()
    require_sha256(data, VOCABULARY_SHA256, "vocabulary")
    words = {word: row for row, word in enumerate(data.decode().split("\n")) if word}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])],
    )
    return tokenizer


def require_sha256(data: bytes, expected: str, what: str) -> None:
    """Check bytes that came with an installed package.

    Raises:  ProviderError – they are others.
    """
    if hashlib.sha256(data).hexdigest() != expected:
        raise ProviderError(
            f"The embedding model's {what} are not the ones Citewell was made for. "
            "Install it again from its lock file."
        )
