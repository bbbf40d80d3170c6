"""The fold: the newest readings of agents, keepers and ingresses, joined into the one view that a decision gets.

What is too old is left out and named, never replaced by 0 (DESIGN §8, invariant 10). A node counts as up only while
both its agent and its keeper are heard: without the agent nothing can be started there, without the keeper nothing
can be sent there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec
from fairlead.contracts.decisions import ModelView, NodeView, PodView, Snapshot
from fairlead.contracts.errors import foreign
from fairlead.contracts.events import Wake
from fairlead.contracts.readings import GatewayReport, KeeperState, NodeReport, PodLoad, PodReading
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.believing import believed_speed
from fairlead.policy.choice import PodQueue, drained, observed

REPORTS_ALLOWED = 3
"""A reading older than so many report periods is not used (DESIGN §8, invariant 10)."""


class _Reading(Protocol):
    @property
    def observed_at_s(self) -> float: ...
    @property
    def sequence(self) -> int: ...


_AnyReading = TypeVar("_AnyReading", bound=_Reading)

Shape = tuple[tuple[str, bool, tuple[tuple[str, str, bool], ...]], ...]
"""Per node whether it is up, and of each of its pods the phase and whether it is blocked."""


def allowed_age_s(settings: PolicySettings) -> float:
    """Return how old a reading may be and still be used, domain seconds."""
    return REPORTS_ALLOWED * settings.report_s


def fold(
    now_s: float,
    cluster: Cluster,
    node_reports: Sequence[NodeReport],
    gateway_reports: Sequence[GatewayReport],
    arrived: Mapping[str, int],
    arrived_before: Mapping[str, int],
    settings: PolicySettings,
) -> Snapshot:
    """Return what the newest readings say at `now_s`.

    Reports of nodes, gateways and models that the cluster does not have are left out. `arrived` and `arrived_before`
    hold all requests that ever arrived per model, now and at the last decision; a total that fell, because counters
    were lost, gives 0 arrivals. A reading as far ahead as it may be behind is of another clock, and not used either.
    """
    limit_s = allowed_age_s(settings)
    known = {n.id for n in cluster.nodes} | {s.id for s in cluster.sites}
    agents = {r.node: r for r in _newest_last(node_reports)}
    gateways = {r.gateway: r for r in _newest_last(gateway_reports) if r.gateway in known}
    keepers = {k.node: k for k in _newest_last(g.keeper for g in gateways.values() if g.keeper is not None)}
    fresh = [gateways[g] for g in sorted(gateways) if abs(now_s - gateways[g].observed_at_s) <= limit_s]
    stale = [f"gateway/{g}" for g in set(gateways) - {f.gateway for f in fresh}]
    stale += [
        f"node/{n.id}" for n in cluster.nodes if n.id in agents and abs(now_s - agents[n.id].observed_at_s) > limit_s
    ]
    specs = {m.id: m for m in cluster.models}
    return Snapshot(
        taken_at_s=now_s,
        nodes=tuple(_node(now_s, limit_s, n, agents.get(n.id), keepers.get(n.id), specs) for n in cluster.nodes),
        models=tuple(
            _model(now_s, m.id, fresh, arrived.get(m.id, 0), arrived_before.get(m.id, 0)) for m in cluster.models
        ),
        stale=tuple(sorted(stale)),
    )


def totals(snapshot: Snapshot, *, counted: bool) -> dict[str, int]:
    """Return per model the requests that had arrived when the arrivals now in the rates were counted.

    `counted` says that the decision taken on `snapshot` put its arrivals into the rates; if not, they are still to be
    counted and so are taken off.
    """
    return {
        m.model: m.arrived_total if counted else m.arrived_total - m.arrived
        for m in snapshot.models
        if m.arrived_total is not None
    }


def shape_of(snapshot: Snapshot) -> Shape:
    """Return what an event decision looks at first: while this stays the same, only requests can ask for one."""
    return tuple((n.node, n.up, tuple((p.model, p.phase, p.blocked) for p in n.pods)) for n in snapshot.nodes)


def with_wakes(snapshot: Snapshot, wakes: Sequence[Wake]) -> Snapshot:
    """Return `snapshot` with what gateways said since their last reports.

    A model that is missed has at least one request held, for as long as its wake says and the time since.
    """
    missed: dict[str, list[Wake]] = {}
    for wake in wakes:
        missed.setdefault(wake.model, []).append(wake)
    if not missed:
        return snapshot
    models = tuple(_woken(snapshot.taken_at_s, m, missed[m.model]) if m.model in missed else m for m in snapshot.models)
    return snapshot.model_copy(update={"models": models})


def outdated(wake: Wake, now_s: float, gateway_reports: Sequence[GatewayReport], settings: PolicySettings) -> bool:
    """Tell whether newer reports say what has become of `wake`, or it is too old to be used.

    A wake that does not name its site is answered once every site that is heard has reported.
    """
    limit_s = allowed_age_s(settings)
    if now_s - wake.at_s > limit_s:
        return True
    ingresses = [
        g
        for g in gateway_reports
        if g.site is not None and wake.site in (None, g.site) and now_s - g.observed_at_s <= limit_s
    ]
    return bool(ingresses) and all(g.observed_at_s > wake.at_s for g in ingresses)


def _newest_last(readings: Iterable[_AnyReading]) -> list[_AnyReading]:
    return sorted(readings, key=lambda r: (r.observed_at_s, r.sequence))


def _node(
    now_s: float,
    limit_s: float,
    spec: NodeSpec,
    agent: NodeReport | None,
    keeper: KeeperState | None,
    specs: Mapping[str, ModelSpec],
) -> NodeView:
    if agent is None or keeper is None:
        return NodeView(node=spec.id, up=False, observed_at_s=None, speed=spec.speed, pods=())
    observed_at_s = min(agent.observed_at_s, keeper.observed_at_s)
    if max(abs(now_s - agent.observed_at_s), abs(now_s - keeper.observed_at_s)) > limit_s:
        return NodeView(node=spec.id, up=False, observed_at_s=observed_at_s, speed=spec.speed, pods=())
    work = {m.id: m.work_s for m in specs.values()}
    speed = believed_speed(keeper.speed, spec.speed)
    load = replace(observed(keeper), speed=speed, pausing=spec.pausing)
    queues = {q.model: q for q in drained(load, now_s, work).pods}
    loads = {p.model: p for p in keeper.pods}
    pods = tuple(
        _pod(now_s, pod, queues.get(pod.model), loads.get(pod.model), specs[pod.model])
        for pod in sorted(agent.pods, key=lambda p: p.model)
        if pod.model in specs and (pod.phase != "off" or _is_blocked(now_s, pod))
    )
    troubles = tuple(foreign(f"{pod.model}: {pod.reason}") for pod in agent.pods if pod.reason)
    return NodeView(node=spec.id, up=True, observed_at_s=observed_at_s, speed=speed, pods=pods, troubles=troubles)


def _pod(now_s: float, pod: PodReading, queue: PodQueue | None, load: PodLoad | None, spec: ModelSpec) -> PodView:
    """Join both readings of a pod; the keeper's names all queues there are, so a pod it does not name has none."""
    match pod.phase:
        case "starting":
            ready_at_s = pod.ready_at_s if pod.ready_at_s is not None else pod.since_at_s + spec.start_delay_s
            ready_in_s = max(0.0, ready_at_s - now_s)
        case "sleeping":
            ready_in_s = queue.ready_in_s if queue is not None else 0.0
        case _:
            ready_in_s = 0.0
    return PodView(
        model=pod.model,
        phase=pod.phase,
        since_at_s=pod.since_at_s,
        ready_in_s=ready_in_s,
        work_s=queue.work_s if queue is not None else 0.0,
        count=queue.count if queue is not None else 0,
        running=min(load.running, queue.count) if load is not None and queue is not None else 0,
        used_at_s=load.used_at_s if load is not None else None,
        blocked=_is_blocked(now_s, pod),
    )


