"""The diagnostic tasks that workers run, and the result backend that only these use."""

import hashlib
import json
import math
from typing import Any, cast

from celery import Celery
from celery.backends.redis import RedisBackend

QUEUE = "default"
KEEP_SECONDS = 3600
KEY_PREFIX = "citewell."
SOCKET_TIMEOUT_SECONDS = 5

ADD = "citewell.diagnostics.add"
DIVIDE = "citewell.diagnostics.divide"
TOTAL = "citewell.diagnostics.total"
PROCESS = "citewell.diagnostics.process"
NAMES = (ADD, DIVIDE, TOTAL, PROCESS)

KINDS = (
    (dict, "object"),
    (list, "array"),
    (str, "string"),
    (bool, "boolean"),
    ((int, float), "number"),
    (object, "null"),
)
"""What JSON calls a value; the first that fits."""

Number = int | float


class DiagnosticFailed(Exception):
    """A diagnostic task cannot give a result; the message is for people."""


class DiagnosticResults(RedisBackend):  # pyright: ignore[reportUntypedBaseClass]
    """Celery's results in Valkey, for readers that ask and never wait.

    Holds:   it subscribes to nothing. Celery's own would hold a subscription in the API for each
             task that it sent, and take up a lost connection inside the garbage collector.
    """

    def on_task_call(self, producer: object, task_id: str) -> None:
        """Do nothing for a task that was sent."""

    def add_pending_result(self, result: Any, *_: object, **__: object) -> Any:
        """Wait for nothing."""
        return result

    def add_pending_results(self, results: list[Any], *_: object, **__: object) -> list[Any]:
        """Wait for nothing."""
        return results

    def remove_pending_result(self, result: Any) -> Any:
        """Forget nothing, since nothing was waited for."""
        return result


def keep_results(app: Celery) -> None:
    """Give an app the result backend, on the broker's own server; no other task stores there."""
    conf: Any = cast("Any", app).conf
    # Without kombu's own prefix: "redis+socket://" is "socket://" to a backend that is named.
    place = str(conf.broker_url).removeprefix("redis+")
    if place.startswith("rediss://") and "ssl_cert_reqs" not in place:
        place += f"{'&' if '?' in place else '?'}ssl_cert_reqs=required"  # Celery wants it said
    conf.update(
        result_backend=f"{__name__}:{DiagnosticResults.__name__}+{place}",
        result_backend_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "retry_policy": {"max_retries": 2, "timeout": SOCKET_TIMEOUT_SECONDS},
        },
        result_backend_thread_safe=True,
        result_expires=KEEP_SECONDS,
        result_serializer="json",
        result_accept_content=["json"],
        redis_socket_timeout=SOCKET_TIMEOUT_SECONDS,
        redis_socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
    )


def register_diagnostics(app: Celery) -> None:
    """Add the diagnostic tasks to a worker's app.

    Holds:   they alone store results; a document's tasks keep ignoring theirs.
    """
    keep_results(app)
    options = {"ignore_result": False, "track_started": True, "throws": (DiagnosticFailed,)}
    untyped: Any = app
    for name, work in ((ADD, add), (DIVIDE, divide), (TOTAL, total), (PROCESS, process)):
        untyped.task(name=name, **options)(work)


def add(x: Number, y: Number) -> Number:
    """Return x + y."""
    return _finite(x + y)


def divide(dividend: Number, divisor: Number) -> float:
    """Return dividend / divisor."""
    if divisor == 0:
        raise DiagnosticFailed("Division by zero. Send another divisor.")
    try:
        return float(_finite(dividend / divisor))
    except OverflowError as error:
        raise _too_large() from error


def total(numbers: list[Number]) -> Number:
    """Return the sum of what the tasks before it returned."""
    return _finite(sum(numbers))


def process(data: Any) -> dict[str, Any]:
    """Return what can be counted of any JSON value, and the sha256 of its canonical form."""
    written = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return {
        "kind": next(name for kind, name in KINDS if isinstance(data, kind)),
        "size_bytes": len(written),
        "sha256": hashlib.sha256(written).hexdigest(),
    }


def _finite(number: Number) -> Number:
    try:
        if math.isfinite(number):
            return number
    except OverflowError as error:
        raise _too_large() from error
    raise _too_large()


def _too_large() -> DiagnosticFailed:
    return DiagnosticFailed("The result is too large for a number. Send smaller ones.")
