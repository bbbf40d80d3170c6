"""Telemetry that lies: a node whose keeper says of it what draws requests, in messages that are valid.

What it says of its pods' phases is true: a pod that is not there refuses, and is found out at once.
"""

from dataclasses import dataclass, replace

from fairlead.contracts.cluster import Cluster
from fairlead.policy.choice import NodeLoad

BOAST_SPEED = 1e6
"""What a liar says of its speed: far beyond what is believed of any node."""


@dataclass(frozen=True, slots=True)
class Tale:
    """What a keeper says in place of what it knows."""

    speed: float | None = None
    """None: as it was learned."""
    work_ratio: float = 1.0
    """Of the work that waits and runs."""
    count_ratio: float = 1.0
    """Of the requests that wait and run; rounded down."""

    def __call__(self, load: NodeLoad) -> NodeLoad:
        """Return what is said."""
        pods = tuple(
            replace(p, work_s=p.work_s * self.work_ratio, count=int(p.count * self.count_ratio)) for p in load.pods
        )
        return replace(load, speed=load.speed if self.speed is None else self.speed, pods=pods)


IDLE = Tale(BOAST_SPEED, 0.0, 0.0)
"""The node is as fast as can be and nobody waits there: nothing draws more requests."""


def liar(cluster: Cluster) -> str:
    """Return the node whose lie does most harm: the fastest, which has most models.

    `city7-rotating` at 0.8, seed 1: the mean latency is 5.3 times as long, 2.5 times where the slowest lies.
    """
    return min(cluster.nodes, key=lambda n: (-n.speed, n.id)).id
