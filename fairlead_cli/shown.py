"""How results are printed: columns for people, JSON for programs."""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="From the end of a page before.", show_default=False)]


def echo_json(document: Any) -> None:
    """Print a document as JSON."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def echo_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print rows under heads in columns as wide as needed, or `empty` when there is none."""
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines:
        typer.echo(empty)
        return
    widths = [max(len(line[at]) for line in [list(heads), *lines]) for at in range(len(heads))]
    for line in ([head.upper() for head in heads], *lines):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def echo_page(
    page: Mapping[str, Any], heads: Sequence[str], row: Callable[[Any], Sequence[Any]], *, empty: str
) -> None:
    """Print a page of a listing as a table, and how to get the next one."""
    echo_table(heads, (row(one) for one in page["items"]), empty=empty)
    if page["cursor"]:
        typer.echo(f"more: --cursor {page['cursor']}")


def plain(text: str) -> str:
    """Return somebody else's text with all that is no printable character, tabs and line ends apart, as an escape.

    What a language model writes could move a terminal's cursor, or hide words, otherwise.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def indented(text: str, by: int = 4) -> str:
    """Return somebody else's text, made plain, with each line moved to the right."""
    return "\n".join(" " * by + line for line in plain(text).split("\n"))


def instant(at_s: float | None) -> str:
    """Return a domain instant as UTC to the second."""
    if at_s is None:
        return "-"
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def examples(*lines: str) -> str:
    """Return the epilogue of a command's help: lines that can be pasted."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
