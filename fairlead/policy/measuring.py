"""What a stretch of time is judged by: latency with what is unfinished at its age, and counts by model (CONTROL §1).

Live, in the twin and at replay, so that one figure means the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.policy.fairness import ModelStats

AFTER_CHANGE_S = 300.0
"""What counts as near a change of demand: five minutes after it (CONTROL §6, agents against the fallback)."""


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of domain time whose arrivals are measured."""

    start_at_s: float
    end_at_s: float


class Traced(Protocol):
    """A request of which it is known when it was sent and whether it has its full answer."""

    @property
    def model(self) -> str:
        """The model that it asked for."""

    @property
    def sent_at_s(self) -> float:
        """When its client sent it."""

    @property
    def finished_at_s(self) -> float | None:
        """When its client had the full answer; None where it never did, or has not yet."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of the domain from the client's side, censored as in CONTROL §1; None without any request."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


def finished_by(request: Traced, at_s: float) -> bool:
    """Return whether the full answer had come by then."""
    finished_at_s = request.finished_at_s
    return finished_at_s is not None and finished_at_s <= at_s


def latency(request: Traced, window: Window) -> float:
    """Return a request's latency: until its full answer, else its age at the window's end (CONTROL §1)."""
    finished_at_s = request.finished_at_s
    if finished_at_s is not None and finished_at_s <= window.end_at_s:
        return finished_at_s - request.sent_at_s
    return max(0.0, window.end_at_s - request.sent_at_s)


def latencies(requests: Sequence[Traced], window: Window) -> Latency:
    """Return mean and percentiles (linear between order statistics) over `requests`."""
    if not requests:
        return Latency(None, None, None, None)
    values = np.array([latency(one, window) for one in requests])
    p50, p95, p99 = (float(one) for one in np.percentile(values, (50, 95, 99)))
    return Latency(float(values.mean()), p50, p95, p99)


def after_changes(requests: Sequence[Traced], changes_at_s: Sequence[float], window: Window) -> float | None:
    """Return the mean latency of the requests that were sent within `AFTER_CHANGE_S` of a change; None without any."""
    near = [one for one in requests if any(0.0 <= one.sent_at_s - at_s < AFTER_CHANGE_S for at_s in changes_at_s)]
    return latencies(near, window).mean


def model_stats(requests: Sequence[Traced], cluster: Cluster, window: Window) -> tuple[ModelStats, ...]:
    """Return per model what the four fairness readings need.

    Timely service is judged only for arrivals whose deadline fell inside the window. The unloaded latency is the work
    at the mean speed of the nodes, for a request that finds everything idle may land on any.
    """
    mean_speed = sum(node.speed for node in cluster.nodes) / len(cluster.nodes)
    stats = []
    for model in cluster.models:
        own = [one for one in requests if one.model == model.id]
        judged = [one for one in own if one.sent_at_s + model.deadline_s <= window.end_at_s]
        stats.append(
            ModelStats(
                model=model.id,
                arrived=len(own),
                judged=len(judged),
                timely=sum(finished_by(one, one.sent_at_s + model.deadline_s) for one in judged),
                finished=sum(one.finished_at_s is not None for one in own),
                unloaded_s=model.work_s / mean_speed,
                latency_sum_s=sum(latency(one, window) for one in own),
            )
        )
    return tuple(stats)
