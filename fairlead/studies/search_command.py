"""Searches the placement of `sed-static` in a scenario and writes its data file.

python -m fairlead.studies.search_command SCENARIO [--load 0.8] [--starts 7] [--jobs N] [--write]

Without --write it only says what it found. Seeds from 1000 on are for training and for the refinement, those from
30000 on for the test; the scoreboard's are below 1000.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from fairlead.studies.cells import ScenarioAt
from fairlead.studies.search import (
    Descent,
    Runs,
    Sets,
    Training,
    Trial,
    descended,
    document,
    mean_s,
    random_starts,
    refined,
    sets_of,
)
from fairlead.studies.searched import searched_placement
from fairlead.studies.sweep import usable_cores
from fairlead.twin.scenarios import scenario

TRAINING = tuple(range(1000, 1008))
REFINEMENT = tuple(range(2000, 2032))
TEST = tuple(range(30000, 30040))
CHUNK = 4
"""Runs that a process is handed at once: each takes some hundredths of a second in the compiled engine."""

BEST = 3
"""So many ends are descended again on the seeds of the refinement."""


def main() -> None:
    """Search, compare with the placement there is on the test seeds, and write the better one if asked to."""
    parser = argparse.ArgumentParser(prog="python -m fairlead.studies.search_command")
    parser.add_argument("scenario")
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    training = Training(ScenarioAt(given.scenario, given.load), TRAINING)
    known = searched_placement(scenario(given.scenario).cluster, given.scenario)
    before = sets_of(training.cluster(), known) if known else None
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        runs = _in(pool)
        found = _searched(training, [*([before] if before else []), *random_starts(training, given.starts)], runs)
        tests = {
            name: _tested(training, one, runs) for name, one in (("found", found.placement), ("before", before)) if one
        }
    print(f"found: {tests['found']:.3f} s on the test seeds, before: {tests.get('before', float('nan')):.3f} s")
    if not given.write:
        return
    if before is not None and tests["before"] <= tests["found"]:
        print("not written: the placement there is is no worse")
        return
    file = Path(str(resources.files("fairlead.studies"))) / "data" / f"{given.scenario}-sed-static.json"
    file.write_text(
        json.dumps(document(training, found, _provenance(training, found, tests)), indent=2) + "\n", "utf-8"
    )
    print(f"wrote {file}")


def _in(pool: ProcessPoolExecutor) -> Runs:
    """Return how to do runs in the processes of a pool."""

    def runs(run: Callable[[Trial], float], trials: Sequence[Trial]) -> Sequence[float]:
        return list(pool.map(run, trials, chunksize=CHUNK))

    return runs


def _searched(training: Training, starts: Sequence[Sets], runs: Runs) -> Descent:
    ends = []
    for at, start in enumerate(starts, start=1):
        end = descended(training, start, runs, lambda tried, best_s: None)
        print(f"start {at} of {len(starts)}: {end.mean_s:.3f} s after {end.tried} placements", flush=True)
        ends.append(end)
    fine = replace(training, seeds=REFINEMENT)
    best = sorted(dict.fromkeys(ends), key=lambda end: end.mean_s)[:BEST]
    again = [descended(fine, end.placement, runs, lambda tried, best_s: None) for end in best]
    return refined(training, REFINEMENT, again, runs)


def _tested(training: Training, placement: Sets, runs: Runs) -> float:
    return statistics.fmean(runs(mean_s, [(training, placement, seed) for seed in TEST]))


def _provenance(training: Training, found: Descent, tests: dict[str, float]) -> dict[str, object]:
    source = training.source
    return {
        "what": f"placement of {source.name} for sed-static: searched on its course of demand at load {source.load:g}",
        "method": "coordinate descent over every feasible set of models on each node, from the placement there was and "
        f"random maximal feasible ones; the {BEST} best descended again on more seeds",
        "tool": "python -m fairlead.studies.search_command, in this project's twin",
        "episodes": "20 min warm-up and 80 min window, unfinished requests counted with their age at the end",
        "training_seeds": {"search": _span(TRAINING), "refinement": _span(REFINEMENT)},
        "test_seeds": _span(TEST),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "mean_latency_s": {
            "refinement": round(found.mean_s, 3),
            "test": round(tests["found"], 3),
            "test_of_the_placement_before": round(tests["before"], 3) if "before" in tests else None,
        },
        "state": training.policy.partition("@")[2],
    }


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]}-{seeds[-1]}"


if __name__ == "__main__":
    main()
