"""Named scenarios of CONTROL §5: a cluster and how the demand for its models goes over domain time.

Load = Σ rate · work / Σ speed, nothing taken off for memory. Rates are constant inside a `Span`; spans go on without
end, so that a run lasts as long as somebody wants.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.notes import Note
from fairlead.twin import announced, mishaps
from fairlead.twin.announced import Notes
from fairlead.twin.courses import WARM_UP_S as WARM_UP_S
from fairlead.twin.courses import Course, Span, Variant, orders_of, ranked, steady
from fairlead.twin.mishaps import Trouble, Troubles
from fairlead.twin.streams import stream

RUN_S = 6000.0
"""Warm-up and a window of eighty minutes (CONTROL §5)."""

TURN_S = 600.0
"""`rotating`, `cyclic` and `redraw` change every ten minutes (CONTROL §5)."""

SURGE = 2.2
"""By how much the rate of the model whose turn it is rises in `rotating` (CONTROL §5)."""

BURST = 3.0
BURST_FOR_S = 120.0
BURST_EVERY_S = 3600.0
BURST_AFTER_S = 600.0
"""`burst`: × 3 for 2 min an hour, first 10 min after warm-up (CONTROL §5)."""

REDRAW_LOADS = (0.5, 1.0, 1.5)
REDRAW_CONCENTRATION = 2.0
"""`redraw`: a Dirichlet(2) mix and load × one of these (CONTROL §5)."""

REGIME_S = 1200.0
"""`rerank` and `-cycle` change every twenty minutes (CONTROL §5)."""

RECUR_S = (600.0, 1800.0)
"""`-recur`: a regime lasts 10 to 30 min (CONTROL §5)."""

WAVE = 5
"""`metro100` and `nation1000`: each ten minutes one model in so many surges, as in `rotating`. Own choice."""

ROOMY, CROWDED = 8, 18
"""How many models of the catalogue are asked for in a regime (CONTROL §5)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster and a course of demand."""

    name: str
    cluster: str
    """For `fairlead.twin.clusters.cluster`."""
    variant: Variant
    loads: tuple[float, ...]
    """Those of the scoreboard; others are allowed."""
    fixed_speed: float | None = None
    """The only speed it runs at; None allows any. A real model cannot be compressed (DESIGN §6)."""
    work: Literal["deterministic", "lognormal"] = "deterministic"
    """Of a request; lognormal with cv 0.5 (`-cv`)."""
    troubles: Troubles = mishaps.none
    notes: Notes = announced.nothing
    """What operators say will be."""
    live: bool = True
    """`fairlead up` can play it; else only the twin can."""

    def spans(self, cluster: Cluster, load: float, seed: int, warm_up_s: float = WARM_UP_S) -> Iterator[Span]:
        """Yield the spans of demand at `load`, in order of time, without end."""
        if not (math.isfinite(load) and load > 0):
            raise ConfigError(f"load {load!r} cannot be offered: give a number above 0, such as 0.8")
        return self.variant(Course(cluster, load, seed, warm_up_s))

    def trouble(self, cluster: Cluster, seed: int, warm_up_s: float = WARM_UP_S) -> Trouble:
        """Return what goes wrong in a run with this seed."""
        return self.troubles(cluster, seed, warm_up_s)

    def said(self, cluster: Cluster, load: float, seed: int, warm_up_s: float = WARM_UP_S) -> tuple[Note, ...]:
        """Return what operators say in a run at `load` with this seed, each from its `created_at_s` on."""
        return self.notes(Course(cluster, load, seed, warm_up_s))

    def check_live(self) -> None:
        """Raise `ConfigError` if `fairlead up` cannot play this scenario."""
        if not self.live:
            raise ConfigError(
                f"scenario {self.name!r} has what a cluster of processes on one machine cannot show, lost or paused "
                "nodes, sleeping pods or hundreds of nodes: play it in the twin, `fairlead twin run`"
            )

    def check_speed(self, speed: float) -> None:
        """Raise `ConfigError` if this scenario cannot run at `speed`."""
        if self.fixed_speed is not None and speed != self.fixed_speed:
            raise ConfigError(
                f"scenario {self.name!r} runs a real model, which cannot be made {speed:g} times as fast: "
                f"leave --speed at {self.fixed_speed:g}"
            )


def scenario(name: str) -> Scenario:
    """Return the scenario of that name; raises `ConfigError` where there is none."""
    for one in SCENARIOS:
        if one.name == name:
            return one
    raise ConfigError(f"no scenario is named {name!r}: there are {', '.join(s.name for s in SCENARIOS)}")


def mean_rates(spans: Iterator[Span], until_s: float) -> dict[str, float]:
    """Return each model's mean rate over `[0, until_s)`: the mix that a static policy is told."""
    sums: dict[str, float] = {}
    for span in spans:
        for_s = min(span.end_s, until_s) - span.start_s
        if for_s <= 0:
            break
        for model, rate in span.rates:
            sums[model] = sums.get(model, 0.0) + rate * for_s
        if span.end_s >= until_s:
            break
    return {model: total / until_s for model, total in sums.items()}


