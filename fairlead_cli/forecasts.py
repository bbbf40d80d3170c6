"""`fairlead forecast`: what is expected to arrive, how that was forecast, and how far off it has been so far."""

import json
from typing import Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant

LOOKED_THROUGH = 100
"""Newest decisions among which a slot's is looked for: a restless slot has a dozen on events."""

MINUTE_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forecast", epilog=examples("fairlead forecast", "fairlead forecast --json"))(forecast)


def forecast(as_json: AsJson = False) -> None:
    """Show what is expected to arrive until the coming epoch has ended, as the newest slot decision was told it."""
    from fairlead_cli.client import locate

    control = locate()
    lines = control.get("decisions", agent="slot-agent", limit=LOOKED_THROUGH).json()["items"]
    newest = next((one["id"] for one in lines if one["kind"] == "slot"), None)
    found = json.loads(control.get(f"decisions/{newest}").text)["input"].get("forecast") if newest is not None else None
    if as_json:
        echo_json(found)
    elif found is None:
        typer.echo("nothing is forecast yet: no slot has been decided")
    else:
        tell_forecast(found)
        typer.echo("")
        rows = [
            (
                one["model"],
                one["site"],
                instant(one["from_s"]),
                instant(one["until_s"]),
                _a_minute(one["per_s"]),
                f"{_a_minute(one['low_per_s'])} to {_a_minute(one['high_per_s'])}",
            )
            for one in sorted(found["rates"], key=lambda one: (one["model"], one["site"], one["from_s"]))
        ]
        echo_table(("model", "site", "from", "until", "a minute", "80 %"), rows, empty="nothing is expected")


def tell_forecast(found: dict[str, Any]) -> None:
    """Print how it was forecast and how well, the regime that is now, and the one that comes."""
    error, plain_error = (_ratio(found.get(name)) for name in ("error", "plain_error"))
    typer.echo(
        f"forecast: by {found['method']}, error {error} of an epoch's arrivals; the plain rate's is {plain_error}"
    )
    since = f"since {instant(found['since_s'])}" if found.get("since_s") is not None else "as far back as was seen"
    typer.echo(f"  demand is steady {since}; {found.get('regime') or 'no remembered regime'} is recognised")
    coming = found.get("coming")
    if coming is not None:
        typer.echo(
            f"  {coming['regime']} is expected at {instant(coming['at_s'])}, between {instant(coming['low_at_s'])} and "
            f"{instant(coming['high_at_s'])}: kept {coming['seen']} times, missed {coming['missed']}"
        )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _a_minute(per_s: float) -> str:
    return f"{MINUTE_S * per_s:.2f}"
