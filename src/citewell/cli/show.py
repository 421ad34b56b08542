"""How results look on a terminal."""

import re
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
ID_CHARACTERS = 36
UNLIMITED_WIDTH = 10_000
console = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(message: str) -> None:
    """Print one sentence on stderr."""
    stderr.print(f"[red]citewell:[/red] {escape(message)}")


def place_of(item: dict[str, Any]) -> str:
    """Say where a span lies: document, §section or section title, page."""
    parts = [item["document_name"]]
    if item["section"]:
        title = item.get("section_title") or ""
        numbered = item["section"] != title
        parts.append(f"§{item['section']} “{title}”" if numbered else f"“{title}”")
    if item["page"]:
        parts.append(f"page {item['page']}")
    return ", ".join(parts)


def show_answer(reply: dict[str, Any]) -> None:
    """Print an answer with its citations, or a refusal with its reason, and the time per stage."""
    for place, sentence in enumerate(reply["sentences"]):
        show_part(sentence, first=place == 0, whole=True)
    if reply["sentences"]:
        console.print()
    show_end(reply)


def show_part(part: dict[str, Any], *, first: bool, whole: bool) -> None:
    """Print a sentence of an answer, or a word of it, without ending the line."""
    gap = "" if first or not whole else " "
    console.print(gap + escape(part["text"]), end="")
    if whole and part["problems"]:
        problems = escape(", ".join(part["problems"]))
        console.print(f" [yellow](not borne out: {problems})[/yellow]", end="")


def show_end(reply: dict[str, Any]) -> None:
    """Print what follows an answer's text: citations, or a refusal, and the time per stage."""
    if reply["refused"]:
        console.print(f"[yellow]Refused[/yellow] ({reply['reason']}): {escape(reply['message'])}")
    for citation in reply["citations"]:
        console.print(
            f"  [cyan]{escape(citation['marker'])}[/cyan] {escape(place_of(citation))} "
            f"[dim]\\[{citation['start']}:{citation['end']}][/dim]"
        )
        console.print(f"      [dim]“{escape(' '.join(citation['quote'].split()))}”[/dim]")
    if reply["confidence"] is not None:
        console.print(f"  [dim]confidence {reply['confidence']:.2f}[/dim]")
    if reply["session_id"]:
        console.print(f"  [dim]session {reply['session_id']}[/dim]")
    for skipped in reply["skipped"]:
        console.print(f"  [dim]left out: {skipped['stage']} ({skipped['why']})[/dim]")
    stages = " · ".join(f"{name} {value:.1f} ms" for name, value in reply["timings_ms"].items())
    console.print(f"  [dim]{stages}[/dim]")


def show_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table: ids stay whole, so that they can be copied; a terminal's width folds the rest.

    Into a pipe or a file it is as wide as its content.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    for place, column in enumerate(columns):
        whole = any(UUID_TEXT.fullmatch(row[place]) for row in shown)
        width = ID_CHARACTERS if whole else None
        table.add_column(column, overflow="fold", no_wrap=whole, min_width=width)
    for row in shown:
        table.add_row(*map(escape, row))
    if console.is_terminal:
        console.print(table)
    else:
        Console(file=console.file, highlight=False, width=UNLIMITED_WIDTH).print(table)
