"""A recorded course of placements and routes, played by the twin's physics: nobody decides anything.

Every request goes to the node that it went to, by an ingress of that node's own; every node's agent follows the
placements that were in force, when they were.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import Placement, RoutingTable
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.choice import Pick
from fairlead.policy.moving import Move, Waiting
from fairlead.policy.steering import Chosen
from fairlead.twin.engine import Engine
from fairlead.twin.node import Node, Reading
from fairlead.twin.requests import Arrival, Network, Request
from fairlead.twin.rules import nodes_of, rules
from fairlead.twin.views import View

FOREVER_S = 1e12
"""A placement stays in force until the next one: what was recorded was renewed in time."""


@dataclass(frozen=True, slots=True)
class Course:
    """What was recorded; instants from its second 0."""

    cluster: Cluster
    settings: PolicySettings
    yielding: bool
    """At pods, late requests let others pass."""
    there_s: Mapping[str, float]
    """Model: from a client to a pod."""
    back_s: Mapping[str, float]
    """Model: from a pod to the client."""
    demand: tuple[Arrival, ...]
    """In order of time; the site of each is the id of the node that it goes to."""
    ready: tuple[tuple[str, str], ...]
    """Node and model of pods that are ready at second 0."""
    placements: tuple[tuple[float, Placement], ...]
    """In order of time; what was in force before second 0 stands first, at 0."""


class RecordedView:
    """The ingress of one node: what was sent there goes there."""

    def __init__(self, node: str, nodes: Mapping[str, Node]) -> None:
        """Send to `node`; where its pod was taken away too early, to whoever has one with the fewest requests."""
        self.astray = 0
        """Requests that went elsewhere than recorded, because the pod was gone."""
        self._node = node
        self._nodes = nodes

    def steer_by(self, table: RoutingTable) -> None:
        """Do nothing: routes are given."""

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return the recorded node, if it has a pod or will have one."""
        home = self._nodes[self._node]
        if _takes(home, model):
            return _to(self._node)
        if home.up and model in _awake(home):
            return Chosen(None, None, None)
        others = [name for name, node in sorted(self._nodes.items()) if node.up and _takes(node, model)]
        if not others:
            return Chosen(None, None, None)
        self.astray += 1
        return _to(min(others, key=lambda name: _queued(self._nodes[name], model)))

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Return nothing: a ticket is where it went in the end."""
        return ()

    def sent(self, request: int, node: str, model: str) -> None:
        """Do nothing: nodes are seen as they are."""

    def acknowledged(self, request: int, now_s: float) -> None:
        """Do nothing."""

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Do nothing."""

    def refused(self, request: int, node: str, model: str) -> None:
        """Do nothing."""

    def ended(self, request: int) -> None:
        """Do nothing."""

    def lost(self, node: str, now_s: float) -> None:
        """Do nothing."""

    def heard(self, reading: Reading) -> bool:
        """Do nothing."""
        return False

    def touched(self, pods: bool) -> bool:
        """Tell whether pods have changed."""
        return pods


@dataclass(frozen=True, slots=True)
class CoursePlayed:
    """What came of it."""

    requests: tuple[Request, ...]
    """By number, in the order of the demand; those that never ended are left out."""
    astray: int
    """Choices of another node than the recorded one, because its pod was gone."""


def play_course(course: Course) -> CoursePlayed:
    """Play a course until nobody can be served any more."""
    nodes = nodes_of(course.cluster, course.settings, yielding=course.yielding)
    views = {name: RecordedView(name, nodes) for name in nodes}
    by_site: Mapping[str, View] = views
    how = rules(course.settings.model_copy(update={"moving": False}), seed=0, fresh=True)
    engine = Engine(nodes, by_site, _network(course), course.demand, how)
    for node, model in course.ready:
        engine.stand(node, model)
    for at_s, placement in course.placements:
        engine.run(at_s)
        lasting = placement.model_copy(update={"expires_at_s": FOREVER_S})
        for node in nodes:
            engine.order(node, lasting)
    engine.run()
    ended = sorted(engine.ended, key=lambda one: one.number)
    return CoursePlayed(tuple(ended), sum(view.astray for view in views.values()))


def _network(course: Course) -> Network:
    """Return no distance between an ingress and its node: the way there holds all of it."""
    ids = [node.id for node in course.cluster.nodes]
    return Network({one: dict.fromkeys(ids, 0.0) for one in ids}, course.there_s, course.back_s)


def _to(node: str) -> Chosen:
    return Chosen(Pick(node, 1.0, False, ()), None, None)


def _takes(node: Node, model: str) -> bool:
    pod = node.pods.get(model)
    return node.up and pod is not None and pod.phase in ("starting", "ready")


def _awake(node: Node) -> Sequence[str]:
    """Return the models that a node's placement wants there."""
    parts = () if node.placement is None else node.placement.nodes
    return next((part.awake for part in parts if part.node == node.spec.id), ())


def _queued(node: Node, model: str) -> int:
    queue = node.queues[model]
    return len(queue.waiting) + len(queue.running)
