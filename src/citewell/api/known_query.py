"""Refuse query parameters that an address does not know, so that a misspelt filter is seen."""

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from citewell.api.openai.errors import OpenAIRoute
from citewell.api.refusals import UNKNOWN_FIELD, tell
from citewell.errors import Unprocessable
from citewell.settings import CALLBACK_PATH


async def refuse_unknown_query(request: Request) -> None:
    """Refuse a request that has such a parameter; OpenAI's clients and providers add their own.

    Raises:  Unprocessable – the message names those that the address knows.
    """
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or isinstance(route, OpenAIRoute):
        return
    if not request.query_params or route.path.endswith(CALLBACK_PATH):
        return
    known = [
        field.alias
        for field in get_flat_params(route.dependant)
        if isinstance(field.field_info, Query)
    ]
    for name in request.query_params:
        if name not in known:
            context = {"field": name, "known": known}
            raise Unprocessable(
                tell([{"type": UNKNOWN_FIELD, "loc": ("query",), "ctx": context}]), code="invalid"
            )
