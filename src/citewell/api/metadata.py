"""Metadata that is given with documents: a JSON object of bounded size."""

import json
from typing import Any, cast

from citewell.api.deps import storable_json
from citewell.errors import Unprocessable

MOST_METADATA_CHARACTERS = 100_000


def read_metadata(written: str | None) -> dict[str, Any] | None:
    """Read a form's field.

    Raises:  Unprocessable – it is too long, not a JSON object, or holds what cannot be kept.
    """
    if written is None or not written.strip():
        return None
    _check_length(len(written))
    try:
        metadata = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise Unprocessable(
            'The field metadata is not valid JSON. Send an object such as {"author": "Huygens"}.'
        ) from error
    if not isinstance(metadata, dict):
        raise Unprocessable(
            'The field metadata must be a JSON object, such as {"author": "Huygens"}.'
        )
    try:
        return storable_json(cast("dict[str, Any]", metadata))
    except ValueError as error:
        raise Unprocessable(
            "The field metadata holds a value that cannot be kept: NUL, NaN, a lone "
            "surrogate, or too deep a nesting. Take it out."
        ) from error


def check_metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Check the length of an object that was read already.

    Raises:  Unprocessable – it is too long.
    """
    if metadata:
        _check_length(len(json.dumps(metadata, ensure_ascii=False)))
    return metadata


def _check_length(characters: int) -> None:
    if characters > MOST_METADATA_CHARACTERS:
        raise Unprocessable("The field metadata is too long. Send at most 100,000 characters.")