def _is_blocked(now_s: float, pod: PodReading) -> bool:
    return pod.backoff_until_s is not None and pod.backoff_until_s > now_s


def _model(now_s: float, model: str, fresh: Sequence[GatewayReport], total: int, before: int) -> ModelView:
    seen = [(now_s - g.observed_at_s, c) for g in fresh for c in g.models if c.model == model]
    asked = [c.asked_at_s for _, c in seen if c.asked_at_s is not None]
    return ModelView(
        model=model,
        arrived=max(0, total - before),
        held=sum(c.held for _, c in seen),
        oldest_held_s=max((c.oldest_held_s + max(0.0, age_s) for age_s, c in seen if c.held), default=0.0),
        asked_at_s=max(asked, default=None),
        arrived_total=total,
    )


def _woken(now_s: float, model: ModelView, wakes: Sequence[Wake]) -> ModelView:
    asked = [w.at_s for w in wakes if w.reason != "node-lost"]
    held = [w.wait_s + max(0.0, now_s - w.at_s) for w in wakes if w.reason == "missing"]
    update: dict[str, float | int] = {}
    if asked:
        update["asked_at_s"] = max(*asked, model.asked_at_s if model.asked_at_s is not None else 0.0)
    if held:
        update |= {"held": max(model.held, 1), "oldest_held_s": max(model.oldest_held_s, *held)}
    return model.model_copy(update=update)
