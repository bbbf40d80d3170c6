"""Case memory, its value: what came of an epoch, as the terms of the objective F (CONTROL §1).

Counters say how many requests arrived, outcomes what became of them. What arrived and has no outcome yet is *open*.
Queues are first come first served, so that the open requests of a model are taken to be the last U of its A that
arrived: evenly spread, they are ½·U/A of the epoch old at its end on the mean, which is half the epoch where nobody was
served at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.contracts.cases import ModelTally, Realised
from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.tuning import Weights
from fairlead.policy.fairness import ModelStats, readings
from fairlead.policy.objective import Measured, objective


@dataclass(frozen=True, slots=True)
class Happened:
    """What was measured of an epoch, some time after its end."""

    length_s: float
    arrived: Mapping[str, int]
    """Requests counted by the ingresses within the epoch, those that were cancelled among them."""
    tallies: tuple[ModelTally, ...]
    churn: int
    """Starts and stops of pods."""


def realised(cluster: Cluster, happened: Happened, weights: Weights) -> Realised | None:
    """Return F and its terms; None where nobody asked for anything, for then there is nothing that a plan did well.

    Lref is the deadline (live), the mean over the requests where deadlines differ; S counts what finished within the
    epoch; J' is over x1. Cancelled requests are in no term.
    """
    speed = sum(n.speed for n in cluster.nodes) / len(cluster.nodes)
    tallies = {t.model: t for t in happened.tallies}
    stats = [_stats(m, tallies.get(m.id), happened, m.work_s / speed) for m in cluster.models]
    arrived = sum(s.arrived for s in stats)
    if arrived == 0:
        return None
    finished = sum(s.finished for s in stats)
    latency_s = sum(s.latency_sum_s for s in stats) / arrived
    fairness = readings(stats).x1
    measured = Measured(
        latency_s=latency_s,
        reference_s=sum(m.deadline_s * s.arrived for m, s in zip(cluster.models, stats, strict=True)) / arrived,
        fairness=fairness,
        churn=happened.churn,
        churn_most=len(cluster.nodes) * len(cluster.models),
        service=finished / arrived,
    )
    return Realised(
        objective=objective(measured, weights).total,
        latency_s=latency_s,
        fairness=fairness,
        service=finished / arrived,
        churn=happened.churn,
        arrived=arrived,
        finished=finished,
    )


def _stats(model: ModelSpec, tally: ModelTally | None, happened: Happened, unloaded_s: float) -> ModelStats:
    """Return what became of a model's requests, the open ones counted as the module says."""
    ended = 0 if tally is None else tally.counted
    cancelled = 0 if tally is None else tally.cancelled
    left = max(0, happened.arrived.get(model.id, 0) - ended - cancelled)
    arrived = ended + left
    oldest_s = happened.length_s * left / arrived if arrived else 0.0
    overdue = round(left * (1.0 - model.deadline_s / oldest_s)) if oldest_s > model.deadline_s else 0
    return ModelStats(
        model=model.id,
        arrived=arrived,
        judged=overdue + (0 if tally is None else tally.judged),
        timely=0 if tally is None else tally.timely,
        finished=0 if tally is None else tally.finished,
        unloaded_s=unloaded_s,
        latency_sum_s=0.5 * oldest_s * left + (0.0 if tally is None else tally.latency_sum_s),
    )
