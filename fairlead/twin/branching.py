"""Branches: what would become of the cluster as it is now, under a candidate and a demand, up to an instant.

A situation is what a decision was asked about; a candidate what might be decided; a demand what might arrive. Who is
present is rebuilt from what is reported: a pod's requests from its work W and count K (`Present`), since neither their
own work nor their age is known. Which engine plays is chosen by `twin.engines.brancher`; both mean the same to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, SlotInput, SlotState, Snapshot
from fairlead.contracts.plans import EpochPlan, Guide, NodePlacement, Override, Placement
from fairlead.contracts.tuning import PolicyName, PolicySettings, Weights
from fairlead.policy.fairness import ModelStats, readings
from fairlead.policy.objective import Measured, Objective, objective
from fairlead.policy.periods import Periods
from fairlead.twin.network import network_of
from fairlead.twin.requests import Arrival, Network

Demand = tuple[Arrival, ...]
"""Requests in order of time, from the situation's instant on, domain seconds."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known at an instant."""

    now_s: float
    seed: int
    policy: PolicyName
    settings: PolicySettings
    cluster: Cluster
    network: Network
    snapshot: Snapshot
    """Its arrivals are those since the last slot decision."""
    state: SlotState
    plan: EpochPlan | None
    placement: Placement | None
    overrides: tuple[Override, ...] = ()
    static: tuple[NodePlacement, ...] = ()
    """As in `SlotInput`."""
    slot_begins: bool = False
    """A slot decision is due now (rules 1 to 5); else an event's is (rule 1)."""
    origin_s: float = 0.0
    """Of the clock that slots are counted from."""
    fresh: bool = True
    """State on change; else every few seconds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What might be decided; without a plan and a guide it is the fallback."""

    name: str
    plan: EpochPlan | None = None
    """None is the plan in force, or the neutral one where that is a language model's."""
    guide: Guide | None = None
    """Rows for the slot that it names; the fallback's after that."""
    from_s: float | None = None
    """From when on the plan acts, before then that of the fallback; None is at once. Of no meaning without a plan."""


@dataclass(frozen=True, slots=True)
class Branched:
    """What came of the requests that were open at the situation's instant or were sent before the branch's end."""

    arrived: int
    finished: int
    """With their full answer before the end."""
    latency_s: float
    """L: mean, what has not finished counted with its age at the end; 0 without any request."""
    fairness: float
    """J'(x1)."""
    service: float
    """S: finished of arrived; 1 without any request."""
    starts: int
    stops: int
    models: tuple[ModelStats, ...]
    """In the order of the cluster."""
    engine: Literal["reference", "compiled"]

    @property
    def churn(self) -> int:
        """C: starts and stops, over the whole branch."""
        return self.starts + self.stops


Branch = Callable[[Situation, Candidate, Demand, float], Branched]
"""Situation, candidate, demand, and the instant at which the branch ends."""


def situation_of(asked: SlotInput | EpochInput, network: Network | None = None) -> Situation:
    """Return the situation that a decision is asked about; without a `network` that of `twin.network`.

    What an `EpochInput` does not say is taken as expected: arrivals since the slot's begin by the learned rates.
    """
    far = network or network_of(asked.cluster)
    if isinstance(asked, SlotInput):
        return _at_slot(asked, far)
    settings = asked.settings
    origin_s = 0.0
    if asked.begins_at_s is not None:
        origin_s = asked.begins_at_s - asked.epoch * settings.epoch_slots * settings.slot_s
    slots = Periods(origin_s, settings.slot_s)
    slot = slots.at(asked.now_s)
    since_s = asked.now_s - slots.begins_at_s(slot)
    expected = {rate.model: round(rate.per_s * since_s) for rate in asked.rates}
    models = tuple(m.model_copy(update={"arrived": expected.get(m.model, 0)}) for m in asked.snapshot.models)
    return Situation(
        now_s=asked.now_s,
        seed=asked.seed,
        policy="marginal-dpp",
        settings=settings,
        cluster=asked.cluster,
        network=far,
        snapshot=asked.snapshot.model_copy(update={"models": models}),
        state=SlotState(slot=slot, rates=asked.rates, rotation=0),
        plan=asked.parent,
        placement=asked.placement,
        overrides=asked.overrides,
        origin_s=origin_s,
    )


def _at_slot(asked: SlotInput, network: Network) -> Situation:
    """Return the situation of a slot's input; where slots are not counted from instant 0, the slot has just begun."""
    slot_s = asked.settings.slot_s
    known = Periods(0.0, slot_s).at(asked.now_s) == asked.slot
    return Situation(
        now_s=asked.now_s,
        seed=asked.seed,
        policy=asked.policy,
        settings=asked.settings,
        cluster=asked.cluster,
        network=network,
        snapshot=asked.snapshot,
        state=asked.state,
        plan=asked.plan,
        placement=asked.placement,
        overrides=asked.overrides,
        static=asked.static,
        slot_begins=asked.trigger == "slot",
        origin_s=0.0 if known else asked.now_s - asked.slot * slot_s,
    )


def first_plan(situation: Situation, candidate: Candidate) -> EpochPlan | None:
    """Return the plan that a branch begins with; None is the neutral one, as a language model's in force counts."""
    if candidate.plan is not None and (candidate.from_s is None or candidate.from_s <= situation.now_s):
        return candidate.plan
    plan = situation.plan
    return None if plan is None or plan.source == "llm" else plan


def branched(
    stats: Sequence[ModelStats], starts: int, stops: int, engine: Literal["reference", "compiled"]
) -> Branched:
    """Return the figures of a branch; `stats` in the order of the cluster."""
    arrived, finished = sum(s.arrived for s in stats), sum(s.finished for s in stats)
    return Branched(
        arrived=arrived,
        finished=finished,
        latency_s=sum(s.latency_sum_s for s in stats) / arrived if arrived else 0.0,
        fairness=readings(stats).x1,
        service=finished / arrived if arrived else 1.0,
        starts=starts,
        stops=stops,
        models=tuple(stats),
        engine=engine,
    )


def objective_of(found: Branched, cluster: Cluster, weights: Weights) -> Objective:
    """Return F of a branch, term by term.

    Lref is the deadline as live, the mean over the requests where deadlines differ; C is that of the whole branch, so
    that only branches of one length compare.
    """
    deadlines = sum(m.deadline_s * s.arrived for m, s in zip(cluster.models, found.models, strict=True))
    measured = Measured(
        latency_s=found.latency_s,
        reference_s=deadlines / found.arrived if found.arrived else 1.0,
        fairness=found.fairness,
        churn=found.churn,
        churn_most=len(cluster.nodes) * len(cluster.models),
        service=found.service,
    )
    return objective(measured, weights)
