"""How evenly models are served: Jain's index and the four readings of CONTROL §1.

Jain, Chiu, Hawe, DEC-TR-301 (1984): J(x) = (Σx)² / (n Σx²), between 1/n and 1. Normalised J' = (J − 1/n) / (1 − 1/n)
has 0 for the most uneven share whatever n is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What happened to the requests of one model in a window; cancellations by clients are in none of the figures."""

    model: str
    arrived: int
    judged: int
    """Arrived early enough before the window's end that their deadline fell inside it."""
    timely: int
    """Of the judged ones, those that finished within the model's deadline."""
    finished: int
    unloaded_s: float
    """Mean latency of a request that finds everything idle, seconds."""
    latency_sum_s: float
    """Over all arrived; what did not finish counts with its age at the window's end."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Normalised Jain index over models of each reading, in [0, 1]."""

    x1: float
    """Timely service ratio; this one decides."""
    x2: float
    """Service ratio."""
    x3: float
    """Inverse slowdown: unloaded latency / mean latency."""
    x4: float
    """Mean latency; diagnostic, it rewards making everybody equally slow."""


def jain(xs: Sequence[float]) -> float:
    """Return J of non-negative `xs`: 1 without any (no demand), 0 if all are 0 (demand, and nobody got anything)."""
    if not xs:
        return 1.0
    most = max(xs)
    if most <= 0.0:
        return 0.0
    parts = [x / most for x in xs]
    total = sum(parts)
    return min(1.0, total * total / (len(parts) * sum(p * p for p in parts)))


def normalised_jain(xs: Sequence[float]) -> float:
    """Return J' of non-negative `xs`; a single one gives 1, or 0 if it is 0."""
    count, index = len(xs), jain(xs)
    if count < 2 or index == 0.0:
        return index
    return min(1.0, max(0.0, (index - 1.0 / count) / (1.0 - 1.0 / count)))


def readings(stats: Iterable[ModelStats]) -> Readings:
    """Return the four readings; models without arrivals are left out, and of x1 those without a judged one."""
    seen = [s for s in stats if s.arrived > 0]
    return Readings(
        x1=normalised_jain([s.timely / s.judged for s in seen if s.judged > 0]),
        x2=normalised_jain([s.finished / s.arrived for s in seen]),
        x3=normalised_jain([_inverse_slowdown(s) for s in seen]),
        x4=normalised_jain([s.latency_sum_s / s.arrived for s in seen]),
    )


def _inverse_slowdown(stats: ModelStats) -> float:
    """Return unloaded over mean latency; 1 where requests took no time at all."""
    mean_s = stats.latency_sum_s / stats.arrived
    return stats.unloaded_s / mean_s if mean_s > 0.0 else 1.0
