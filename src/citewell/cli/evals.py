"""citewell eval: measure the answers to a question set, compare runs, and close the gate."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from citewell.cli import eval_files
from citewell.cli.client import Client, connect, list_all
from citewell.cli.options import (
    CollectionOption,
    DataOption,
    JsonOption,
    UrlOption,
    load_settings,
)
from citewell.cli.show import console, show_table, stderr
from citewell.cli.waiting import follow_job
from citewell.domain import Json
from citewell.errors import CitewellError, InputError

evals = typer.Typer(help="Evaluations: measure, compare, guard.", no_args_is_help=True, name="eval")
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A .jsonl file or a BEIR folder.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, from the list.")]
RetrievalOption = Annotated[
    bool, typer.Option("--retrieval-only", help="Search only; answer nothing.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first questions.")
]
SHOWN = 50


@evals.command("run")
def run(  # noqa: PLR0913, PLR0917 - typer reads a command's options from its arguments
    dataset: DatasetArgument,
    name: Annotated[str, typer.Option("--name", help="What the run is called.")] = "",
    limit: LimitOption = None,
    retrieval_only: RetrievalOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the figures there, as a baseline for the gate."),
    ] = None,
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search and answer a dataset's questions, and show what is measured."""
    body = _body(dataset, limit, collection, name=name, retrieval_only=retrieval_only)
    with connect(load_settings(data), url, worker=True) as client:
        ended = _make(client, body)
        if output is not None:
            rows = eval_files.read_rows(client, ended["eval_id"])
            eval_files.write(output, eval_files.baseline_of(ended, rows))
    if as_json:
        typer.echo(json.dumps(ended))
    else:
        _show(ended)


@evals.command("list")
def list_runs(
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the last runs, newest first."""
    with connect(load_settings(data), url) as client:
        found = client.send("GET", "/evals", params={"limit": SHOWN})["evals"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Evaluations",
        ["run", "at", "name", "questions", "status", "nDCG@10", "answers right"],
        [[e["eval_id"], e["created_at"], e["name"], e["question_count"], e["status"],
          _mean(e, "ndcg_at_10"), _mean(e, "answer_contains")] for e in found],
    )  # fmt: skip


@evals.command("show")
def show(
    run_id: RunArgument,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run's figures; with --json its questions too."""
    with connect(load_settings(data), url) as client:
        found = client.send("GET", f"/evals/{run_id}")
        if as_json:
            questions = list_all(client, f"/evals/{run_id}/questions", "questions", {})
            typer.echo(json.dumps({**found, "questions": questions}))
            return
    _show(found)


@evals.command("diff")
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="The run before.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The run after.")],
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is better, worse or no different, over the questions that both runs have."""
    with connect(load_settings(data), url) as client:
        found = client.send("GET", "/evals/diff", params={"a": before, "b": after})
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found["same_dataset"]:
        stderr.print(f"The datasets differ; {found['shared']} questions are in both.")
    for each in found["settings_changed"]:
        console.print(f"changed: {escape(each)}")
    _show_differences(found["differences"])


@evals.command("gate")
def gate(  # noqa: PLR0913, PLR0917 - see run
    dataset: DatasetArgument,
    baseline: Annotated[
        str, typer.Option("--baseline", help="A file that `eval run -o` wrote, or a run's id.")
    ],
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, max=1, help="How much a mean may fall.")
    ] = eval_files.TOLERANCE,
    limit: LimitOption = None,
    retrieval_only: RetrievalOption = False,
    collection: CollectionOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate, and exit 1 when a metric is worse than in the baseline by more than is allowed."""
    body = _body(dataset, limit, collection, name="gate", retrieval_only=retrieval_only)
    with connect(load_settings(data), url, worker=True) as client:
        before = eval_files.read_baseline(client, baseline)
        ended = _make(client, body)
        rows = eval_files.read_rows(client, ended["eval_id"])
    verdict = eval_files.judge(before, rows, tolerance)
    if as_json:
        typer.echo(json.dumps({"eval_id": ended["eval_id"], **verdict}))
    else:
        _show_differences(verdict["differences"])
        for name in verdict["worse"]:
            console.print(f"[red]worse[/red] {name}: by more than {tolerance:g}")
        if not verdict["worse"]:
            console.print(f"[green]open[/green]: nothing is worse by more than {tolerance:g}")
    if verdict["worse"]:
        raise typer.Exit(1)


