"""`fairlead up`: the whole system on this machine, under demand, until it is told to end."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli.llm_options import LOCAL, Chosen, Llm, LlmModel, RunMode, checked_mode, with_llm
from fairlead_cli.shown import examples

if TYPE_CHECKING:
    from fairlead.contracts.dialogue import ModeName
    from fairlead.contracts.settings import Settings
    from fairlead.twin.scenarios import Scenario
    from testbed.local_cluster import Order

LOAD = 0.8
"""Of the cluster's speed: busy, and the controller still has room (CONTROL §5's second lightest)."""

SPEED = 10.0
"""For somebody who looks on: a slot takes 3 s, a start 1 to 5 s, and the clients keep this machine half busy."""

LOCAL_SPEED = 1.0
"""With a language model on this machine, which needs seconds for an answer."""

SCENARIO = "city7-rotating"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "up",
        epilog=examples(
            "fairlead up",
            "fairlead up --scenario city7-rotating --load 0.8 --speed 30 --duration 60 --seed 7 --json",
            "fairlead up --scenario catalogue-roomy --load 0.6 --speed 30 --policy lru",
            "fairlead up --scenario home3                        (a real model: curl it)",
            "fairlead up --scenario home3 --llm local            (a real language model decides with the controller)",
            "OPENAI_API_KEY=… fairlead up --speed 3 --llm https://api.example.com/v1 --llm-model NAME --mode auto",
            "fairlead up --speed 10 --duration 120 --record run.jsonl.gz     (then: fairlead replay run.jsonl.gz …)",
            "fairlead up --trace azure AzureLLMInferenceTrace_conv.csv --speed 10",
        ),
    )(up)


def up(
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", help=f"See `fairlead scenarios`; {SCENARIO} by default.", show_default=False),
    ] = None,
    load: Annotated[
        float | None,
        typer.Option(
            "--load", help=f"Offered work as a share of the nodes' speed; {LOAD:g} by default.", show_default=False
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Wall seconds of demand; until Ctrl-C without.", show_default=False),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option("--speed", help=f"Simulated seconds in a second; {SPEED:g} by default.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of demand and placements; 0 by default.", show_default=False)
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="The controller; marginal-dpp by default.", show_default=False)
    ] = None,
    trace: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--trace",
            metavar="FORMAT PATH",
            help="Play a real trace: azure and its CSV file, or both files' directory.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Write the run as an episode at its end: demand, reports, decisions; .gz packs it.",
            show_default=False,
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", help="Keep state and logs here; a temporary place without.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Of the control API; 8700 or a free one.", show_default=False)
    ] = None,
    llm: Llm = None,
    llm_model: LlmModel = None,
    mode: RunMode = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings, YAML; ./fairlead.yaml if it is there.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Run the whole system on this machine under demand, show it at work, and sum up at the end.

    A language model, if there is one, is asked beside the controller: what it proposes acts only past the gates and
    as --mode says. An answer takes wall seconds, however fast the simulation runs: above --speed 1 slots are short.

    Ctrl-C, SIGTERM and the end of --duration stop every process and remove every temporary file.
    """
    from dataclasses import replace

    from testbed.local_cluster import run

    options: dict[tuple[str, ...], object] = {("speed",): speed, ("seed",): seed, ("policy",): policy}
    options |= {("control", "port"): port, ("state_dir",): None if state_dir is None else str(state_dir)}
    settings, played = _settled(config, scenario, options, LOCAL_SPEED if LOCAL in (llm or ()) else SPEED)
    asking = with_llm(settings, llm, llm_model, os.environ)
    order = replace(_order(asking, played, load, duration, trace, state_dir, port, checked_mode(mode)), record=record)
    _check(order)
    raise typer.Exit(run(order, as_json=as_json, announce=_announce))


def _settled(
    config: Path | None, scenario: str | None, options: dict[tuple[str, ...], object], usual_speed: float
) -> "tuple[Settings, Scenario]":
    """Return the settings with the options that were given on top, and the scenario that is played."""
    from fairlead.twin.scenarios import SCENARIOS
    from fairlead.twin.scenarios import scenario as named
    from fairlead_cli.settings import of_this_process, with_options

    settings = of_this_process(config)
    default = SCENARIO
    if isinstance(settings.cluster, str) and "cluster" in settings.model_fields_set:
        default = next((s.name for s in SCENARIOS if s.cluster == settings.cluster), SCENARIO)
    played = named(scenario or default)
    played.check_live()
    given = {path: value for path, value in options.items() if value is not None}
    if ("speed",) not in given and "speed" not in settings.model_fields_set:
        given["speed",] = played.fixed_speed or usual_speed
    return with_options(settings, given), played


def _order(
    asking: Chosen,
    scenario: "Scenario",
    load: float | None,
    duration: float | None,
    trace: tuple[str, Path] | None,
    state_dir: Path | None,
    port: int | None,
    mode: "ModeName | None",
) -> "Order":
    from testbed.local_cluster import Order

    settings = asking.settings
    kept = state_dir is not None or "state_dir" in settings.model_fields_set
    return Order(
        settings=settings,
        scenario=scenario,
        load=load if load is not None else (min(scenario.loads) if scenario.fixed_speed else LOAD),
        duration_s=duration,
        trace=trace,
        directory=Path(settings.state_dir).absolute() if kept else None,
        port=port
        if port is not None
        else (settings.control.port if "port" in settings.control.model_fields_set else None),
        local_llm=asking.local,
        mode=mode,
        record=None,
    )


def _check(order: "Order") -> None:
    """Raise `ConfigError` for what cannot be run, before anything is started."""
    import math

    from fairlead.contracts.errors import ConfigError

    if not (math.isfinite(order.load) and 0 < order.load <= 10):
        raise ConfigError(f"--load {order.load:g} cannot be offered: give a number above 0 and up to 10, such as 0.8")
    if order.duration_s is not None and not (math.isfinite(order.duration_s) and order.duration_s > 0):
        raise ConfigError(f"--duration {order.duration_s:g} is no time to run for: give seconds above 0")
    order.scenario.check_speed(order.settings.speed)
    if order.record is not None and (order.record.exists() or not order.record.absolute().parent.is_dir()):
        why = "exists already" if order.record.exists() else "is in no directory that is there"
        raise ConfigError(f"--record {order.record} {why}: name a new file")
    if order.local_llm:
        from testbed import local_llm

        local_llm.require()
    if order.trace is not None:
        kind, path = order.trace
        if kind != "azure":
            raise ConfigError(f"--trace {kind!r} is unknown: the format that can be played is azure")
        if not path.exists():
            raise ConfigError(f"--trace azure {path}: there is no such file or directory")
        from testbed import azure

        azure.surveyed_at(path)


def _announce(control_url: str, token: str, state_dir: str, sites: tuple[str, ...]) -> Path | None:
    """Leave word where other commands find this run; None where that place cannot be written."""
    from fairlead_cli.pointer import Pointer, write

    try:
        return write(Pointer(os.getpid(), control_url, token, state_dir, sites), os.environ)
    except OSError:
        return None
