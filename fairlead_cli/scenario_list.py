"""`fairlead scenarios` and `fairlead schema`: what can be shown and what can be set."""

from typing import TYPE_CHECKING

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.twin.scenarios import Scenario


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "scenarios",
        epilog=examples(
            "fairlead scenarios",
            "fairlead scenarios --json",
        ),
    )(scenarios)
    app.command(
        "schema",
        epilog=examples(
            "fairlead schema > fairlead.schema.json",
        ),
    )(schema)


def scenarios(as_json: AsJson = False) -> None:
    """List the scenarios that `fairlead twin run` plays, and `fairlead up --scenario` where they are live."""
    from fairlead.twin.scenarios import SCENARIOS

    if as_json:
        names = ("name", "cluster", "loads", "fixed_speed", "live")
        echo_json({"items": [{name: getattr(one, name) for name in names} for one in SCENARIOS]})
        return
    echo_table(
        ("name", "cluster", "loads of the scoreboard", "live, at speed"),
        [
            (
                one.name,
                one.cluster,
                " ".join(f"{load:g}" for load in one.loads),
                _live(one),
            )
            for one in SCENARIOS
        ],
        empty="no scenarios",
    )


def _live(one: "Scenario") -> str:
    if not one.live:
        return "no: the twin only"
    return "any" if one.fixed_speed is None else f"{one.fixed_speed:g} only: a real model"


def schema() -> None:
    """Print the JSON Schema of fairlead.yaml, for editors and checks."""
    from fairlead.contracts.settings import Settings

    echo_json(Settings.model_json_schema())
