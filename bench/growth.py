"""How the cost of a decision and of a simulated request grows with nodes, models and requests; `--write` for the docs.

    python -m bench.growth [--write]

Processor time, so that what else runs here matters less; medians of decisions, one run of each game after a short one
that has everything compiled. `--write` writes docs/growth.json, from which `docs.generate` draws the page.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.fallback import made_up, situation
from fairlead.policy.registry import decide_slot
from fairlead.twin.compiled.play import begun, played
from fairlead.twin.compiled.setting import crowd
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of

WHERE = Path(__file__).parents[1] / "docs" / "growth.json"

SIZES = ((7, 4), (20, 8), (50, 14), (100, 20), (300, 45), (1000, 100))
"""Nodes and models of a decision."""

DECISIONS = 21

POLICY = "marginal-dpp@fresh"

CLUSTERS = (
    ("city7-stationary", 0.8, 20_000.0, 2_000.0),
    ("catalogue-roomy", 0.6, 20_000.0, 1_000.0),
    ("metro100", 0.8, 1_200.0, 60.0),
    ("nation1000", 0.8, 120.0, None),
)
"""Scenario, load, and how long each engine plays it; None where the reference would take an hour."""

LENGTHS = ((1_000.0, 10_000.0, 100_000.0, 1_000_000.0), (300.0, 1_000.0, 3_000.0, 10_000.0))
"""Simulated seconds of `city7-stationary` at 0.8 for the compiled core and for the reference."""


def decisions() -> list[dict[str, Any]]:
    """Return what a decision costs at each size."""
    found = []
    for nodes, models in SIZES:
        row: dict[str, Any] = {"nodes": nodes, "models": models}
        for trigger in ("slot", "event"):
            draws = np.random.default_rng([nodes, models])
            inputs = [situation(made_up(nodes, models, draws), draws, trigger) for _ in range(3)]
            spent_s = []
            for k in range(DECISIONS):
                before = time.process_time()
                decide_slot(inputs[k % len(inputs)])
                spent_s.append(time.process_time() - before)
            row[f"{trigger}_s"] = round(statistics.median(spent_s), 6)
        found.append(row)
        took = ", ".join(f"{trigger} {1e3 * row[f'{trigger}_s']:.2f} ms" for trigger in ("slot", "event"))
        print(f"decision {nodes:5d} x {models:3d}: {took}", flush=True)
    return found


def game(name: str, load: float, run_s: float) -> Game:
    """Return a game of a scenario."""
    return Game(subject_of(scenario(name), load, 1, 0.0, run_s), policy_at(POLICY), 1)


def compiled(one: Game) -> tuple[int, float]:
    """Return the requests of a game and what the compiled core spends on it, seconds."""
    requests = crowd(one.subject)
    run = begun(one, requests)
    before = time.process_time()
    played(run, one.subject.window.end_at_s)
    return len(requests.model), time.process_time() - before


def reference(one: Game) -> tuple[int, float]:
    """Return the requests of a game and what the reference engine spends on it, seconds."""
    engine = engine_of(one)
    before = time.process_time()
    engine.run(one.subject.window.end_at_s)
    return engine.books.arrived, time.process_time() - before


def clusters() -> list[dict[str, Any]]:
    """Return what a request costs in clusters of different size."""
    found = []
    for name, load, fast_s, slow_s in CLUSTERS:
        shape = subject_of(scenario(name), load, 1, 0.0, 1.0).cluster
        row: dict[str, Any] = {"scenario": name, "nodes": len(shape.nodes), "models": len(shape.models)}
        requests, spent_s = compiled(game(name, load, fast_s))
        row["compiled"] = {"requests": requests, "spent_s": round(spent_s, 4), "times": round(fast_s / spent_s, 1)}
        if slow_s is not None:
            requests, spent_s = reference(game(name, load, slow_s))
            row["reference"] = {"requests": requests, "spent_s": round(spent_s, 4), "times": round(slow_s / spent_s, 1)}
        found.append(row)
        print(f"{name}: {json.dumps(row)}", flush=True)
    return found


def lengths() -> list[dict[str, Any]]:
    """Return what runs of different length cost."""
    found = []
    for engine, play, runs in (("compiled", compiled, LENGTHS[0]), ("reference", reference, LENGTHS[1])):
        for run_s in runs:
            requests, spent_s = play(game("city7-stationary", 0.8, run_s))
            found.append({"engine": engine, "requests": requests, "spent_s": round(spent_s, 4)})
            print(f"{engine:9s} {requests:9d} requests {spent_s:9.3f} s", flush=True)
    return found


def main() -> None:
    """Measure, print, and write where that is asked for."""
    compiled(game("city7-stationary", 0.8, 100.0))
    document = {"policy": POLICY, "decisions": decisions(), "clusters": clusters(), "lengths": lengths()}
    if "--write" in sys.argv[1:]:
        WHERE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        print(f"growth: wrote docs/{WHERE.name}; `make docs`")


if __name__ == "__main__":
    main()
