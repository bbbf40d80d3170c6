"""`fairlead twin compare`: the live local cluster beside the twin, request by request."""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.studies.calibration import Calibration
    from fairlead.studies.compare import Compared

REQUESTS = 2000
"""Live requests that are compared, at least (issue and CONTROL §4)."""

CALIBRATED_ON = 600
"""Live requests of the run before it: a hundred of the rarest model of city7."""

MOST_SPEED = 5.0
"""Above it what a machine adds to each request is no longer small beside the request's own seconds."""

SLACK = 1.1
"""How much longer a run lasts than its requests need on average: their number is a draw."""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command(
        "compare",
        epilog=examples(
            "fairlead twin compare                              (two live runs, some 12 minutes)",
            "fairlead twin compare --keep /tmp/runs --load 0.6",
            "fairlead twin compare run.jsonl.gz --calibrate other.jsonl.gz --json | jq .models",
        ),
    )(compare)


def compare(
    episode: Annotated[
        Path | None, typer.Argument(help="A run that `fairlead up --record` wrote; without: run live now.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="EPISODE", help="Another run, that the twin is calibrated on.")
    ] = None,
    scenario: Annotated[str, typer.Option("--scenario", help="Of the live runs.")] = "city7-rotating",
    load: Annotated[float, typer.Option("--load", help="Of the live runs.")] = 0.8,
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=MOST_SPEED, help="Of the live runs.")] = MOST_SPEED,
    requests: Annotated[int, typer.Option("--requests", min=100, help="Live requests to compare.")] = REQUESTS,
    calibrate_requests: Annotated[
        int,
        typer.Option("--calibrate-requests", min=0, help="Live requests of the run to calibrate on; 0: as declared."),
    ] = CALIBRATED_ON,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the live runs; the first has the next one.")] = 1,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the live runs' episodes there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the live local cluster with the twin on the same demand, under the recorded placements and routes.

    The twin is calibrated on another run: work attained over work asked for, the way to a pod and back, and start
    delays, by model. Without --calibrate an EPISODE is compared with the twin as declared. Errors are twin / live − 1.
    """
    from fairlead.studies.calibration import AS_DECLARED, calibrated
    from fairlead.studies.compare import compared

    if episode is not None:
        calibration = AS_DECLARED if calibrate is None else calibrated(calibrate)
        _tell(compared(episode, calibration), calibration, as_json=as_json)
        return
    if calibrate is not None:
        raise typer.BadParameter("--calibrate goes with an EPISODE; a live comparison records its own two runs")
    with tempfile.TemporaryDirectory(prefix="fairlead-compare-") as folder:
        where = Path(folder) if keep is None else keep
        where.mkdir(parents=True, exist_ok=True)
        first, second = where / f"calibration-{seed + 1}.jsonl.gz", where / f"compared-{seed}.jsonl.gz"
        if calibrate_requests:
            _live(_order(scenario, load, speed, seed + 1, calibrate_requests), first)
        _live(_order(scenario, load, speed, seed, requests), second)
        calibration = calibrated(first) if calibrate_requests else AS_DECLARED
        _tell(compared(second, calibration), calibration, as_json=as_json)


def _order(name: str, load: float, speed: float, seed: int, requests: int) -> list[str]:
    """Return the options of a run that lasts for so many requests."""
    from fairlead.twin.clusters import cluster, default_ports
    from fairlead.twin.scenarios import mean_rates
    from fairlead.twin.scenarios import scenario as named

    chosen = named(name)
    shape = cluster(chosen.cluster, default_ports(chosen.cluster))
    for_s = SLACK * requests / sum(mean_rates(chosen.spans(shape, load, seed), 6000.0).values())
    order = {"scenario": name, "load": load, "speed": speed, "seed": seed, "duration": round(for_s / speed)}
    return [part for option, value in order.items() for part in (f"--{option}", f"{value}")]


def _live(order: list[str], record: Path) -> None:
    """Run the local cluster as its own command; raises `InputError` where it does not come to its end."""
    from fairlead.contracts.errors import InputError

    sys.stderr.write(f"compare: fairlead up {' '.join(order)}\n")
    command = [sys.executable, "-m", "fairlead_cli", "up", *order, "--record", str(record), "--json"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode or not record.is_file():
        raise InputError(f"`fairlead up {' '.join(order)}` ended with status {done.returncode} and left no record")


def _tell(found: "Compared", calibration: "Calibration", *, as_json: bool) -> None:
    if as_json:
        echo_json(_document(found, calibration))
        return
    heads = ("model", "requests", "live mean", "twin mean", "error", "live p99", "twin p99", "error")
    echo_table(heads, [_row(found, at) for at in range(len(found.models))], empty="no request")
    echo_table(
        ("calibrated", "work", "there", "back", "start"),
        _calibration_rows(calibration),
        empty="as declared, not calibrated",
    )
    typer.echo(
        f"{found.left_out} left out without an answer, {found.moved} moved live, {found.astray} astray in the twin"
    )


def _row(found: "Compared", at: int) -> tuple[str, ...]:
    one = found.models[at]
    return (
        one.model,
        str(one.requests),
        f"{one.live_mean_s:.2f} s",
        f"{one.twin_mean_s:.2f} s",
        f"{one.mean_error_ratio:+.1%}",
        f"{one.live_p99_s:.1f} s",
        f"{one.twin_p99_s:.1f} s",
        f"{one.p99_error_ratio:+.1%}",
    )


def _calibration_rows(calibration: "Calibration") -> list[tuple[str, ...]]:
    def said(value: float | None, unit: str) -> str:
        return "-" if value is None else f"{value:.3f}{unit}"

    return [
        (
            model,
            said(calibration.work_ratio.get(model), " ×"),
            said(calibration.there_s.get(model), " s"),
            said(calibration.back_s.get(model), " s"),
            said(calibration.start_s.get(model), " s"),
        )
        for model in sorted({*calibration.work_ratio, *calibration.there_s, *calibration.start_s})
    ]


def _document(found: "Compared", calibration: "Calibration") -> dict[str, Any]:
    models = [
        {**dataclasses.asdict(one), "mean_error_ratio": one.mean_error_ratio, "p99_error_ratio": one.p99_error_ratio}
        for one in found.models
    ]
    return {**dataclasses.asdict(found), "models": models, "calibration": dataclasses.asdict(calibration)}
