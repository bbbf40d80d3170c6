"""`fairlead bound`: what no policy can be faster than."""

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.replay import sources
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.studies.bound import Bound
    from fairlead.studies.cells import Source

ANCHORED = ("marginal-dpp@fresh", "lru@fresh")
"""Policies that start pods on demand, which is what anchors are about."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "bound",
        epilog=examples(
            "fairlead bound city7-rotating --load 0.8 --seed 1",
            "fairlead bound city7-rotating --load 0.9 --seed 3 --duration 1200 --json | jq .mean_s",
            "fairlead bound run.jsonl.gz",
            "fairlead bound city7-rotating --drain 600      (every request served, however late)",
        ),
    )(bound)
    app.command(
        "anchors",
        epilog=examples(
            "fairlead anchors",
            "fairlead anchors --seed 3 --time-limit 300 --policy marginal-dpp@fresh --json",
        ),
    )(anchors)


def bound(
    source: Annotated[str, typer.Argument(metavar="EPISODE|SCENARIO", help="A file, or one of `fairlead scenarios`.")],
    load: Annotated[
        float | None,
        typer.Option("--load", help="Offered work / speed of all nodes; 0.8 by default, an episode's own."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the demand.")] = 0,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Simulated seconds of the window; 4800 by default, an episode's own."),
    ] = None,
    bin_s: Annotated[float, typer.Option("--bin", help="Seconds of a bin; coarser where it takes too long.")] = 2.0,
    limit_s: Annotated[float, typer.Option("--time-limit", help="Wall seconds for one linear program.")] = 300.0,
    drain_s: Annotated[
        float | None,
        typer.Option(
            "--drain", help="All served so long after the window, or longer if needed, and counted till then."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a lower bound on the mean latency of every policy, by a linear program.

    It is on the figure that `fairlead replay` prints as mean: what is unfinished counts with its age at the window's
    end. The solver's word is not taken for it: the bound is recomputed from its prices.
    """
    from fairlead.studies.bound import Limits, lp_bound
    from fairlead.studies.cells import subject_at

    chosen = sources(source, None if load is None else [load], duration)[0]
    began_s = time.perf_counter()
    found = lp_bound(subject_at(chosen, seed), Limits(bin_s, limit_s, drain_s))
    took_s = time.perf_counter() - began_s
    if as_json:
        echo_json(_document(found, chosen, seed, took_s))
    else:
        echo_table(("what", "value"), _rows(found, chosen, seed, took_s), empty="nothing")


def _document(found: "Bound", source: "Source", seed: int, took_s: float) -> dict[str, Any]:
    return {**dataclasses.asdict(found), "load": source.load, "seed": seed, "took_s": took_s}


def _rows(found: "Bound", source: "Source", seed: int, took_s: float) -> list[tuple[str, str]]:
    bins = ", ".join(f"{one.bin_s:g} s: {one.status}" for one in found.attempts)
    words = {
        "program": "of the linear program that was asked for",
        "coarser-program": "of a linear program with coarser bins: finer ones were not solved in time",
        "service": "of service alone, weak: no linear program was solved in time; give --bin or --time-limit more",
    }
    gap = "-" if found.gap_ratio is None else f"{found.gap_ratio:.1e}"
    return [
        ("source", f"{source.name}, load {source.load:g}, seed {seed}"),
        ("requests", str(found.requests)),
        ("bound", f"no policy's mean latency is below {found.mean_s:.4f} s"),
        ("it is", words[found.source]),
        ("bins", bins),
        ("gap", f"{gap} between the solver's optimum and what its prices prove"),
        ("took", f"{took_s:.1f} s"),
    ]


def anchors(
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Played beside the bounds; may be given again.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the demand.")] = 1,
    bin_s: Annotated[float, typer.Option("--bin", min=0.1, help="Seconds of a bin.")] = 1.0,
    limit_s: Annotated[float, typer.Option("--time-limit", min=0.1, help="Wall seconds for one program.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Print bounds of small cases in which memory and start delays decide, and what policies reach there.

    linear: the bound of `fairlead bound`, which has neither; mixed: with both. A bound whose program was not solved in
    time holds, too.
    """
    from fairlead.studies.anchors import BY_NAME, anchor, mixed_bound
    from fairlead.studies.bound import Limits, lp_bound
    from fairlead.twin.play import Game, play, policy_at

    policies, items = [policy_at(one) for one in policy or ANCHORED], []
    for name in BY_NAME:
        subject = anchor(name, seed)
        mixed = mixed_bound(subject, bin_s, limit_s)
        linear_s = lp_bound(subject, Limits(bin_s, limit_s)).mean_s
        reached = {str(at): play(Game(subject, at, seed), lambda share: None).figures.latency_s.mean for at in policies}
        items.append({**dataclasses.asdict(mixed), "linear_mean_s": linear_s, "policies": reached})
    if as_json:
        echo_json({"seed": seed, "items": items})
        return
    heads = ("anchor", "requests", "linear", "mixed", "its program", *(str(at) for at in policies))
    echo_table(heads, [_anchor_row(one) for one in items], empty="no anchor")


def _anchor_row(one: dict[str, Any]) -> tuple[str, ...]:
    proved = one["status"] if one["status"] == "optimal" else f"{one['status']}, gap {one['gap_ratio']:.0%}"
    bounds = (one["subject"], str(one["requests"]), f"{one['linear_mean_s']:.2f} s", f"{one['mean_s']:.2f} s", proved)
    return (*bounds, *("-" if value is None else f"{value:.2f} s" for value in one["policies"].values()))
