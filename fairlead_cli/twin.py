"""`fairlead twin`: is the digital twin true, and what becomes of a scenario in it."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli import comparing
from fairlead_cli.counsel import LlmSeconds, TwinLlm, TwinMode, Wanted, counselled
from fairlead_cli.llm_options import LlmModel
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.twin.play import Game, Played
    from fairlead.twin.talking import TalkFigures
    from fairlead.twin.truth import Checked

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on the twin."""
    comparing.register(group)
    app.add_typer(group, name="twin", help="The digital twin: is it true, what becomes of a scenario in it.")


@group.command(
    "check",
    epilog=examples(
        "fairlead twin check",
        "fairlead twin check --requests 1000000",
        "fairlead twin check --json | jq '.items[] | {case, furthest_s, error_ratio}'",
    ),
)
def check(
    requests: Annotated[
        int, typer.Option("--requests", min=1000, help="Of each case; 10 000 000 for 1 % at load 0.9.")
    ] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="Of arrivals and work.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Compare the twin with queueing theory, and fail unless it is true.

    recursion: Lindley, Kiefer-Wolfowitz or attained time on the same sample, which is exact; furthest is the greatest
    difference of a single request. closed form: the mean in the long run, which a sample misses by its sampling
    error. little: how far Little's law is from holding on the path.
    """
    from fairlead.twin.truth import CASES, checked

    tell, over = progress("check")
    found = [checked(case, requests, seed, tell) for case in CASES]
    over()
    if as_json:
        echo_json({"items": [_document(one) for one in found], "ok": all(one.ok for one in found)})
    else:
        heads = ("case", "load", "closed form", "recursion", "twin", "furthest", "error", "sampling", "little", "")
        echo_table(heads, [_row(one) for one in found], empty="no case")
    raise typer.Exit(0 if all(one.ok for one in found) else 1)


@group.command(
    "run",
    epilog=examples(
        "fairlead twin run city7-rotating --policy marginal-dpp@fresh --load 0.8 --seed 1",
        "fairlead twin run city7-rotating --policy sed-static@5s --json",
        "fairlead twin run catalogue-roomy --policy lru@fresh --load 0.6",
        "fairlead twin run city7-rotating --policy agents@fresh --llm http://127.0.0.1:8000/v1 --llm record:said.jsonl",
    ),
)
def run(
    scenario: Annotated[str, typer.Argument(help="One of `fairlead scenarios`.")],
    policy: Annotated[
        str, typer.Option("--policy", help="NAME@fresh: state on change; NAME@5s or NAME: every 5 s.")
    ] = "marginal-dpp@5s",
    load: Annotated[float, typer.Option("--load", min=0.01, help="Offered work / speed of all nodes.")] = 0.8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of demand and placements.")] = 0,
    llm: TwinLlm = None,
    llm_model: LlmModel = None,
    llm_seconds: LlmSeconds = None,
    mode: TwinMode = "auto",
    as_json: AsJson = False,
) -> None:
    """Play a scenario in the twin: 20 min of warm-up, then a window of 80 min that is measured.

    Latency counts what is unfinished with its age at the window's end. x1 to x4 are normalised Jain indices over
    models: timely service, service, inverse slowdown, mean latency. Policy `agents` is marginal-dpp whose planner and
    slot agent ask a language model; the seconds that it takes to answer pass on the virtual clock.
    """
    from fairlead.studies.searched import searched_placement
    from fairlead.twin.play import Game, play, policy_at
    from fairlead.twin.scenarios import scenario as named
    from fairlead.twin.subjects import subject_of

    chosen, at = named(scenario), policy_at(policy)
    static = searched_placement(chosen.cluster, chosen.name) if at.name == "sed-static" else ()
    if at.name == "sed-static" and not static:
        raise typer.BadParameter(f"sed-static needs a searched placement, and {chosen.cluster} has none: city7 has one")
    game = Game(subject_of(chosen, load, seed), at, seed, static)
    tell, over = progress("run")
    with contextlib.ExitStack() as stack:
        if at.asks:
            wanted = Wanted(llm or (), llm_model, llm_seconds, mode, seed)
            game = dataclasses.replace(game, counsel=stack.enter_context(counselled(wanted)))
        elif llm:
            raise typer.BadParameter(
                f"--llm goes with policy agents only, {at} asks no model: leave out one of the two"
            )
        began_s = time.perf_counter()
        played = play(game, lambda share: tell(f"{chosen.name} {at}", share))
        took_s = time.perf_counter() - began_s
    over()
    if as_json:
        echo_json(_run_document(game, load, played, took_s))
    else:
        echo_table(("what", "value"), _run_rows(game, load, played, took_s), empty="nothing")


@group.command(
    "compile",
    epilog=examples(
        "fairlead twin compile",
        "fairlead twin compile --json | jq -r .twin",
    ),
)
def compile_(as_json: AsJson = False) -> None:
    """Compile the twin's core now, if it is not kept on disk: a minute or two of one processor, once after an update.

    Otherwise the first replay waits for it, and agents judge by the reference engine until it is there.
    """
    from fairlead.agents.twin_child import Twin

    began_s = time.perf_counter()
    twin = Twin()
    twin.compile()
    took_s, said = time.perf_counter() - began_s, twin.verdict(0)
    if as_json:
        echo_json({"twin": said.twin, "took_s": took_s, "memory_bytes": said.memory_bytes})
    else:
        typer.echo(f"{said.twin}, {took_s:.1f} s, {said.memory_bytes / 1e6:.0f} MB of memory")


def progress(what: str) -> tuple[Callable[[str, float], None], Callable[[], None]]:
    """Return how to say how far something is, and how to end that: one line, where a person looks."""
    if not sys.stderr.isatty():
        return (lambda name, share: None), (lambda: None)

    def tell(name: str, share: float) -> None:
        sys.stderr.write(f"\r\x1b[K{what}: {name} {share:4.0%}")
        sys.stderr.flush()

    def over() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return tell, over


def _document(one: "Checked") -> dict[str, object]:
    return {**dataclasses.asdict(one), "error_ratio": one.error_ratio, "ok": one.ok}


def _row(one: "Checked") -> tuple[str, ...]:
    return (
        one.case,
        f"{one.load:g}",
        "-" if one.closed_s is None else f"{one.closed_s:.4f} s",
        f"{one.recursion_s:.4f} s",
        f"{one.twin_s:.4f} s",
        f"{one.furthest_s:.1e} s",
        "-" if one.error_ratio is None else f"{one.error_ratio:+.2%}",
        f"±{one.sampling_s / one.twin_s:.2%}",
        f"{one.little_ratio:.0e}",
        "ok" if one.ok else "FAILED",
    )


def _run_document(game: "Game", load: float, played: "Played", took_s: float) -> dict[str, object]:
    return {
        "scenario": game.subject.name,
        "policy": str(game.policy),
        "load": load,
        "seed": game.seed,
        **dataclasses.asdict(played.figures),
        "decisions": played.decisions,
        "talks": None if played.talks is None else dataclasses.asdict(played.talks),
        "requests": played.requests,
        "took_s": took_s,
        "requests_per_s": played.requests / took_s,
    }


def _run_rows(game: "Game", load: float, played: "Played", took_s: float) -> list[tuple[str, str]]:
    figures, latency = played.figures, played.figures.latency_s
    percentiles = ((name, getattr(latency, name)) for name in ("p50", "p95", "p99"))
    spread = "  ".join(f"{name} {value:.1f} s" for name, value in percentiles if value is not None)
    window = game.subject.window
    fates = f"{figures.finished} finished, {figures.failed} failed, {figures.refused} refused, {figures.open} open"
    return [
        ("scenario", f"{game.subject.name}, load {load:g}, seed {game.seed}"),
        ("policy", str(game.policy)),
        ("requests", f"{figures.arrived} in the window: {fates}"),
        ("latency", "-" if latency.mean is None else f"mean {latency.mean:.3f} s  {spread}"),
        ("fairness", "  ".join(f"{x} {getattr(figures.fairness, x):.4f}" for x in ("x1", "x2", "x3", "x4"))),
        ("starts", f"{figures.starts_per_hour:.1f} an hour"),
        *(() if played.talks is None else (("agents", _talks(played.talks)),)),
        (
            "speed",
            f"{played.requests / took_s:.0f} requests a second, {window.end_at_s / took_s:.0f} × real time",
        ),
    ]


def _talks(talks: "TalkFigures") -> str:
    return (
        f"{talks.dialogues} dialogues, {talks.acting} acted; {talks.questions} questions, "
        f"{talks.unanswered} unanswered, {talks.malformed} malformed; {talks.judged} judged by the twin, "
        f"{talks.worse} refused; {talks.tokens} tokens"
    )
