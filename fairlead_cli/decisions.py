"""`fairlead decisions`: what was decided, why, and whether deciding again gives the same."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant

Id = Annotated[str, typer.Argument(help="Id of a decision, such as slot-12.", show_default=False)]

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
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="From the end of a page before.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List decisions, newest first."""
    from fairlead_cli.client import locate

    page = locate().get("decisions", agent=agent, limit=limit, cursor=cursor).json()
    if as_json:
        echo_json(page)
        return
    echo_table(
        ("id", "made at", "kind", "number", "source", "steps", "plan", "placement", "table", "took"),
        [_row(one) for one in page["items"]],
        empty="no decision yet",
    )
    if page["cursor"]:
        typer.echo(f"more: --cursor {page['cursor']}")


@group.command(
    "show",
    epilog=examples(
        "fairlead decisions show slot-12",
        "fairlead decisions show slot-12 --json > record.json",
    ),
)
def show(decision: Id, as_json: AsJson = False) -> None:
    """Show a decision: the rungs of the ladder, the reasons, the shadow prices."""
    from fairlead_cli.client import locate

    text = locate().get(f"decisions/{_segment(decision)}").text
    if as_json:
        typer.echo(text)
        return
    _explain(json.loads(text))


@group.command(
    "replay",
    epilog=examples(
        "fairlead decisions replay slot-12",
        "fairlead decisions replay --file record.json",
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
) -> None:
    """Execute a decision again here, from its record alone; print "identical" or the first difference (exit 1)."""
    if (decision is None) == (file is None):
        raise typer.BadParameter("name either the id of a decision or a --file")
    import pydantic

    from fairlead.contracts.decisions import DecisionRecord
    from fairlead.contracts.errors import InputError, foreign
    from fairlead.policy.replay import again

    text = _record(file) if file is not None else _fetched(decision or "")
    try:
        record = DecisionRecord.from_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{file or decision} is no record of a decision: {where}: {foreign(first['msg'])}") from error
    replayed = again(record)
    typer.echo("identical" if replayed.identical else f"different: {replayed.difference}")
    if not replayed.identical:
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
        steps,
        *generations,
        took,
    )


def _explain(record: dict[str, Any]) -> None:
    """Print a record for people."""
    output = record["output"]
    typer.echo(f"{record['id']}  {record['kind']} decision of the {record['agent']}, source {record['source']}")
    typer.echo(
        f"made at {instant(record['made_at_s'])} in {record['took_s'] * 1000:.1f} ms by Fairlead {record['version']}"
    )
    for step in output["steps"]:
        typer.echo(f"  {'ok ' if step['ok'] else 'no '} {step['name']}: {step['code']} {step['text']}".rstrip())
    typer.echo("")
    echo_table(
        ("reason", "node", "model", "value", "why"),
        [
            (
                r["rule"],
                r["node"] or "-",
                r["model"] or "-",
                "-" if r["value_s"] is None else f"{r['value_s']:.2f} s",
                r["text"],
            )
            for r in output["reasons"]
        ],
        empty="no reasons were given",
    )
    placement = output.get("placement")
    if placement:
        typer.echo(f"\nplacement {placement['generation']} under plan {placement['plan_generation']}")
        for node in placement["nodes"]:
            stoppable = f"   may stop: {', '.join(node['stoppable'])}" if node["stoppable"] else ""
            typer.echo(f"  {node['node']}: {', '.join(node['awake']) or '-'}{stoppable}")
    prices = output.get("prices")
    if prices:
        typer.echo("\nwhat one more pod would be worth")
        for price in prices:
            typer.echo(f"  {price['model']}: {price['worth_s']:.2f} request-seconds on {price['node'] or 'no node'}")
