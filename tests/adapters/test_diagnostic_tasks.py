"""The result backend stands on the broker's own server, whatever the form of its address."""

from typing import Any

import pytest

from citewell.adapters.celery_queue import make_celery
from citewell.adapters.diagnostic_tasks import (
    NAMES,
    DiagnosticFailed,
    DiagnosticResults,
    divide,
    register_diagnostics,
    total,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@127.0.0.1:9/2", {"host": "127.0.0.1", "port": 9, "db": 2}),
        ("rediss://:pw@127.0.0.1:9/2", {"host": "127.0.0.1", "port": 9, "db": 2}),
        ("unix://:pw@/run/none.sock?db=3", {"path": "/run/none.sock", "db": 3}),
    ],
)
def test_results_lie_where_the_messages_lie(url: str, expected: dict[str, object]) -> None:
    app: Any = make_celery(url)
    register_diagnostics(app)
    backend = app.backend
    assert isinstance(backend, DiagnosticResults)
    assert backend.connparams["password"] == "pw"
    assert {key: backend.connparams[key] for key in expected} == expected
    assert set(NAMES) <= set(app.tasks)
    assert app.conf.task_ignore_result is True, "documents keep no results"
    assert all(app.tasks[name].ignore_result is False for name in NAMES)
    app.close()


def test_what_is_no_number_is_a_sentence() -> None:
    for work in (lambda: divide(1, 0), lambda: divide(10**400, 1), lambda: total([1e308, 1e308])):
        with pytest.raises(DiagnosticFailed, match="Send"):
            work()
