"""Every address takes whatever its description allows, and what it does not, without a fault."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.processes import Program, Running

SEED, EXAMPLES = 1, 2


@pytest.fixture(scope="module")
def guarded(data: Path) -> Iterator[tuple[Running, str]]:
    """A server that asks everybody for a key, and the owner's key that its first start shows."""
    program = Program(data, CITEWELL_AUTH__MODE="required")
    with program.up() as running:
        (key,) = re.findall(r"cw_[0-9A-Za-z]{61}", (program.folder / "up.log").read_text())
        yield running, key


@pytest.mark.timeout(300)
def test_no_request_meets_a_fault_or_gets_in_without_a_key(
    guarded: tuple[Running, str], tmp_path: Path
) -> None:
    running, key = guarded
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{running.url}/openapi.json",
         "--checks", "not_a_server_error,ignored_auth", "--header", f"Authorization: Bearer {key}",
         "--phases", "examples,coverage,fuzzing,stateful", "--seed", str(SEED),
         "--max-examples", str(EXAMPLES), "--suppress-health-check", "all", "--no-shrink",
         "--continue-on-failure", "--request-timeout", "30"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    tested = re.search(r"Tested: (\d+)\n", done.stdout)
    assert tested is not None
    assert int(tested[1]) > 70
