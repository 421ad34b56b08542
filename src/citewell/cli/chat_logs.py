"""citewell chat-logs: what was asked, how it was answered, and what it took."""

import json
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import connect, list_all
from citewell.cli.options import DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_answer, show_table

chat_logs = typer.Typer(
    help="Questions and answers: who asked, what it took.", no_args_is_help=True, name="chat-logs"
)
SHOWN = 50
QUESTION_CHARACTERS = 60


@chat_logs.command("list")
def list_questions(  # noqa: PLR0913, PLR0917 - a command has as many options
    search: Annotated[str | None, typer.Argument(help="A part of the question.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", help="How it was answered.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which model answered.")] = None,
    refused: Annotated[
        bool | None, typer.Option("--refused/--answered", help="Refusals, or answers, only.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="A refusal's reason.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="complete or incomplete.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="A session's id.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who asked.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All of them, not only the last {SHOWN}.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List questions, newest first."""
    given = {
        "q": search,
        "mode": mode,
        "model": model,
        "refused": None if refused is None else str(refused).lower(),
        "reason": reason,
        "status": status,
        "session_id": session,
        "actor": actor,
        "from": since,
        "to": until,
    }
    query = {name: value for name, value in given.items() if value is not None}
    with connect(load_settings(data), url) as client:
        if everything:
            found = list_all(client, "/chat-logs", "chat_logs", query)
        else:
            found = client.send("GET", "/chat-logs", params={**query, "limit": SHOWN})["chat_logs"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    show_table(
        "Questions",
        ["answer", "at", "actor", "mode", "outcome", "ms", "tokens", "question"],
        [[e["answer_id"], e["created_at"], e["actor"], e["mode"], _outcome(e), _total(e),
          e["input_tokens"] + e["output_tokens"], _question(e)] for e in found],
    )  # fmt: skip


@chat_logs.command("show")
def show(
    answer_id: Annotated[str, typer.Argument(metavar="ID", help="An answer's id, from the list.")],
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one question with its answer, its citations and what it took."""
    with connect(load_settings(data), url) as client:
        entry = client.send("GET", f"/chat-logs/{answer_id}")
    if as_json:
        typer.echo(json.dumps(entry))
        return
    console.print(f"{escape(entry['question'] or '(removed)')}")
    console.print(
        f"[dim]{entry['created_at']} · {escape(entry['actor'])} · {entry['channel']} · "
        f"{escape(entry['mode'])} · {escape(entry['model'])} · {_outcome(entry)}[/dim]"
    )
    if entry["answer"] is not None:
        show_answer(entry["answer"])
        return
    console.print(
        f"The text is gone; it had {entry['citation_count']} citations, took {_total(entry)} ms "
        f"and {entry['input_tokens'] + entry['output_tokens']} tokens."
    )


def _outcome(entry: dict[str, Any]) -> str:
    if entry["status"] == "incomplete" or entry["refused"]:
        return str(entry["reason"])
    return "answered"


def _total(entry: dict[str, Any]) -> str:
    timings = entry["timings_ms"]
    return f"{timings.get('total', sum(timings.values())):.0f}"


def _question(entry: dict[str, Any]) -> str:
    text = " ".join((entry["question"] or "(removed)").split())
    return text if len(text) <= QUESTION_CHARACTERS else text[: QUESTION_CHARACTERS - 1] + "…"
