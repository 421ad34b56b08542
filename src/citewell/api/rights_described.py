"""Write each address's right into the OpenAPI description; refuse one that has none."""

import re
from typing import Any

from citewell.api.rights import OPEN, RIGHTS
from citewell.errors import InputError

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
_CONVERTER = re.compile(r":\w+(?=\})")
EITHER: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]


def describe_rights(schema: dict[str, Any]) -> None:
    """Add to each operation how to prove who calls, and as ``x-role`` the role that it needs.

    Raises:  InputError – an address is not in the table of rights; the message names it.
    """
    rights = {_CONVERTER.sub("", name): right for name, right in RIGHTS.items()}
    schema.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            right = rights.get(f"{method.upper()} {path}")
            if right is None:
                raise InputError(
                    f"api/rights.py does not say who may call {method.upper()} {path}. Add it."
                )
            if right is not OPEN:
                operation["security"] = EITHER
                operation["x-role"] = right.role
