"""What no policy reaches: the lower bound and the clairvoyant, for the seeds that sections ask for; kept like cells."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from fairlead.studies.bound import lp_bound
from fairlead.studies.cells import ScenarioAt, subject_at
from fairlead.studies.oracle import foresee
from fairlead.studies.scoreboard import BOUND, ORACLE, Column, Extra, Section, rounded
from fairlead.studies.searched import searched_placement
from fairlead.studies.store import code_digest
from fairlead.twin.play import Game, policy_at
from fairlead.twin.scenarios import scenario

Kind = Literal["lp", "rollout-oracle@fresh"]
"""`BOUND` and `ORACLE`."""

MODULES = MappingProxyType[Kind, str]({BOUND: "fairlead.studies.bound", ORACLE: "fairlead.studies.oracle"})
"""What each is made by, beside its subject."""

Figures = dict[str, float]
"""Figures of a column by their names there."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One run of a clairvoyant, or one program."""

    kind: Kind
    source: ScenarioAt
    seed: int


def limits_of(chosen: Sequence[Section]) -> tuple[Limit, ...]:
    """Return what sections ask for."""
    found: list[Limit] = []
    for one in chosen:
        asked: tuple[tuple[Kind, tuple[float, ...], int], ...] = (
            (BOUND, one.bounded_at, one.bounded),
            (ORACLE, one.foreseen_at, one.foreseen),
        )
        for kind, loads, count in asked:
            for load in loads:
                source = ScenarioAt(one.scenario, load, one.warm_up_s, one.run_s)
                found += [Limit(kind, source, seed) for seed in range(1, min(count, one.seeds) + 1)]
    return tuple(found)


def limited(wanted: Sequence[Limit], jobs: int, folder: Path, tell: Callable[[int, int], None]) -> Extra:
    """Return columns for each scenario and load; what is in `folder` is not made again."""
    files = {one: _file(folder, one) for one in wanted}
    ahead = [one for one in wanted if not files[one].is_file()]
    tell(len(wanted) - len(ahead), len(wanted))
    with ProcessPoolExecutor(max(1, jobs), multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(figures, one): one for one in ahead}
        for done, future in enumerate(as_completed(waiting), start=len(wanted) - len(ahead) + 1):
            files[waiting[future]].write_text(json.dumps(future.result()), "utf-8")
            tell(done, len(wanted))
    return columns((one, json.loads(files[one].read_text("utf-8"))) for one in wanted)


def columns(found: Iterable[tuple[Limit, Figures]]) -> Extra:
    """Return what was found, a column for each kind; a seed without figures is left out."""
    grouped: dict[tuple[str, float], dict[Kind, list[tuple[int, Figures]]]] = {}
    for one, values in found:
        if values:
            kinds = grouped.setdefault((one.source.name, one.source.load), {})
            kinds.setdefault(one.kind, []).append((one.seed, values))
    return {key: tuple(_column(kind, runs) for kind, runs in kinds.items()) for key, kinds in grouped.items()}


def _column(kind: Kind, runs: Sequence[tuple[int, Figures]]) -> Column:
    names = runs[0][1]
    return Column(
        policy=kind,
        engine="highs" if kind == BOUND else "reference",
        seeds=tuple(seed for seed, _ in runs),
        **{name: rounded(values[name] for _, values in runs) for name in names},
    )


def figures(one: Limit) -> Figures:
    """Return the figures of one; none where no program was solved in time: what then remains says little."""
    subject = subject_at(one.source, one.seed)
    if one.kind == BOUND:
        bound = lp_bound(subject)
        return {} if bound.source == "service" else {"mean_s": bound.mean_s}
    searched = searched_placement(scenario(one.source.name).cluster, one.source.name)
    found = foresee(Game(subject, policy_at("marginal-dpp@fresh"), one.seed, searched), lambda share: None).figures
    latency = found.latency_s
    return {
        name: value
        for name, value in (
            ("mean_s", latency.mean),
            ("p95_s", latency.p95),
            ("p99_s", latency.p99),
            ("x1", found.fairness.x1),
            ("service_ratio", found.service_ratio),
            ("starts_per_hour", found.starts_per_hour),
        )
        if value is not None
    }


def _file(folder: Path, one: Limit) -> Path:
    document = json.dumps({"limit": asdict(one), "code": code_digest(MODULES[one.kind])}, sort_keys=True)
    return folder / f"limit-{hashlib.sha256(document.encode()).hexdigest()[:32]}.json"
