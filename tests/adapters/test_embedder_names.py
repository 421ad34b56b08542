"""How settings name an embedder, and what is told when a word is wrong."""

import pytest

from citewell.adapters.embedder_names import read_dimension, read_embedder, vector_name
from citewell.errors import InputError


def test_the_words_for_each_kind() -> None:
    assert read_embedder("minilm", None, None).name == "minilm"
    ollama = read_embedder("ollama:nomic-embed-text:latest", None, None)
    assert (ollama.model, ollama.base_url) == (
        "nomic-embed-text:latest", "http://localhost:11434/v1"
    )  # fmt: skip
    assert read_dimension(ollama, None, send=False) == 768
    local = read_embedder("sentence-transformers:/models/e5", None, None)
    assert (local.kind, local.model) == ("sentence-transformers", "/models/e5")
    for url in ("http://x:1", "http://x:1/v1/", "http://x:1/v1/embeddings"):
        assert read_embedder("openai:m", url, "k").base_url == "http://x:1/v1"
    assert "secret" not in repr(read_embedder("openai:m", None, "secret"))


@pytest.mark.parametrize("model", ["", "mini", "openai", "openai:", "openai: m", "cohere:x", "a:b"])
def test_a_word_that_is_none(model: str) -> None:
    with pytest.raises(InputError, match="CITEWELL_EMBEDDER__MODEL names no model"):
        read_embedder(model, None, "key")


@pytest.mark.parametrize(
    "url", ["ftp://x", "x:80", "http://", "http://u:p@x", "http://x?k=1", "http://x:0", "http://[x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="BASE_URL"):
        read_embedder("openai:m", url, "key")


def test_openai_itself_needs_a_key_and_others_need_none() -> None:
    with pytest.raises(InputError, match="CITEWELL_EMBEDDER__API_KEY"):
        read_embedder("openai:text-embedding-3-small", None, None)
    assert read_embedder("openai:m", "http://localhost:8080", "").api_key is None


def test_a_dimension_that_is_not_known_or_not_right() -> None:
    own = read_embedder("openai:mine", "http://x", None)
    with pytest.raises(InputError, match="CITEWELL_EMBEDDER__DIMENSION"):
        read_dimension(own, None, send=False)
    assert read_dimension(own, 300, send=False) == 300
    small = read_embedder("openai:text-embedding-3-small", None, "k")
    with pytest.raises(InputError, match="1536 numbers, and not 256"):
        read_dimension(small, 256, send=False)
    assert read_dimension(small, 256, send=True) == 256


def test_a_name_tells_vectors_apart_that_are_made_differently() -> None:
    assert vector_name("a", "", None) == "a"
    names = [vector_name("a", "p"), vector_name("a", "", "p"), vector_name("a", "", None, 3)]
    assert len({"a", *names}) == 4
