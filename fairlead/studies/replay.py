"""Policies compared on the same seeds: which cells a comparison is made of, and what they say together."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.contracts.errors import InputError
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.objective import Measured, objective
from fairlead.studies import statistics
from fairlead.studies.asking import LlmAt
from fairlead.studies.cells import Cell, CellResult, Source
from fairlead.studies.references import REFERENCE, recorded_reference_s
from fairlead.studies.statistics import Interval
from fairlead.twin.engines import EngineName
from fairlead.twin.play import policy_at

FIRST_SEED = 1

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be compared."""

    sources: tuple[Source, ...]
    """A scenario or an episode, once for each load."""
    policies: tuple[str, ...]
    """As somebody wrote them; others are compared with the first."""
    seeds: int
    engine: EngineName = "auto"
    llm: LlmAt | None = None
    """Whom `agents` ask."""

    def cells(self) -> list[Cell]:
        """Return all runs, those that make Lref too; raises `InputError` where a policy is none or is named twice."""
        canonical = [str(policy_at(policy)) for policy in self.policies]
        for written, policy in zip(self.policies, canonical, strict=True):
            if canonical.count(policy) > 1:
                raise InputError(f"policy {written} is named twice: name each once, the first is what others stand by")
        found = []
        for source in self.sources:
            more = () if recorded_reference_s(source) is not None or REFERENCE in canonical else (REFERENCE,)
            found += [cell for policy in (*canonical, *more) for cell in self.runs(source, policy)]
        return found

    def runs(self, source: Source, policy: str) -> list[Cell]:
        """Return the runs of one policy, by seed."""
        found = policy_at(policy)
        llm = self.llm if found.asks and found.voice is None else None
        return [Cell(source, str(found), FIRST_SEED + at, self.engine, llm) for at in range(self.seeds)]


@dataclass(frozen=True, slots=True)
class Row:
    """What a policy reached in a source, a value a seed."""

    policy: str
    source: Source
    results: tuple[CellResult, ...]
    reference_s: float
    """Lref."""

    def values(self, figure: str) -> list[float] | None:
        """Return one figure of each seed; None where a seed does not have it, as without any arrival."""
        found = [FIGURES[figure](one, self.reference_s) for one in self.results]
        return None if None in found else [one for one in found if one is not None]

    def interval(self, figure: str) -> Interval | None:
        """Return the mean of a figure over seeds."""
        values = self.values(figure)
        return None if values is None else statistics.mean(values).within(0.0, 1.0 if figure in SHARES else math.inf)

    def ratio(self, figure: str, first: "Row") -> Interval | None:
        """Return the ratio of means to another policy's, paired by seed."""
        ours, theirs = self.values(figure), first.values(figure)
        found = None if ours is None or theirs is None else statistics.ratio(ours, theirs)
        return None if found is None else found.within(0.0, math.inf)

    def difference(self, figure: str, first: "Row") -> Interval | None:
        """Return the mean difference to another policy, paired by seed."""
        ours, theirs = self.values(figure), first.values(figure)
        return None if ours is None or theirs is None else statistics.difference(ours, theirs)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows, the first policy of each source before the others."""

    order: Order
    rows: tuple[Row, ...]

    def first(self, row: Row) -> Row:
        """Return what a row is compared with."""
        return next(one for one in self.rows if one.source == row.source)


def compared(order: Order, results: Mapping[Cell, CellResult]) -> Comparison:
    """Return what finished cells say together."""
    rows = []
    for source in order.sources:
        reference_s = recorded_reference_s(source)
        if reference_s is None:
            means = [results[cell].mean_s for cell in order.runs(source, REFERENCE)]
            known = [one for one in means if one is not None]
            reference_s = sum(known) / len(known) if known else 1.0  # without arrivals there is no latency to judge
        for policy in order.policies:
            own = tuple(results[cell] for cell in order.runs(source, policy))
            rows.append(Row(policy, source, own, reference_s))
    return Comparison(order, tuple(rows))


def _objective(one: CellResult, reference_s: float) -> float | None:
    """Return F of a run; C counts the starts and stops of an epoch, the mean over the window's epochs."""
    if one.mean_s is None or one.service_ratio is None:
        return None
    settings = PolicySettings()
    epochs_per_hour = HOUR_S / (settings.slot_s * settings.epoch_slots)
    measured = Measured(
        latency_s=one.mean_s,
        reference_s=reference_s,
        fairness=one.x1,
        churn=(one.starts_per_hour + one.stops_per_hour) / epochs_per_hour,
        churn_most=one.pairs,
        service=one.service_ratio,
    )
    return objective(measured, settings.weights).total


FIGURES: Mapping[str, Callable[[CellResult, float], float | None]] = {
    "mean": lambda one, _: one.mean_s,
    "p50": lambda one, _: one.p50_s,
    "p95": lambda one, _: one.p95_s,
    "p99": lambda one, _: one.p99_s,
    "after_change": lambda one, _: one.after_change_s,
    "x1": lambda one, _: one.x1,
    "x2": lambda one, _: one.x2,
    "x3": lambda one, _: one.x3,
    "x4": lambda one, _: one.x4,
    "service_ratio": lambda one, _: one.service_ratio,
    "objective": _objective,
    "starts_per_hour": lambda one, _: one.starts_per_hour,
    "stops_per_hour": lambda one, _: one.stops_per_hour,
}

LATENCY = ("mean", "p50", "p95", "p99", "after_change")
"""`after_change`: the mean of what was sent within five minutes after demand changed; None where it did not."""
FAIRNESS = ("x1", "x2", "x3", "x4")
SHARES = (*FAIRNESS, "service_ratio")
"""Figures that cannot exceed 1; none is below 0."""

OTHERS = ("service_ratio", "objective", "starts_per_hour", "stops_per_hour")


def document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    order = comparison.order
    return {
        "source": order.sources[0].name,
        "first_seed": FIRST_SEED,
        "intervals": {"confidence": statistics.CONFIDENCE, "method": statistics.method(order.seeds), "over": "seeds"},
        "results": [_row(one, comparison.first(one)) for one in comparison.rows],
    }


def _row(row: Row, first: Row) -> dict[str, Any]:
    return {
        "policy": row.policy,
        "load": row.source.load,
        "seeds": len(row.results),
        "engine": "+".join(sorted({one.engine for one in row.results})),
        "requests": sum(one.arrived for one in row.results),
        "reference_s": row.reference_s,
        "latency_s": _shown({name: row.interval(name) for name in LATENCY}),
        "fairness": _shown({name: row.interval(name) for name in FAIRNESS}),
        **_shown({name: row.interval(name) for name in OTHERS}),
        "models": [_model(row.results, at) for at in range(len(row.results[0].models))],
        "paired": {
            "against": first.policy,
            "latency_ratio": _shown({name: row.ratio(name, first) for name in LATENCY}),
            "difference": _shown({name: row.difference(name, first) for name in (*FAIRNESS, *OTHERS)}),
        },
    }


def _shown(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {name: None if one is None else one.document() for name, one in found.items()}


def _model(results: Sequence[CellResult], at: int) -> dict[str, Any]:
    """Return what became of one model's requests, of all seeds together."""
    own = [one.models[at] for one in results]
    arrived, judged = sum(one.arrived for one in own), sum(one.judged for one in own)
    return {
        "model": own[0].model,
        "arrived": arrived,
        "mean_s": sum(one.latency_sum_s for one in own) / arrived if arrived else None,
        "timely_ratio": sum(one.timely for one in own) / judged if judged else None,
    }
