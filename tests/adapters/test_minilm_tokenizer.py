"""The counter by words counts what the tokenizer makes of the whole text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citewell.adapters import minilm_tokenizer
from citewell.adapters.minilm_tokenizer import count_tokens, open_tokenizer

TOKENIZER = open_tokenizer()
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
ODD = st.sampled_from(
    ["a\x0bb", "a\x1cb", "a\x85b", "a\u2028b", "e \u0301", "\u3000", "[CLS] x", "x" * 101, "\ufffd"]
)


def whole(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, ODD), max_size=5))
def test_words_add_up_to_the_text(parts: list[str]) -> None:
    texts = [*parts, " ".join(parts), "\n".join(parts), "".join(parts)]
    assert count_tokens(texts) == [whole(text) for text in texts]


def test_the_table_of_words_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_tokenizer, "_WORDS_KEPT", 100)
    texts = [f"word{number} {'y' * (number % 200)}" for number in range(1000)]
    counter = minilm_tokenizer._WordCounter(TOKENIZER)
    for first in range(0, 1000, 10):
        assert counter.count(texts[first : first + 10]) == list(
            map(whole, texts[first : first + 10])
        )
        assert len(counter._known) <= 120
