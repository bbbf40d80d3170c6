"""`fairlead routes`: what the cluster's own gateway says of the routes that are exported to it."""

from typing import Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant, plain


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("routes", epilog=examples("fairlead routes", "fairlead routes --json"))(routes)


def routes(as_json: AsJson = False) -> None:
    """Show the HTTPRoutes of the cluster's gateway: weights, whose table they are, and what it says of them."""
    from fairlead_cli.client import locate

    control = locate()
    found = control.get("routes").json()
    if as_json:
        echo_json(found)
        return
    if found["reason"]:
        typer.echo(found["reason"])
    if found["gateway"]:
        typer.echo(f"gateway {found['gateway']}, seen {instant(found['observed_at_s'])}\n")
        rows = [_row(one) for one in found["items"]]
        echo_table(("model", "zone", "table", "stage", "since", "weights", "why"), rows, empty="no routes")


def _row(route: dict[str, Any]) -> tuple[str, ...]:
    weights = ", ".join(f"{one['node']} {one['weight'] / 100:g} %" for one in route["backends"])
    if route["left_out"] > 0.0:
        weights += f" ({100 * route['left_out']:.1f} % of the row has no room)"
    since, reason = instant(route["since_at_s"]), plain(route["reason"])
    return route["model"], route["zone"], str(route["table_generation"]), route["stage"], since, weights, reason
