"""Generated requests of every form, many of them: none may meet a fault of the server."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from chaos.installation import Installation
from chaos.outcome import Outcome
from e2e.openapi_requests import first_key, send_requests

TIMEOUT_SECONDS = 3 * 3600.0


def many_requests(installation: Installation, examples: int, seed: int) -> Outcome:
    """Send what the end-to-end test sends, with more examples of each address."""
    program, started = installation.program, time.monotonic()
    with TemporaryDirectory() as folder:
        sent = send_requests(
            installation.url, first_key(program.folder / "up.log"), Path(folder),
            seed=seed, examples=examples, timeout_seconds=TIMEOUT_SECONDS,
        )  # fmt: skip
    minutes = (time.monotonic() - started) / 60
    return Outcome(
        "generated requests",
        times=sent.requests,
        wrong=[sent.fault] if sent.fault else [],
        remark=f"{sent.addresses} addresses, {examples} examples each, {minutes:.0f} minutes",
    )
