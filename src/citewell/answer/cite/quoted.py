"""Passages in quotation marks must be in the source letter by letter."""

import re
from collections.abc import Iterator

_PASSAGE = re.compile(
    r"\"(?P<straight>[^\"]+)\"|[“„](?P<curly>[^”“]+)[”“]|«(?P<angled>[^»]+)»|「(?P<corner>[^」]+)」"
)
_NESTED = re.compile(r"(?:^|(?<=[\s(]))\"((?=\S)[^\"]*[\s(]\"(?=\S)[^\"]*\".*)\"")
"""Straight marks of which the second opens as well."""

_APART = re.compile(r"\s*(?:…|\.{3}|\[(?:…|\.{3})\])\s*")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'",
                         "‚": "'", "‑": "-", "–": "-", "—": "-", "−": "-"})  # fmt: skip
_LEAST_WORDS = 3
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LEAST_UNSPACED = 5
_MOST_SPACE = 2000
"""How far apart two parts of a quote with an omission may be."""


def plain(text: str) -> str:
    """Return the text with one kind of quotation marks, dashes and white space."""
    return " ".join(text.translate(_QUOTES).split())


def read_passages(sentence: str) -> Iterator[str]:
    """Yield the passages in quotation marks that are longer than a word or two.

    A question in quotation marks is the reader's and no passage of a source.
    """
    for passage in _passages(sentence):
        if passage.endswith(("?", "？")):
            continue
        many = len(_UNSPACED.findall(passage)) >= _LEAST_UNSPACED
        if many or len(passage.split()) >= _LEAST_WORDS:
            yield passage


def _passages(sentence: str) -> Iterator[str]:
    """Yield what is between quotation marks; with marks inside of marks, between the outer ones."""
    if nested := _NESTED.search(sentence):
        yield nested.group(1).strip()
        return
    for found in _PASSAGE.finditer(sentence):
        yield next(part for part in found.groups() if part is not None).strip()


def is_quoted_from(passage: str, source: str) -> bool:
    """Say whether the passage is in the source; "…" stands for what was left out.

    ``source`` is plain already. The sentence's own punctuation at the passage's end is no part of
    it, and its first letter may have changed its case.
    """
    place = 0
    for part in _APART.split(passage):
        wanted = plain(part).rstrip(".,;:!?").strip()
        if not wanted:
            continue
        found = _find(wanted, source, place)
        if found < 0 or (place and found - place > _MOST_SPACE):
            return False
        place = found + len(wanted)
    return True


def _find(wanted: str, source: str, place: int) -> int:
    """Return where the words begin in the source, cut nowhere inside of a word; -1 if nowhere."""
    for form in dict.fromkeys((wanted, wanted[0].swapcase() + wanted[1:])):
        at = source.find(form, place)
        while at >= 0:
            end = at + len(form)
            before, after = source[at - 1 : at] if at else "", source[end : end + 1]
            if not (_cuts(before, form[0]) or _cuts(form[-1], after)):
                return at
            at = source.find(form, at + 1)
    return -1


def _cuts(left: str, right: str) -> bool:
    if _UNSPACED.match(left) or _UNSPACED.match(right):
        return False
    return left.isalnum() and right.isalnum()
