"""/health, /ready, /metrics: for those who run Citewell."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from citewell import __version__
from citewell.api.deps import ServicesDep
from citewell.api.problems import problem_body

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process lives."""

    status: str = "ok"
    version: str = __version__


class Ready(BaseModel):
    """What each dependency says."""

    status: str
    checks: dict[str, str]


@router.get("/health")
async def health() -> Health:
    """Say that the process lives; nothing else is checked."""
    return Health()


@router.get("/ready", response_model=Ready)
async def ready(services: ServicesDep) -> Any:
    """Check the database and the broker; 503 with the reason while one is missing."""
    checks = await services.check_ready()
    wrong = [f"{name}: {answer}" for name, answer in checks.items() if answer != "ok"]
    if not wrong:
        return Ready(status="ok", checks=checks)
    body = problem_body(503, "unavailable", " ".join(wrong)) | {
        "status": 503,
        "checks": checks,
    }
    return JSONResponse(body, 503, {"Retry-After": "5"}, media_type="application/problem+json")


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Return metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
