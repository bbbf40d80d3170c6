"""`fairlead mode`: who may act for an agent."""

import getpass
import os
import time
from typing import Annotated

import typer

from fairlead_cli.names import an_agent, near
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant

MODES = ("auto", "assist", "shadow", "off")

HELP = """Show or set who may act for an agent, while it runs; who changed it, by which token and when, is kept.

\b
auto    what a language model proposes acts once it has passed the gates; it stays
        inside the trust region, and the twin does not judge yet: the journal says so
assist  a person approves it before its slot or epoch ends: `fairlead proposals`
shadow  the default: it is judged and journaled, the fallback acts
off     no language model is asked

Without a language model everything runs on the fallback, whatever the mode: `fairlead agents status` says why.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "mode",
        help=HELP,
        epilog=examples(
            "fairlead mode",
            "fairlead mode planner auto",
            "fairlead mode slot-agent assist",
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
    """Show or set who may act for an agent, while it runs; the words are in `HELP`."""
    an_agent(agent)
    if new is not None and new not in MODES:
        raise typer.BadParameter(f"mode {new!r} is none of {', '.join(MODES)}{near(new, MODES)}")
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
    echo_table(
        ("agent", "mode", "by", "since"),
        [(m["agent"], m["mode"], m["by"] or "-", instant(m["at_s"] or None)) for m in found["items"]],
        empty="no agent",
    )
