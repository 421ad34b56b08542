"""Turn whatever pydantic-ai, the SDKs and HTTP raise into our errors, and say what to do next.

A server's own words are never shown: they may repeat the question, the documents or the key.
"""

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import httpx2
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from citewell.adapters.provider_turns import REFUSED
from citewell.errors import (
    ProviderBadReply,
    ProviderBusy,
    ProviderError,
    ProviderTimeout,
)

BROKEN_REPLY = (UnexpectedModelBehavior, ValueError, TypeError, AttributeError, LookupError)
"""What a reply that is not of the agreed form raises, be it deep in an SDK."""
FOREIGN = (
    AgentRunError,
    UserError,
    httpx2.HTTPError,
    httpx2.StreamError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
    *BROKEN_REPLY,
)
DEFAULT_RETRY_SECONDS = 5.0
REFUSALS: dict[type[ModelAPIError], str] = {
    ModelQuotaExceededError: "The account at the model's provider is empty or at its limit; fill "
    "it up there, or choose another model.",
    ModelAuthenticationError: "The model's provider refuses the key; set CITEWELL_MODEL__API_KEY "
    "to one that may use this model.",
    ModelNotFoundError: "The provider does not know this model; correct "
    "CITEWELL_ANSWER__CHAT_MODEL or CITEWELL_MODEL__BASE_URL, or load the model there.",
    ModelContextWindowExceededError: "The question and its sources are longer than the model can "
    "read; set CITEWELL_MODEL__WINDOW_TOKENS to what it can.",
    ModelRequestRejectedError: "The model's provider refuses the request; look there whether the "
    "model takes what the settings ask of it.",
}


REDIRECTED = (
    "The model's server sends the call to another address; set CITEWELL_MODEL__BASE_URL to that."
)


@contextmanager
def translated(errors: tuple[type[Exception], ...] = ()) -> Generator[None]:
    """Raise our error for each foreign one inside; ``errors`` are those of the provider's SDK.

    Raises:  ProviderError – or one of its kinds.
    """
    try:
        yield
    except (*FOREIGN, *errors) as error:
        raise translate(error) from error


def translate(error: Exception) -> ProviderError:
    """Return our error for a foreign one."""
    own = _find_own(error)
    if own is not None:
        return own
    if isinstance(error, TimeoutError):
        return ProviderTimeout()
    if isinstance(error, ModelAPIError):
        return _translate_api_error(error)
    if isinstance(error, BROKEN_REPLY):
        return ProviderBadReply()
    if isinstance(error, UserError):
        return ProviderError(
            "The model cannot do what the settings ask of it; set CITEWELL_MODEL__STRUCTURED to "
            "prompted, or choose another model.",
            code=REFUSED,
        )
    return _unreachable()


def asked_to_wait(error: BaseException | None) -> float | None:
    """Return the seconds that the provider asked to wait, from either form of Retry-After."""
    cause = error.__cause__ if error is not None else None
    return cause.retry_after if isinstance(cause, ModelAPIError) else None


def may_try_again(error: BaseException) -> bool:
    """Say whether the same call may succeed a moment later: 408, 429, 5xx and broken links."""
    if isinstance(error, ProviderBadReply | ProviderTimeout):
        return False
    return isinstance(error, ProviderError) and error.reason != REFUSED


def _translate_api_error(error: ModelAPIError) -> ProviderError:
    status = _status_of(error)
    refusal = _find_refusal(error, status)
    if refusal is not None:
        return ProviderError(refusal, code=REFUSED)
    if isinstance(error, ModelConnectionError):
        return _unreachable()
    if status is None and not error.in_stream:
        return (
            ProviderBadReply()
        )  # pydantic-ai, or the decoder below it, made no sense of the reply
    busy = isinstance(error, ModelRateLimitError | ModelUnavailableError) or status == 408
    return _busy(error) if busy or error.retry_after is not None else _failed(status)


def _find_refusal(error: ModelAPIError, status: int | None) -> str | None:
    for kind, message in REFUSALS.items():
        if isinstance(error, kind):
            return message
    if status is None or status in {408, 429} or status >= 500:
        return None
    return REFUSALS[ModelRequestRejectedError] if status >= 400 else REDIRECTED


def _status_of(error: ModelAPIError) -> int | None:
    status = getattr(
        error if isinstance(error, ModelHTTPError) else error.__cause__, "status_code", None
    )
    return status if isinstance(status, int) else None


def _busy(error: ModelAPIError) -> ProviderBusy:
    seconds = DEFAULT_RETRY_SECONDS if error.retry_after is None else error.retry_after
    return ProviderBusy(retry_after_seconds=seconds)


def _failed(status: int | None) -> ProviderError:
    said = f" with status {status}" if status is not None else ""
    return ProviderError(f"The model's server failed{said}; try again, or look at the server.")


def _unreachable() -> ProviderError:
    return ProviderError(
        "The model's server cannot be reached, or broke off; see that it runs, and that "
        "CITEWELL_MODEL__BASE_URL is its address."
    )


def _find_own(error: BaseException) -> ProviderError | None:
    """Return our own error that an SDK wrapped: a reply that our HTTP client broke off."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ProviderError):
            return seen
        seen = seen.__cause__
    return None
