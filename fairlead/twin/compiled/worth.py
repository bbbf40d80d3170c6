"""What pods are worth, compiled: `policy.pricing`, one pod at a time."""

import math

from fairlead.policy.pricing import ELSEWHERE, LEAST_SLACK, NO_CAPACITY
from fairlead.twin.compiled.desk import models, pods
from fairlead.twin.compiled.native import native


@native
def expected_delay(work_s: float, start_s: float, capacity: float, demand: float, horizon_s: float) -> float:
    """Return Φ(C): request-seconds of delay over the horizon of a model with `capacity` C and `demand` requests/s."""
    load = demand * work_s
    all_s = load * horizon_s
    if capacity > NO_CAPACITY:
        return float(all_s / max(capacity - load, LEAST_SLACK * capacity))
    started = all_s / max(ELSEWHERE - load, LEAST_SLACK * ELSEWHERE)
    begun = -math.expm1(-demand * horizon_s) * start_s * (1.0 + 0.5 * demand * start_s)
    return float(started + begun)


@native
def regret(b: int, n: int, m: int, part: float, demand: float, horizon_s: float) -> float:
    """Return Φ(C − σ) − Φ(C), at least 0: what stopping a pod of share σ costs."""
    model, again_s = models(b, m), pods(b, n, m).again_s
    without = expected_delay(model.work_s, again_s, model.capacity - part, demand, horizon_s)
    return max(without - expected_delay(model.work_s, again_s, model.capacity, demand, horizon_s), 0.0)


@native
def gain(b: int, m: int, part: float, demand: float, horizon_s: float) -> float:
    """Return Φ(C) − Φ(C + σ), at least 0: what starting a pod of share σ gains."""
    model = models(b, m)
    more = expected_delay(model.work_s, model.absent_s, model.capacity + part, demand, horizon_s)
    return max(expected_delay(model.work_s, model.absent_s, model.capacity, demand, horizon_s) - more, 0.0)
