"""A situation in the tables of the compiled core: what `twin.resuming` puts on nodes and at sites, before any event."""

import numpy as np

from fairlead.contracts.decisions import NodeView, PodView
from fairlead.contracts.readings import Phase
from fairlead.policy.arrays import Flags, flags
from fairlead.twin.agent import STOP_S
from fairlead.twin.branching import Situation
from fairlead.twin.compiled.board import COUNTED_SLOT, PLACEMENT, TABLE
from fairlead.twin.compiled.events import GONE, READY_NOW, enter
from fairlead.twin.compiled.setting import Crowd, Records, Run, laid
from fairlead.twin.compiled.world import ABSENT, DRAINING, HELD, QUEUED, READY, RUNNING, SLEEPING, STARTING, STOPPING
from fairlead.twin.present import SERVING, Present, present, silent_from_s
from fairlead.twin.resuming import SAID, setup_of

PHASES: dict[Phase, int] = {
    "off": ABSENT,
    "starting": STARTING,
    "ready": READY,
    "draining": DRAINING,
    "stopping": STOPPING,
    "sleeping": SLEEPING,
}
"""Number of each phase."""


def rebuilt(situation: Situation) -> Run:
    """Return a run in which all is as it is now, and whose first decision is due."""
    here, cluster, now_s = present(situation), situation.cluster, situation.now_s
    sites = {s.id: k for k, s in enumerate(cluster.sites)}
    models = {m.id: k for k, m in enumerate(cluster.models)}
    crowd = Crowd(
        np.array([one.entered_at_s - situation.network.up_s[one.model] for one in here]),
        np.array([sites[one.site] for one in here], dtype=np.int64),
        np.array([models[one.model] for one in here], dtype=np.int64),
        np.array([cluster.models[models[one.model]].work_s for one in here]),
    )
    run = laid(setup_of(situation), crowd, first=_placed(situation))
    run.world["now_s"], run.world["come"], run.world["origin_s"] = now_s, len(here), situation.origin_s
    run.world["resumed"], run.world["slot_begins"] = True, situation.slot_begins
    _remember(run, situation)
    _count(run.tables, situation)
    seen = {view.node: view for view in situation.snapshot.nodes}
    for n, node in enumerate(cluster.nodes):
        _put_node(run, n, seen.get(node.id), models, situation)
    _put_requests(run, situation, here)
    return run


def _placed(situation: Situation) -> Flags | None:
    """Return what an adaptive policy has in force, so that no first placement need be drawn, which nobody would use."""
    if situation.placement is None or situation.policy not in ("marginal-dpp", "lru"):
        return None
    at_node = {n.id: k for k, n in enumerate(situation.cluster.nodes)}
    at_model = {m.id: k for k, m in enumerate(situation.cluster.models)}
    return flags(situation.placement.nodes, at_node, at_model)[0]


def _remember(run: Run, situation: Situation) -> None:
    """Have learned what was learned, and in force what is."""
    standing, state, cluster = run.standing, situation.state, situation.cluster
    at_node = {n.id: k for k, n in enumerate(cluster.nodes)}
    at_model = {m.id: k for k, m in enumerate(cluster.models)}
    for rate in state.rates:
        if rate.model in at_model:
            standing.rate[at_model[rate.model]] = rate.per_s
    standing.number[COUNTED_SLOT] = state.slot if state.rates else -1
    if situation.placement is not None:
        awake, stoppable = flags(situation.placement.nodes, at_node, at_model)
        standing.awake[:], standing.stoppable[:] = awake, stoppable
        standing.number[PLACEMENT], standing.number[TABLE] = 1, 1


def _count(tables: dict[str, Records], situation: Situation) -> None:
    """Have counted at sites what was counted before."""
    at_model = {m.id: k for k, m in enumerate(situation.cluster.models)}
    desks, models = tables["desks"], tables["models"]
    for view in situation.snapshot.models:
        if view.asked_at_s is not None and view.model in at_model:
            m = at_model[view.model]
            desks["arrived"][:, m], desks["asked_at_s"][:, m] = SAID, min(view.asked_at_s, situation.now_s)
            desks["arrived"][0, m] += view.arrived
            models["counted"][m] = SAID * len(desks)


