"""Write each address's right into the OpenAPI description; refuse one that has none."""

import re
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from citewell.api.rights import OPEN, RIGHTS
from citewell.errors import InputError

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
_CONVERTER = re.compile(r":\w+(?=\})")
EITHER: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]


def require_rights(router: APIRouter) -> None:
    """Refuse addresses that nobody said who may call.

    Raises:  InputError – an address is not in the table of rights; the message names it.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                if f"{method} {route.path}" not in RIGHTS:
                    raise InputError(
                        f"api/rights.py does not say who may call {method} {route.path}. Add it."
                    )


def describe_lazily(app: FastAPI) -> None:
    """Add to the OpenAPI description, once somebody asks for it, who may call each address."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _describe(plain())
        return app.openapi_schema or {}

    app.openapi = described


def _describe(schema: dict[str, Any]) -> None:
    """Add to each operation how to prove who calls, and as ``x-role`` the role that it needs."""
    rights = {_CONVERTER.sub("", name): right for name, right in RIGHTS.items()}
    schema.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            right = rights[f"{method.upper()} {path}"]
            if right is not OPEN:
                operation["security"] = EITHER
                operation["x-role"] = right.role
