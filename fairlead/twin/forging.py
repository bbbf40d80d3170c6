"""Telemetry that lies: a node whose keeper says of it what draws requests, in messages that are valid.

What it says of its pods' phases is true: a pod that is not there refuses, and is found out at once.
"""

from dataclasses import dataclass, replace

from fairlead.contracts.cluster import Cluster
from fairlead.policy.choice import NodeLoad

BOAST = 2.5
"""Times its speed that a liar says it has: what a completion may say at most (CONTROL §2, `speed_clip_high`)."""


@dataclass(frozen=True, slots=True)
class Tale:
    """What a keeper says in place of what it knows."""

    speed_ratio: float = 1.0
    """Of the speed that was learned."""
    work_ratio: float = 1.0
    """Of the work that waits and runs."""
    count_ratio: float = 1.0
    """Of the requests that wait and run; rounded down."""

    def __call__(self, load: NodeLoad) -> NodeLoad:
        """Return what is said."""
        pods = tuple(
            replace(p, work_s=p.work_s * self.work_ratio, count=int(p.count * self.count_ratio)) for p in load.pods
        )
        return replace(load, speed=load.speed * self.speed_ratio, pods=pods)


IDLE = Tale(BOAST, 0.0, 0.0)
"""The node is fast and nobody waits there."""


def liar(cluster: Cluster) -> str:
    """Return the node whose lie does most harm: the fastest, which has most models."""
    return min(cluster.nodes, key=lambda n: (-n.speed, n.id)).id
