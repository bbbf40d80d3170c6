"""The input of a slot decision as arrays over (node, model): what pricing and placing compute with.

Nodes and models stand in the order of the cluster, sorted by id. Absent instants are -inf, absent pods False and 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.decisions import NodeView, PodView, SlotInput
from fairlead.contracts.plans import EpochPlan, NodePlacement, Override, PlanDraft
from fairlead.policy.epoch import WARM_FOR_S

FORGOTTEN = 0.15
"""Share of a start that a pod which falls asleep may still cost later: it may be dropped from host memory, or be wanted
elsewhere (CONTROL §2: a = 1.5 s + 0.15 a)."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that a placement is decided on; n nodes, m models, shapes in brackets."""

    now_s: float
    nodes: tuple[str, ...]
    models: tuple[str, ...]
    memory: Whole
    """[n] G, bytes."""
    claim: Whole
    """[m] g, bytes."""
    work_s: Floats
    """[m] b, seconds at speed 1."""
    start_s: Floats
    """[m] a, seconds."""
    begin_s: Floats
    """[n, m] until a pod would be ready here: a, or less where it sleeps."""
    again_s: Floats
    """[n, m] a where the pod was stopped, less where it would only fall asleep."""
    soonest_s: Floats
    """[m] until one more pod could be ready: a, or less where one sleeps."""
    absent_s: Floats
    """[m] what having no pod costs when the model is asked for: a, or less where one sleeps."""
    deadline_s: Floats
    """[m]"""
    speed: Floats
    """[n] v, learned."""
    up: Flags
    """[n] agent and keeper are heard."""
    seen: Flags
    """[n] was ever heard."""
    pausing: Flags
    """[n] one pod runs at a time (CONTROL §2 rule 8)."""
    pods: "Pods"
    demand: "Demand"
    wishes: "Wishes"
    was_awake: Flags
    """[n, m] in the placement in force."""
    was_stoppable: Flags
    """[n, m] in the placement in force."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of nodes and of models."""
        return len(self.nodes), len(self.models)


@dataclass(frozen=True, slots=True)
class Pods:
    """What is where, all [n, m]."""

    starting: Flags
    ready: Flags
    leaving: Flags
    """Draining: could still be kept."""
    stopping: Flags
    """Claims memory until it has gone, cannot be kept."""
    sleeping: Flags
    """Claims host memory alone."""
    blocked: Flags
    """In crash back-off."""
    age_s: Floats
    """Since the present phase began."""
    ready_in_s: Floats
    left_s: Floats
    """W, seconds of work."""
    count: Whole
    """K."""
    running: Whole
    used_at_s: Floats

    @property
    def resident(self) -> Flags:
        """Claims memory."""
        return self.starting | self.ready | self.leaving | self.stopping


@dataclass(frozen=True, slots=True)
class Demand:
    """Who is asked for, all [m]."""

    rate: Floats
    """λ, requests per second."""
    pressed: Floats
    """D = λ + Q/2T, requests per second; Q waiting and held."""
    held: Whole
    oldest_held_s: Floats
    asked_at_s: Floats
    waiting: Whole
    """In queues of pods, not running."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people and the plan want."""

    pinned: Flags
    """[n, m]"""
    banned: Flags
    """[n, m]"""
    tilt: Floats
    """[n, m] intent: factor on worth and regret, 1/2 to 2 (CONTROL §2 rule 4)."""
    drains: Flags
    """[n] role drain."""
    closed: Flags
    """[n] starts nothing new: drain or standby."""
    warm: tuple[tuple[int, int], ...]
    """(node, model) pairs that the plan wants awake about now."""
    expected: Floats
    """[m] λ that the plan expects, requests per second; NaN where it says nothing."""
    news: bool
    """The plan's rates have begun to hold: it says more of them than what was counted before."""