@evals.command("trend")
def trend(
    name: Annotated[str | None, typer.Option("--name", help="Runs of this name.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the figures of the newest run's dataset went, oldest first."""
    params = {"limit": SHOWN, **({"name": name} if name else {})}
    with connect(load_settings(data), url) as client:
        found = client.send("GET", "/evals/trend", params=params)
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Trend",
        ["at", "run", "settings", "nDCG@10", "span recall", "answers right", "refusals right",
         "search p95 ms"],
        [[e["created_at"], e["eval_id"], e["settings_sha256"][:8], _mean(e, "ndcg_at_10"),
          _mean(e, "span_recall"), _mean(e, "answer_contains"), _mean(e, "refusal_accuracy"),
          e["figures"]["search_ms"].get("p95")] for e in found["evals"]],
    )  # fmt: skip


@evals.command("report")
def report(
    run_id: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; without it, stdout.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Write a run as one HTML file with plots, which needs nothing from outside."""
    from citewell.evals.report import write_report  # noqa: PLC0415 - only this command pays for it

    with connect(load_settings(data), url) as client:
        found = client.send("GET", f"/evals/{run_id}")
        _require_end(found)
        html = write_report(found, eval_files.read_rows(client, run_id))
    if output is None:
        typer.echo(html)
    else:
        eval_files.write(output, html)


@evals.command("dataset")
def dataset(
    source: Annotated[str, typer.Option("--from", help="chat-logs or feedback.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .jsonl.")],
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Make a dataset of what was asked and answered; what needs a look goes to a file beside it."""
    if source not in eval_files.SOURCES:
        raise typer.BadParameter("--from needs chat-logs or feedback.")
    with connect(load_settings(data), url) as client:
        kept, review = eval_files.SOURCES[source](client)
    eval_files.write_lines(output, kept)
    stderr.print(f"{len(kept)} questions in {escape(str(output))}.")
    if review:
        beside = output.with_suffix(".review.jsonl")
        eval_files.write_lines(beside, review)
        stderr.print(f"{len(review)} to be looked at in {escape(str(beside))}.")


def _body(
    path: Path, limit: int | None, collection: str | None, *, name: str, retrieval_only: bool
) -> Json:
    from citewell.evals.datasets import read_dataset  # noqa: PLC0415 - see report

    questions = [each.to_json() for each in read_dataset(path)[:limit]]
    return {"questions": questions, "name": name or path.stem, "collection": collection,
            "retrieval_only": retrieval_only}  # fmt: skip


def _make(client: Client, body: Json) -> Json:
    """Have a run made, and wait for its end."""
    made = client.send_patiently("POST", "/evals", lambda: {"json": body})
    follow_job(client, made["eval_id"], "Evaluating")
    ended = client.send("GET", f"/evals/{made['eval_id']}")
    _require_end(ended)
    return ended


def _require_end(found: Json) -> None:
    if found["status"] == "failed":
        raise CitewellError(found["message"] or "The evaluation failed. Start it again.")
    if found["status"] != "succeeded":
        raise InputError("The evaluation has not ended yet. Wait for it: `citewell eval list`.")


def _show(found: Json) -> None:
    console.print(
        f"{escape(found['name'])} [dim]{found['eval_id']} · {found['created_at']} · "
        f"{found['question_count']} questions · {found['status']}[/dim]"
    )
    figures = found["figures"]
    show_table(
        "",
        ["metric", "mean", "95 %", "questions"],
        [[name, f"{mean['mean']:.4f}", f"{mean['low']:.4f} – {mean['high']:.4f}", mean["count"]]
         for name, mean in figures["metrics"].items()],
    )  # fmt: skip
    for name in ("search_ms", "answer_ms"):
        if figures[name]:
            console.print(f"{name} p50 {figures[name]['p50']:.1f}, p95 {figures[name]['p95']:.1f}")
    if figures["cost_usd"] is not None:
        console.print(f"cost {figures['cost_usd']:.4f} US dollars, {figures['tokens']} tokens")
    if figures["failed"]:
        console.print(f"[yellow]{figures['failed']} questions failed[/yellow]")


def _show_differences(differences: list[Json]) -> None:
    show_table(
        "",
        ["metric", "before", "after", "difference", "95 %", "questions", "verdict"],
        [[e["metric"], f"{e['before']:.4f}", f"{e['after']:.4f}", f"{e['difference']:+.4f}",
          f"{e['low']:+.4f} – {e['high']:+.4f}", e["count"], e["verdict"]] for e in differences],
    )  # fmt: skip


def _mean(found: Json, name: str) -> str:
    mean = found["figures"]["metrics"].get(name)
    return "" if mean is None else f"{mean['mean']:.4f}"