def _rotating(course: Course) -> Iterator[Span]:
    mix = course.mix()
    for turn in itertools.count():
        chosen = (course.seed + turn) % len(mix)
        surged = tuple(share * (SURGE if at == chosen else 1.0) for at, share in enumerate(mix))
        yield Span(turn * TURN_S, (turn + 1) * TURN_S, course.scaled(surged))


def _cyclic(course: Course) -> Iterator[Span]:
    mix = course.mix()
    for turn in itertools.count():
        by = (course.seed + turn) % len(mix)
        yield Span(turn * TURN_S, (turn + 1) * TURN_S, course.scaled(mix[by:] + mix[:by]))


def _burst(course: Course) -> Iterator[Span]:
    calm, burst = course.scaled(course.mix()), course.scaled(course.mix(), BURST)
    at_s = 0.0
    for hour in itertools.count():
        start_s = course.warm_up_s + BURST_AFTER_S + hour * BURST_EVERY_S
        yield Span(at_s, start_s, calm)
        at_s = start_s + BURST_FOR_S
        yield Span(start_s, at_s, burst)


def _redraw(course: Course) -> Iterator[Span]:
    draws = stream(course.seed, "redraw")
    count = len(course.cluster.models)
    for turn in itertools.count():
        mix = tuple(float(share) for share in draws.dirichlet([REDRAW_CONCENTRATION] * count))
        factor = REDRAW_LOADS[int(draws.integers(len(REDRAW_LOADS)))]
        yield Span(turn * TURN_S, (turn + 1) * TURN_S, course.scaled(mix, factor))


def _waves(course: Course) -> Iterator[Span]:
    """Shares ∝ 1/rank in an order that the seed draws; each ten minutes another fifth of the models surges."""
    count = len(course.cluster.models)
    order = tuple(int(one) for one in stream(course.seed, "waves").permutation(count))
    mix = ranked(order, count)
    for turn in itertools.count():
        surged = tuple(share * (SURGE if order[at] % WAVE == turn % WAVE else 1.0) for at, share in enumerate(mix))
        yield Span(turn * TURN_S, (turn + 1) * TURN_S, course.scaled(surged))


def _rerank(active: int) -> Variant:
    def variant(course: Course) -> Iterator[Span]:
        draws = stream(course.seed, "rerank")
        count = len(course.cluster.models)
        for regime in itertools.count():
            order = tuple(int(one) for one in draws.permutation(count))
            yield Span(regime * REGIME_S, (regime + 1) * REGIME_S, course.scaled(ranked(order, active)))

    return variant


def _cycle(active: int) -> Variant:
    def variant(course: Course) -> Iterator[Span]:
        orders = orders_of(course)
        for regime in itertools.count():
            order = orders[(course.seed + regime) % len(orders)]
            yield Span(regime * REGIME_S, (regime + 1) * REGIME_S, course.scaled(ranked(order, active)))

    return variant


def _recur(active: int) -> Variant:
    def variant(course: Course) -> Iterator[Span]:
        orders = orders_of(course)
        draws = stream(course.seed, "recur")
        at_s, last = 0.0, -1
        while True:
            others = [one for one in range(len(orders)) if one != last]
            last = others[int(draws.integers(len(others)))]
            end_s = at_s + float(draws.uniform(*RECUR_S))
            yield Span(at_s, end_s, course.scaled(ranked(orders[last], active)))
            at_s = end_s

    return variant


