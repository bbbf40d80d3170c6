"""How far an ingress believes what a node says of its queues: it has tickets there itself.

A node that says that nobody waits there is sent requests. But an ingress's own tickets wait where they were sent until
they are answered, whatever the node says. Against itself a node may say what it likes: it gets less to do. The words of
an honest node stay as they are. How fast a node says it is cannot be held against anything: it is learned because what
is declared may be far off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.contracts.cluster import Cluster
from fairlead.policy.backlog import LEAST_LEFT_RATIO
from fairlead.policy.choice import NodeLoad, PodQueue

IN_TRANSIT = 1
"""Own tickets of a pod whose answers may still be under way when the node's word comes that no longer has them."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an ingress knows of models by their definition; of one that is not named everything is believed."""

    inside: Mapping[str, int] = field(default_factory=dict)
    """How many requests a pod serves at once."""
    work: Mapping[str, float] = field(default_factory=dict)
    """b, seconds at speed 1."""


def bounds_of(cluster: Cluster) -> Bounds:
    """Return what the definition of a cluster says."""
    return Bounds({m.id: m.concurrency for m in cluster.models}, {m.id: m.work_s for m in cluster.models})


def believed(load: NodeLoad, own: Mapping[str, int], bounds: Bounds) -> NodeLoad:
    """Return what is believed of a node's word; `own` are the ingress's own tickets that its pods have, by model."""
    pods = tuple([_with_own(pod, own[pod.model], bounds) if pod.model in own else pod for pod in load.pods])
    return NodeLoad(load.speed, load.observed_at_s, pods, load.pausing)


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
