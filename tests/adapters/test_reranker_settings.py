"""Which reranker the settings open, and what stops the start."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from citewell.adapters.http_reranker import HttpReranker
from citewell.errors import InputError
from citewell.settings import AnswerSettings, ModelSettings, RerankSettings, Settings
from citewell.wiring.models import _expansion, open_reranker


class Counter:
    name = "counter"
    dimension = 1
    window_tokens = 1

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


async def test_none_is_the_default() -> None:
    async with AsyncExitStack() as stack:
        assert open_reranker(Settings(), None, stack) is None


async def test_an_api_is_opened_and_closed() -> None:
    rerank = RerankSettings(
        by="http", url="http://127.0.0.1:9/rerank", model="m", api_key=SecretStr("k"), form="tei"
    )
    async with AsyncExitStack() as stack:
        opened = open_reranker(Settings(rerank=rerank), None, stack)
        assert isinstance(opened, HttpReranker)
        assert opened.name == "http:127.0.0.1/m"
    assert opened._client.is_closed


@pytest.mark.parametrize(
    ("rerank", "variable"),
    [
        (RerankSettings(by="model"), "CITEWELL_ANSWER__CHAT_MODEL"),
        (RerankSettings(by="http"), "CITEWELL_RERANK__URL"),
        (RerankSettings(by="onnx"), "CITEWELL_RERANK__FOLDER"),
        (RerankSettings(by="onnx", folder=Path("nowhere")), "CITEWELL_RERANK__FOLDER"),
    ],
)
async def test_what_is_missing_stops_the_start(rerank: RerankSettings, variable: str) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(InputError, match=variable):
            open_reranker(Settings(rerank=rerank), None, stack)


@pytest.mark.parametrize(
    ("chat_model", "window", "output", "room"),
    [
        ("extractive", 8192, 1024, 0),
        ("ollama:x", 8192, 1024, 4934),
        ("ollama:x", 2048, 4096, 512),
    ],
)
def test_only_a_language_model_has_a_window(
    chat_model: str, window: int, output: int, room: int
) -> None:
    settings = Settings(
        answer=AnswerSettings(chat_model=chat_model, neighbours=2),
        model=ModelSettings(window_tokens=window, max_output_tokens=output),
    )
    made = _expansion(settings, Counter())
    assert (made.most_tokens, made.neighbours) == (room, 2)
