"""Mutated uploads through the API of a running ``up``: nothing crashes, nothing hangs."""

from collections import Counter
from datetime import datetime
from typing import Any

from chaos.faults import upload_hostile
from chaos.hostile import mutated
from chaos.installation import Installation
from chaos.outcome import Outcome
from chaos.rounds import ENDED, Bench

AT_ONCE = 100
HANG_SECONDS = 30.0


def upload_mutations(installation: Installation, count: int, seed: int) -> Outcome:
    """Upload so many mutated files in batches, each deleted when all of its jobs have ended."""
    with Bench(installation, []) as bench:
        return _upload_mutations(bench, count, seed)


def _upload_mutations(bench: Bench, count: int, seed: int) -> Outcome:
    outcome, installation = Outcome("mutated uploads"), bench.installation
    processes = _pids(installation)
    source = mutated(count, seed)
    reasons: Counter[str] = Counter()
    while files := source.take(AT_ONCE):
        outcome.times += len(files)
        items = upload_hostile(bench.client, "default", files)
        accepted = [item for item in items if item["job_id"]]
        reasons["refused"] += len(files) - len(accepted)
        outcome.accepted += len(accepted)
        outcome.not_ended += bench.wait_ended(accepted)
        for job in _jobs(bench, {item["job_id"] for item in accepted}):
            _judge(job, outcome, reasons)
        for document in {item["document_id"] for item in accepted}:
            bench.client.ask("DELETE", f"/documents/{document}", {204, 404})
    if installation.running.process.poll() is not None:
        outcome.wrong.append("the API ended")
    if _pids(installation) != processes:
        outcome.wrong.append("a worker ended")
    outcome.wrong += list(dict.fromkeys(bench.client.wrong))
    outcome.orphans += installation.verify()
    outcome.remark = ", ".join(f"{reason} {times:,}" for reason, times in reasons.most_common())
    return outcome


def _pids(installation: Installation) -> set[int]:
    return {process.pid for process in installation.running.workers()}


def _jobs(bench: Bench, wanted: set[str]) -> list[dict[str, Any]]:
    """Return the jobs of one batch, which are among the newest."""
    newest = bench.client.get("/jobs", limit=200).json()["jobs"]
    found = {job["job_id"]: job for job in newest if job["job_id"] in wanted}
    for missing in wanted - found.keys():
        found[missing] = bench.client.get(f"/jobs/{missing}").json()
    return list(found.values())


def _judge(job: dict[str, Any], outcome: Outcome, reasons: Counter[str]) -> None:
    """Count one job's end."""
    reasons[job["reason"] or job["status"]] += 1
    if job["status"] == "failed" and not job["reason"]:
        outcome.wrong.append(f"{job['document_name']} failed without a reason")
    if job["status"] not in ENDED or not job["started_at"]:
        return
    begun, ended = (datetime.fromisoformat(job[at]) for at in ("started_at", "finished_at"))
    seconds = (ended - begun).total_seconds()
    outcome.seconds = max(outcome.seconds, seconds)
    if seconds > HANG_SECONDS:
        outcome.wrong.append(f"{job['document_name']} took {seconds:.0f} s")
