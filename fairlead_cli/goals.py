"""`fairlead goal`: what matters, in words; read, shown as a diff, in force once a person has approved it."""

import datetime
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.notes import From, Until, Words, echo_said, local, person, spanned
from fairlead_cli.shown import AsJson, echo_json, examples, plain

if TYPE_CHECKING:
    from fairlead_cli.client import ControlClient

LOOK_EVERY_S = 0.2
"""Wall seconds between two looks at a goal that is being read."""

NEUTRAL = 2
"""The level that leaves a thing as it is (`contracts.notes`)."""

Id = Annotated[str | None, typer.Argument(help="Id of a goal; without, the newest that waits.", show_default=False)]
ByRule = Annotated[bool, typer.Option("--rule", help="Have the rule read it alone, no language model.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve it at once.")]

SET = """Say what matters; it is read into weights of the objective and priorities of models, and shown as a diff.

\b
Where the planner has a language model, that reads the words, and a rule where it does not answer in time:
Terms:  latency (fast), fairness (equal), churn (energy, starts), service (loss); models and kinds by name
Levels: protect or first, second or more, less or last, ignore
A time in the words (tonight, 20:00-22:00) or --from and --until bounds it; without it holds until another is approved.
Nothing changes before `fairlead goal approve`.
"""

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on the goal."""
    app.add_typer(group, name="goal", help="What matters, in words; approved by a person before it acts.")


@group.command(
    "set",
    help=SET,
    epilog=examples(
        'fairlead goal set "protect vision tonight, energy second"',
        'fairlead goal set "fairness first" --until 18:00 --rule --yes',
    ),
)
def set_(
    text: Words,
    from_: From = None,
    until: Until = None,
    rule: ByRule = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Say what matters; the words are in `SET`."""
    from fairlead.contracts.errors import InputError
    from fairlead_cli.client import domain_now_s, locate

    client = locate()
    now_s = domain_now_s(client)
    now = datetime.datetime.fromtimestamp(now_s)
    try:
        begins, ends = spanned(text, from_, until, now)
        span: tuple[float, float | None] = (begins.timestamp(), ends.timestamp())
    except InputError:
        if from_ or until:
            raise
        span = (now_s, None)
    reading = _by_rule(client, text) if rule else None
    draft = {"text": text, "from_s": span[0], "until_s": span[1], "by": person(), "reading": reading}
    _made(_read(client, client.post("goal", draft).json()), yes, as_json)


@group.command("undo", epilog=examples("fairlead goal undo", "fairlead goal undo --yes"))
def undo(yes: Yes = False, as_json: AsJson = False) -> None:
    """Propose what was in force before; like any other it is approved or rejected."""
    from fairlead_cli.client import locate

    _made(locate().post("goal:undo", None).json(), yes, as_json)


@group.command("show", epilog=examples("fairlead goal show", "fairlead goal show --json"))
def show(as_json: AsJson = False) -> None:
    """Show the goal in force with its weights and priorities, and the one that waits."""
    from fairlead_cli.client import locate

    seen = locate().get("goal").json()
    if as_json:
        echo_json(seen)
        return
    current = seen["in_force"]
    if current is None:
        typer.echo("no goal is in force: the weights are those of the configuration")
    else:
        typer.echo(f"{current['id']}  {plain(current['text'])}")
        typer.echo(
            f"in force from {local(current['from_s'])} until {local(current['until_s'])}, by {plain(current['by'])}"
        )
    typer.echo("weights: " + ", ".join(f"{name} {value:g}" for name, value in seen["weights"].items()))
    for one in seen["priorities"]:
        typer.echo(f"priority of {one['model']}: {one['priority']}")
    if seen["waiting"] is not None:
        typer.echo("\nwaits for approval:")
        tell(seen["waiting"])


@group.command("list", epilog=examples("fairlead goal list"))
def list_(as_json: AsJson = False) -> None:
    """List all goals that were ever set, newest first."""
    from fairlead_cli.client import locate

    echo_said(locate().get("goals").json(), as_json, empty="no goal was ever set", state=_state)


