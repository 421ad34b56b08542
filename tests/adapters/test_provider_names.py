"""How the settings name a model: spellings, addresses, keys, packages, prices."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from adapters.opened_models import LIMITS
from citewell.adapters.language_models import ModelLimits, open_language_model
from citewell.adapters.provider_names import read_provider
from citewell.errors import InputError
from citewell.settings import ModelSettings, Settings


@pytest.mark.parametrize(
    "spelt",
    [
        "",
        "llama",
        "ollama",
        "ollama:",
        "ollama: ",
        "olama:llama3",
        "OpenAI:gpt",
        ":x",
        "fake:x",
    ],
)
def test_a_wrong_spelling_is_told_with_what_there_is(spelt: str) -> None:
    with pytest.raises(InputError, match="ollama:NAME, openai:NAME, openai-responses:NAME"):
        read_provider(spelt, None, None)


@pytest.mark.parametrize("kind", ["openai", "openai-responses", "anthropic", "google"])
def test_a_missing_key_is_told_by_the_name_of_its_variable(kind: str) -> None:
    with pytest.raises(InputError, match="CITEWELL_MODEL__API_KEY"):
        read_provider(f"{kind}:x", None, None)
    assert read_provider(f"{kind}:x", None, "key") is not None
    assert read_provider(f"{kind}:x", "http://localhost:1", None) is not None


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (None, "http://localhost:11434/v1"),
        ("http://gpu:11434", "http://gpu:11434/v1"),
        ("http://gpu:11434/", "http://gpu:11434/v1"),
        ("https://gpu.example/api/v1/", "https://gpu.example/api/v1"),
    ],
)
def test_the_address_of_an_ollama(given: str | None, called: str) -> None:
    choice = read_provider("ollama:llama3.2:3b", given, None)
    assert choice is not None
    assert (choice.base_url, choice.model) == (called, "llama3.2:3b")


@pytest.mark.parametrize(
    "given",
    [
        "gpu:11434",
        "ftp://gpu",
        "http://",
        "http://u:secret@gpu",
        "http://gpu:99999",
        "http://[",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InputError, match="CITEWELL_MODEL__BASE_URL") as caught:
        read_provider("ollama:x", given, None)
    assert "secret" not in caught.value.message


def test_extractive_needs_no_model_and_loads_none() -> None:
    assert read_provider("extractive", None, None) is None
    loaded = "import citewell.wiring, sys; print('pydantic_ai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]


def test_prices_come_together() -> None:
    with pytest.raises(InputError, match="CITEWELL_MODEL"):
        Settings.load(model={"input_usd_per_million": 1.0})
    prices = ModelSettings(input_usd_per_million=1.0, output_usd_per_million=2.0)
    assert prices.output_usd_per_million == 2.0


@pytest.mark.parametrize("extra", ["anthropic", "google"])
def test_a_missing_package_is_told_with_its_command(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"pydantic_ai.models.{extra}", None)
    choice = read_provider(f"{extra}:x", None, "key")
    assert choice is not None
    with pytest.raises(InputError, match=rf"pip install 'citewell\[{extra}\]'"):
        open_language_model(choice, LIMITS)


async def test_what_tokens_cost() -> None:
    async def cost(name: str, base_url: str | None, limits: ModelLimits = LIMITS) -> Any:
        choice = read_provider(name, base_url, "key")
        assert choice is not None
        model = open_language_model(choice, limits)
        await model.close()
        return model.estimate_cost(1_000_000, 100_000)

    assert await cost("openai:gpt-4o-mini", None) == pytest.approx(0.15 + 0.06)
    assert await cost("openai:gpt-4o-mini", "http://localhost:1") is None
    assert await cost("openai:a-model-of-tomorrow", None) is None
    assert await cost("ollama:llama3", None) is None
    own = replace(LIMITS, usd_per_million=(2.0, 10.0))
    assert await cost("ollama:llama3", None, own) == pytest.approx(2.0 + 1.0)
