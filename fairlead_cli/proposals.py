"""`fairlead proposals`: what agents in mode `assist` propose, and a person's answers."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.names import near
from fairlead_cli.shown import AsJson, Cursor, Limit, echo_json, echo_page, examples, instant, plain

if TYPE_CHECKING:
    from fairlead_cli.client import Answer, ControlClient

Id = Annotated[str, typer.Argument(help="Id of a proposal, from `fairlead proposals list`.", show_default=False)]

HINTED = 100
"""Proposals, newest first, among which the nearest id to an unknown one is looked for."""

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on proposals."""
    app.add_typer(group, name="proposals", help="What agents in mode assist propose; approve or decline it.")


@group.command(
    "list",
    epilog=examples(
        "fairlead proposals list",
        "fairlead proposals list --limit 100 --json",
    ),
)
def list_(
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List proposals, newest first, and how long the open ones still wait."""
    from fairlead_cli.client import domain_now_s, locate

    client = locate()
    page = client.get("proposals", limit=limit, cursor=cursor).json()
    if as_json:
        echo_json(page)
        return
    now_s = domain_now_s(client) if page["items"] else 0.0
    echo_page(
        page,
        ("id", "agent", "made at", "state", "changes", "why"),
        partial(_line, now_s),
        empty="no proposal yet: they are made in mode assist (`fairlead mode slot-agent assist`)",
    )


def _line(now_s: float, one: dict[str, Any]) -> tuple[Any, ...]:
    """Return the columns of a listing."""
    state, changes = _state(one, now_s), len(one["changes"])
    return one["id"], one["agent"], instant(one["created_at_s"]), state, changes, plain(one["why"])


@group.command(
    "show",
    epilog=examples(
        "fairlead proposals show slot-agent-58001234-1",
        "fairlead proposals show slot-agent-58001234-1 --json",
    ),
)
def show(proposal: Id, as_json: AsJson = False) -> None:
    """Show what a proposal would change against the fallback; its rows or intents in full with --json."""
    from fairlead_cli.client import domain_now_s, locate

    client = locate()
    found = _asked(client, "GET", proposal, "")
    if as_json:
        typer.echo(found.text)
        return
    one = found.json()
    typer.echo(f"{one['id']}  proposal of the {one['agent']}, {_state(one, domain_now_s(client))}")
    typer.echo(f"made at {instant(one['created_at_s'])}, until {instant(one['expires_at_s'])}: {plain(one['why'])}\n")
    typer.echo("it would change" if one["changes"] else "it would change nothing")
    for change in one["changes"]:
        typer.echo(f"  {plain(change)}")


@group.command(
    "approve",
    epilog=examples(
        "fairlead proposals approve slot-agent-58001234-1",
    ),
)
def approve(proposal: Id, as_json: AsJson = False) -> None:
    """Let a proposal act until its slot or epoch ends; it is checked once more on fresh state before."""
    _answer(proposal, "approve", as_json)


@group.command(
    "decline",
    epilog=examples(
        "fairlead proposals decline slot-agent-58001234-1",
    ),
)
def decline(proposal: Id, as_json: AsJson = False) -> None:
    """Leave it to the fallback."""
    _answer(proposal, "decline", as_json)


def _answer(proposal: str, verb: str, as_json: bool) -> None:
    from fairlead_cli.client import locate

    made = _asked(locate(), "POST", proposal, f":{verb}").json()
    if as_json:
        echo_json(made)
        return
    approval = made["approval"]
    typer.echo(f"proposal {made['id']} is {approval['answer']} by {plain(approval['by'])}")


def _asked(client: "ControlClient", method: str, proposal: str, verb: str) -> "Answer":
    """Return what the control API says of a proposal; an unknown id is told with the nearest known one."""
    from urllib.parse import quote

    from fairlead.contracts.errors import NotFound

    path = f"proposals/{quote(proposal, safe='')}{verb}"
    try:
        return client.get(path) if method == "GET" else client.post(path, None)
    except NotFound as error:
        known = [one["id"] for one in client.get("proposals", limit=HINTED).json()["items"]]
        raise NotFound(f"{error}{near(proposal, known)}") from error


def _state(one: dict[str, Any], now_s: float) -> str:
    """Return whether a proposal still waits, in seconds of the system's own time."""
    approval = one["approval"]
    if approval is not None:
        return f"{approval['answer']} by {plain(approval['by'])}" if approval["answer"] != "expired" else "expired"
    left_s = one["expires_at_s"] - now_s
    return f"open, {left_s:.0f} s left" if left_s > 0 else "expired"
