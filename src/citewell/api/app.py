"""The HTTP application: routes, middleware, and the services it opens at its start."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache

from fastapi import Depends, FastAPI
from fastapi_swagger import patch_fastapi
from starlette.formparsers import MultiPartParser

from citewell import __version__
from citewell.api import (
    audit,
    chat,
    chat_logs,
    collections,
    documents,
    evals,
    exports,
    feedback,
    health,
    ingest,
    jobs,
    keys,
    openai,
    pipeline,
    policy,
    query,
    readers,
    recheck,
    reindex,
    replay,
    results,
    search,
    sessions,
    signin,
    tasks,
    usage,
    webhooks,
    workspaces,
)
from citewell.api.access_gate import AccessGate
from citewell.api.answer_stream import LiveAnswers
from citewell.api.gate import Gate
from citewell.api.keys import add_fleet_keys
from citewell.api.known_query import refuse_unknown_query
from citewell.api.limits import FailureLimit, Limits, RequestLimit
from citewell.api.middleware import BodyLimit, HostGuard, RequestRecord
from citewell.api.problems import Problem, add_handlers
from citewell.api.readmission import Readmission
from citewell.api.rights_described import describe_lazily, require_rights
from citewell.settings import Settings, key_required, refuse_open_door
from citewell.wiring import open_services

STOP_SECONDS = 1.0
SPOOL_BYTES = 64 * 1024
"""What of each uploaded file is held in memory: a request may have a thousand of them."""
DESCRIPTION = """
Answers from your documents, with the exact span behind every sentence.

1. `POST /documents/upload` takes files; each becomes a job.
2. `GET /jobs/{job_id}` says when it is done.
3. `POST /query` answers with citations, or refuses and says why.
"""

RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The request cannot be read.",
        401: "No valid credential.",
        403: "Not allowed, or switched off.",
        404: "Unknown here.",
        409: "The thing is in a state that does not allow this.",
        413: "The request is larger than this server accepts.",
        415: "Such a file cannot be read.",
        422: "A value is not valid.",
        429: "Too many requests, or more than a quota allows.",
        500: "A fault in Citewell; its log has the details under the request's id.",
        503: "PostgreSQL or the broker does not answer.",
        507: "A disk of the server is full.",
    }.items()
}


RESOURCES = (
    search,
    query,
    documents,
    readers,
    ingest,
    pipeline,
    reindex,
    collections,
    jobs,
    webhooks,
    tasks,
    replay,
    results,
    chat,
    sessions,
    feedback,
    policy,
    recheck,
    keys,
    audit,
    chat_logs,
    workspaces,
    signin,
    evals,
    exports,
    usage,
    health,
    openai,
)
"""In the order in which an address is looked for."""


@cache
def resources() -> FastAPI:
    """Put all addresses together, once in a process: it takes most of a second.

    Raises:  InputError – an address is not in the table of rights.
    """
    app = FastAPI(
        dependencies=[Depends(refuse_unknown_query)], responses=RESPONSES, openapi_url=None
    )
    for resource in RESOURCES:
        require_rights(resource.router)
        app.include_router(resource.router)
    return app


def create_app(settings: Settings) -> FastAPI:
    """Make the application; it opens its services when it starts.

    Raises:  AccessError – others can reach it, and it would ask nobody who they are.
    """
    refuse_open_door(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            app.state.refused_sign_ins = signin.RefusedSignIns()
            app.state.live_answers = LiveAnswers()
            app.state.gate = Gate(services.database, settings.auth, required=key_required(settings))
            app.state.limits = Limits(services.limiter, settings.limits, settings.proxies)
            await add_fleet_keys(services)
            reconciling = asyncio.create_task(
                services.reconciler.run_forever(settings.jobs.reconcile_seconds)
            )
            try:
                yield
            finally:
                await app.state.live_answers.close()
                reconciling.cancel()
                # Its connection goes back before the pool closes; a query may swallow the request.
                await asyncio.wait({reconciling}, timeout=STOP_SECONDS)

    app = FastAPI(
        title="Citewell",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    MultiPartParser.spool_max_size = SPOOL_BYTES
    # /docs from files of the package: FastAPI's own page loads its scripts from the network.
    patch_fastapi(app)
    app.router.routes += resources().router.routes
    add_handlers(app)
    describe_lazily(app)
    _add_middleware(app, settings)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Put around the addresses what every request passes; the last one comes first."""
    upload = settings.upload
    app.add_middleware(
        BodyLimit,
        most_upload_bytes=upload.max_request_bytes,
        most_texts_bytes=min(upload.max_request_bytes, upload.max_file_bytes),
    )
    app.add_middleware(Readmission)
    app.add_middleware(RequestLimit)
    app.add_middleware(AccessGate)
    app.add_middleware(FailureLimit)
    app.add_middleware(HostGuard, allowed=settings.allowed_hosts)
    app.add_middleware(RequestRecord)
    app.add_middleware(openai.OpenAIErrors)
