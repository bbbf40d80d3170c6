"""Case memory, its key: which cluster a case is of, and what was seen of it at an epoch's begin (CONTROL §3).

What is not known is not zero: where nothing was measured, a feature has the value of a quiet and healthy cluster, or
what bounds it, and the function that sets it says why. Everything is plain Python; the arrays are in `cases_kernel`.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.cases import Case, CaseFeatures, ModelFeatures, ModelTally, NodeFeatures
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec
from fairlead.contracts.decisions import EpochInput, NodeView, ShadowPrice, SlotDecision, SlotInput, Snapshot
from fairlead.contracts.plans import Rate
from fairlead.contracts.tuning import PolicySettings

DIGEST_CHARS = 16
"""64 bits: two of a thousand clusters share a digest with a chance below 1e-13."""

DAY_S = 86_400.0

LEAST_COUNTS = 3
"""An index of dispersion is taken over at least so many slots: of two, its sampling error is √2, more than Poisson's 1
itself."""

LEAST_SLOWDOWN = 0.1
"""A latency below a tenth of the work is an error of clocks: no node of ours is ten times the reference speed."""

LOAD_MOST = 10.0
"""Load of a believable epoch, work that arrives over what the nodes can do: a burst × 3 at 0.9 is 2.7 (CONTROL §5)."""

AWAKE = ("starting", "ready")
"""Phases of pods that count as awake: what sleeps, drains or stops is on its way off or serves nobody."""


def cluster_digest(cluster: Cluster) -> str:
    """Return the digest that cases of this cluster share: what its nodes and models are, not where or how they run.

    Addresses, zones, launch commands and revisions are left out: a cluster that was only restarted or moved to other
    ports is the same one.
    """
    nodes = [(n.id, n.memory_bytes, n.speed) for n in cluster.nodes]
    models = [
        (m.id, m.kind, m.memory_bytes, m.work_s, m.start_delay_s, m.deadline_s, m.concurrency) for m in cluster.models
    ]
    text = json.dumps([nodes, models], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]


def believable(case: Case, cluster: Cluster) -> bool:
    """Tell whether a cluster could have measured what a case says of arrivals; what expects more would flood the twin.

    Models that the cluster does not have count for nothing: no plan can name them.
    """
    work_s = {m.id: m.work_s for m in cluster.models}
    arriving = sum(r.per_s * work_s.get(r.model, 0.0) for r in case.rates)
    return arriving <= LOAD_MOST * sum(n.speed for n in cluster.nodes)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decision at an epoch's begin knows of that instant."""

    now_s: float
    settings: PolicySettings
    cluster: Cluster
    snapshot: Snapshot
    rates: tuple[Rate, ...]
    """λ as learned so far; a model that was never counted has the start value."""
    prices: tuple[ShadowPrice, ...]


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """What a slot decision saw, as far as the features of the epoch after need it."""

    slot: int
    taken_at_s: float
    spans: int
    """Slots that the arrivals are of; 0 where nothing had been counted before, so that they say nothing."""
    arrived: Mapping[str, int]
    up: frozenset[str]
    """Nodes that were heard."""
    blocked: frozenset[tuple[str, str]]
    """(node, model) of pods in crash back-off."""


@dataclass(frozen=True, slots=True)
class Before:
    """The epoch before: its slot decisions, oldest first, and what became of the requests that arrived in it."""

    length_s: float
    slots: tuple[SlotSeen, ...]
    tallies: tuple[ModelTally, ...]


def seen_by_planner(given: EpochInput) -> Seen:
    """Return what a planner's input says of an epoch's begin."""
    return Seen(given.now_s, given.settings, given.cluster, given.snapshot, given.rates, given.prices)


def seen_by_slot(given: SlotInput, decided: SlotDecision) -> Seen:
    """Return what the decision of an epoch's first slot says of the epoch's begin."""
    return Seen(given.now_s, given.settings, given.cluster, given.snapshot, decided.state.rates, decided.prices)


def slot_seen(given: SlotInput) -> SlotSeen:
    """Return what a slot decision saw."""
    return SlotSeen(
        slot=given.slot,
        taken_at_s=given.snapshot.taken_at_s,
        spans=max(0, given.slot - given.state.slot) if given.state.rates else 0,
        arrived={m.model: m.arrived for m in given.snapshot.models},
        up=frozenset(n.node for n in given.snapshot.nodes if n.up),
        blocked=_blocked(given.snapshot),
    )


def _blocked(snapshot: Snapshot) -> frozenset[tuple[str, str]]:
    return frozenset((n.node, p.model) for n in snapshot.nodes for p in n.pods if p.blocked)


