"""Requests of every form that the API's description allows, and of those that it does not."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sent:
    """How many addresses and requests were tried; what was printed if one met a fault."""

    addresses: int
    requests: int
    fault: str


def send_requests(
    url: str, key: str, folder: Path, *, seed: int, examples: int, timeout_seconds: float
) -> Sent:
    """Send generated requests to every address of a server, in all phases, by schemathesis."""
    done = subprocess.run(
        [Path(sys.executable).with_name("st"), "run", f"{url}/openapi.json",
         "--checks", "not_a_server_error,ignored_auth", "--header", f"Authorization: Bearer {key}",
         "--phases", "examples,coverage,fuzzing,stateful", "--seed", str(seed),
         "--max-examples", str(examples), "--suppress-health-check", "all", "--no-shrink",
         "--continue-on-failure", "--request-timeout", "30"],
        cwd=folder, capture_output=True, text=True, timeout=timeout_seconds, check=False,
    )  # fmt: skip
    tested = re.search(r"Tested: (\d+)\n", done.stdout)
    generated = re.search(r"(\d+) generated", done.stdout)
    return Sent(
        int(tested[1]) if tested else 0,
        int(generated[1]) if generated else 0,
        "" if done.returncode == 0 and tested else done.stdout[-4000:] or "nothing was tested",
    )


def first_key(log: Path) -> str:
    """Return the owner's key that a server's first start printed."""
    (key,) = re.findall(r"cw_[0-9A-Za-z]{61}", log.read_text())
    return key
