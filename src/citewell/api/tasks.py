"""/tasks: try the queues with small sums, and see who works on them."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import Field, JsonValue, StrictFloat, StrictInt, field_validator

from citewell.api.deps import CleanText, ServicesDep, WorkspaceDep, storable_json
from citewell.api.schemas import Request, Wire
from citewell.domain import WorkspaceId
from citewell.errors import NotFound
from citewell.ports import Workflow
from citewell.records.workers import list_workers
from citewell.wiring import Services

router = APIRouter(prefix="/tasks", tags=["queues"])

MOST_DATA_CHARACTERS = 10_000
LARGEST_INTEGER = 10**15
"""Beyond it an integer is taken as a floating number."""
LARGEST_FLOAT = 1e100
ALIVE_SECONDS = 45.0
"""A worker speaks each 15 s; one that was silent for longer than three times that is not alive."""

Number = (
    Annotated[StrictInt, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
    | Annotated[StrictFloat, Field(ge=-LARGEST_FLOAT, le=LARGEST_FLOAT, allow_inf_nan=False)]
)


class Addition(Request):
    """x + y."""

    x: Number
    y: Number


class Division(Request):
    """dividend / divisor."""

    dividend: Number
    divisor: Number


class ChainedSum(Request):
    """(x + y) / divisor, one task after the other."""

    x: Number
    y: Number
    divisor: Number


class ParallelSum(Request):
    """x + y and x / z at once, then their sum."""

    x: Number
    y: Number
    z: Number


class DataToProcess(Request):
    """Any JSON value."""

    data: JsonValue

    @field_validator("data")
    @classmethod
    def _bounded(cls, value: JsonValue) -> JsonValue:
        storable_json({"data": value})
        if len(json.dumps(value, ensure_ascii=False)) > MOST_DATA_CHARACTERS:
            raise ValueError(f"must be at most {MOST_DATA_CHARACTERS:,} characters of JSON")
        return value


class QueuedTask(Wire):
    """A task that was queued, and where to ask for it."""

    task_id: str
    status_url: str


class TaskStatus(Wire):
    """A task's state; for workflows that of all their steps together."""

    task_id: str
    status: Literal["pending", "started", "done", "failed"]
    result: Any
    error: str | None


class QueueLength(Wire):
    """A queue, and how many messages no worker took yet."""

    name: str
    waiting: int


class LivingWorker(Wire):
    """A worker process that spoke within the last 45 seconds."""

    host: str
    pid: int
    queues: list[str]
    concurrency: int
    up_seconds: float


class TasksInfo(Wire):
    """The queues, the tasks that workers know, and the workers."""

    queues: list[QueueLength]
    tasks: list[str]
    workers: list[LivingWorker]


@router.post("/calculate/add", status_code=202)
async def add(
    services: ServicesDep, workspace_id: WorkspaceDep, body: Addition, response: Response
) -> QueuedTask:
    """Queue a sum."""
    return await _start(services, workspace_id, "add", body, response)


@router.post("/calculate/divide", status_code=202)
async def divide(
    services: ServicesDep, workspace_id: WorkspaceDep, body: Division, response: Response
) -> QueuedTask:
    """Queue a division; one by zero fails in the worker, as its status says."""
    return await _start(services, workspace_id, "divide", body, response)


@router.post("/workflow/chain", status_code=202)
async def run_chain(
    services: ServicesDep, workspace_id: WorkspaceDep, body: ChainedSum, response: Response
) -> QueuedTask:
    """Queue a sum and then, with its result, a division: a Celery chain."""
    return await _start(services, workspace_id, "chain", body, response)


@router.post("/workflow/parallel", status_code=202)
async def run_parallel(
    services: ServicesDep, workspace_id: WorkspaceDep, body: ParallelSum, response: Response
) -> QueuedTask:
    """Queue a sum and a division at once, then the sum of both: a Celery group in a chord."""
    return await _start(services, workspace_id, "parallel", body, response)


@router.post("/process", status_code=202)
async def process(
    services: ServicesDep, workspace_id: WorkspaceDep, body: DataToProcess, response: Response
) -> QueuedTask:
    """Queue any JSON value to be measured; the result has its size and its sha256."""
    return await _start(services, workspace_id, "process", body, response)


@router.get("/status/{task_id}")
async def read_status(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    task_id: Annotated[CleanText, Path(max_length=100, description="The task's id.")],
) -> TaskStatus:
    """Return what became of a task, for an hour after it was queued."""
    state = await services.diagnostics.find(workspace_id, task_id)
    if state is None:
        raise NotFound("There is no task with that id. Tasks are forgotten after an hour.")
    return TaskStatus(task_id=task_id, status=state.status, result=state.result, error=state.error)


@router.get("/info")
async def read_info(services: ServicesDep) -> TasksInfo:
    """Say how long the queues are, which tasks there are, and which workers live."""
    lengths = await services.diagnostics.count_waiting()
    async with services.database.system_transaction() as connection:
        workers = await list_workers(connection, ALIVE_SECONDS)
    return TasksInfo(
        queues=[QueueLength(name=name, waiting=waiting) for name, waiting in lengths.items()],
        tasks=services.diagnostics.list_tasks(),
        workers=[LivingWorker.model_validate(worker) for worker in workers],
    )


async def _start(
    services: Services,
    workspace_id: WorkspaceId,
    workflow: Workflow,
    body: Request,
    response: Response,
) -> QueuedTask:
    task_id = await services.diagnostics.start(workspace_id, workflow, body.model_dump())
    response.headers["Location"] = f"/tasks/status/{task_id}"
    return QueuedTask(task_id=task_id, status_url=f"/tasks/status/{task_id}")
