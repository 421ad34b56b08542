"""Read what an embedding API replies: its status, and its vectors.

A server's own words are never shown: they may repeat the texts or the key.
"""

import base64
import binascii
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import numpy as np

from citewell.adapters.provider_turns import REFUSED
from citewell.adapters.unit_vectors import unit_rows
from citewell.errors import ProviderBadReply, ProviderBusy, ProviderError
from citewell.ports import Vectors

DEFAULT_RETRY_SECONDS = 1.0
MOST_WAIT_SECONDS = 3600.0
BUSY = {408, 429, 503}
REFUSALS = {
    401: "The embedding API refuses the key. Set CITEWELL_EMBEDDER__API_KEY to one that may use "
    "this model.",
    402: "The account at the embedding API is empty. Fill it up there, or choose another model.",
    404: "The embedding API does not know this model or this address. Correct "
    "CITEWELL_EMBEDDER__MODEL or CITEWELL_EMBEDDER__BASE_URL, or load the model there.",
    413: "The embedding API takes less at once. Lower CITEWELL_EMBEDDER__BATCH_TEXTS or "
    "CITEWELL_EMBEDDER__BATCH_TOKENS.",
}
REFUSALS[403] = REFUSALS[401]
REDIRECTED = (
    "The embedding API sends the call to another address. Set CITEWELL_EMBEDDER__BASE_URL to that."
)
NOT_TAKEN = (
    "The embedding API does not take the request. Look at CITEWELL_EMBEDDER__WINDOW_TOKENS, "
    "__SEND_DIMENSION and the input types: the model may not know one of them."
)


def require_success(status: int, retry_after: str | None) -> None:
    """Pass when a request went well.

    Raises:  ProviderBusy – it may be sent again later; carries when.  ProviderError – it failed, or
             with the code of a refusal will fail again.
    """
    if 200 <= status < 300:
        return
    if status in BUSY:
        raise ProviderBusy(
            "The embedding API has too much to do. Wait and try again.",
            retry_after_seconds=read_wait(retry_after),
        )
    if status >= 500:
        raise ProviderError(
            f"The embedding API failed with status {status}. Try again, or look at the server."
        )
    default = NOT_TAKEN if status >= 400 else REDIRECTED
    raise ProviderError(REFUSALS.get(status, default), code=REFUSED)


def read_wait(value: str | None) -> float:
    """Return how many seconds Retry-After asks for, given in seconds or as a date."""
    given = (value or "").strip()
    if given.isascii() and given.isdigit() and len(given) < 8:
        return min(float(given), MOST_WAIT_SECONDS)
    try:
        until = parsedate_to_datetime(given)
    except (ValueError, TypeError):
        return DEFAULT_RETRY_SECONDS
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), MOST_WAIT_SECONDS)


def read_vectors(body: bytes, count: int, dimension: int) -> Vectors:
    """Return the vectors in the order of the texts: lists of numbers, or float32 in base64.

    Raises:  ProviderBadReply – it is not JSON, or not exactly one vector for each text.
    """
    try:
        reply: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("is not JSON") from error
    data: Any = cast("dict[str, Any]", reply).get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list):
        raise _bad("holds no list named data")
    rows: dict[int, Any] = {}
    for place, item in enumerate(cast("list[Any]", data)):
        if not isinstance(item, dict):
            raise _bad("holds something else than vectors")
        entry = cast("dict[str, Any]", item)
        index: object = entry.get("index", place)
        if type(index) is not int or not 0 <= index < count or index in rows:
            raise _bad("numbers its vectors wrongly")
        rows[index] = _read_row(entry.get("embedding"))
    if len(rows) != count:
        raise _bad(f"has {len(rows)} vectors for {count} texts")
    return unit_rows([rows[index] for index in range(count)], count, dimension)


def _read_row(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise _bad("holds a vector that is not base64 of float32 numbers") from error


def _bad(what: str) -> ProviderBadReply:
    return ProviderBadReply(
        f"The embedding API's reply {what}. Check that CITEWELL_EMBEDDER__BASE_URL is the address "
        "of an API that speaks OpenAI's protocol."
    )
