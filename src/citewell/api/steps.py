"""A job as the wire shows it: its steps, and how much of it is done."""

from dataclasses import asdict
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from citewell.api import job_schemas
from citewell.records.jobs import JobRow

STEPS = ("parse", "chunk", "embed", "publish")
WEIGHTS = (0.2, 0.1, 0.6, 0.1)
"""Shares of a job's time, about; they turn its step into one number."""
PLACES = {"parse": 0, "chunk": 1, "stage": 1, "embed": 2, "publish": 3}
"""The step that each stage of a worker's progress belongs to."""
MEASURED = ("parse", "embed", "publish")
"""Stages whose seconds tell that they ended; a file is cut while it is read."""
MOVING = {"embed", "stage", "export", "evaluate"}
"""Stages that tell how much of them is done."""
OPEN = {"queued", "running"}
STEPLESS = {"wait", "embed", "answer", "export", "evaluate"}


def step_id(job_id: UUID, name: str) -> UUID:
    """Return a step's id: always the same for the same job and step."""
    return uuid5(NAMESPACE_URL, f"citewell:{job_id}/{name}")


def wire_job(row: JobRow) -> job_schemas.Job:
    """Return a job as lists show it."""
    return job_schemas.Job.model_validate(_fields(row))


def wire_job_detail(row: JobRow) -> job_schemas.JobDetail:
    """Return a job with its steps."""
    return job_schemas.JobDetail.model_validate({**_fields(row), "steps": steps_of(row)})


def steps_of(row: JobRow) -> list[job_schemas.Step]:
    """Return a job's steps; what is not about one file, or is a large file's part: none."""
    if row.task in STEPLESS:
        return []
    seconds: dict[str, float] = row.progress.get("seconds") or {}
    reached = _reached(row)
    steps: list[job_schemas.Step] = []
    for place, name in enumerate(STEPS):
        if place < reached:
            status, progress = "done", 1.0
        elif place == reached:
            status, progress = row.status, _fraction(row)
        else:
            status, progress = "queued" if row.status in OPEN else "skipped", 0.0
        steps.append(
            job_schemas.Step.model_validate(
                {
                    "step_id": step_id(row.job_id, name),
                    "name": name,
                    "status": status,
                    "seconds": seconds.get("stage" if name == "chunk" else name),
                    "progress": progress,
                }
            )
        )
    return steps


def share_of(row: JobRow) -> float:
    """Return how much of a job is done, from 0 to 1."""
    if row.status == "done":
        return 1.0
    if row.task in STEPLESS:
        return _fraction(row)
    reached = _reached(row)
    return round(sum(WEIGHTS[:reached]) + WEIGHTS[reached] * _fraction(row), 4)


def _fields(row: JobRow) -> dict[str, Any]:
    progress = {key: value for key, value in row.progress.items() if key != "documents"}
    return {**asdict(row), "progress": progress, "share": share_of(row)}


def _reached(row: JobRow) -> int:
    """Return the place of the step that a job is at, or ended in."""
    if row.status == "done":
        return len(STEPS)
    if row.task == "publish":
        return PLACES["publish"]
    if row.part_count:
        return PLACES["embed"]
    if row.status == "queued":
        return 0
    stage = row.progress.get("stage")
    if stage == "failed":
        ended: dict[str, float] = row.progress.get("seconds") or {}
        stage = next((name for name in MEASURED if name not in ended), "publish")
    return PLACES.get(str(stage), 0)


def _fraction(row: JobRow) -> float:
    """Return how much of its present step, or of its parts, a job has done."""
    if row.part_count and row.task != "publish":
        return (row.part_count - row.open_parts) / row.part_count if row.status in OPEN else 0.0
    done, total = row.progress.get("done"), row.progress.get("total")
    if row.status == "running" and isinstance(done, int) and isinstance(total, int) and total:
        return min(done / total, 1.0) if row.progress.get("stage") in MOVING else 0.0
    return 0.0
