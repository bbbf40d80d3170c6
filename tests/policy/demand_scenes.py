"""Demand that forecasts are tested on: Poisson arrivals of three models at two sites, slot by slot."""

from collections.abc import Mapping, Sequence

import numpy as np

from fairlead.contracts.cluster import Cluster, SiteSpec
from fairlead.contracts.forecasts import SlotArrivals
from fairlead.policy.forecasting import Foresight
from fairlead.policy.regimes import Alarm
from tests.policy.situations import cluster, model, node

SLOT_S = 30.0
BUSY: Mapping[str, float] = {"m1": 0.4, "m2": 0.1}
QUIET: Mapping[str, float] = {"m1": 0.1, "m3": 0.3}
OTHER: Mapping[str, float] = {"m2": 0.5, "m3": 0.05}
"""Regimes: arrivals a second."""


def town() -> Cluster:
    """Return a cluster of two sites."""
    sites = tuple(SiteSpec(id=name, node=None, url="http://127.0.0.1:9") for name in ("s1", "s2"))
    return cluster([node("n1")], [model("m1"), model("m2"), model("m3")]).model_copy(update={"sites": sites})


def drawn(rates: Mapping[str, float], slot: int, draws: np.random.Generator) -> tuple[SlotArrivals, ...]:
    """Return the arrivals of a slot, each at a site by chance."""
    found: dict[tuple[str, str], int] = {}
    for name, rate in rates.items():
        for place in draws.integers(2, size=draws.poisson(rate * SLOT_S)):
            key = (f"s{place + 1}", name)
            found[key] = found.get(key, 0) + 1
    return tuple(SlotArrivals(slot=slot, site=site, model=name, arrived=n) for (site, name), n in sorted(found.items()))


def lived(
    foresight: Foresight, course: Sequence[tuple[Mapping[str, float], int]], seed: int
) -> list[tuple[int, Alarm]]:
    """Feed regimes, each for so many slots; return the alarms with the number of slots that had ended."""
    draws, alarms = np.random.default_rng(seed), []
    for rates, slots in course:
        for _ in range(slots):
            slot = foresight.next_slot
            if (alarm := foresight.ended(slot, drawn(rates, slot, draws))) is not None:
                alarms.append((slot + 1, alarm))
    return alarms
