"""How demand goes over domain time: stretches of constant rates, and what they are made from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from fairlead.contracts.cluster import Cluster
from fairlead.twin.clusters import total_speed
from fairlead.twin.streams import stream

WARM_UP_S = 1200.0
"""Twenty minutes that the scoreboard does not measure (CONTROL §5)."""

ORDERS = 4
"""How many fixed orders `-cycle` and `-recur` have (CONTROL §5)."""

ORDERS_SEED = 2602
"""Of the stream that the fixed orders are drawn from: any number, the same for every run."""

CITY7_MIX = MappingProxyType({"small-text": 0.4, "large-text": 0.2, "vision-language": 0.25, "image": 0.15})
"""Shares of requests (CONTROL §5)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of domain time, from the demand's start, in which rates are constant."""

    start_s: float
    end_s: float
    """May be infinite."""
    rates: tuple[tuple[str, float], ...]
    """Requests per second of each model of the cluster, sorted by id; 0 for silent ones."""

    def total_per_s(self) -> float:
        """Return the rate of all models together."""
        return sum(rate for _, rate in self.rates)


def changes(spans: Iterator[Span], until_s: float) -> tuple[float, ...]:
    """Return the instants before `until_s` at which the rates of one span end and other ones begin."""
    found = []
    before = next(spans)
    while before.end_s < until_s:
        after = next(spans)
        if after.rates != before.rates:
            found.append(after.start_s)
        before = after
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Course:
    """What the course of demand depends on."""

    cluster: Cluster
    load: float
    seed: int
    warm_up_s: float = WARM_UP_S

    def mix(self) -> tuple[float, ...]:
        """Return the share of requests of each model, in order of id: city7's, elsewhere an even one."""
        ids = [model.id for model in self.cluster.models]
        if set(ids) == set(CITY7_MIX):
            return tuple(CITY7_MIX[one] for one in ids)
        return tuple(1.0 / len(ids) for _ in ids)

    def scaled(self, mix: tuple[float, ...], factor: float = 1.0) -> tuple[tuple[str, float], ...]:
        """Return rates in the proportions of `mix` whose offered work is `factor` times the load."""
        models = self.cluster.models
        mean_work_s = sum(share * model.work_s for share, model in zip(mix, models, strict=True))
        scale = factor * self.load * total_speed(self.cluster) / mean_work_s
        return tuple((model.id, share * scale) for share, model in zip(mix, models, strict=True))


Variant = Callable[[Course], Iterator[Span]]


def steady(course: Course) -> Iterator[Span]:
    """Yield one stretch of the usual mix without end."""
    yield Span(0.0, math.inf, course.scaled(course.mix()))


def ranked(order: tuple[int, ...], active: int) -> tuple[float, ...]:
    """Return shares ∝ 1/rank for the first `active` models of an order, 0 for the others."""
    mix = [0.0] * len(order)
    for rank, model in enumerate(order[:active], start=1):
        mix[model] = 1.0 / rank
    total = sum(mix)
    return tuple(share / total for share in mix)


def orders_of(course: Course) -> tuple[tuple[int, ...], ...]:
    """Return the fixed orders of the models, the same for every run."""
    draws = stream(ORDERS_SEED, "orders")
    count = len(course.cluster.models)
    return tuple(tuple(int(one) for one in draws.permutation(count)) for _ in range(ORDERS))
