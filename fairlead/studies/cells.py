"""Cells: a run each, with all it depends on but the code; independent values that can be played anywhere, in any order.

A sweep is a set of cells; whatever plays them (this process, a pool, a cluster engine) needs `run_cell` alone.
"""

import hashlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import assert_never

from fairlead.contracts.base import Count, Id, Many, Message, Name, Ratio, Seconds, Text
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import InputError
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.plans import NodePlacement
from fairlead.policy.fairness import ModelStats
from fairlead.studies.asking import LlmAt, counselled
from fairlead.studies.episodes.files import checked
from fairlead.studies.episodes.subject import offered_load, subject_of_episode
from fairlead.studies.searched import searched_placement
from fairlead.studies.voicing import TRAINING_S, TRAINING_SEED, UNLEARNED, counsel_by, learned, misled
from fairlead.twin.clusters import NAMES, cluster, default_ports
from fairlead.twin.engines import EngineName, player
from fairlead.twin.play import Game, Played, policy_at
from fairlead.twin.scenarios import RUN_S, WARM_UP_S, scenario
from fairlead.twin.subjects import Subject, subject_of


@dataclass(frozen=True, slots=True)
class ScenarioAt:
    """A scenario at a load; the cell's seed is its demand's too."""

    name: str
    load: float
    warm_up_s: float = WARM_UP_S
    run_s: float = RUN_S
    """With the warm-up."""


@dataclass(frozen=True, slots=True)
class EpisodeAt:
    """An episode; its demand is the same for every seed, unless `load` is less than its own and leaves some out."""

    path: str
    sha256: str
    """Of its lines, as its closing line says: another file of the same name is another source."""
    load: float
    warm_up_s: float | None = None
    run_s: float | None = None
    """None as the episode itself has it."""

    @property
    def name(self) -> str:
        """Return the file's name."""
        return Path(self.path).name

    @classmethod
    def of(
        cls, path: Path, load: float | None = None, warm_up_s: float | None = None, run_s: float | None = None
    ) -> "EpisodeAt":
        """Return an episode at a load, its own without.

        Raises `TraceError` where the file is wrong, `InputError` for a load or a window that it does not have.
        """
        episode = checked(path)
        subject_of_episode(path, load, 0, warm_up_s, run_s)
        offered = offered_load(episode) if load is None else load
        return cls(str(path.absolute()), episode.end.sha256, offered, warm_up_s, run_s)


Source = ScenarioAt | EpisodeAt


