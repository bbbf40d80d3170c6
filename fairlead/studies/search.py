"""The search of a placement for `sed-static`: coordinate descent in the twin, on seeds that nobody is compared on.

One node after the other is given each set of models that fits it, and keeps the one with which the mean latency over
the training seeds is least, until no node changes. The runs have common random numbers, so a difference of two
placements is far more certain than either mean.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import NodePlacement
from fairlead.policy.baselines import random_placement
from fairlead.studies.cells import ScenarioAt, subject_at
from fairlead.twin.engines import EngineName, player
from fairlead.twin.play import Game, policy_at
from fairlead.twin.subjects import Subject

UNSERVED_S = 1e9
"""Mean latency of a placement that lacks a model: worse than any other, so that a descent leaves it."""

SEEDS_KEPT = 64
"""Demands that a process keeps: those of a search's training and refinement."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a placement is tried on."""

    source: ScenarioAt
    seeds: tuple[int, ...]
    policy: str = "sed-static@5s"
    engine: EngineName = "auto"

    def cluster(self) -> Cluster:
        """Return the cluster that is placed on."""
        return subject_at(self.source, self.seeds[0]).cluster


Sets = tuple[frozenset[str], ...]
"""Models of each node, in the cluster's order."""

Trial = tuple[Training, Sets, int]
"""What one run is made of; the last is its seed."""

Runs = Callable[[Callable[[Trial], float], Sequence[Trial]], Sequence[float]]
"""Does the runs, in this process or in others: `map` over a pool has this shape."""


@dataclass(frozen=True, slots=True)
class Descent:
    """Where a descent ended."""

    placement: Sets
    mean_s: float
    rounds: int
    """Over all nodes; the last changed none."""
    tried: int
    """Placements that were played."""


@lru_cache(maxsize=SEEDS_KEPT)
def drawn(source: ScenarioAt, seed: int) -> Subject:
    """Return a subject whose requests are drawn once: that takes longer than to play them compiled."""
    subject = subject_at(source, seed)
    arrivals = tuple(subject.demand())
    return replace(subject, demand=lambda: iter(arrivals))


def mean_s(trial: Trial) -> float:
    """Return the mean latency of one run."""
    training, placement, seed = trial
    subject = drawn(training.source, seed)
    game = Game(subject, policy_at(training.policy), seed, placed(subject.cluster, placement))
    played = player(training.engine)(game, lambda share: None)
    mean = played.figures.latency_s.mean
    return UNSERVED_S if mean is None else mean


def descended(training: Training, start: Sets, runs: Runs, tell: Callable[[int, float], None]) -> Descent:
    """Return where a descent from `start` ends; `tell` is told the placements played and the least mean so far."""
    cluster = training.cluster()
    here, known = start, dict[Sets, float]()
    best_s = _means(training, [here], runs, known)[0]
    rounds = 0
    while True:
        before, rounds = here, rounds + 1
        for at, node in enumerate(cluster.nodes):
            others = [(*here[:at], models, *here[at + 1 :]) for models in fitting(cluster, node.memory_bytes)]
            means = _means(training, others, runs, known)
            least = min(range(len(others)), key=lambda one: (means[one], one))
            if means[least] < best_s:
                here, best_s = others[least], means[least]
            tell(len(known), best_s)
        if here == before:
            return Descent(here, best_s, rounds, len(known))


def random_starts(training: Training, count: int) -> Iterator[Sets]:
    """Yield random maximal feasible placements: those that `random-static` has with the first seeds."""
    cluster = training.cluster()
    for seed in range(count):
        yield sets_of(cluster, random_placement(cluster, seed))


def refined(training: Training, seeds: Sequence[int], ends: Sequence[Descent], runs: Runs) -> Descent:
    """Return the best of several ends on other seeds; its mean is that on these."""
    judge = replace(training, seeds=tuple(seeds))
    means = _means(judge, [one.placement for one in ends], runs, {})
    best = min(range(len(ends)), key=lambda one: (means[one], one))
    return replace(ends[best], mean_s=means[best])


def fitting(cluster: Cluster, memory_bytes: int) -> tuple[frozenset[str], ...]:
    """Return every set of models that fits, the empty one too, in a fixed order."""
    claims = {one.id: one.memory_bytes for one in cluster.models}
    return tuple(
        frozenset(some)
        for count in range(len(claims) + 1)
        for some in itertools.combinations(claims, count)
        if sum(claims[one] for one in some) <= memory_bytes
    )


def placed(cluster: Cluster, placement: Sets) -> tuple[NodePlacement, ...]:
    """Return a placement as a policy is given it."""
    return tuple(
        NodePlacement(node=node.id, awake=tuple(sorted(models)), stoppable=())
        for node, models in zip(cluster.nodes, placement, strict=True)
    )


def sets_of(cluster: Cluster, placement: Sequence[NodePlacement]) -> Sets:
    """Return what is awake on each node."""
    awake = {one.node: frozenset(one.awake) for one in placement}
    return tuple(awake[node.id] for node in cluster.nodes)


def _means(training: Training, placements: Sequence[Sets], runs: Runs, known: dict[Sets, float]) -> Sequence[float]:
    """Return the mean latency of each placement over the training seeds; `known` is looked up and added to."""
    models = {one.id for one in training.cluster().models}
    for one in placements:
        if not models <= frozenset().union(*one):
            known[one] = UNSERVED_S
    ahead = [one for one in dict.fromkeys(placements) if one not in known]
    trials = [(training, one, seed) for one in ahead for seed in training.seeds]
    values = list(runs(mean_s, trials))
    count = len(training.seeds)
    for at, one in enumerate(ahead):
        known[one] = statistics.fmean(values[at * count : (at + 1) * count])
    return [known[one] for one in placements]


def document(training: Training, found: Descent, provenance: Mapping[str, object]) -> dict[str, object]:
    """Return the data file of a placement, `studies/data/NAME-sed-static.json`."""
    cluster = training.cluster()
    return {
        "cluster": training.source.name.split("-")[0],
        "scenario": training.source.name,
        "provenance": dict(provenance),
        "placement": [one.to_document() for one in placed(cluster, found.placement)],
    }
