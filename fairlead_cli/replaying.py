"""Decisions executed again here, from their records alone: one, or all of a journal."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from fairlead_cli.client import ControlClient

Outcome = Literal["identical", "different", "diverged"]

PAGE = 1000
"""Summaries asked for at once, the most that the control API gives: less than 1 MB."""


DIFFERENCE_CHARS = 4096
"""Of a difference that are shown, as `Replayed.difference` keeps them: a line of a question can be a whole schema."""


@dataclass(frozen=True, slots=True)
class Again:
    """What came of a decision executed again."""

    id: str
    outcome: Outcome
    """`different`: another decision on the same input and answers; `diverged`: another question to the model."""
    difference: str


@dataclass(slots=True)
class Tally:
    """What came of many; the first that was not identical is kept."""

    counts: dict[Outcome, int] = field(default_factory=lambda: {"identical": 0, "different": 0, "diverged": 0})
    first: Again | None = None

    def add(self, one: Again) -> None:
        """Count one."""
        self.counts[one.outcome] += 1
        if self.first is None and one.outcome != "identical":
            self.first = one

    @property
    def replayed(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    @property
    def holds(self) -> bool:
        """Whether there were any, and all were identical."""
        return 0 < self.replayed == self.counts["identical"]

    def document(self) -> dict[str, Any]:
        """Return the tally as JSON values."""
        first = self.first
        told = {"id": first.id, "outcome": first.outcome, "difference": first.difference} if first else None
        return {
            "replayed": self.replayed,
            "identical": self.counts["identical"],
            "different": self.counts["different"],
            "diverged": self.counts["diverged"],
            "first": told,
        }


def replayer() -> Callable[[str, str], Again]:
    """Return what executes a record, given as its name and JSON, again; the prompts are those of this Fairlead.

    Raises `InputError` where the JSON is no record.
    """
    import pydantic

    from fairlead.adapters.prompt_files import prompt_texts
    from fairlead.contracts.decisions import DecisionRecord
    from fairlead.contracts.errors import Diverged, InputError, foreign
    from fairlead.policy.replay import again

    prompts = prompt_texts()

    def replayed(name: str, text: str) -> Again:
        try:
            record = DecisionRecord.from_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{name} is no record of a decision: {where}: {foreign(first['msg'])}") from error
        try:
            made = again(record, prompts)
        except Diverged as diverged:
            return Again(record.id, "diverged", str(diverged)[:DIFFERENCE_CHARS])
        return Again(record.id, "identical" if made.identical else "different", made.difference)

    return replayed


def everything(client: "ControlClient", agent: str | None) -> Tally:
    """Execute all decisions of the journal again, those of one agent or of both, oldest first."""
    from urllib.parse import quote

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
def _progress(total: int) -> Iterator[Callable[[Mapping[Outcome, int]], None]]:
    """Show how far it is where a person looks on, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total)

        def advance(counts: Mapping[Outcome, int]) -> None:
            wrong = counts["different"] + counts["diverged"]
            bar.update(task, advance=1, description=f"replay, {wrong} not identical" if wrong else "replay")

        yield advance


def tell(tally: Tally) -> None:
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
