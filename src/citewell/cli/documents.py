"""citewell documents: what is there, and what was read from it."""

import json
from typing import Annotated, Any

import typer
from rich.markup import escape

from citewell.cli.client import connect, list_all
from citewell.cli.options import CollectionOption, DataOption, JsonOption, UrlOption, load_settings
from citewell.cli.show import console, show_table

MEBIBYTE = 1024 * 1024


def documents(
    document_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[DOCUMENT_ID]", help="Show this document's report.", show_default=False
        ),
    ] = None,
    collection: CollectionOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the document.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List documents; or show what was read from one and what was not, or delete it."""
    if delete and document_id is None:
        raise typer.BadParameter("--delete needs the id of a document.")
    with connect(load_settings(data), url) as client:
        if delete:
            client.send("DELETE", f"/documents/{document_id}")
            console.print("Deleted.")
            return
        if document_id is not None:
            shown = client.send("GET", f"/documents/{document_id}")
            if as_json:
                typer.echo(json.dumps(shown))
            else:
                show_document(shown)
            return
        query = {} if collection is None else {"collection": collection}
        found = list_all(client, "/documents", "documents", query)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show_list(found)


def _show_list(found: list[dict[str, Any]]) -> None:
    show_table(
        f"{len(found)} documents",
        ["id", "name", "collection", "status", "chunks", "why"],
        [
            [
                item["document_id"],
                item["name"],
                item["collection"],
                item["status"],
                item["chunk_count"],
                item["reason"],
            ]
            for item in found
        ],
    )


def show_document(item: dict[str, Any]) -> None:
    """Print a document with its truth report: what was read, what was skipped and why."""
    console.print(f"[bold]{escape(item['source'])}[/bold] in {escape(item['collection'])}")
    status = item["status"] + (f" ({item['reason']})" if item["reason"] else "")
    rows = [
        ("status", status),
        ("why", item["message"]),
        ("title", item["title"]),
        ("version", item["version"]),
        ("kind", item["media_type"]),
        ("readers", None if item["readers"] is None else ", ".join(item["readers"]) or "admins"),
        ("size", None if item["size_bytes"] is None else f"{item['size_bytes']:,} bytes"),
        *_report_rows(item["report"] or {}),
    ]
    for name, value in rows:
        if value not in {None, ""}:
            console.print(f"  {name:<12} {escape(str(value))}")


def _report_rows(report: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return a truth report's lines; what it does not say is left out."""
    if not report:
        return []
    counted = ("pages", "characters", "sections", "tables", "images", "chunks")
    rows: list[tuple[str, Any]] = [
        (name, f"{report[name]:,}") for name in counted if report.get(name) is not None
    ]
    rows.append(("encoding", report.get("encoding")))
    if report.get("pages_without_text"):
        rows.append(("no text on", "page " + ", ".join(map(str, report["pages_without_text"]))))
    rows += [
        ("skipped", f"{item['count']} × {item['what']}: {item['why']}")
        for item in report.get("skipped", [])
    ] or [("skipped", "nothing")]
    rows += [("warning", warning) for warning in report.get("warnings", [])]
    rows.append(("read in", f"{report.get('seconds', 0):.2f} s"))
    rows.append(("memory", f"{report.get('peak_memory_bytes', 0) / MEBIBYTE:,.0f} MiB"))
    return rows
