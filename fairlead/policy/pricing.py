"""What pods are worth, in request-seconds of expected delay: Φ, regret and worth of CONTROL §2, over arrays.

The lineage is drift-plus-penalty (Neely 2010) with a bias against switching (Hsieh, Hou, Liu arXiv:1701.03831); the
constants 0.15, 0.7 and ½ were chosen by CONTROL §2's event simulation.
"""

import numpy as np

from fairlead.policy.arrays import Floats

LEAST_SLACK = 0.15
"""Capacity above demand counts as at least this share of the capacity, so that Φ stays finite under overload."""
ELSEWHERE = 0.7
"""Share of a speed-1 node that a model without pods would get once it is started."""
CROWDING = 0.5
"""How much each further resident pod on a node takes from a pod's share."""
NO_CAPACITY = 1e-9
"""Capacity below this is none; sums of shares are off by rounding only."""


def share(speed: Floats, resident: Floats) -> Floats:
    """Return σ = v/(1 + ½(k − 1)): the work seconds a second that one of k resident pods gets."""
    return speed / (1.0 + CROWDING * (np.maximum(resident, 1.0) - 1.0))


def expected_delay(capacity: Floats, demand: Floats, work_s: Floats, start_s: Floats, horizon_s: float) -> Floats:
    """Return Φ(C): request-seconds of delay over the horizon of a model with capacity C and `demand` requests/s.

    All broadcast together. Φ(C) = λHb / max(C − λb, 0.15C); without capacity a start comes on top:
    Φ(0) = λHb / max(0.7 − λb, 0.105) + (1 − exp(−λH))·a·(1 + λa/2).
    """
    load = demand * work_s
    all_s = load * horizon_s
    served = np.maximum(capacity, NO_CAPACITY)
    with_pods = all_s / np.maximum(served - load, LEAST_SLACK * served)
    started = all_s / np.maximum(ELSEWHERE - load, LEAST_SLACK * ELSEWHERE)
    start = -np.expm1(-demand * horizon_s) * start_s * (1.0 + 0.5 * demand * start_s)
    return np.where(capacity > NO_CAPACITY, with_pods, started + start)


def regret(capacity: Floats, part: Floats, demand: Floats, work_s: Floats, start_s: Floats, horizon_s: float) -> Floats:
    """Return Φ(C − σ) − Φ(C), at least 0: what stopping a pod of share σ costs."""
    without = expected_delay(capacity - part, demand, work_s, start_s, horizon_s)
    return np.maximum(without - expected_delay(capacity, demand, work_s, start_s, horizon_s), 0.0)


def worth(capacity: Floats, part: Floats, demand: Floats, work_s: Floats, start_s: Floats, horizon_s: float) -> Floats:
    """Return Φ(C) − Φ(C + σ), at least 0: what starting a pod of share σ gains."""
    more = expected_delay(capacity + part, demand, work_s, start_s, horizon_s)
    return np.maximum(expected_delay(capacity, demand, work_s, start_s, horizon_s) - more, 0.0)
