"""How a run goes, whoever decides; and the parts that it begins with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.settings import NodeAgentSettings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.backlog import SpeedRule
from fairlead.policy.reconcile import Limits
from fairlead.policy.yielding import PATIENCE_SHARE
from fairlead.twin.node import Node, Reading
from fairlead.twin.site import Site, SiteReading


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run goes."""

    settings: PolicySettings
    seed: int
    fresh: bool
    """The slot agent reads the state of now; else what was reported at the last tick."""
    limits: Limits
    hold_timeout_s: float
    """A request waits at most this long in all; may be infinite."""
    origin_s: float = 0.0
    """Of the clock that slots are counted from."""


def rules(settings: PolicySettings, seed: int, *, fresh: bool, origin_s: float = 0.0) -> Rules:
    """Return rules with the patience that node agents have by default."""
    agent = NodeAgentSettings()
    limits = Limits(agent.drain_limit_s, agent.backoff_first_s, agent.backoff_most_s)
    return Rules(settings, seed, fresh, limits, settings.hold_timeout_s, origin_s)


def nodes_of(cluster: Cluster, settings: PolicySettings, *, yielding: bool = False) -> dict[str, Node]:
    """Return the cluster's nodes, empty; `yielding`: at their pods, late requests let others pass."""
    models = {m.id: m for m in cluster.models}
    rule = SpeedRule(settings.speed_gain, settings.speed_clip_low, settings.speed_clip_high)
    patience_s = PATIENCE_SHARE * settings.hold_timeout_s if yielding else None
    return {n.id: Node(n, models, rule, patience_s) for n in cluster.nodes}


class Readings:
    """The newest reports: of each node as long as it lives, of each ingress."""

    def __init__(self) -> None:
        self.sites: tuple[SiteReading, ...] = ()
        self._nodes: dict[str, Reading] = {}

    @property
    def nodes(self) -> Sequence[Reading]:
        """Return the last report of each node, also of a dead one."""
        return tuple(self._nodes.values())

    def take(self, nodes: Mapping[str, Node], sites: Mapping[str, Site], now_s: float) -> None:
        """Let all that live report."""
        for node in nodes.values():
            self.take_node(node, now_s)
        self.sites = tuple(site.reading(now_s) for site in sites.values())

    def remember(self, node: Node, at_s: float) -> None:
        """Have an old report of a node that is lost."""
        self._nodes[node.spec.id] = node.reading(at_s)

    def take_node(self, node: Node, now_s: float) -> None:
        """Let one node report, if it lives."""
        if node.up:
            self._nodes[node.spec.id] = node.reading(now_s)