@dataclass(frozen=True, slots=True)
class Cell:
    """One run."""

    source: Source
    policy: str
    """For `fairlead.twin.play.policy_at`."""
    seed: int
    engine: EngineName = "auto"
    llm: LlmAt | None = None
    """Whom `agents` ask; nobody else asks."""

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.source.name} load {self.source.load:g} {self.policy} seed {self.seed}"

    def key(self, code: str) -> str:
        """Return a digest of all that the result depends on; `code` stands for the code."""
        document = json.dumps({"cell": asdict(self), "code": code}, sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()


class ModelFigures(Message):
    """What became of the requests of one model that arrived in the window, as in `policy.fairness.ModelStats`."""

    model: Id
    arrived: Count
    judged: Count
    timely: Count
    finished: Count
    unloaded_s: Seconds
    latency_sum_s: Seconds


class CellResult(Message):
    """What is measured of a cell, as in `twin.play.Figures`; same cell and code, same result but `took_s`."""

    cell: Text
    engine: Name
    """Which one served."""
    arrived: Count
    finished: Count
    failed: Count
    refused: Count
    open: Count
    mean_s: Seconds | None
    """Latency with what is unfinished at its age; None without an arrival in the window. So too the next three."""
    p50_s: Seconds | None
    p95_s: Seconds | None
    p99_s: Seconds | None
    after_change_s: Seconds | None = None
    """Mean latency of what was sent within five minutes after demand changed; None where it is not known to have."""
    x1: Ratio
    x2: Ratio
    x3: Ratio
    x4: Ratio
    service_ratio: Ratio | None
    starts_per_hour: Seconds
    stops_per_hour: Seconds
    pairs: Count
    """Nodes times models: the most starts and stops that an epoch counts (Cmax of the objective)."""
    models: Many[ModelFigures]
    requests: Count
    """All that were simulated, the warm-up's too."""
    decisions: Count
    took_s: Seconds
    """Wall time; the one thing that differs from run to run."""


def run_cell(cell: Cell) -> CellResult:
    """Play a cell. Raises `InputError` where there is no such scenario or policy, or it cannot be played."""
    began_s = time.perf_counter()
    with playable(cell) as game:
        played = player(cell.engine)(game, lambda share: None)
    return result_of(cell, game.subject, played, time.perf_counter() - began_s)


@contextmanager
def playable(cell: Cell) -> Generator[Game]:
    """Give what is played in a cell, with its language model at hand; raises as `run_cell` does."""
    game = game_of(cell)
    voice = game.policy.voice
    if voice is not None:
        knowledge = None if voice in UNLEARNED else learned_before(cell.source)
        if voice == "placebo" and knowledge is not None:
            knowledge = misled(knowledge)
        yield replace(game, counsel=counsel_by(voice, game.subject.cluster, cell.seed), knowledge=knowledge)
        return
    if cell.llm is None:
        yield game
        return
    with counselled(cell.llm, os.environ) as counsel:
        yield replace(game, counsel=counsel)


def game_of(cell: Cell) -> Game:
    """Return what is played in a cell, its language model left out; raises `InputError` as `run_cell` does."""
    at = policy_at(cell.policy)
    if (at.asks and at.voice is None) != (cell.llm is not None):
        raise InputError(f"policy {cell.policy}: a language model is asked by agents and nobody else: give --llm to it")
    subject = subject_at(cell.source, cell.seed)
    static = _placement(cell.source, subject) if at.name == "sed-static" else ()
    if at.name == "sed-static" and not static:
        raise InputError(
            f"sed-static needs a searched placement, and none was searched for {subject.name}: city7 has one; "
            "leave that policy out"
        )
    return Game(subject, at, cell.seed, static)


def learned_before(source: Source) -> Knowledge | None:
    """Return what a scenario's demand with another seed teaches; an episode has no other demand to learn from."""
    if isinstance(source, EpisodeAt):
        return None
    return learned(subject_at(replace(source, run_s=TRAINING_S), TRAINING_SEED))


def subject_at(source: Source, seed: int) -> Subject:
    """Return what a source is with a seed."""
    match source:
        case ScenarioAt():
            return subject_of(scenario(source.name), source.load, seed, source.warm_up_s, source.run_s)
        case EpisodeAt():
            return subject_of_episode(Path(source.path), source.load, seed, source.warm_up_s, source.run_s)
        case _:
            assert_never(source)


def _placement(source: Source, subject: Subject) -> tuple[NodePlacement, ...]:
    """Return the placement that was searched for a subject, or for its cluster; empty where none was."""
    if isinstance(source, ScenarioAt):
        return searched_placement(scenario(source.name).cluster, source.name)
    return searched_placement(_named(subject.cluster), subject.name)


def _named(shape: Cluster) -> str:
    """Return which named cluster has these nodes and models, wherever they listen; empty if none has."""
    for name in NAMES:
        known = cluster(name, default_ports(name))
        if _capacities(known) == _capacities(shape):
            return name
    return ""


def _capacities(shape: Cluster) -> tuple[tuple[tuple[str, int, float], ...], tuple[tuple[str, int, float], ...]]:
    nodes = tuple((node.id, node.memory_bytes, node.speed) for node in shape.nodes)
    return nodes, tuple((model.id, model.memory_bytes, model.work_s) for model in shape.models)


def result_of(cell: Cell, subject: Subject, played: Played, took_s: float) -> CellResult:
    """Return what is measured of a run that is over."""
    figures = played.figures
    latency, fairness = figures.latency_s, figures.fairness
    return CellResult(
        cell=str(cell)[:256],
        engine=played.engine,
        arrived=figures.arrived,
        finished=figures.finished,
        failed=figures.failed,
        refused=figures.refused,
        open=figures.open,
        mean_s=latency.mean,
        p50_s=latency.p50,
        p95_s=latency.p95,
        p99_s=latency.p99,
        after_change_s=figures.after_change_s,
        x1=fairness.x1,
        x2=fairness.x2,
        x3=fairness.x3,
        x4=fairness.x4,
        service_ratio=figures.service_ratio,
        starts_per_hour=figures.starts_per_hour,
        stops_per_hour=figures.stops_per_hour,
        pairs=len(subject.cluster.nodes) * len(subject.cluster.models),
        models=tuple(_model(one) for one in figures.models),
        requests=played.requests,
        decisions=played.decisions,
        took_s=took_s,
    )


def _model(one: ModelStats) -> ModelFigures:
    return ModelFigures(**asdict(one))