def _put_node(run: Run, n: int, view: NodeView | None, at_model: dict[str, int], situation: Situation) -> None:
    """Put on a node what is known to be there; one that is not heard is lost, with what was on it."""
    node, now_s = run.tables["nodes"][n], situation.now_s
    if view is None or not view.up:
        node["up"] = False
        heard_at_s = None if view is None else silent_from_s(view, situation)
        if heard_at_s is not None:
            said = run.tables["nodes_said"][n]
            said["heard"], said["at_s"], said["speed"] = True, heard_at_s, node["learned"]
        return
    node["speed"] = node["learned"] = view.speed
    node["at_s"] = node["counted_at_s"] = now_s
    for pod in view.pods:
        if pod.phase != "off" and pod.model in at_model:
            _put_pod(run, n, at_model[pod.model], pod, now_s)
    queued = [at_model[p.model] for p in view.pods if p.phase in SERVING and p.model in at_model]
    run.tables["queued"]["model"][n, : len(queued)] = queued
    node["queues"] = len(queued)


def _put_pod(run: Run, n: int, m: int, view: PodView, now_s: float) -> None:
    """Put a pod on a node, and enter when its start or its stop is over."""
    node, pod = run.tables["nodes"][n], run.tables["pods"][n, m]
    cell = n * run.tables["pods"].shape[1] + m
    pod["phase"], pod["since_at_s"], pod["instance"] = PHASES[view.phase], view.since_at_s, node["opened"] + 1
    pod["ready_at_s"] = now_s + view.ready_in_s if view.phase == "starting" else view.since_at_s
    pod["left_waiting"], pod["left_running"], pod["first"], pod["last"] = -1, -1, -1, -1
    pod["used_at_s"] = -np.inf if view.used_at_s is None else view.used_at_s
    if view.phase in SERVING:
        node["opened"] += 1
        pod["queue"] = True
    if view.phase == "starting":
        enter(run.at, float(pod["ready_at_s"]), READY_NOW, cell, int(pod["instance"]))
    elif view.phase == "stopping":
        enter(run.at, max(now_s, view.since_at_s + STOP_S), GONE, cell, int(pod["instance"]))


def _put_requests(run: Run, situation: Situation, here: tuple[Present, ...]) -> None:
    """Put each request where it is, the oldest first."""
    tables, limit_s = run.tables, situation.settings.hold_timeout_s
    at_node = {n.id: k for k, n in enumerate(situation.cluster.nodes)}
    for r, one in enumerate(here):
        request = tables["requests"][r]
        request["entered_at_s"] = one.entered_at_s
        request["expires_at_s"] = max(situation.now_s, one.entered_at_s + limit_s)
        tables["coming"][r] = one.entered_at_s, r
        if one.node is None:
            request["place"], request["held_at_s"] = HELD, one.entered_at_s
            desk = tables["desks"][request["site"], request["model"]]
            _append(tables["requests"], desk, r)
            desk["held"] += 1
            tables["sites"][request["site"]]["held"] += 1
            continue
        request["node"], request["attempts"] = at_node[one.node], 1
        pod = tables["pods"][request["node"], request["model"]]
        if one.running:
            request["place"] = RUNNING
            place = tables["places"][request["node"], request["model"], pod["running"]]
            place["request"], place["left_s"], place["began_s"] = r, one.left_s, 0.0 - (request["work_s"] - one.left_s)
            tables["nodes"][request["node"]]["busy"] += pod["running"] == 0
            tables["nodes"][request["node"]]["version"] += 1
            pod["running"] += 1
        else:
            request["place"] = QUEUED
            _append(tables["requests"], pod, r)
            pod["waiting"] += 1
            tables["sites"][request["site"]]["queued"] += 1
    draining = tables["pods"]["phase"] == DRAINING
    for told, counted in (("left_waiting", "waiting"), ("left_running", "running")):
        tables["pods"][told][draining] = tables["pods"][counted][draining]


def _append(requests: Records, line: np.void, r: int) -> None:
    """Put a request behind those who wait in a line."""
    requests[r]["before"] = line["last"]
    if line["last"] >= 0:
        requests[int(line["last"])]["next"] = r
    else:
        line["first"] = r
    line["last"] = r
