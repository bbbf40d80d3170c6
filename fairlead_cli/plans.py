"""`fairlead plan`: the intents in force, what a person fixes above them, and whether a draft would do."""

import getpass
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant, plain

Node = Annotated[str, typer.Argument(help="Id of a node.", show_default=False)]
Model = Annotated[str, typer.Argument(help="Id of a model.", show_default=False)]
Why = Annotated[str, typer.Option("--why", help="For the journal.")]
For = Annotated[
    float | None,
    typer.Option("--for", help="Domain seconds until it ends; without, until deleted.", show_default=False, min=1.0),
]
Draft = Annotated[Path, typer.Argument(help="YAML or JSON with intents, priorities, warm, why.", show_default=False)]

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
overrides = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
group.add_typer(overrides, name="override", help="Pin a model to a node or ban it from there, above any plan.")


def register(app: typer.Typer) -> None:
    """Add the commands on plans."""
    app.add_typer(group, name="plan", help="The plan in force, overrides above it, and drafts.")


@group.command(
    "show",
    epilog=examples(
        "fairlead plan show",
        "fairlead plan show 3 --json",
    ),
)
def show(
    generation: Annotated[
        int | None, typer.Argument(help="Of an older plan; the one in force without.", show_default=False, min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the plan in force, or an older one."""
    from fairlead_cli.client import locate

    plan = locate().get(f"plans/{generation or 'current'}").json()
    if as_json:
        echo_json(plan)
        return
    typer.echo(f"plan {plan['generation']} (after {plan['parent']}), epoch {plan['epoch']}, source {plan['source']}")
    until = instant(plan["expires_at_s"])
    typer.echo(f"in force {instant(plan['created_at_s'])} to {until}: {plain(plan['why'])}\n")
    tell_plan(plan)


def tell_plan(plan: dict[str, Any]) -> None:
    """Print what a plan says: intents, priorities, starts ahead, and the rates that it expects."""
    echo_table(
        ("node", "role", "prefer", "avoid", "bias"),
        [(i["node"], i["role"], _ids(i["prefer"]), _ids(i["avoid"]), i["bias"]) for i in plan["intents"]],
        empty="no intents",
    )
    typer.echo("")
    echo_table(
        ("model", "priority", "expected"),
        [(p["model"], p["priority"], p["expected"]) for p in plan["priorities"]],
        empty="no priorities",
    )
    if plan["warm"]:
        typer.echo("")
        rows = [(one["model"], one["node"], instant(one["at_s"])) for one in plan["warm"]]
        echo_table(("start ahead", "node", "at"), rows, empty="")
    if plan["rates"]:
        typer.echo("")
        since = instant(plan["rates_at_s"]) if plan["rates_at_s"] is not None else "-"
        rates = [(one["model"], f"{60.0 * one['per_s']:.2f}", since) for one in plan["rates"]]
        echo_table(("expected", "a minute", "from"), rows=rates, empty="")


@group.command(
    "validate",
    epilog=examples(
        "fairlead plan validate draft.yaml",
    ),
)
def validate(draft: Draft, as_json: AsJson = False) -> None:
    """Say whether a draft could be a plan; change nothing. Exit 1 with the reasons if not."""
    from fairlead_cli.client import locate

    answer = locate().post("plans:validate", _draft(draft)).json()
    reasons = answer["reasons"]
    if as_json:
        echo_json(answer)
    else:
        for reason in reasons:
            typer.echo(f"{reason['rule']}: {reason['text']}")
        typer.echo("not feasible" if reasons else "feasible")
    if reasons:
        raise typer.Exit(1)


@group.command(
    "publish",
    epilog=examples(
        "fairlead plan publish draft.yaml",
    ),
)
def publish(draft: Draft, as_json: AsJson = False) -> None:
    """Put a draft in force as an operator's plan, for the rest of its epoch."""
    from fairlead_cli.client import locate

    plan = locate().post("plans", _draft(draft)).json()
    if as_json:
        echo_json(plan)
        return
    typer.echo(f"plan {plan['generation']} is in force until {instant(plan['expires_at_s'])}")


@overrides.command(
    "pin",
    epilog=examples(
        'fairlead plan override pin node-3 image --for 3600 --why "demo at four"',
    ),
)
def pin(node: Node, model: Model, why: Why = "", for_s: For = None) -> None:
    """Keep a model awake on a node."""
    _override("pin", node, model, why, for_s)


@overrides.command(
    "ban",
    epilog=examples(
        "fairlead plan override ban node-3 image",
    ),
)
def ban(node: Node, model: Model, why: Why = "", for_s: For = None) -> None:
    """Keep a model off a node."""
    _override("ban", node, model, why, for_s)


@overrides.command(
    "list",
    epilog=examples(
        "fairlead plan override list",
    ),
)
def list_(as_json: AsJson = False) -> None:
    """List what people have fixed."""
    from fairlead_cli.client import locate

    found = locate().get("overrides").json()
    if as_json:
        echo_json(found)
        return
    echo_table(
        ("id", "action", "node", "model", "until", "by", "why"),
        [
            (o["id"], o["action"], o["node"], o["model"], instant(o["expires_at_s"]), o["by"], o["why"])
            for o in found["items"]
        ],
        empty="nothing is fixed",
    )


@overrides.command(
    "delete",
    epilog=examples(
        "fairlead plan override delete pin-node-3-image",
    ),
)
def delete(override: Annotated[str, typer.Argument(help="Id of an override.", show_default=False)]) -> None:
    """End an override."""
    from fairlead_cli.client import locate

    locate().delete(f"overrides/{override}")
    typer.echo(f"override {override} is gone")


def _override(action: Literal["pin", "ban"], node: str, model: str, why: str, for_s: float | None) -> None:
    from fairlead_cli.client import domain_now_s, locate

    client = locate()
    now_s = domain_now_s(client)
    made = client.post(
        "overrides",
        {
            "id": f"{action}-{node}-{model}",
            "node": node,
            "model": model,
            "action": action,
            "created_at_s": now_s,
            "expires_at_s": None if for_s is None else now_s + for_s,
            "by": os.environ.get("USER") or getpass.getuser(),
            "why": why,
        },
    ).json()
    typer.echo(f"override {made['id']} is in force: {action} {model} on {node}")


def _draft(file: Path) -> Any:
    import yaml

    from fairlead.contracts.errors import InputError, foreign

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read as YAML or JSON: {foreign(error)}") from error
    if not isinstance(document, dict):
        raise InputError(f"{file} holds no plan: write intents, priorities, warm and why")
    return {"intents": [], "priorities": [], "warm": [], "why": ""} | document


def _ids(ids: list[str]) -> str:
    return ", ".join(ids) or "-"