@group.command("approve", epilog=examples("fairlead goal approve", "fairlead goal approve goal-5d1c03aa"))
def approve(goal: Id = None) -> None:
    """Put a goal in force: weights from the next decision on, priorities from the next plan on."""
    _answer(goal, "approve")


@group.command("reject", epilog=examples("fairlead goal reject"))
def reject(goal: Id = None) -> None:
    """Leave everything as it is."""
    _answer(goal, "reject")


def tell(goal: dict[str, Any]) -> None:
    """Print a goal with what it would change."""
    typer.echo(f"{goal['id']}  {plain(goal['text'])}")
    typer.echo(f"from {local(goal['from_s'])} until {local(goal['until_s'])}, read by {_reader(goal)}")
    for change in goal["changes"] or ["it changes nothing"]:
        typer.echo(f"  {plain(change)}")
    if goal["reading"]["why"]:
        typer.echo(f"  {plain(goal['reading']['why'])}")
    if goal["by_rule"] is not None and (other := _levels(goal["by_rule"])) != _levels(goal["reading"]):
        typer.echo(f"  the rule read it otherwise (goal set --rule): {other or 'nothing'}")


def _by_rule(client: "ControlClient", text: str) -> dict[str, Any]:
    """Return what the rule reads in a goal. Raises `InputError` where that is nothing."""
    from fairlead.contracts.cluster import Cluster
    from fairlead.contracts.errors import InputError
    from fairlead.policy.goals import read_goal, unread

    found = read_goal(text, Cluster.model_validate(client.get("cluster").json()))
    if found is None:
        raise InputError(unread(text))
    return found.to_document()


def _read(client: "ControlClient", goal: dict[str, Any]) -> dict[str, Any]:
    """Return a goal once the planner's language model has read it, or can do so no more."""
    from fairlead_cli.client import domain_now_s

    while goal["asked_until_s"] is not None and domain_now_s(client) < goal["asked_until_s"]:
        time.sleep(LOOK_EVERY_S)
        goal = client.get(f"goals/{goal['id']}").json()
    return goal


def _reader(goal: dict[str, Any]) -> str:
    """Return who has read a goal, which model where it was one."""
    if goal["reading"]["read_by"] == "llm" and goal["exchanges"]:
        said = goal["exchanges"][-1]["answer"]
        return f"llm {plain(said['model'])} at {plain(said['endpoint'])}"
    late = "" if goal["asked_until_s"] is None else "; the planner's language model has not answered yet"
    return f"{goal['reading']['read_by']}{late}"


def _levels(reading: dict[str, Any]) -> str:
    """Return all levels of a reading that are not neutral."""
    named = [*reading["aims"].items(), *((one["model"], one["priority"]) for one in reading["priorities"])]
    return ", ".join(f"{name} {level}" for name, level in named if level != NEUTRAL)


def _made(goal: dict[str, Any], yes: bool, as_json: bool) -> None:
    if as_json:
        echo_json(goal)
    else:
        tell(goal)
    if yes:
        _answer(goal["id"], "approve", quiet=as_json)
    elif not as_json:
        typer.echo(f"nothing has changed yet: fairlead goal approve {goal['id']}")


def _answer(goal: str | None, verb: str, *, quiet: bool = False) -> None:
    from fairlead.contracts.errors import NotFound
    from fairlead_cli.client import locate

    client = locate()
    if goal is None:
        waiting = client.get("goal").json()["waiting"]
        if waiting is None:
            raise NotFound("no goal waits for approval: fairlead goal set")
        goal = waiting["id"]
    made = client.post(f"goals/{goal}:{verb}", None).json()
    if not quiet:
        typer.echo(f"{made['id']} is {made['approval']['answer']} by {plain(made['approval']['by'])}")


def _state(goal: dict[str, Any]) -> str:
    return "waits" if goal["approval"] is None else str(goal["approval"]["answer"])
