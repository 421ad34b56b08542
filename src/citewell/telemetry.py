"""Log lines, metrics and timings: how Citewell tells what it does."""

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("citewell_http_requests", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "citewell_http_request_seconds", "Time to answer a request.", ["method", "route"]
)
UPLOADS = Counter("citewell_uploads", "Files accepted for ingestion.")
ANSWERS = Counter("citewell_answers", "Questions answered or refused.", ["outcome"])
STAGE_SECONDS = Histogram(
    "citewell_stage_seconds",
    "Time of one stage of a question.",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
DENSE_RECALL = Gauge(
    "citewell_dense_recall", "Share of the exactly nearest chunks that the vector index finds."
)
OPEN_JOBS = Gauge("citewell_jobs_open", "Jobs that wait or run.", ["status"])


class Stopwatch:
    """Collects milliseconds per stage, and the total since it was made."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Time one turn of a stage; several are summed."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add({name: (perf_counter() - started) * 1000})

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """Add stages that were timed elsewhere to what they took before."""
        for name, milliseconds in timings_ms.items():
            if name != "total":
                self.timings_ms[name] = self.timings_ms.get(name, 0.0) + milliseconds

    def finish(self) -> dict[str, float]:
        """Return all stages, rounded to microseconds, with their total."""
        self.timings_ms["total"] = (perf_counter() - self._started) * 1000
        return {name: round(value, 3) for name, value in self.timings_ms.items()}


def configure_logging(level: str, form: Literal["plain", "json"]) -> None:
    """Send structlog's lines and the standard library's to stderr, in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if form == "json" else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "alembic", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
