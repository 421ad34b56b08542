"""Make pydantic-ai's model of a provider; each SDK gets our HTTP client and tries nothing twice.

Keys and addresses are given outright, so that no SDK looks for its own in the environment.
"""

import logging
from dataclasses import dataclass

import httpx2
from openai import AsyncOpenAI, OpenAIError
from pydantic_ai.models import Model
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
)
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings

from citewell.adapters.provider_names import ProviderChoice
from citewell.errors import InputError

NO_KEY = "none"
"""What is sent where a key is due and none is set: SDKs refuse to start without one."""
PRICE_LISTS = {
    "openai": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "google": "google",
}
WHOLE = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
"""A stream that ends without saying why was cut off."""
OLD_LIMIT = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
"""Servers other than OpenAI's know ``max_tokens``; some overlook its newer name and never stop."""
_LOGGERS = ("openai", "anthropic", "google_genai", "httpx2", "httpcore2", "pydantic_ai")


@dataclass(frozen=True, slots=True)
class OpenedProvider:
    """A provider's model, the settings that each call of it has, and what its SDK may raise."""

    model: Model
    settings: ModelSettings
    errors: tuple[type[Exception], ...]
    price_list: str | None


def open_provider(choice: ProviderChoice, client: httpx2.AsyncClient) -> OpenedProvider:
    """Make the model that a choice names; nothing is sent yet.

    Raises:  InputError – the provider's package is not installed.
    """
    for name in _LOGGERS:  # below this some write whole requests, that is questions and documents
        logging.getLogger(name).setLevel(logging.WARNING)
    price_list = PRICE_LISTS.get(choice.kind) if choice.is_own else None
    settings: ModelSettings = {}
    match choice.kind:
        case "anthropic":
            model, errors = _open_anthropic(choice, client)
        case "google":
            model, errors = _open_google(choice, client)
        case _:
            model, errors = _open_openai(choice, client), (OpenAIError,)
            if choice.kind == "openai-responses":
                settings = OpenAIResponsesModelSettings(openai_store=False)
    return OpenedProvider(model, settings, errors, price_list)


def _open_openai(choice: ProviderChoice, client: httpx2.AsyncClient) -> Model:
    sdk = AsyncOpenAI(
        api_key=choice.api_key or NO_KEY,
        base_url=choice.base_url,
        http_client=client,
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=client.timeout.connect),
    )
    sdk.organization = sdk.project = None
    if choice.kind == "ollama":
        ollama = OllamaProvider(openai_client=sdk)
        model = OllamaModel(choice.model, provider=ollama)
        return OllamaModel(
            choice.model, provider=ollama, profile=merge_profile(model.profile, WHOLE, OLD_LIMIT)
        )
    if choice.is_own:
        provider, profile = OpenAIProvider(openai_client=sdk), WHOLE
    else:
        provider = OpenAICompatibleProvider("openai-compatible", openai_client=sdk)
        profile = merge_profile(WHOLE, OLD_LIMIT)
    if choice.kind == "openai-responses":
        return OpenAIResponsesModel(choice.model, provider=provider)
    return OpenAIChatModel(choice.model, provider=provider, profile=profile)


def _open_anthropic(
    choice: ProviderChoice, client: httpx2.AsyncClient
) -> tuple[Model, tuple[type[Exception], ...]]:
    try:
        from anthropic import AnthropicError, AsyncAnthropic  # noqa: PLC0415 - an extra
        from pydantic_ai.models.anthropic import AnthropicModel  # noqa: PLC0415
        from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: PLC0415
    except ImportError as error:
        raise _missing("anthropic") from error
    sdk = AsyncAnthropic(
        api_key=choice.api_key or NO_KEY,
        base_url=choice.base_url,
        http_client=client,
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=client.timeout.connect),
        open_telemetry=False,
    )
    provider = AnthropicProvider(anthropic_client=sdk)
    return AnthropicModel(choice.model, provider=provider), (AnthropicError,)


def _open_google(
    choice: ProviderChoice, client: httpx2.AsyncClient
) -> tuple[Model, tuple[type[Exception], ...]]:
    try:
        from google.genai.errors import APIError  # noqa: PLC0415 - an extra
        from google.genai.types import HttpRetryOptions  # noqa: PLC0415
        from pydantic_ai.models.google import GoogleModel  # noqa: PLC0415
        from pydantic_ai.providers.google import GoogleProvider  # noqa: PLC0415
    except ImportError as error:
        raise _missing("google") from error
    provider = GoogleProvider(
        api_key=choice.api_key or NO_KEY,
        base_url=choice.base_url,
        http_client=client,
        retry_options=HttpRetryOptions(attempts=1),
    )
    return GoogleModel(choice.model, provider=provider), (APIError,)


def _missing(extra: str) -> InputError:
    return InputError(
        f"Models of {extra} need one more package. Install it with "
        f"`pip install 'citewell[{extra}]'`, then start again."
    )
