"""`fairlead notes`: what an operator knows of the hours to come, in words."""

import datetime
import getpass
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, plain

Id = Annotated[str, typer.Argument(help="Id of a note, from `fairlead notes list`.", show_default=False)]
Words = Annotated[str, typer.Argument(help="A sentence, at most 280 characters.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="HH:MM or YYYY-MM-DDTHH:MM, local time; before what the words say.", show_default=False
    ),
]
Until = Annotated[str | None, typer.Option("--until", help="As --from: when it ends.", show_default=False)]

ADD = """Tell the planner what will be: it stands in its prompts, as data, about epochs that its time touches.

\b
The time is read from the words: 20:00-22:00, also with tomorrow, a weekday or YYYY-MM-DD; until 18:30; for 45
minutes; tonight.
--from and --until win. Times are of the system's clock, in this machine's zone.
A note gives knowledge, not orders: what a model makes of it is judged by the twin as if it came true,
where it must gain, and as if it did not, where it may cost next to nothing.
"""

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on notes."""
    app.add_typer(group, name="notes", help="What operators say will be, for the planner's prompts.")


@group.command(
    "add",
    help=ADD,
    epilog=examples(
        'fairlead notes add "stadium event 20:00-22:00, vision at sites 1 and 3 triples"',
        'fairlead notes add "image at 12 a minute from the fair" --from 18:00 --until 19:30',
    ),
)
def add(text: Words, from_: From = None, until: Until = None, as_json: AsJson = False) -> None:
    """Tell the planner what will be; the words are in `ADD`."""
    from fairlead_cli.client import domain_now_s, locate

    client = locate()
    begins, ends = spanned(text, from_, until, datetime.datetime.fromtimestamp(domain_now_s(client)))
    draft = {"text": text, "from_s": begins.timestamp(), "until_s": ends.timestamp(), "by": person()}
    made = client.post("notes", draft).json()
    if as_json:
        echo_json(made)
        return
    typer.echo(f"{made['id']}: {local(made['from_s'])} to {local(made['until_s'])}")
    typer.echo(f"read as: {_reading(client.get('cluster').json(), text)}")


@group.command("list", epilog=examples("fairlead notes list"))
def list_(as_json: AsJson = False) -> None:
    """List all notes, those that begin first first."""
    from fairlead_cli.client import locate

    echo_said(locate().get("notes").json(), as_json, empty="nobody has said anything: fairlead notes add")


@group.command("show", epilog=examples("fairlead notes show note-5d1c03aa"))
def show(note: Id, as_json: AsJson = False) -> None:
    """Show a note, and what the code reads in it."""
    from fairlead_cli.client import locate

    client = locate()
    one = client.get(f"notes/{note}").json()
    if as_json:
        echo_json(one)
        return
    typer.echo(f"{one['id']}  by {plain(one['by'])} at {local(one['created_at_s'])}")
    typer.echo(f"from {local(one['from_s'])} to {local(one['until_s'])}: {plain(one['text'])}")
    typer.echo(f"read as: {_reading(client.get('cluster').json(), one['text'])}")


@group.command("delete", epilog=examples("fairlead notes delete note-5d1c03aa"))
def delete(note: Id) -> None:
    """Forget a note."""
    from fairlead_cli.client import locate

    locate().delete(f"notes/{note}")
    typer.echo(f"note {note} is gone")


def echo_said(
    found: dict[str, Any], as_json: bool, *, empty: str, state: Callable[[dict[str, Any]], str] | None = None
) -> None:
    """Print what operators have said, as it was listed: when and by whom, with the `state` of each where it has one."""
    if as_json:
        echo_json(found)
        return
    rows = []
    for one in found["items"]:
        states = () if state is None else (state(one),)
        span = (local(one["from_s"]), local(one["until_s"]))
        rows.append((one["id"], *states, *span, plain(one["by"]), plain(one["text"])))
    heads = ("id", *(() if state is None else ("state",)), "from", "until", "by", "text")
    echo_table(heads, rows, empty=empty)


def spanned(
    text: str, from_: str | None, until: str | None, now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return when something is to hold: as the options say, else as the words do. Raises `InputError`."""
    from fairlead.contracts.errors import InputError
    from fairlead.policy.note_span import span_in

    found = span_in(text, now)
    begins = _instant("--from", from_, now) if from_ else found.begins if found else now if until else None
    ends = _instant("--until", until, begins or now) if until else found.ends if found else None
    if begins is None or ends is None:
        raise InputError(
            "no time to come is found in these words: write HH:MM-HH:MM (also with tomorrow, a weekday or YYYY-MM-DD), "
            "until HH:MM, for N minutes or tonight, or give --from and --until"
        )
    if ends <= begins or ends <= now:
        raise InputError(f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} is over, or no time at all")
    return begins, ends


def _instant(option: str, text: str, after: datetime.datetime) -> datetime.datetime:
    """Return the instant that an option names; a time alone is of the day of `after`, or of the next where past."""
    from fairlead.contracts.errors import InputError

    try:
        if "T" in text or " " in text.strip():
            return datetime.datetime.fromisoformat(text)
        at = datetime.datetime.combine(after.date(), datetime.time.fromisoformat(text.zfill(5)))
    except ValueError as error:
        raise InputError(f"{option} {text!r} is no time: write HH:MM or YYYY-MM-DDTHH:MM") from error
    return at if option == "--from" or at > after else at + datetime.timedelta(days=1)


def person() -> str:
    """Return who sits here."""
    return os.environ.get("USER") or getpass.getuser()


def local(at_s: float | None) -> str:
    """Return a domain instant in this machine's zone, to the minute."""
    return "-" if at_s is None else f"{datetime.datetime.fromtimestamp(at_s):%Y-%m-%d %H:%M}"


def tell_words(given: dict[str, Any]) -> None:
    """Print what operators had said that a decision knew of: notes of its time, and the goal in force."""
    for note in given.get("notes") or ():
        span = f"{local(note['from_s'])} to {local(note['until_s'])}"
        typer.echo(f"  note {note['id']} by {plain(note['by'])}, {span}: {plain(note['text'])}")
    if goal := given.get("goal"):
        typer.echo(f"  goal {goal['id']} by {plain(goal['by'])}: {plain(goal['text'])}")


def _reading(cluster: dict[str, Any], text: str) -> str:
    """Return in words what the code's rule reads in a note."""
    from fairlead.contracts.cluster import Cluster
    from fairlead.policy.note_reading import told, unknown_sites

    shape, said = Cluster.model_validate(cluster), []
    for one in told(text, shape):
        where = f" at {', '.join(one.sites)}" if one.sites else ""
        how = f"× {one.factor:g}" if one.per_s is None else f"{one.per_s * 60:g} a minute"
        said.append(f"{one.model}{where} {how}")
    if not said:
        said.append("nothing by rule; a language model reads the words themselves")
    if strange := unknown_sites(text, shape):
        said.append(f"there is no site {', '.join(strange)}, sites are {', '.join(s.id for s in shape.sites)}")
    return "; ".join(said)
