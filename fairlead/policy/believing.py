"""How far a node is believed in what it says in its own favour, so that it is sent requests.

That nobody waits there: but an ingress's own tickets wait where they were sent until they are answered, whatever the
node says. That it is fast: speeds are learned because what is declared may be far off, but not without measure. Against
itself a node may say what it likes: it gets less to do. The words of an honest node stay as they are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.contracts.cluster import Cluster
from fairlead.policy.backlog import LEAST_LEFT_RATIO
from fairlead.policy.choice import NodeLoad, PodQueue

FASTER_MOST = 100.0
"""Times the declared speed that a node is taken for at most. Own choice: two orders of magnitude are a declaration that
is wrong, or a lie; 4 to 16 bit honest nodes whose work is declared in seconds and takes a part of one (2026-11)."""

IN_TRANSIT = 1
"""Own tickets of a pod whose answers may still be under way when the node's word comes that no longer has them."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an ingress knows by the definition; of a node or model that is not named everything is believed."""

    speed: Mapping[str, float] = field(default_factory=dict)
    """Declared, by node."""
    inside: Mapping[str, int] = field(default_factory=dict)
    """By model: how many requests a pod serves at once."""
    work: Mapping[str, float] = field(default_factory=dict)
    """b by model, seconds at speed 1."""


def bounds_of(cluster: Cluster) -> Bounds:
    """Return what the definition of a cluster says."""
    speed = {n.id: n.speed for n in cluster.nodes}
    return Bounds(speed, {m.id: m.concurrency for m in cluster.models}, {m.id: m.work_s for m in cluster.models})


def believed_speed(said: float, declared: float) -> float:
    """Return what a node is taken for that says it is so fast."""
    return min(said, FASTER_MOST * declared)


def believed(load: NodeLoad, node: str, own: Mapping[str, int], bounds: Bounds) -> NodeLoad:
    """Return what is believed of a node's word; `own` are the ingress's own tickets that its pods have, by model."""
    pods = tuple([_with_own(pod, own[pod.model], bounds) if pod.model in own else pod for pod in load.pods])
    speed = believed_speed(load.speed, bounds.speed.get(node, math.inf))
    return NodeLoad(speed, load.observed_at_s, pods, load.pausing)


def _with_own(pod: PodQueue, own: int, bounds: Bounds) -> PodQueue:
    """Return a queue that has at least the ingress's own tickets: those who run may be nearly done, no more."""
    there = own - IN_TRANSIT
    if there <= 0 or pod.model not in bounds.work:
        return pod
    running = min(there, bounds.inside[pod.model])
    work_s = bounds.work[pod.model] * (there - running + LEAST_LEFT_RATIO * running)
    if there <= pod.count and work_s <= pod.work_s:
        return pod
    return PodQueue(pod.model, pod.phase, pod.ready_in_s, max(pod.work_s, work_s), max(pod.count, there))
