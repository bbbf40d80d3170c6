"""Lower bounds for the scoreboard: one for each seed of the sections that ask for it, kept like finished cells."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from fairlead.studies.bound import lp_bound
from fairlead.studies.cells import ScenarioAt, subject_at
from fairlead.studies.scoreboard import BOUND, Column, Extra, Section, rounded
from fairlead.studies.store import code_digest

MODULE = "fairlead.studies.bound"
"""What a bound is made by, beside its subject."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """What is bounded."""

    source: ScenarioAt
    seed: int


def bounds(chosen: Sequence[Section], jobs: int, folder: Path, tell: Callable[[int, int], None]) -> Extra:
    """Return a column of bounds for each scenario and load that asks for one; those in `folder` are not solved again.

    Where no program was solved in time, the seed is left out: what then remains says little of the policies.
    """
    wanted = [
        Bounded(ScenarioAt(one.scenario, load), seed)
        for one in chosen
        for load in one.loads
        for seed in range(1, min(one.bounded, one.seeds) + 1)
    ]
    files = {one: _file(folder, one) for one in wanted}
    ahead = [one for one in wanted if not files[one].is_file()]
    tell(len(wanted) - len(ahead), len(wanted))
    with ProcessPoolExecutor(max(1, jobs), multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(solved, one): one for one in ahead}
        for done, future in enumerate(as_completed(waiting), start=len(wanted) - len(ahead) + 1):
            files[waiting[future]].write_text(json.dumps(future.result()), "utf-8")
            tell(done, len(wanted))
    found: dict[tuple[str, float], list[tuple[int, float]]] = {}
    for one in wanted:
        mean_s = json.loads(files[one].read_text("utf-8"))
        if mean_s is not None:
            found.setdefault((one.source.name, one.source.load), []).append((one.seed, mean_s))
    return {
        key: (
            Column(
                policy=BOUND,
                engine="highs",
                seeds=tuple(seed for seed, _ in values),
                mean_s=rounded(mean_s for _, mean_s in values),
            ),
        )
        for key, values in found.items()
    }


def solved(one: Bounded) -> float | None:
    """Return the bound on the mean latency, seconds; None where no program was solved."""
    found = lp_bound(subject_at(one.source, one.seed))
    return None if found.source == "service" else found.mean_s


def _file(folder: Path, one: Bounded) -> Path:
    document = json.dumps({"bound": asdict(one), "code": code_digest(MODULE)}, sort_keys=True)
    return folder / f"bound-{hashlib.sha256(document.encode()).hexdigest()[:32]}.json"
