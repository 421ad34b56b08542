"""citewell jobs, reindex: what runs in the background; and all of it once more."""

import json
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import Client, connect, list_all
from citewell.cli.options import (
    CollectionOption,
    DataOption,
    JsonOption,
    PasswordOption,
    UrlOption,
    load_settings,
)
from citewell.cli.show import console, show_error, show_table
from citewell.cli.waiting import follow_job, stage_of

ENDED_BADLY = {"failed", "cancelled"}


def jobs(  # noqa: PLR0913, PLR0917 - typer reads a command's options from its arguments
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB_ID]", help="Show this job.", show_default=False)
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="queued, running, done, failed, cancelled.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="ingest, reindex, texts, part, answer, export.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for the job's end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the job.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try the job again.")] = False,
    password: PasswordOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first; or show, follow, cancel or retry one."""
    if job_id is None and (follow or cancel or retry):
        raise typer.BadParameter("--follow, --cancel and --retry need the id of a job.")
    if cancel and retry:
        raise typer.BadParameter("Choose one of --cancel and --retry.")
    with connect(load_settings(data), url, worker=follow) as client:
        if job_id is None:
            wanted = {"status": status, "kind": kind}
            query = {key: value for key, value in wanted.items() if value}
            _show_list(list_all(client, "/jobs", "jobs", query), as_json=as_json)
            return
        if cancel or retry:
            body = {"password": password} if retry and password else None
            client.send("POST", f"/jobs/{job_id}/{'cancel' if cancel else 'retry'}", json=body)
        job = (
            follow_job(client, job_id, "Working")
            if follow
            else client.send("GET", f"/jobs/{job_id}")
        )
        if as_json:
            typer.echo(json.dumps(job))
        else:
            _show_one(client, job)
    if follow and job["status"] in ENDED_BADLY:
        raise typer.Exit(1)


def reindex(
    document_id: Annotated[
        str | None,
        typer.Argument(metavar="[DOCUMENT_ID]", help="Only this document.", show_default=False),
    ] = None,
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a document or a collection anew, with the present settings, and wait for it."""
    if (document_id is None) == (collection is None):
        raise typer.BadParameter("Name either a document's id or a --collection.")
    path = f"/documents/{document_id}" if document_id else f"/collections/{collection}"
    with connect(load_settings(data), url, worker=True) as client:
        started = client.send("POST", f"{path}/reindex")
        job = follow_job(client, started["job_id"], "Reindexing")
        lost = _list_lost(client, job)
    if as_json:
        typer.echo(json.dumps(job))
    else:
        for item in lost:
            show_error(f"{item['document_name'] or 'a deleted document'}: {item['message']}")
        done = started["documents"] - len(lost)
        console.print(f"{done} {'document' if done == 1 else 'documents'} read anew.")
    if lost or job["status"] in ENDED_BADLY:
        raise typer.Exit(1)


def _list_lost(client: Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the jobs that failed or were cancelled: the job itself, or those that it waits for."""
    if job["document_id"] is not None:
        return [job] if job["status"] in ENDED_BADLY else []
    lost: list[dict[str, Any]] = []
    for status in sorted(ENDED_BADLY):
        query = {"parent_id": job["job_id"], "status": status}
        lost += list_all(client, "/jobs", "jobs", query)
    return lost


def _show_list(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        f"{len(found)} jobs",
        ["id", "kind", "document", "status", "done", "tries", "why"],
        [
            [
                item["job_id"],
                item["kind"],
                item["document_name"],
                item["status"],
                f"{item['share']:.0%}",
                item["attempt"],
                item["message"],
            ]
            for item in found
        ],
    )


def _show_one(client: Client, job: dict[str, Any]) -> None:
    what = job["document_name"] or job["kind"]
    console.print(f"{escape(what)}: {escape(stage_of(job))}, {job['share']:.0%} done")
    if job["message"]:
        console.print(f"  {escape(job['message'])}")
    for step in job["steps"]:
        seconds = "" if step["seconds"] is None else f"{step['seconds']:.2f} s"
        console.print(f"  {step['name']:<8} {step['status']:<10} {seconds}")
    if job["part_count"]:
        console.print(
            f"  {job['part_count']} parts, {job['open_parts']} open, {job['failed_parts']} failed"
        )
    if job["failed_parts"]:
        for item in _list_lost(client, job):
            show_error(f"{item['document_name'] or 'a deleted document'}: {item['message']}")
