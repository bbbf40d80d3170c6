"""A decision told for people: who made it by which rungs, what it says and why."""

from typing import Any

import typer

from fairlead_cli.dialogues import tell_rows
from fairlead_cli.plans import tell_plan
from fairlead_cli.shown import echo_table, instant, plain


def tell_head(record: dict[str, Any]) -> None:
    """Print who decided when, and the rungs of the ladder."""
    typer.echo(f"{record['id']}  {record['kind']} decision of the {record['agent']}, source {record['source']}")
    typer.echo(
        f"made at {instant(record['made_at_s'])} in {record['took_s'] * 1000:.1f} ms by Fairlead {record['version']}"
    )
    for step in record["output"]["steps"]:
        typer.echo(f"  {'ok ' if step['ok'] else 'no '} {step['name']}: {step['code']} {plain(step['text'])}".rstrip())


def tell_troubles(given: dict[str, Any]) -> None:
    """Print what nodes said of pods that were not as ordered, when a decision was made of it."""
    for node in given["snapshot"]["nodes"]:
        for trouble in node.get("troubles") or ():
            typer.echo(f"  {node['node']} said of {plain(trouble)}")


def explain(output: dict[str, Any]) -> None:
    """Print what was decided and why, and what would have been started next."""
    typer.echo("")
    echo_table(
        ("reason", "node", "model", "value", "why"),
        [
            (
                r["rule"],
                r["node"] or "-",
                r["model"] or "-",
                "-" if r["value_s"] is None else f"{r['value_s']:.2f} s",
                plain(r["text"]),
            )
            for r in output["reasons"]
        ],
        empty="no reasons were given",
    )
    plan = output.get("plan")
    if plan:
        typer.echo(f"\nplan {plan['generation']} for epoch {plan['epoch']}, source {plan['source']}")
        typer.echo(f"  {plain(plan['why']) or '-'}")
        if plan["source"] != "fallback":  # whose plan says nothing
            typer.echo("")
            tell_plan(plan)
    placement = output.get("placement")
    if placement:
        typer.echo(f"\nplacement {placement['generation']} under plan {placement['plan_generation']}")
        for node in placement["nodes"]:
            stoppable = f"   may stop: {', '.join(node['stoppable'])}" if node["stoppable"] else ""
            typer.echo(f"  {node['node']}: {', '.join(node['awake']) or '-'}{stoppable}")
    table = output.get("table")
    if table and not placement:
        typer.echo(f"\ntable {table['generation']} for placement {table['placement_generation']}, {table['source']}")
        tell_rows(table["rows"])
    prices = output.get("prices")
    if prices:
        typer.echo("\nwhat one more pod would be worth, the next best start first")
        for price in sorted(prices, key=lambda one: (one["node"] is None, -one["worth_s"], one["model"])):
            typer.echo(f"  {price['model']}: {price['worth_s']:.2f} request-seconds on {price['node'] or 'no node'}")
