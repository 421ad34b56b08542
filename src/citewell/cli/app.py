"""The ``citewell`` command: its verbs, its exit codes, and how errors are shown.

Exit codes: 0 done · 1 it failed, and stderr says why · 2 the command line is wrong · 130 Ctrl-C.
"""

import sys
from typing import Annotated

import httpx
import typer

from citewell import __version__
from citewell.cli import (
    answers,
    audit,
    chat_logs,
    collections,
    demo,
    documents,
    evals,
    exports,
    files,
    jobs,
    keys,
    operate,
    search,
    serve,
    usage,
    workspaces,
)
from citewell.cli.options import choose_workspace
from citewell.cli.show import show_error
from citewell.errors import CitewellError
from citewell.telemetry import configure_logging

app = typer.Typer(
    name="citewell",
    help="Answers from your documents, with the exact span behind every sentence.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"citewell {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace", "-w", help="The workspace's name or id, before the command: -w NAME ask."
        ),
    ] = None,
) -> None:
    """Answers from your documents, with the exact span behind every sentence."""
    configure_logging("error", "plain")
    choose_workspace(workspace)


app.command("up", rich_help_panel="Run")(serve.up)
app.command("demo", rich_help_panel="Run")(demo.demo)
app.command("api", rich_help_panel="Run")(serve.api)
app.command("worker", rich_help_panel="Run")(serve.worker)
app.command("migrate", rich_help_panel="Run")(serve.migrate)
app.command("ingest", rich_help_panel="Use")(files.ingest)
app.command("ask", rich_help_panel="Use")(answers.ask)
app.command("replay", rich_help_panel="Use")(answers.replay)
app.command("feedback", rich_help_panel="Use")(answers.feedback)
app.command("search", rich_help_panel="Use")(search.search)
app.command("suggest", rich_help_panel="Use")(search.suggest)
app.command("documents", rich_help_panel="Use")(documents.documents)
app.command("collections", rich_help_panel="Use")(collections.collections)
app.command("jobs", rich_help_panel="Use")(jobs.jobs)
app.command("reindex", rich_help_panel="Use")(jobs.reindex)
app.command("export", rich_help_panel="Use")(exports.export)
app.add_typer(keys.keys, rich_help_panel="Look after")
app.add_typer(audit.audit, rich_help_panel="Look after")
app.add_typer(chat_logs.chat_logs, rich_help_panel="Look after")
app.add_typer(workspaces.workspaces, rich_help_panel="Look after")
app.command("usage", rich_help_panel="Look after")(usage.usage)
app.add_typer(evals.evals, rich_help_panel="Look after")
app.command("settings", rich_help_panel="Look after")(operate.settings)
app.command("doctor", rich_help_panel="Look after")(operate.doctor)
app.command("verify", rich_help_panel="Look after")(operate.verify)


def main() -> None:
    """Run one command; a known error becomes one sentence on stderr."""
    try:
        app()
    except CitewellError as error:
        show_error(error.message)
        sys.exit(1)
    except httpx.TimeoutException:
        show_error("The server took too long to answer. Try again, or look at its log.")
        sys.exit(1)
    except httpx.TransportError:
        show_error("The server does not answer. Check --url, or start one with `citewell up`.")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
