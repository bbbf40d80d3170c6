"""Whom a pod serves next: who came first, but who is late already lets those pass who can still be on time.

Requests of a model are alike, so their mean latency is the same in any order; who is on time is not. Under overload
first come first served makes everybody late, long requests first, while there is time for many of them: J'(x1) of
CONTROL §1 falls. Twin, `city7-burst@fresh` at 0.9, seeds 1 and 2, 2026-11-21: J'(x1) 0.831 first come first served,
0.928 so; the mean the same to 0.001 s, p99 12 % longer.
"""

from collections.abc import Iterable

from fairlead.contracts.tuning import PolicyName, PolicySettings

PATIENCE_SHARE = 0.5
"""Who has waited for this share of the hold timeout yields no more: what is refused at its end has the longest latency
of all. The same two seeds with 0.83 of 600 s: J'(x1) 0.96, but the mean 5 % longer."""


def yields(policy: PolicyName, settings: PolicySettings) -> bool:
    """Tell whether late requests yield; baselines are first come first served (CONTROL §4)."""
    return settings.yielding and policy == "marginal-dpp"


def next_up(waiting: Iterable[tuple[int, float]], on_time_from_s: float, patient_from_s: float) -> int:
    """Return who of (number, instant of arrival) is served next; raises `ValueError` if nobody waits.

    Who arrived at `on_time_from_s` or later can be on time if served now: now + service − deadline. Who arrived before
    `patient_from_s` yields no more: now − patience.
    """
    known = tuple(waiting)
    oldest, arrived_at_s = min(known, key=_by_arrival)
    if arrived_at_s < patient_from_s:
        return oldest
    return min((one for one in known if one[1] >= on_time_from_s), key=_by_arrival, default=(oldest, 0.0))[0]


def _by_arrival(one: tuple[int, float]) -> tuple[float, int]:
    return one[1], one[0]
