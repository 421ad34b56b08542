"""One round: the workload goes in while a fault is made; then all must be as in a clean run."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count as counting
from typing import Any, Self

import httpx

from chaos.client import Client
from chaos.index import Index, compare, read_index
from chaos.installation import Installation, open_installation
from chaos.outcome import Outcome
from chaos.workload import Deletion, Step, Upload

END_SECONDS = 600.0
STUCK_SECONDS = 100.0
"""Jobs are given up when none has ended for so long: a slow machine is not a stuck one."""
POLL_SECONDS = 0.1
ENDED = {"done", "failed", "cancelled"}
_collections = counting(1)


@dataclass
class Work:
    """The workload on its way into one collection, in a thread of its own."""

    client: Client
    steps: Sequence[Step]
    collection: str
    accepted: list[dict[str, Any]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    failure: BaseException | None = None
    struck_at: float = 0.0
    """When the last fault was made, or ended, in seconds since 1970."""

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="workload", daemon=True)
        self._thread.start()

    @property
    def uploading(self) -> bool:
        """Whether steps are left."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for the last step's answer."""
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self.client.ask("POST", "/collections", {201, 409}, json={"name": self.collection})
            for step in self.steps:
                if isinstance(step, Deletion):
                    self._delete(step)
                else:
                    self._upload(step)
        except (AssertionError, httpx.HTTPError, KeyError, ValueError) as error:
            self.failure = error

    def _upload(self, step: Upload) -> None:
        for item in self.client.upload(self.collection, step.files):
            if item["status"] == "rejected":
                self.client.wrong.append(f"{item['name']} was rejected: {item['reason']}")
            elif item["job_id"] is not None:
                self.accepted.append(item)

    def _delete(self, step: Deletion) -> None:
        (found,) = {item["document_id"] for item in self.accepted if item["name"] == step.name}
        self.client.ask("DELETE", f"/documents/{found}", {204, 404})
        self.deleted.add(step.name)


class Bench:
    """An installation, a workload and the index that a clean run makes of it."""

    def __init__(self, installation: Installation, steps: Sequence[Step]) -> None:
        self.installation = installation
        self.client = Client(installation)
        self.steps = steps
        self.expected = Index({}, [])
        self._old: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__()

    def clean_run(self) -> float:
        """Run the workload without a fault, for the index to compare with; return the seconds."""
        started = time.monotonic()
        outcome = self.run("nothing", lambda _: 0, clean=True)
        assert not outcome.faults, outcome.faults
        assert self.expected.documents
        return time.monotonic() - started

    def run(self, fault: str, make: Callable[[Work], int], *, clean: bool = False) -> Outcome:
        """Run the workload, make the fault meanwhile, wait for the end, compare and check."""
        outcome = self._run(fault, make, clean)
        if outcome.faults:
            outcome.log = self.installation.keep_log()
        return outcome

    def _run(self, fault: str, make: Callable[[Work], int], clean: bool) -> Outcome:
        outcome = Outcome(fault)
        self.client.wrong.clear()
        work = Work(self.client, self.steps, f"round-{next(_collections)}")
        work.start()
        try:
            outcome.times = make(work)
            work.join()
            outcome.not_ended = self.wait_ended(work.accepted)
            outcome.seconds = time.time() - work.struck_at if work.struck_at else 0.0
        except AssertionError as error:
            outcome.not_ended.append(str(error))
            return outcome
        outcome.accepted = len({item["job_id"] for item in work.accepted})
        found = read_index(self.client, work.collection)
        if clean:
            self.expected = found
        difference = compare(self.expected, found)
        outcome.lost, outcome.orphans = difference.lost, difference.orphans
        outcome.doubled = difference.doubled + self.installation.doubled_publications()
        outcome.orphans += self.installation.verify()
        outcome.wrong = list(dict.fromkeys(self.client.wrong))
        self._clear(work.collection)
        return outcome

    def open_jobs(self) -> int:
        """Count queued and running jobs, 200 of each at most."""
        return sum(
            len(self.client.get("/jobs", status=status, limit=200).json()["jobs"])
            for status in ("queued", "running")
        )

    def wait_ended(self, accepted: Sequence[dict[str, Any]]) -> list[str]:
        """Wait until no job is open; return each accepted upload whose job has not ended."""
        started = changed = time.monotonic()
        before = -1
        while (count := self.open_jobs()) and time.monotonic() < started + END_SECONDS:
            if count != before:
                before, changed = count, time.monotonic()
            if time.monotonic() > changed + STUCK_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        left = []
        for job_id, name in {item["job_id"]: item["name"] for item in accepted}.items():
            reply = self.client.ask("GET", f"/jobs/{job_id}", {200, 404})
            status = reply.json()["status"] if reply.status_code == 200 else "unknown"
            if status not in ENDED:
                left.append(f"{name}'s job is {status}")
        return left

    def _clear(self, collection: str) -> None:
        """Delete the round before this one: less to carry, and one more thing to go wrong."""
        if self._old is not None:
            for row in self.client.pages("/documents", "documents", collection=self._old):
                self.client.ask("DELETE", f"/documents/{row['document_id']}", {204, 404})
        self._old = collection


@contextmanager
def open_bench(steps: Sequence[Step]) -> Iterator[Bench]:
    """Have an installation run inside the block that did the workload once without a fault."""
    with open_installation() as installation, Bench(installation, steps) as bench:
        bench.clean_run()
        yield bench
