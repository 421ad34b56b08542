"""Every address takes whatever its description allows, and what it does not, without a fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.openapi_requests import first_key, send_requests
from e2e.processes import Program, Running

SEED, EXAMPLES = 1, 1


@pytest.fixture(scope="module")
def guarded(data: Path) -> Iterator[tuple[Running, str]]:
    """A server that asks everybody for a key, and the owner's key that its first start shows."""
    program = Program(data, CITEWELL_AUTH__MODE="required")
    with program.up() as running:
        yield running, first_key(program.folder / "up.log")


@pytest.mark.timeout(300)
def test_no_request_meets_a_fault_or_gets_in_without_a_key(
    guarded: tuple[Running, str], tmp_path: Path
) -> None:
    running, key = guarded
    sent = send_requests(
        running.url, key, tmp_path, seed=SEED, examples=EXAMPLES, timeout_seconds=280
    )
    assert not sent.fault, sent.fault
    assert sent.addresses > 70
