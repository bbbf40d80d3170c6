"""The regime detector on demand alone: false alarms a day, how soon a change is noticed, what each forecast is off.

Arrivals are drawn as the scenario has them, counted each slot and looked at every `report_s`, as an agent does. A
change counts as noticed by the first alarm within ten minutes; every other alarm is a false one. `known` runs know the
regimes of an earlier run with another seed.
"""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.forecasts import ForecastMethod, Knowledge, SlotArrivals
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.forecasting import METHODS, Foresight
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.demand import Demand, draw, until
from fairlead.twin.scenarios import scenario

DAY_S = 86_400.0
NOTICED_WITHIN_S = 600.0
SETTINGS = PolicySettings()

CASES = (
    ("city7-stationary", 0.8, 10.0, False),
    ("city7-rotating", 0.8, 1.0, False),
    ("city7-rotating", 0.8, 1.0, True),
    ("city7-redraw", 0.8, 1.0, False),
    ("catalogue-roomy-cycle", 0.6, 1.0, False),
    ("catalogue-roomy-cycle", 0.6, 1.0, True),
    ("catalogue-roomy-recur", 0.6, 1.0, True),
)
"""Scenario, load, days, and whether its regimes are known before."""

TAUGHT_S = 14_400.0
"""A known run has learned for so long: three rounds of four regimes."""


@dataclass(slots=True)
class Run:
    """What came of a run."""

    foresight: Foresight
    alarms: list[float]


def lived(name: str, load: float, seed: int, end_s: float, knowledge: Knowledge | None) -> Run:
    """Return what is noticed of a scenario's demand."""
    one = scenario(name)
    shape = cluster(one.cluster, default_ports(one.cluster))
    run = Run(Foresight(shape, SETTINGS, 0.0, knowledge), [])
    arrivals = until(draw(one.spans(shape, load, seed), shape, seed), end_s)
    for slot, counts in enumerate(_slots(arrivals, shape, run)):
        told = tuple(SlotArrivals(slot=slot, site=s, model=m, arrived=n) for (s, m), n in sorted(counts.items()))
        if run.foresight.ended(slot, told) is not None:
            run.alarms.append((slot + 1) * SETTINGS.slot_s)
    return run


def _slots(arrivals: Iterator[Demand], shape: Cluster, run: Run) -> Iterator[dict[tuple[str, str], int]]:
    """Yield the counts of each slot by site and model, after looking at each of its parts."""
    counts: dict[tuple[str, str], int] = {}
    slot, look_s = 0, SETTINGS.report_s
    for arrival in arrivals:
        while arrival.at_s >= slot * SETTINGS.slot_s + look_s:
            if look_s < SETTINGS.slot_s:
                _look(slot * SETTINGS.slot_s + look_s, counts, run)
                look_s += SETTINGS.report_s
            else:
                yield counts
                counts, slot, look_s = {}, slot + 1, SETTINGS.report_s
        key = (arrival.site, arrival.model)
        counts[key] = counts.get(key, 0) + 1


def _look(now_s: float, counts: dict[tuple[str, str], int], run: Run) -> None:
    by_model: dict[str, float] = {}
    for (_, model), n in counts.items():
        by_model[model] = by_model.get(model, 0.0) + n
    if run.foresight.look(now_s, by_model) is not None:
        run.alarms.append(now_s)


def judged(name: str, load: float, end_s: float, run: Run) -> str:
    """Return false alarms a day, and how long it took to notice a change."""
    one = scenario(name)
    shape = cluster(one.cluster, default_ports(one.cluster))
    spans = takewhile(lambda span: span.start_s < end_s, one.spans(shape, load, 1))
    changes = [span.start_s for span in spans if span.start_s > 0.0]
    delays = []
    for change_s in changes:
        first = bisect(run.alarms, change_s)
        if first < len(run.alarms) and run.alarms[first] <= change_s + NOTICED_WITHIN_S:
            delays.append(run.alarms[first] - change_s)
    false = (len(run.alarms) - len(delays)) * DAY_S / end_s
    words = f"{false:.2f} false alarms a day; {len(delays)} of {len(changes)} changes"
    if not delays:
        return words
    return f"{words}, noticed after {median(delays):.0f} s, nine in ten {sorted(delays)[9 * len(delays) // 10]:.0f} s"


def errors(run: Run) -> str:
    """Return how far each way of forecasting an epoch was off."""
    records = run.foresight.records.of
    words: list[tuple[ForecastMethod, float]] = [
        (m, error) for m in METHODS if m in records and (error := records[m].error) is not None
    ]
    return ", ".join(f"{method} {error:.3f}" for method, error in words)


def main() -> None:
    """Print a line for each case."""
    for name, load, days, knows in CASES:
        knowledge = lived(name, load, 101, TAUGHT_S, None).foresight.knowledge() if knows else None
        run = lived(name, load, 1, days * DAY_S, knowledge)
        print(f"{name} {load}{' known' if knows else ''}, {days:g} days: {judged(name, load, days * DAY_S, run)}")
        print(f"  error of an epoch's arrivals: {errors(run)}", flush=True)


if __name__ == "__main__":
    main()
