"""`fairlead cases`: what the planner remembers of past epochs, and carrying it from one system to another."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.names import near
from fairlead_cli.shown import AsJson, Cursor, Limit, echo_json, echo_page, echo_table, examples, instant, plain

if TYPE_CHECKING:
    from fairlead_cli.client import Answer, ControlClient

Id = Annotated[str, typer.Argument(help="Id of a case, from `fairlead cases list`.", show_default=False)]
Ids = Annotated[list[str], typer.Argument(help="Ids of cases, from `fairlead cases list`.", show_default=False)]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Those of one cluster, by its digest; all without.", show_default=False)
]

PAGE = 1000
"""Lines of the listing read at once."""

LINE_CHARS = 16_000_000
"""A longer line is no case: one of 1000 nodes and 100 models has some 400 KB."""

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on cases."""
    app.add_typer(group, name="cases", help="Case memory: past epochs, what was decided and what came of it.")


@group.command(
    "list",
    epilog=examples(
        "fairlead cases list",
        "fairlead cases list --limit 1000 --json",
    ),
)
def list_(
    cluster: Cluster = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List remembered epochs, newest first; a lower F is better."""
    from fairlead_cli.client import locate

    page = locate().get("cases", cluster=cluster, limit=limit, cursor=cursor).json()
    if as_json:
        echo_json(page)
        return
    echo_page(
        page,
        ("id", "began at", "epoch", "plan by", "F", "against fallback", "cited", "cluster"),
        _line,
        empty="no case yet: an epoch becomes one a minute after its end",
    )


@group.command(
    "show",
    epilog=examples(
        "fairlead cases show 0f3a5c7d9e1b2468-193-194",
        "fairlead cases show 0f3a5c7d9e1b2468-193-194 --json",
    ),
)
def show(case: Id, as_json: AsJson = False) -> None:
    """Show a remembered epoch: what was seen at its begin, the plan, what came of it."""
    from fairlead_cli.client import locate

    client = locate()
    text = _asked(client, client.get, case).text
    if as_json:
        typer.echo(text)
        return
    _explain(json.loads(text))


@group.command(
    "export",
    epilog=examples(
        "fairlead cases export cases.jsonl",
        "fairlead cases export - --cluster 0f3a5c7d9e1b2468 | gzip > cases.jsonl.gz",
    ),
)
def export(
    file: Annotated[Path, typer.Argument(help="Where to; - is standard output.", show_default=False)],
    cluster: Cluster = None,
) -> None:
    """Write cases to a file, one JSON document a line, newest first."""
    from fairlead.contracts.errors import InputError, NotFound, foreign
    from fairlead_cli.client import locate

    client = locate()
    written = 0
    with ExitStack() as stack:
        try:
            out = sys.stdout if str(file) == "-" else stack.enter_context(file.open("w", encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{file} cannot be written: {foreign(error)}") from error
        for name in _ids(client, cluster):
            try:
                out.write(_asked(client, client.get, name, hinted=False).text + "\n")
            except NotFound:  # forgotten since it was listed
                continue
            written += 1
    typer.echo(f"{_cases(written)} exported", err=True)


@group.command(
    "import",
    epilog=examples(
        "fairlead cases import cases.jsonl",
        "zcat cases.jsonl.gz | fairlead cases import -",
    ),
)
def import_(
    file: Annotated[Path, typer.Argument(help="As `export` wrote it; - is standard input.", show_default=False)],
) -> None:
    """Read cases from a file. All lines are checked before the first one is sent: a bad one imports nothing.

    A case whose id is there already stays as it is. Imported ones are marked as such.
    """
    from fairlead.contracts.errors import Conflict, FairleadError
    from fairlead_cli.client import locate

    client = locate()
    with ExitStack() as stack:
        lines = _opened(file, stack)
        total = sum(1 for _ in _checked(file, lines))
        lines.seek(0)
        made = present = 0
        for number, line in _checked(file, lines):
            try:
                client.post("cases", json.loads(line))
                made += 1
            except Conflict:
                present += 1
            except FairleadError as error:
                so_far = f"{made} of {total} imported before it, {present} were there already"
                raise type(error)(f"line {number}: {error}; {so_far}") from error
    there = f", {present} there already" if present else ""
    typer.echo(f"{_cases(made)} imported{there}")


@group.command(
    "delete",
    epilog=examples(
        "fairlead cases delete 0f3a5c7d9e1b2468-193-194",
    ),
)
def delete(cases: Ids) -> None:
    """Forget cases: no prompt shows them any more."""
    from fairlead_cli.client import locate

    client = locate()
    for case in cases:
        _asked(client, client.delete, case)
        typer.echo(f"case {case} is deleted")


@group.command(
    "quarantine",
    epilog=examples(
        'fairlead cases quarantine 0f3a5c7d9e1b2468-193-194 --why "the stadium was closed that day"',
    ),
)
def quarantine(
    cases: Ids,
    why: Annotated[
        str, typer.Option("--why", help="Kept with each of them, 256 characters at most.", show_default=False)
    ],
) -> None:
    """Have no prompt show cases any more, for a reason; `release` undoes it."""
    from fairlead_cli.client import locate

    client = locate()
    for case in cases:
        _asked(client, lambda path: client.post(f"{path}/quarantine", {"why": why}), case)
        typer.echo(f"case {case} is in quarantine")


@group.command(
    "release",
    epilog=examples(
        "fairlead cases release 0f3a5c7d9e1b2468-193-194",
    ),
)
def release(cases: Ids) -> None:
    """Let prompts show cases again that a person or a watchdog has quarantined."""
    from fairlead_cli.client import locate

    client = locate()
    for case in cases:
        _asked(client, lambda path: client.delete(f"{path}/quarantine"), case)
        typer.echo(f"case {case} may be shown again")


def _opened(file: Path, stack: ExitStack) -> IO[str]:
    """Return the lines of a file that can be read twice; standard input is copied first."""
    import tempfile

    from fairlead.contracts.errors import InputError, foreign

    try:
        if str(file) != "-":
            return stack.enter_context(file.open(encoding="utf-8"))
        copy = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115  (the stack does)
        while text := sys.stdin.read(1_000_000):
            copy.write(text)
        copy.seek(0)
        return copy
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file} cannot be read: {foreign(error)}") from error


def _checked(file: Path, lines: IO[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not blank; raises `InputError` at the first that is no case."""
    import pydantic

    from fairlead.contracts.cases import Case
    from fairlead.contracts.errors import InputError, foreign

    number = 0
    while True:
        number += 1
        try:
            line = lines.readline(LINE_CHARS)
        except UnicodeDecodeError as error:
            raise InputError(f"{file}, line {number} is no text: {foreign(error)}; nothing was imported") from error
        if not line:
            return
        if not line.strip():
            continue
        try:
            Case.from_json(line)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            why = f"{'.'.join(str(part) for part in first['loc'])} {foreign(first['msg'])}".strip()
            raise InputError(f"{file}, line {number} is no case: {why}; nothing was imported") from error
        yield number, line


def _ids(client: "ControlClient", cluster: str | None) -> Iterator[str]:
    """Yield the ids of all cases, newest first."""
    cursor = None
    while True:
        page = client.get("cases", cluster=cluster, limit=PAGE, cursor=cursor).json()
        yield from (one["id"] for one in page["items"])
        cursor = page["cursor"]
        if cursor is None:
            return


def _asked(client: "ControlClient", ask: Callable[[str], "Answer"], case: str, *, hinted: bool = True) -> "Answer":
    """Return what the control API answers at a case's path; an unknown id is told with the nearest of the newest."""
    from urllib.parse import quote

    from fairlead.contracts.errors import NotFound

    path = f"cases/{quote(case, safe='')}"
    try:
        return ask(path)
    except NotFound as error:
        if not hinted:
            raise
        known = [one["id"] for one in client.get("cases", limit=PAGE).json()["items"]]
        raise NotFound(f"{error}{near(case, known)}") from error


def _line(one: dict[str, Any]) -> tuple[Any, ...]:
    """Return the columns of a listing."""
    return (
        f"{one['id']} (quarantined)" if one["quarantined"] else one["id"],
        instant(one["began_at_s"]),
        one["epoch"],
        one["source"],
        f"{one['objective']:.3f}",
        _advantage(one["advantage"]),
        one["cited"],
        one["cluster"],
    )


def _explain(case: dict[str, Any]) -> None:
    """Print a case for people."""
    told, value, seen = case["provenance"], case["realised"], case["features"]
    llm = f" ({plain(told['llm'])})" if told["llm"] else ""
    marks = [f"cited {case['cited']} times"]
    marks += [word for word, is_so in (("imported", told["imported"]), ("quarantined", case["quarantined"])) if is_so]
    typer.echo(f"{case['id']}  epoch {case['epoch']}, {instant(case['began_at_s'])} to {instant(case['ended_at_s'])}")
    typer.echo(
        f"plan {case['plan_generation']} by {told['source']}{llm}, decision {told['decision']}, policy "
        f"{told['policy']}, Fairlead {plain(told['version'])}, seed {told['seed']}; {', '.join(marks)}"
    )
    typer.echo(
        f"F {value['objective']:.3f}: latency {value['latency_s']:.1f} s, fairness {value['fairness']:.3f}, service "
        f"{value['service']:.3f}, {value['churn']} starts and stops; {value['finished']} of {value['arrived']} "
        "requests finished"
    )
    typer.echo(f"against the fallback {_advantage(case['advantage'])}{_by_the_twin(case)}")
    if case["quarantined"]:
        typer.echo(f"in quarantine: {plain(case['quarantine']) or 'nobody said why'}")
    typer.echo("")
    rates = {rate["model"]: rate["per_s"] for rate in case["rates"]}
    echo_table(
        ("model", "rate", "then", "trend", "dispersion", "backlog", "price", "slowdown"),
        (_model_row(one, rates) for one in seen["models"]),
        empty="no models",
    )
    typer.echo("")
    intents = {intent["node"]: intent for intent in case["intents"]}
    echo_table(
        ("node", "free", "speed", "work", "awake", "role", "prefer", "avoid", "bias"),
        (_node_row(one, intents.get(one["node"])) for one in seen["nodes"]),
        empty="no nodes",
    )
    typer.echo(f"\n{seen['failures']} failures in the epoch before; time of day {24 * seen['day_ratio']:.1f} h")
    for one in case["priorities"]:
        if (one["priority"], one["expected"]) != (2, "same"):
            typer.echo(f"priority of {one['model']}: {one['priority']} of 4, expected {one['expected']}")
    for one in case["warm"]:
        typer.echo(f"warm: {one['model']} on {one['node']} at {instant(one['at_s'])}")


def _model_row(one: dict[str, Any], rates: dict[str, float]) -> tuple[str, ...]:
    import math

    then = rates.get(one["model"])
    return (
        one["model"],
        f"{math.exp(min(one['log_rate'], 700.0)):.4f}/s",
        "-" if then is None else f"{then:.4f}/s",
        f"{one['trend']:+.2f}",
        f"{one['dispersion']:.2f}",
        f"{one['backlog_s']:.1f} s",
        f"{one['price_s']:.1f} s",
        f"{one['slowdown']:.2f}",
    )


def _node_row(one: dict[str, Any], intent: dict[str, Any] | None) -> tuple[str, ...]:
    state = (
        (f"{one['free_ratio']:.0%}", f"{one['speed']:.2f}", f"{one['work_s']:.1f} s", " ".join(one["awake"]) or "-")
        if one["up"]
        else ("not heard", "-", "-", "-")
    )
    if intent is None:
        return (one["node"], *state, "-", "-", "-", "-")
    words = (" ".join(intent["prefer"]) or "-", " ".join(intent["avoid"]) or "-", str(intent["bias"]))
    return (one["node"], *state, intent["role"], *words)


def _advantage(one: dict[str, Any] | None) -> str:
    return "not known" if one is None else f"{one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def _by_the_twin(case: dict[str, Any]) -> str:
    """Return what the twin's word on a plan rests on; nothing where it has said none."""
    told, own, fallback = case["advantage"], case["replayed"], case["fallback"]
    if told is None or own is None or fallback is None:
        return ""
    error = own["objective"] - case["realised"]["objective"]
    return (
        f" in F on {told['demands']} demands, by the twin {plain(told['twin'])}: {own['objective']:.3f} against "
        f"{fallback['objective']:.3f} on the one recorded, {error:+.3f} from what was measured"
    )


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
