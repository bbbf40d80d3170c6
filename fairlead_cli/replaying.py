"""Decisions executed again here, from their records alone: one, or all of a journal."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fairlead.studies.again import Again, Outcome, Tally
    from fairlead_cli.client import ControlClient

PAGE = 1000
"""Summaries asked for at once, the most that the control API gives: less than 1 MB."""


def replayer() -> Callable[[str, str], "Again"]:
    """Return what executes a record, given as its name and JSON, again; the prompts are those of this Fairlead.

    Raises `InputError` where the JSON is no record.
    """
    import pydantic

    from fairlead.adapters.prompt_files import prompt_texts
    from fairlead.contracts.decisions import DecisionRecord
    from fairlead.contracts.errors import InputError, foreign
    from fairlead.studies import again

    execute = again.replayer(prompt_texts())

    def replayed(name: str, text: str) -> "Again":
        try:
            record = DecisionRecord.from_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{name} is no record of a decision: {where}: {foreign(first['msg'])}") from error
        return execute(record)

    return replayed


def everything(client: "ControlClient", agent: str | None) -> "Tally":
    """Execute all decisions of the journal again, those of one agent or of both, oldest first."""
    from urllib.parse import quote

    from fairlead.studies.again import Tally

    replayed = replayer()
    tally = Tally()
    names = sorted(_listed(client, agent), key=lambda one: (one["made_at_s"], one["id"]))
    with _progress(len(names)) as advance:
        for one in names:
            tally.add(replayed(one["id"], client.get(f"decisions/{quote(one['id'], safe='')}").text))
            advance(tally.counts)
    return tally


def _listed(client: "ControlClient", agent: str | None) -> Iterator[dict[str, Any]]:
    """Yield id and instant of each decision, from page after page."""
    cursor: str | None = None
    while True:
        page = client.get("decisions", agent=agent, limit=PAGE, cursor=cursor).json()
        yield from ({"id": one["id"], "made_at_s": one["made_at_s"]} for one in page["items"])
        cursor = page["cursor"]
        if cursor is None:
            return


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Mapping["Outcome", int]], None]]:
    """Show how far it is where a person looks on, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total)

        def advance(counts: Mapping["Outcome", int]) -> None:
            wrong = counts["different"] + counts["diverged"]
            bar.update(task, advance=1, description=f"replay, {wrong} not identical" if wrong else "replay")

        yield advance


def tell(tally: "Tally") -> None:
    """Print a tally for people, with the first difference."""
    if not tally.replayed:
        typer.echo("no decision yet: there was nothing to execute again")
        return
    typer.echo(
        f"{tally.replayed} decisions executed again: {tally.counts['identical']} identical, "
        f"{tally.counts['different']} different, {tally.counts['diverged']} diverged"
    )
    if tally.first is not None:
        typer.echo(f"first: {tally.first.id} {tally.first.outcome}: {tally.first.difference}")