CITY7_LOADS = (0.6, 0.8, 0.9, 1.0)
CATALOGUE_LOADS = (0.6, 0.75)
LARGE_LOADS = (0.8,)

SCENARIOS = (
    Scenario("city7-stationary", "city7", steady, CITY7_LOADS),
    Scenario("city7-rotating", "city7", _rotating, CITY7_LOADS),
    Scenario("city7-cyclic", "city7", _cyclic, CITY7_LOADS),
    Scenario("city7-redraw", "city7", _redraw, CITY7_LOADS),
    Scenario("city7-burst", "city7", _burst, CITY7_LOADS),
    Scenario("city7-node-loss", "city7", steady, CITY7_LOADS, troubles=mishaps.node_loss, live=False),
    Scenario("city7-slow-node", "city7", steady, CITY7_LOADS, troubles=mishaps.slow_node, live=False),
    Scenario("city7-maintenance", "city7", steady, CITY7_LOADS, troubles=mishaps.maintenance, live=False),
    Scenario("city7-rotating-pausing", "city7-pausing", _rotating, CITY7_LOADS, live=False),
    Scenario("city7-stationary-cv", "city7", steady, CITY7_LOADS, work="lognormal"),
    Scenario("city7-rotating-cv", "city7", _rotating, CITY7_LOADS, work="lognormal"),
    Scenario("catalogue-roomy", "catalogue", _rerank(ROOMY), CATALOGUE_LOADS),
    Scenario("catalogue-roomy-cycle", "catalogue", _cycle(ROOMY), CATALOGUE_LOADS),
    Scenario("catalogue-roomy-recur", "catalogue", _recur(ROOMY), CATALOGUE_LOADS),
    Scenario("catalogue-crowded", "catalogue", _rerank(CROWDED), CATALOGUE_LOADS),
    Scenario("catalogue-crowded-cycle", "catalogue", _cycle(CROWDED), CATALOGUE_LOADS),
    Scenario("catalogue-crowded-recur", "catalogue", _recur(CROWDED), CATALOGUE_LOADS),
    Scenario("catalogue-roomy-sleeping", "catalogue-sleeping", _rerank(ROOMY), CATALOGUE_LOADS, live=False),
    Scenario("catalogue-crowded-sleeping", "catalogue-sleeping", _rerank(CROWDED), CATALOGUE_LOADS, live=False),
    Scenario("city7-event", "city7", announced.surging, (0.4,), notes=announced.surges, live=False),
    Scenario("city7-event-untrue", "city7", steady, (0.4,), notes=announced.surges, live=False),
    Scenario(
        "catalogue-roomy-event", "catalogue", announced.appearing, CATALOGUE_LOADS, notes=announced.news, live=False
    ),
    Scenario(
        "catalogue-roomy-event-untrue", "catalogue", announced.quiet, CATALOGUE_LOADS, notes=announced.news, live=False
    ),
    Scenario("catalogue-roomy-rush", "catalogue", announced.rushing, (0.4,), notes=announced.rushes, live=False),
    Scenario("catalogue-roomy-rush-untrue", "catalogue", announced.quiet, (0.4,), notes=announced.rushes, live=False),
    Scenario("catalogue-roomy-upgrade", "catalogue", announced.upgrading, (0.6,), notes=announced.upgrades, live=False),
    Scenario(
        "catalogue-roomy-upgrade-untrue", "catalogue", announced.versioned, (0.6,), notes=announced.upgrades, live=False
    ),
    Scenario(
        "catalogue-roomy-switch",
        "catalogue",
        announced.switching,
        CATALOGUE_LOADS,
        notes=announced.switches,
        live=False,
    ),
    Scenario(
        "catalogue-roomy-switch-untrue",
        "catalogue",
        announced.quiet,
        CATALOGUE_LOADS,
        notes=announced.switches,
        live=False,
    ),
    Scenario("metro100", "metro100", _waves, LARGE_LOADS, live=False),
    Scenario("nation1000", "nation1000", _waves, LARGE_LOADS, live=False),
    Scenario("home3", "home3", steady, (0.3,), fixed_speed=1.0),
)
