"""Words that a line end cut in two: "infor-mation" is one word, "dual-encoder" keeps its hyphen."""

import re
from collections.abc import Set as AbstractSet

PDF_HYPHENS = "\x02\ufffe"
_CUT = re.compile(rf"(?<![^\W_])([^\W_]+)(?:[{PDF_HYPHENS}]\n?|[-\u2010]\n)([^\W_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEAST_LETTERS = 4


def words_of(texts: list[str]) -> set[str]:
    """Return the whole words, and the words with hyphens, that stand within lines."""
    return {word for text in texts for word in _WORD.findall(_CUT.sub(" ", text).lower())}


def mend_cut_words(text: str, words: AbstractSet[str]) -> str:
    """Join the halves of cut words; the document's other words say where a hyphen stays.

    PDFium marks a hyphen at a line end as U+0002 or U+FFFE and joins the lines itself.
    """

    def mend(found: re.Match[str]) -> str:
        first, second = found[1], found[2]
        if not (first[-1].islower() and second[0].islower()):
            return f"{first}-{second}"
        whole, hyphened = f"{first}{second}".lower(), f"{first}-{second}".lower()
        if whole in words:
            return first + second
        halves_are_words = (
            min(len(first), len(second)) >= _LEAST_LETTERS
            and first.lower() in words
            and second.lower() in words
        )
        return f"{first}-{second}" if hyphened in words or halves_are_words else first + second

    return _CUT.sub(mend, text)