def board(i: SlotInput, rates: dict[str, float]) -> Board:
    """Return the input as arrays, with `rates` (λ by model) in place of those in its state."""
    cluster = i.cluster
    at_node = {n.id: k for k, n in enumerate(cluster.nodes)}
    at_model = {m.id: k for k, m in enumerate(cluster.models)}
    views = {v.node: v for v in i.snapshot.nodes if v.node in at_node}
    ordered = tuple(views.get(n.id) for n in cluster.nodes)
    pods = _pods(ordered, at_model, i.now_s)
    claim = np.array([m.memory_bytes for m in cluster.models], dtype=np.int64)
    host = np.array([n.host_memory_bytes for n in cluster.nodes], dtype=np.int64)
    start_s = np.array([m.start_delay_s for m in cluster.models])
    wake_s = np.array([m.wake_delay_s for m in cluster.models])
    begin_s = np.where(pods.sleeping, wake_s, start_s)
    again_s = np.where(claim <= host[:, None], wake_s + FORGOTTEN * start_s, start_s)
    awake, stoppable = flags(i.placement.nodes if i.placement is not None else (), at_node, at_model)
    return Board(
        now_s=i.now_s,
        nodes=tuple(at_node),
        models=tuple(at_model),
        memory=np.array([n.memory_bytes for n in cluster.nodes], dtype=np.int64),
        claim=claim,
        work_s=np.array([m.work_s for m in cluster.models]),
        start_s=start_s,
        begin_s=begin_s,
        again_s=again_s,
        soonest_s=begin_s.min(axis=0, initial=np.inf),
        absent_s=np.where(pods.sleeping.any(axis=0), again_s.min(axis=0, initial=np.inf), start_s),
        deadline_s=np.array([m.deadline_s for m in cluster.models]),
        speed=np.array([v.speed if v else n.speed for v, n in zip(ordered, cluster.nodes, strict=True)]),
        up=np.array([v is not None and v.up for v in ordered], dtype=np.bool_),
        seen=np.array([v is not None and v.observed_at_s is not None for v in ordered], dtype=np.bool_),
        pausing=np.array([n.pausing for n in cluster.nodes], dtype=np.bool_),
        pods=pods,
        demand=_demand(i, rates, at_model, pods),
        wishes=_wishes(i, at_node, at_model),
        was_awake=awake,
        was_stoppable=stoppable,
    )


def flags(nodes: tuple[NodePlacement, ...], at_node: dict[str, int], at_model: dict[str, int]) -> tuple[Flags, Flags]:
    """Return [n, m] awake and stoppable of a placement; nodes and models that the cluster has no more are left out."""
    awake = np.zeros((len(at_node), len(at_model)), dtype=np.bool_)
    stoppable = np.zeros_like(awake)
    for node in nodes:
        n = at_node.get(node.node)
        if n is None:
            continue
        awake[n, [at_model[m] for m in node.awake if m in at_model]] = True
        stoppable[n, [at_model[m] for m in node.stoppable if m in at_model]] = True
    return awake, stoppable


def _pods(views: tuple[NodeView | None, ...], at_model: dict[str, int], now_s: float) -> Pods:
    up = ((n, view) for n, view in enumerate(views) if view is not None and view.up)
    found = [(n, at_model[pod.model], pod) for n, view in up for pod in view.pods if pod.model in at_model]
    places = [n for n, _, _ in found], [m for _, m, _ in found]
    absent = np.zeros((len(views), len(at_model)))

    def spread(values: list[float], empty: Floats = absent) -> Floats:
        whole = empty.copy()
        whole[places] = values
        return whole

    def marked(phase: str) -> Flags:
        return spread([pod.phase == phase for _, _, pod in found]) > 0.0

    return Pods(
        starting=marked("starting"),
        ready=marked("ready"),
        leaving=marked("draining"),
        stopping=marked("stopping"),
        sleeping=marked("sleeping"),
        blocked=spread([pod.blocked for _, _, pod in found]) > 0.0,
        age_s=spread([now_s - pod.since_at_s for _, _, pod in found]),
        ready_in_s=spread([pod.ready_in_s for _, _, pod in found]),
        left_s=spread([pod.work_s for _, _, pod in found]),
        count=spread([pod.count for _, _, pod in found]).astype(np.int64),
        running=spread([pod.running for _, _, pod in found]).astype(np.int64),
        used_at_s=spread([_used_at_s(pod) for _, _, pod in found], absent - np.inf),
    )


