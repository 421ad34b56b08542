"""Searches of random workspaces, many of them: what is hidden must change no byte of a result."""

import subprocess
import sys
import time

from chaos.outcome import Outcome
from e2e.processes import PROJECT, environment

TEST = "tests/api/test_readers_worlds.py"
TIMEOUT_SECONDS = 3600.0


def many_worlds(worlds: int) -> Outcome:
    """Run the test of hidden documents over more workspaces than `make test` does."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", TEST, "--worlds", str(worlds), "--timeout", "1200"],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
        check=False,
    )  # fmt: skip
    return Outcome(
        "random workspaces with hidden documents",
        times=worlds,
        wrong=[] if done.returncode == 0 else [done.stdout[-4000:] + done.stderr[-1000:]],
        remark=f"{(time.monotonic() - started) / 60:.0f} minutes",
    )
