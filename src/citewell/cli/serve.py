"""citewell up, api, worker, migrate: the processes.

What they run is loaded when they run, since every other command would wait for it too.
"""

# ruff: noqa: PLC0415

import asyncio
import shutil
import sys
from typing import Annotated

import typer

from citewell import embedded
from citewell.cli.options import DataOption, load_settings
from citewell.cli.show import console
from citewell.domain import QUEUES
from citewell.errors import InputError
from citewell.settings import Settings, default_data_folder, key_required
from citewell.telemetry import configure_logging

HostOption = Annotated[
    str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")
]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="Port to listen on.", show_default="8000"),
]


def up(data: DataOption = None, host: HostOption = None, port: PortOption = None) -> None:
    """Start everything: PostgreSQL, Valkey, workers, and the API. Ctrl-C ends it all."""
    from citewell.cli.ledger import make_first_key
    from citewell.cli.server import bind, make_server, require_keys
    from citewell.cli.stack import open_backend
    from citewell.cli.supervisor import supervised_workers

    settings = load_settings(data, host=host, port=port)
    configure_logging(settings.log.level, settings.log.format)
    require_keys(settings)
    embedded.require_free(settings)
    with bind(settings.host, settings.port) as listener:
        console.print("Starting PostgreSQL, Valkey, workers and the API …")
        with open_backend(settings) as ready:
            url = f"http://{_authority(settings.host, listener.getsockname()[1])}"
            embedded.announce(settings.data, url)
            first_key = asyncio.run(make_first_key(ready))
            server = make_server(ready)
            with supervised_workers(ready, server):
                _welcome(ready, url, first_key)
                server.run(sockets=[listener])
    console.print("Stopped. Your data stays in the data folder.")


def api(host: HostOption = None, port: PortOption = None, data: DataOption = None) -> None:
    """Serve the API only, on your own PostgreSQL and Valkey (CITEWELL_DATABASE_URL, _REDIS_URL)."""
    from citewell.cli.ledger import migrate_database
    from citewell.cli.server import bind, make_server, require_keys
    from citewell.cli.stack import require_models

    settings = load_settings(data, host=host, port=port)
    configure_logging(settings.log.level, settings.log.format)
    require_keys(settings)
    require_models(settings)
    asyncio.run(migrate_database(settings))
    with bind(settings.host, settings.port) as listener:
        make_server(settings).run(sockets=[listener])


def worker(
    queues: Annotated[
        str, typer.Option("--queues", "-Q", help="Queues to work on, with commas between them.")
    ] = ",".join(QUEUES),
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, max=1024, help="Jobs at once.", show_default="64"
        ),
    ] = None,
    data: DataOption = None,
    supervision: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run jobs only, from your own PostgreSQL and Valkey."""
    from citewell.cli.stack import require_models
    from citewell.worker import Supervision, run_worker

    settings = load_settings(data)
    configure_logging(settings.log.level, settings.log.format)
    wanted = [name.strip() for name in queues.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in QUEUES] or ([""] if not wanted else []):
        raise InputError(
            f"There is no queue named {unknown[0]!r}. The queues are: {', '.join(QUEUES)}."
        )
    if concurrency is not None:
        jobs = settings.jobs.model_copy(update={"concurrency": concurrency})
        settings = settings.model_copy(update={"jobs": jobs})
    require_models(settings)
    pipes = None if supervision is None else Supervision(*map(int, supervision.split(",")))
    run_worker(settings, wanted, pipes)


def migrate(data: DataOption = None) -> None:
    """Bring the database to the newest schema; `up` and `api` do this by themselves."""
    from citewell.cli.ledger import migrate_database

    settings = load_settings(data)
    with embedded.start(settings) as ready:
        changed = asyncio.run(migrate_database(ready))
    console.print("Migrated." if changed else "The schema is the newest one already.")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _welcome(settings: Settings, url: str, first_key: str | None) -> None:
    command = "citewell" if shutil.which("citewell") else sys.argv[0]
    option = "" if settings.data == default_data_folder() else f" --data {settings.data}"
    console.print(
        f"""
[bold]Citewell serves {url}[/bold]   data: {settings.data}

Try next, in another terminal:
  {command} ingest FOLDER{option}
  {command} ask "A question about what is in it?"{option}
  curl -F files=@report.pdf {url}/documents/upload
  curl -X POST --get --data-urlencode "q=What is in the report?" {url}/query
  {url}/docs   every address, with examples

Ctrl-C stops everything.
"""
    )
    if key_required(settings):
        console.print("Requests need an API key: `Authorization: Bearer KEY`.")
    else:
        console.print("Only this machine can reach it, so no key is needed; a key is honoured.")
    if first_key is not None:
        console.print("The first start made an owner's key. Keep it now; it is not shown again:")
        typer.echo(first_key)