def _used_at_s(pod: PodView) -> float:
    """Return when a pod was last of use: a new one when it became what it is."""
    return pod.since_at_s if pod.used_at_s is None else max(pod.used_at_s, pod.since_at_s)


def _demand(i: SlotInput, rates: dict[str, float], at_model: dict[str, int], pods: Pods) -> Demand:
    views = {v.model: v for v in i.snapshot.models}
    known = [views.get(m) for m in at_model]
    held = np.array([v.held if v else 0 for v in known], dtype=np.int64)
    waiting = np.maximum(pods.count - pods.running, 0).sum(axis=0)
    rate = np.array([rates[m] for m in at_model])
    return Demand(
        rate=rate,
        pressed=rate + (held + waiting) / (2.0 * i.settings.slot_s),
        held=held,
        oldest_held_s=np.array([v.oldest_held_s if v else 0.0 for v in known]),
        asked_at_s=np.array([v.asked_at_s if v and v.asked_at_s is not None else -np.inf for v in known]),
        waiting=waiting,
    )


def _wishes(i: SlotInput, at_node: dict[str, int], at_model: dict[str, int]) -> Wishes:
    shape = (len(at_node), len(at_model))
    marks = {"pin": np.zeros(shape, dtype=np.bool_), "ban": np.zeros(shape, dtype=np.bool_)}
    for override in sorted(i.overrides, key=age_of):
        if override.node not in at_node or override.model not in at_model:
            continue
        if override.expires_at_s is not None and override.expires_at_s <= i.now_s:
            continue
        pair = at_node[override.node], at_model[override.model]
        marks["pin"][pair], marks["ban"][pair] = override.action == "pin", override.action == "ban"
    plan = i.plan if i.plan is not None and i.plan.expires_at_s > i.now_s else None
    role = {p.node: p.role for p in plan.intents} if plan is not None else {}
    warm = plan.warm if plan is not None else ()
    return Wishes(
        pinned=marks["pin"],
        banned=marks["ban"],
        tilt=np.exp2(lean(plan, at_node, at_model)),
        drains=np.array([role.get(n) == "drain" for n in at_node], dtype=np.bool_),
        closed=np.array([role.get(n) in ("drain", "standby") for n in at_node], dtype=np.bool_),
        warm=tuple(
            (at_node[w.node], at_model[w.model])
            for w in warm
            if w.node in at_node and w.model in at_model and w.at_s <= i.now_s < w.at_s + WARM_FOR_S
        ),
        expected=_expected(plan, at_model),
        news=plan is not None and plan.rates_at_s is not None and plan.rates_at_s <= i.now_s,
    )


def _expected(plan: EpochPlan | None, at_model: dict[str, int]) -> Floats:
    """Return [m] λ that a plan expects."""
    expected = np.full(len(at_model), np.nan)
    for rate in plan.rates if plan is not None else ():
        if rate.model in at_model:
            expected[at_model[rate.model]] = rate.per_s
    return expected


def age_of(override: Override) -> tuple[float, str]:
    """Return what orders overrides; of two for one pair the newer holds."""
    return override.created_at_s, override.id


def lean(plan: EpochPlan | PlanDraft | None, at_node: dict[str, int], at_model: dict[str, int]) -> Floats:
    """Return s [n, m] = clip((bias/4)·([preferred] − [avoided]) + (priority − 2)/4, −1, 1) of CONTROL §2 rule 4."""
    found = np.zeros((len(at_node), len(at_model)))
    if plan is None:
        return found
    for priority in plan.priorities:
        if priority.model in at_model:
            found[:, at_model[priority.model]] += (priority.priority - 2) / 4.0
    for intent in plan.intents:
        if intent.node not in at_node:
            continue
        for models, sign in ((intent.prefer, 1.0), (intent.avoid, -1.0)):
            found[at_node[intent.node], [at_model[m] for m in models if m in at_model]] += sign * intent.bias / 4.0
    return np.clip(found, -1.0, 1.0)
