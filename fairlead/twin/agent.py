"""A node's agent in virtual time: it acts on pods as `policy.reconcile` says, at once."""

from dataclasses import dataclass, field, replace
from typing import assert_never

from fairlead.policy.reconcile import (
    FALLS_ASLEEP,
    Drain,
    Limits,
    Pod,
    Start,
    Stop,
    Undrain,
    Wait,
    part,
    reconcile,
    turned,
)
from fairlead.twin.node import Node

STOP_S = 1.0
"""A stop takes so long and claims memory meanwhile (CONTROL §4)."""


@dataclass(slots=True)
class Effects:
    """What follows from a look of the agent."""

    returned: list[int] = field(default_factory=list)
    """Requests that waited for a pod that drains now."""
    lost: list[int] = field(default_factory=list)
    """Requests that were served by a pod whose stop was forced."""
    starting: list[Pod] = field(default_factory=list)
    stopping: list[Pod] = field(default_factory=list)
    changed: bool = False
    """Some pod is in another phase than before."""


def look(node: Node, now_s: float, limits: Limits) -> Effects:
    """Reconcile a node with the placement that it follows until nothing is left to do now."""
    effects = Effects()
    while _act(node, now_s, limits, effects):
        effects.changed = True
    return effects


def finished_start(node: Node, model: str, now_s: float) -> None:
    """Note that a starting pod is ready."""
    node.pods[model] = replace(turned(node.pods[model], "ready", now_s), ready_at_s=now_s)


def freed(node: Node, model: str) -> bool:
    """Tell the agent how many requests a draining pod still has; False if it does not drain."""
    pod, queue = node.pods[model], node.queues[model]
    if pod.phase != "draining":
        return False
    node.pods[model] = replace(pod, waiting=len(queue.waiting), running=len(queue.running))
    return True


def finished_stop(node: Node, model: str, now_s: float) -> None:
    """Note that a stopping pod has gone, or sleeps."""
    pod = node.pods[model]
    if pod.stage == FALLS_ASLEEP:
        node.pods[model] = turned(pod, "sleeping", now_s)
    else:
        del node.pods[model]


def started(node: Node, model: str, now_s: float, *, wake: bool = False) -> Pod:
    """Return a pod whose start begins now."""
    spec = node.models[model]
    instance = f"{model}.{node.opened + 1}"
    ready_at_s = now_s + (spec.wake_delay_s if wake else spec.start_delay_s)
    stage = "wake" if wake else "load"
    return Pod(model, instance, "starting", now_s, spec.memory_bytes, stage=stage, ready_at_s=ready_at_s)


def _act(node: Node, now_s: float, limits: Limits, effects: Effects) -> bool:
    """Do what reconciling says now; False if that was nothing."""
    placement = node.placement
    mine = part(placement, node.spec.id)
    in_force = placement is not None and now_s < placement.expires_at_s
    acted = False
    spec = node.spec
    for action in reconcile(
        mine, in_force, node.pods, node.models, spec.memory_bytes, now_s, limits, spec.host_memory_bytes
    ):
        match action:
            case Drain(model):
                _drain(node, model, now_s, effects)
            case Undrain(model):  # it was ready: one that was starting stops as soon as it drains
                node.pods[model] = turned(node.pods[model], "ready", now_s)
            case Stop(model) if node.pods[model].phase == "sleeping":
                del node.pods[model]
            case Stop(model, asleep=asleep):
                effects.lost += node.close(model, now_s)
                stopping = turned(node.pods[model], "stopping", now_s)
                node.pods[model] = replace(stopping, stage=FALLS_ASLEEP if asleep else "")
                node.stops += 1
                effects.stopping.append(node.pods[model])
            case Start(model, wake):
                node.open(started(node, model, now_s, wake=wake))
                node.starts += 1
                effects.starting.append(node.pods[model])
            case Wait():
                continue
            case _:
                assert_never(action)
        acted = True
    return acted


def _drain(node: Node, model: str, now_s: float, effects: Effects) -> None:
    for request in tuple(node.queues[model].waiting):
        node.withdraw(request, model)
        effects.returned.append(request)
    node.pods[model] = turned(node.pods[model], "draining", now_s)
    freed(node, model)
