"""`fairlead replay`: policies compared on a scenario or an episode, in the twin, seed by seed."""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fairlead_cli.counsel import LlmSeconds, TwinLlm, TwinMode, Wanted, llm_at
from fairlead_cli.llm_options import LlmModel
from fairlead_cli.progress import bar
from fairlead_cli.shown import echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.studies.cells import Source
    from fairlead.studies.replay import Comparison, Order, Row
    from fairlead.studies.statistics import Interval
    from fairlead.studies.store import Store

RECORDED = "recorded"
"""The policy that executes the decisions of an episode again."""

LOAD = 0.8
"""Of a scenario where none is given: busy, and the controller still has room (CONTROL §5)."""

SEEDS = 20
"""As the figures of docs/twin.md have it; below ten the intervals are Student's."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "replay",
        epilog=examples(
            "fairlead replay city7-rotating --policy sed-static@5s --policy marginal-dpp@5s --load 0.8",
            "fairlead replay catalogue-roomy --policy lru --policy marginal-dpp --load 0.6 --json - | jq '.results[]'",
            "fairlead replay city7-burst --policy lru@fresh --policy marginal-dpp@fresh --seeds 5 --report /tmp/burst",
            "fairlead replay city7-rotating --policy marginal-dpp --policy 'marginal-dpp[eta=0]' --load 0.8 --load 0.9",
            "fairlead replay run.jsonl.gz --policy sed-static --policy marginal-dpp",
            "fairlead replay run.jsonl.gz --policy recorded",
            "fairlead replay city7-rotating --policy marginal-dpp --policy agents --seeds 3 --llm http://127.0.0.1:8000/v1",
        ),
    )(replay)


def replay(
    source: Annotated[str, typer.Argument(metavar="EPISODE|SCENARIO", help="A file, or one of `fairlead scenarios`.")],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            help="NAME@fresh, NAME@5s, NAME[setting=value,…]@5s; once for each, the first is compared with.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=10_000, help="Seeds 1 to this: demand, random placements, draws.")
    ] = SEEDS,
    load: Annotated[
        list[float] | None,
        typer.Option(
            "--load",
            help=f"Offered work / speed of all nodes; {LOAD:g} by default, an episode's own. May be given again.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            help="Simulated seconds that are measured after the warm-up; 4800 by default, an episode's own.",
            show_default=False,
        ),
    ] = None,
    json_to: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the figures as JSON; - prints nothing else.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write a page with plots: DIR/index.html.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, reference or compiled; auto: compiled where it can.")
    ] = "auto",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes; all cores by default.", show_default=False)
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            help="Where finished runs are kept; the user's cache by default.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Play again what is kept.")] = False,
    llm: TwinLlm = None,
    llm_model: LlmModel = None,
    llm_seconds: LlmSeconds = None,
    mode: TwinMode = "auto",
) -> None:
    """Play policies on the same demand in the twin, and compare them seed by seed.

    Latency counts what is unfinished with its age at the window's end. x1 to x4 are normalised Jain indices over
    models: timely service, service, inverse slowdown, mean latency. Every figure is a mean over seeds with its 95 %
    interval; ratios are of means, paired by seed. Finished runs are kept: the same command goes on where it was
    interrupted. The policy `recorded` executes an episode's decisions again and compares them byte for byte. The policy
    `agents` asks a language model, whose seconds pass on the virtual clock.
    """
    began_s = time.perf_counter()
    written = list(policy or ())
    if RECORDED in written:
        _recorded(source, written, json_to)
        return
    order = _order(source, written, seeds, load, duration, engine)
    order = _with_llm(order, Wanted(llm or (), llm_model, llm_seconds, mode, 0))
    _check_places(json_to, report)
    comparison = _swept(order, jobs, store, again=fresh)
    if report is not None:
        _report(comparison, report)
    document = _document(comparison, time.perf_counter() - began_s)
    if json_to is not None:
        _write_json(document, json_to)
    if json_to != "-":
        _echo(comparison)


def _order(
    source: str, policies: list[str], seeds: int, loads: list[float] | None, duration: float | None, engine: str
) -> "Order":
    """Return what is asked for; raises `InputError` or a usage error where it cannot be."""
    from fairlead.studies.replay import Order

    if not policies:
        raise typer.BadParameter(
            "no policy to replay: name some, as in --policy sed-static@5s --policy marginal-dpp@5s"
        )
    if duration is not None and not 0 < duration < float("inf"):
        raise typer.BadParameter(f"--duration {duration:g} cannot be measured: give simulated seconds, such as 4800")
    return Order(tuple(sources(source, loads, duration)), tuple(policies), seeds, _engine(engine))


def _with_llm(order: "Order", wanted: Wanted) -> "Order":
    """Return the order with the language model that `agents` ask; raises `InputError` for what cannot be played."""
    from fairlead.studies.cells import game_of
    from fairlead.twin.play import policy_at

    found = [policy_at(policy) for policy in order.policies]
    if any(one.asks and one.voice is None for one in found):
        order = replace(order, llm=llm_at(wanted))
    elif wanted.llm:
        raise typer.BadParameter("--llm goes with policy agents only: name it, or leave out --llm")
    for cell in order.cells():
        if cell.seed == 1:
            game_of(cell)  # what cannot be played is refused before anything is
    return order


def _engine(name: str) -> 'Literal["auto", "reference", "compiled"]':
    from fairlead.contracts.errors import InputError

    match name:
        case "auto" | "reference" | "compiled":
            return name
        case _:
            raise InputError(f"--engine {name[:32]!r} is no engine: auto, reference or compiled")


def sources(name: str, loads: list[float] | None, duration: float | None) -> "list[Source]":
    """Return what is played, once for each load; raises `InputError` where it cannot be."""
    from fairlead.contracts.errors import ConfigError, InputError
    from fairlead.studies.cells import EpisodeAt, ScenarioAt
    from fairlead.studies.episodes.files import header_of
    from fairlead.twin.scenarios import WARM_UP_S, scenario

    for load in loads or ():
        if not 0 < load < float("inf"):
            raise InputError(f"--load {load:g} cannot be offered: give a number above 0, such as {LOAD:g}")
    doubled = [load for load in loads or () if (loads or []).count(load) > 1]
    if doubled:
        raise InputError(f"--load {doubled[0]:g} is given twice: once is enough")
    try:
        scenario(name)
    except ConfigError as error:
        if not Path(name).is_file():
            raise InputError(
                f"{name[:128]!r} is neither a scenario nor a file: see `fairlead scenarios`, `fairlead episodes list`"
            ) from error
        end_s = None if duration is None else header_of(Path(name)).window_start_s + duration
        return [EpisodeAt.of(Path(name), load, None, end_s) for load in loads or (None,)]
    scenarios = [ScenarioAt(name, load) for load in loads or (LOAD,)]
    if duration is None:
        return list(scenarios)
    return [ScenarioAt(name, one.load, WARM_UP_S, WARM_UP_S + duration) for one in scenarios]


def _swept(order: "Order", jobs: int | None, folder: Path | None, *, again: bool) -> "Comparison":
    from fairlead.studies.replay import compared
    from fairlead.studies.store import Store, default_folder
    from fairlead.studies.sweep import swept, usable_cores

    store = Store.of(folder or default_folder(os.environ))
    cells = order.cells()
    if again:
        for cell in cells:
            store.forget(cell)
    try:
        with bar("replay", "after an update the twin's core is compiled first: a minute or two") as tell:
            results = swept(cells, jobs or usable_cores(), store, tell)
    except KeyboardInterrupt:
        raise _stopped(store, len(cells), sum(store.read(cell) is not None for cell in cells)) from None
    return compared(order, dict(zip(cells, results, strict=True)))


def _stopped(store: "Store", total: int, kept: int) -> typer.Exit:
    sys.stderr.write(f"fairlead: stopped; {kept} of {total} runs are kept: the same command goes on there\n")
    return typer.Exit(1)


def _recorded(source: str, policies: list[str], json_to: str | None) -> None:
    """Execute the decisions of an episode again; exit status 1 unless all come out as recorded."""
    from fairlead.contracts.errors import InputError
    from fairlead.studies.episodes.recorded import check_recorded
    from fairlead_cli.replaying import tell

    if len(policies) > 1:
        raise InputError(
            f"--policy {RECORDED} executes recorded decisions again and stands alone: leave the others out"
        )
    if not Path(source).is_file():
        raise InputError(
            f"{source[:128]!r} is no file: --policy {RECORDED} needs an episode that `fairlead up` recorded"
        )
    _check_places(json_to, None)
    with bar("replay") as told:
        tally = check_recorded(Path(source), told)
    if json_to is not None:
        _write_json({"source": Path(source).name, "policy": RECORDED, **tally.document()}, json_to)
    if json_to != "-":
        tell(tally)
    raise typer.Exit(0 if tally.holds else 1)


def _report(comparison: "Comparison", folder: Path) -> None:
    from fairlead.studies.report import page
    from fairlead.studies.report_runs import traced

    with bar("report") as tell:
        text = page(comparison, traced(comparison.order, tell))
    partial = folder / ".index.html.partial"
    partial.write_text(text, "utf-8")
    partial.replace(folder / "index.html")
    sys.stderr.write(f"report: {folder / 'index.html'}\n")


def _check_places(json_to: str | None, report: Path | None) -> None:
    """Refuse places that cannot be written before hours of work; raises `InputError`."""
    from fairlead.contracts.errors import InputError

    try:
        if report is not None:
            report.mkdir(parents=True, exist_ok=True)
            (report / ".index.html.partial").touch()
            (report / ".index.html.partial").unlink()
        if json_to is not None and json_to != "-":
            file = Path(json_to)
            before = file.exists()
            file.open("a").close()
            if not before:
                file.unlink()
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}; name another place") from error


def _write_json(document: dict[str, Any], where: str) -> None:
    if where == "-":
        echo_json(document)
        return
    Path(where).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _document(comparison: "Comparison", took_s: float) -> dict[str, Any]:
    from fairlead.studies.replay import document

    runs = [one for row in comparison.rows for one in row.results]
    return {
        **document(comparison),
        "took_s": took_s,
        "requests_per_s": sum(one.requests for one in runs) / max(sum(one.took_s for one in runs), 1e-9),
    }


def _echo(comparison: "Comparison") -> None:
    heads = ("policy", "load", "mean s", "p95 s", "p99 s", "x1", "objective", "starts/h", "ratio of means", "engine")
    echo_table(heads, [_line(row, comparison) for row in comparison.rows], empty="nothing")


def _line(row: "Row", comparison: "Comparison") -> Sequence[str]:
    first = comparison.first(row)
    engines = "+".join(sorted({one.engine for one in row.results}))
    shown = [_shown(row.interval(name), digits) for name, digits in (("mean", 2), ("p95", 1), ("p99", 1), ("x1", 4))]
    shown += [_shown(row.interval("objective"), 4), _shown(row.interval("starts_per_hour"), 1)]
    ratio = "1" if row is first else _shown(row.ratio("mean", first), 3)
    return (row.policy, f"{row.source.load:g}", *shown, ratio, engines)


def _shown(found: "Interval | None", digits: int) -> str:
    """Return a figure with its interval in brackets."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
