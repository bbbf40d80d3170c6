"""The reference engine gone on from a situation: what `twin.branching` promises, readable."""

from fairlead.contracts.decisions import NodeView, PodView
from fairlead.policy.measuring import Window, model_stats
from fairlead.policy.reconcile import Pod
from fairlead.policy.yielding import yields
from fairlead.twin.branching import Branched, Candidate, Demand, Situation, branched, first_plan
from fairlead.twin.controller import Case, Controller
from fairlead.twin.engine import Engine
from fairlead.twin.node import Node
from fairlead.twin.play import outcomes_of
from fairlead.twin.present import Present, present, silent_from_s
from fairlead.twin.requests import Arrival, Place, Request
from fairlead.twin.rules import nodes_of, rules
from fairlead.twin.setup import Setup, view_of

SAID = 1
"""Requests that each site is taken to have counted before of each model that was ever asked for: one of which none was
counted is not reported at all."""


def branch(situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
    """Play a branch in the reference engine."""
    engine = resumed(situation, candidate, demand)
    if candidate.plan is not None and candidate.from_s is not None and situation.now_s < candidate.from_s < until_s:
        engine.run(candidate.from_s)
        engine.follow(candidate.plan)
    engine.run(until_s)
    stats = model_stats(outcomes_of(engine), situation.cluster, Window(situation.now_s, until_s))
    return branched(stats, len(engine.starts), len(engine.stops), "reference")


def resumed(situation: Situation, candidate: Candidate, demand: Demand) -> Engine:
    """Return a run at the situation's instant, its first decision in force and its demand still to come."""
    setup, now_s = setup_of(situation), situation.now_s
    nodes = nodes_of(setup.cluster, setup.settings, yielding=yields(setup.policy, setup.settings))
    views = {site.id: view_of(setup, site.id, nodes) for site in setup.cluster.sites}
    how = rules(setup.settings, setup.seed, fresh=setup.fresh, origin_s=situation.origin_s)
    engine = Engine(nodes, views, setup.network, demand, how, _controller(setup, situation, candidate), now_s)
    seen = {view.node: view for view in situation.snapshot.nodes}
    for name, node in nodes.items():
        _resume_node(node, seen.get(name), situation, engine)
        node.placement = situation.placement if node.up else None
    for model in situation.snapshot.models:
        if model.asked_at_s is not None:
            for k, site in enumerate(engine.sites.values()):
                site.resume(model.model, SAID + (model.arrived if k == 0 else 0), min(model.asked_at_s, now_s))
    requests = [_request(k, one, situation) for k, one in enumerate(present(situation))]
    engine.resume(requests, slot_begins=situation.slot_begins)
    return engine


def setup_of(situation: Situation) -> Setup:
    """Return all that the branches of a situation have in common."""
    return Setup(
        cluster=situation.cluster,
        policy=situation.policy,
        fresh=situation.fresh,
        seed=situation.seed,
        network=situation.network,
        settings=situation.settings,
        static=situation.static,
        overrides=situation.overrides,
    )


def _controller(setup: Setup, situation: Situation, candidate: Candidate) -> Controller:
    """Return who decides, with what is in force and was learned."""
    case = Case(
        setup.cluster,
        setup.policy,
        setup.settings,
        setup.seed,
        setup.static,
        setup.overrides,
        situation.origin_s,
    )
    controller = Controller(case)
    asked = [model.model for model in situation.snapshot.models if model.asked_at_s is not None]
    controller.resume(situation.state, situation.placement, dict.fromkeys(asked, SAID * len(setup.cluster.sites)))
    controller.plan = first_plan(situation, candidate)
    controller.guide = candidate.guide
    return controller


def _resume_node(node: Node, view: NodeView | None, situation: Situation, engine: Engine) -> None:
    """Put on a node what is known to be there; one that is not heard is lost, with what was on it."""
    now_s = situation.now_s
    if view is None or not view.up:
        node.up = False
        heard_at_s = None if view is None else silent_from_s(view, situation)
        if heard_at_s is not None:
            engine.readings.remember(node, heard_at_s)
        return
    node.resume(now_s, view.speed)
    for pod in view.pods:
        if pod.phase != "off" and pod.model in node.models:
            node.have(_pod(node, pod, now_s), pod.used_at_s)


def _pod(node: Node, view: PodView, now_s: float) -> Pod:
    """Return a pod as its agent knows it; of one that drains it is taken that it was ready."""
    ready_at_s = now_s + view.ready_in_s if view.phase == "starting" else view.since_at_s
    instance = f"{view.model}.{node.opened + 1}"
    claims = node.models[view.model].memory_bytes
    return Pod(view.model, instance, view.phase, view.since_at_s, claims, ready_at_s=ready_at_s)


def _request(number: int, one: Present, situation: Situation) -> tuple[Request, Place, float]:
    """Return a request that is there now, where it is, and the work that is left of it."""
    model = next(m for m in situation.cluster.models if m.id == one.model)
    sent_at_s = one.entered_at_s - situation.network.up_s[one.model]
    request = Request(number, Arrival(sent_at_s, one.site, one.model, model.work_s))
    request.entered_at_s = one.entered_at_s
    request.expires_at_s = max(situation.now_s, one.entered_at_s + situation.settings.hold_timeout_s)
    if one.node is None:
        return request, "held", model.work_s
    request.node, request.attempts = one.node, 1
    return request, "running" if one.running else "queued", one.left_s
