"""`fairlead scenarios` and `fairlead schema`: what can be shown and what can be set."""

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples


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
    """List the scenarios that `fairlead up --scenario` plays."""
    from fairlead.twin.scenarios import SCENARIOS

    if as_json:
        names = ("name", "cluster", "loads", "fixed_speed")
        echo_json({"items": [{name: getattr(one, name) for name in names} for one in SCENARIOS]})
        return
    echo_table(
        ("name", "cluster", "loads of the scoreboard", "speed"),
        [
            (
                one.name,
                one.cluster,
                " ".join(f"{load:g}" for load in one.loads),
                "any" if one.fixed_speed is None else f"{one.fixed_speed:g} only: a real model",
            )
            for one in SCENARIOS
        ],
        empty="no scenarios",
    )


def schema() -> None:
    """Print the JSON Schema of fairlead.yaml, for editors and checks."""
    from fairlead.contracts.settings import Settings

    echo_json(Settings.model_json_schema())
