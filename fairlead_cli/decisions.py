"""`fairlead decisions`: what was decided, why, and whether deciding again gives the same."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead_cli import replaying
from fairlead_cli.dialogues import tell, tell_worth
from fairlead_cli.explained import explain, tell_head, tell_troubles
from fairlead_cli.forecasts import tell_forecast
from fairlead_cli.names import an_agent
from fairlead_cli.notes import tell_words
from fairlead_cli.shown import AsJson, Cursor, Limit, echo_json, echo_page, examples, instant
from fairlead_cli.slots import tell_slot

Id = Annotated[str, typer.Argument(help="Id of a decision, such as slot-12.", show_default=False)]
Reply = Annotated[bool, typer.Option("--reply", help="With what the language model replied, as it came.")]
Prompt = Annotated[bool, typer.Option("--prompt", help="With what it was asked, in full.")]

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on decisions."""
    app.add_typer(group, name="decisions", help="What was decided, why, and the same again from the journal.")


@group.command(
    "list",
    epilog=examples(
        "fairlead decisions list --agent planner",
        "fairlead decisions list --limit 1000 --json",
    ),
)
def list_(
    agent: Annotated[
        str | None, typer.Option("--agent", help="planner or slot-agent; both by default.", show_default=False)
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List decisions, newest first; `asks` counts the questions to a language model."""
    an_agent(agent)
    from fairlead_cli.client import locate

    page = locate().get("decisions", agent=agent, limit=limit, cursor=cursor).json()
    if as_json:
        echo_json(page)
        return
    echo_page(
        page,
        ("id", "made at", "kind", "number", "source", "asks", "steps", "plan", "placement", "table", "took"),
        _row,
        empty="no decision yet",
    )


@group.command(
    "show",
    epilog=examples(
        "fairlead decisions show slot-12",
        "fairlead decisions show slot-table-31 --reply",
        "fairlead decisions show slot-12 --json > record.json",
    ),
)
def show(
    decision: Id,
    reply: Reply = False,
    prompt: Prompt = False,
    as_json: AsJson = False,
) -> None:
    """Show a decision: the rungs of the ladder, the dialogue with a language model, what it turned out to be worth.

    The journal keeps a dialogue with the decision that follows it: an advice, or an epoch. --json prints all of it.
    """
    from fairlead_cli.client import locate

    control, path = locate(), f"decisions/{_segment(decision)}"
    text = control.get(path).text
    if as_json:
        typer.echo(text)
        return
    record = json.loads(text)
    tell_head(record)
    if record["agent"] == "slot-agent":
        typer.echo(f"  all of its slot: fairlead decisions slot {record['input']['slot']}")
    tell_troubles(record["input"])
    tell_words(record["input"])
    if record["input"].get("forecast"):
        tell_forecast(record["input"]["forecast"])
    if record.get("dialogue"):
        tell(record["dialogue"], reply=reply, prompt=prompt)
    elif reply or prompt:
        typer.echo("\nno language model was asked for this decision")
    tell_worth(control.get(f"{path}/worth").json())
    explain(record["output"])


@group.command(
    "slot",
    epilog=examples("fairlead decisions slot 12", "fairlead decisions slot 12 --prompt --reply"),
)
def slot(
    number: Annotated[
        int, typer.Argument(min=0, help="Number of a slot, as `fairlead decisions list` has it.", show_default=False)
    ],
    reply: Reply = False,
    prompt: Prompt = False,
    as_json: AsJson = False,
) -> None:
    """Show a slot: its plan, all decisions in it, the dialogue with a language model about it, cost and outcome.

    A slot's own decision waits for nobody: what a language model was asked meanwhile stands in the decision after it.
    """
    from fairlead_cli.client import locate

    control = locate()
    text = control.get(f"slots/{number}").text
    if as_json:
        typer.echo(text)
        return
    account = json.loads(text)
    names = [one["id"] for one in account["decisions"] if one["kind"] == "slot" or one["asks"]]
    records = [control.get(f"decisions/{_segment(name)}").json() for name in names]
    tell_slot(account, records, reply=reply, prompt=prompt)


@group.command(
    "replay",
    epilog=examples(
        "fairlead decisions replay slot-12",
        "fairlead decisions replay --file record.json",
        "fairlead decisions replay --all",
        "fairlead decisions replay --all --agent planner --json",
    ),
)
def replay(
    decision: Annotated[
        str | None, typer.Argument(help="Id of a decision, such as slot-12.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Record as `show --json` printed it, in place of an id.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All decisions of the journal, oldest first.")] = False,
    agent: Annotated[
        str | None, typer.Option("--agent", help="With --all: planner or slot-agent.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Execute decisions again here, from their records alone; exit 1 unless all are identical.

    What a language model answered is taken from the record. Identical: the same bytes. Different: the first line that
    is another one is printed. Diverged: today the question to the model would be another one, so that the recorded
    answer says nothing; the first line of the question that differs is printed.
    """
    if (decision is not None) + (file is not None) + every != 1:
        raise typer.BadParameter("name one of these: the id of a decision, a --file, or --all")
    if agent is not None and not every:
        raise typer.BadParameter("--agent goes with --all")
    an_agent(agent)
    if every:
        _replay_all(agent, as_json)
        return
    text = _record(file) if file is not None else _fetched(decision or "")
    made = replaying.replayer()(str(file or decision), text)
    if as_json:
        echo_json({"id": made.id, "outcome": made.outcome, "difference": made.difference})
    else:
        typer.echo(made.outcome if made.outcome == "identical" else f"{made.outcome}: {made.difference}")
    if made.outcome != "identical":
        raise typer.Exit(1)


def _replay_all(agent: str | None, as_json: bool) -> None:
    from fairlead_cli.client import locate

    tally = replaying.everything(locate(), agent)
    if as_json:
        echo_json(tally.document())
    else:
        replaying.tell(tally)
    if not tally.holds:
        raise typer.Exit(1)


def _fetched(decision: str) -> str:
    from fairlead_cli.client import locate

    return locate().get(f"decisions/{_segment(decision)}").text


def _record(file: Path) -> str:
    from fairlead.contracts.errors import InputError, foreign

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {foreign(error)}") from error


def _segment(decision: str) -> str:
    """Return an id as one segment of a path, whatever it contains."""
    from urllib.parse import quote

    return quote(decision, safe="")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    steps = " ".join(f"{step['name']}:{step['code']}" for step in one["steps"])
    generations = (str(one[name] or "-") for name in ("plan", "placement", "table"))
    took = f"{one['took_s'] * 1000:.1f} ms"
    return (
        one["id"],
        instant(one["made_at_s"]),
        one["kind"],
        str(one["number"]),
        one["source"],
        str(one["asks"] or "-"),
        steps,
        *generations,
        took,
    )
