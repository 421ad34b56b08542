"""How workers are told of jobs, and how the way there is tried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from citewell.domain import QUEUES, JobId, Task, WorkspaceId


def task_name(task: Task) -> str:
    """Return the name that a task's messages carry."""
    return f"citewell.{task}"


class Queue(Protocol):
    """Tells workers that jobs wait. A hint only: PostgreSQL is the ledger."""

    async def send(self, task: Task, jobs: Sequence[tuple[WorkspaceId, JobId]]) -> None:
        """Send a message for each job to the queue of what is next to be done for it.

        Raises:  Unavailable – the broker does not answer; the jobs are sent again later.
        """
        ...

    async def count_waiting(self, queues: Sequence[str] = QUEUES) -> int:
        """Count messages in these queues that no worker took yet.

        Raises:  Unavailable – the broker does not answer.
        """
        ...


Workflow = Literal["add", "divide", "chain", "parallel", "process"]


@dataclass(frozen=True, slots=True)
class TaskState:
    """What became of a diagnostic task; ``error`` is a sentence for people."""

    status: Literal["pending", "started", "done", "failed"]
    result: Any = None
    error: str | None = None


class Diagnostics(Protocol):
    """Small tasks that go the whole way: broker, worker, result; they touch no document.

    Raises:  Unavailable – the broker does not answer; from each method but ``list_tasks``.
    """

    async def start(
        self, workspace_id: WorkspaceId, workflow: Workflow, values: Mapping[str, Any]
    ) -> str:
        """Send a workflow's tasks; return the id under which ``find`` knows it for an hour."""
        ...

    async def find(self, workspace_id: WorkspaceId, task_id: str) -> TaskState | None:
        """Return a workflow's state; None for an id that this workspace was not given."""
        ...

    async def count_waiting(self) -> Mapping[str, int]:
        """Count the messages in each queue that no worker took yet."""
        ...

    def list_tasks(self) -> list[str]:
        """List the names of the tasks that workers know."""
        ...