def features(seen: Seen, before: Before) -> CaseFeatures:
    """Return the key of a case: what is to be seen of the cluster at an epoch's begin."""
    specs = sorted(seen.cluster.nodes, key=lambda n: (-n.memory_bytes * n.speed, n.id))
    views = {n.node: n for n in seen.snapshot.nodes}
    claims = {m.id: m.memory_bytes for m in seen.cluster.models}
    return CaseFeatures(
        models=tuple(_model(m, seen, before) for m in seen.cluster.models),
        nodes=tuple(_node(n, views.get(n.id), claims) for n in specs),
        failures=_failures(before.slots, seen.snapshot),
        day_ratio=seen.now_s % DAY_S / DAY_S,
    )


def _model(spec: ModelSpec, seen: Seen, before: Before) -> ModelFeatures:
    """Return what is seen of a model; without a price, nobody said that one more pod would be worth anything: 0."""
    start = seen.settings.rate_start_per_s
    rate = next((max(start, r.per_s) for r in seen.rates if r.model == spec.id), start)
    counted = [s for s in before.slots if s.spans > 0 and spec.id in s.arrived]
    return ModelFeatures(
        model=spec.id,
        log_rate=math.log(rate),
        trend=_trend(spec.id, rate * seen.settings.slot_s, counted),
        dispersion=_dispersion([s.arrived[spec.id] for s in counted if s.spans == 1]),
        backlog_s=_backlog_s(spec, seen.snapshot),
        price_s=next((p.worth_s for p in seen.prices if p.model == spec.id), 0.0),
        slowdown=_slowdown(spec, before, sum(s.arrived[spec.id] for s in counted)),
    )


def _trend(model: str, expected: float, counted: Sequence[SlotSeen]) -> float:
    """Return ln((n + 1)/(λT + 1)) of the newest slot's n arrivals, 0 (steady) where none was counted.

    One request more on both sides keeps a silent slot of a rare model near steady: there, no arrival is no news.
    """
    if not counted:
        return 0.0
    newest = counted[-1]
    return math.log((newest.arrived[model] + 1.0) / (expected * newest.spans + 1.0))


def _dispersion(counts: Sequence[int]) -> float:
    """Return variance over mean; 1 where too little was counted, for many independent clients make a Poisson stream.

    (Palm-Khintchine theorem; Cox and Lewis, "The statistical analysis of series of events", 1966.)
    """
    if len(counts) < LEAST_COUNTS or not any(counts):
        return 1.0
    mean = sum(counts) / len(counts)
    return sum((c - mean) ** 2 for c in counts) / (len(counts) - 1) / mean


def _backlog_s(spec: ModelSpec, snapshot: Snapshot) -> float:
    """Return the work that waits in queues and held at ingresses, at the mean work of a request."""
    queued = sum(max(0, p.count - p.running) for n in snapshot.nodes for p in n.pods if p.model == spec.id)
    held = sum(m.held for m in snapshot.models if m.model == spec.id)
    return spec.work_s * (queued + held)


def _slowdown(spec: ModelSpec, before: Before, arrived: int) -> float:
    """Return mean latency over work in the epoch before.

    Where requests arrived and none has come to an end, all of them wait: half the epoch if they came evenly. Where
    none arrived nobody waited: 1, unloaded.
    """
    tally = next((t for t in before.tallies if t.model == spec.id), None)
    if tally is not None and tally.counted > 0:
        return max(LEAST_SLOWDOWN, tally.latency_sum_s / tally.counted / spec.work_s)
    return max(1.0, 0.5 * before.length_s / spec.work_s) if arrived > 0 else 1.0


def _node(spec: NodeSpec, view: NodeView | None, claims: Mapping[str, int]) -> NodeFeatures:
    """Return what is seen of a node; one that is not heard has nothing free, for nothing can be started there."""
    if view is None or not view.up:
        return NodeFeatures(node=spec.id, up=False, free_ratio=0.0, speed=spec.speed, work_s=0.0, awake=())
    used = sum(claims.get(p.model, 0) for p in view.pods if p.phase != "off")
    return NodeFeatures(
        node=spec.id,
        up=True,
        free_ratio=max(0.0, 1.0 - used / spec.memory_bytes),
        speed=view.speed,
        work_s=sum(p.work_s for p in view.pods),
        awake=tuple(sorted(p.model for p in view.pods if p.phase in AWAKE)),
    )


def _failures(slots: Sequence[SlotSeen], snapshot: Snapshot) -> int:
    """Count nodes that fell silent and pods that crashed, from one slot's begin to the next and to now.

    A crash whose back-off was over before the next slot began is not seen; the first one's takes five seconds, so that
    what is counted is mostly what crashed again.
    """
    states = [(s.up, s.blocked) for s in slots]
    states.append((frozenset(n.node for n in snapshot.nodes if n.up), _blocked(snapshot)))
    return sum(
        len(up - up_next) + len(blocked_next - blocked)
        for (up, blocked), (up_next, blocked_next) in itertools.pairwise(states)
    )
