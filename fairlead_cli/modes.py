"""`fairlead mode`: who may act for an agent."""

import getpass
import os
import time
from typing import Annotated

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

MODES = ("auto", "assist", "shadow", "off")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "mode",
        epilog=examples(
            "fairlead mode",
            "fairlead mode planner shadow",
        ),
    )(mode)


def mode(
    agent: Annotated[
        str | None, typer.Argument(help="planner or slot-agent; without, both are shown.", show_default=False)
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="[MODE]", help="auto, assist, shadow or off.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or set the mode of an agent, while it runs.

    auto: gated proposals of a language model act; assist: a person approves them; shadow: they are judged and
    journaled, the fallback acts; off: no model is asked. Without a model everything runs on the fallback.
    """
    if new is not None and new not in MODES:
        raise typer.BadParameter(f"mode {new!r} is none of {', '.join(MODES)}")
    from fairlead_cli.client import locate

    client = locate()
    if agent is None:
        found = client.get("mode").json()
    elif new is None:
        found = {"items": [client.get(f"mode/{agent}").json()]}
    else:
        before = client.get(f"mode/{agent}")
        document = {"agent": agent, "mode": new, "by": os.environ.get("USER") or getpass.getuser(), "at_s": time.time()}
        revision = before.revision or f'"{before.json()["revision"]}"'
        found = {"items": [client.put(f"mode/{agent}", before.json() | document, revision).json()]}
    if as_json:
        echo_json(found)
        return
    rows = found["items"]
    echo_table(("agent", "mode", "by"), [(m["agent"], m["mode"], m["by"] or "-") for m in rows], empty="no agent")
