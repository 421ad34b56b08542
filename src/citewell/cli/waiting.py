"""Waiting for jobs, with a bar that says how far they are."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import httpx
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from citewell.cli.client import Client
from citewell.cli.show import stderr
from citewell.errors import Unavailable

POLL_SECONDS = 0.1
HINT_SECONDS = 60.0
OPEN = {"queued", "running"}


def wait_for_job(
    client: Client, job_id: str, changed: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Wait for a job's end, however long; say so when no worker seems to be there."""
    hint_at = time.monotonic() + HINT_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError, Unavailable):
            job = client.send("GET", f"/jobs/{job_id}")
            changed(job)
            if job["status"] not in OPEN:
                return job
            if job["status"] == "queued" and time.monotonic() > hint_at:
                stderr.print("No worker has taken the next job yet. Is one running? Waiting on.")
                hint_at = math.inf
        time.sleep(POLL_SECONDS)


def follow_job(client: Client, job_id: str, what: str) -> dict[str, Any]:
    """Wait for a job's end and show how much of it is done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
    ) as progress:
        bar = progress.add_task(what, total=1.0, stage="")

        def show(job: dict[str, Any]) -> None:
            progress.update(bar, completed=job["share"], stage=stage_of(job))

        return wait_for_job(client, job_id, show)


def stage_of(job: dict[str, Any]) -> str:
    """Say in a few words what a job is at."""
    if job["status"] not in OPEN:
        return str(job["status"])
    if job["part_count"]:
        return f"{job['part_count'] - job['open_parts']} of {job['part_count']} parts"
    running = [step["name"] for step in job["steps"] if step["status"] == "running"]
    return running[0] if running else str(job["status"])
