"""Sleeping pods in the twin: they leave a node's memory for its host's, and are back soon."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.reconcile import Limits
from fairlead.twin.agent import finished_start, finished_stop, look
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost
from fairlead.twin.node import Node
from fairlead.twin.requests import Arrival, Request
from fairlead.twin.rules import nodes_of
from tests.twin import test_laws as laws
from tests.twin.scene import asks, cluster, ends, in_force, model, played, run

LIMITS = Limits(600.0, 5.0, 300.0)
MODELS = (model("a", work_s=2.0), model("b", work_s=2.0), model("c", work_s=2.0))


def hosting(gb: int = 4, factor: int = 1) -> Cluster:
    """Return a cluster of one node with `factor` times its memory to sleep in."""
    shape = cluster(MODELS, gb=gb)
    nodes = tuple(n.model_copy(update={"host_memory_bytes": factor * n.memory_bytes}) for n in shape.nodes)
    return shape.model_copy(update={"nodes": nodes})


def stays(done: list[Request]) -> list[float]:
    """Return how long each request stayed."""
    return [round(end - one.arrival.at_s, 6) for one, end in zip(done, ends(done), strict=True)]


def phases(node: Node) -> dict[str, str]:
    """Return the phase of each pod."""
    return {name: pod.phase for name, pod in sorted(node.pods.items())}


def test_a_pod_that_must_go_sleeps_and_wakes_in_a_second_and_a_half() -> None:
    """On 2 GB a goes for b and comes back, and b too: 1 s to stop, 10 s to load at first, 1.5 s to wake."""
    demand = asks((0.0, "a", 1.0), (100.0, "b", 1.0), (200.0, "a", 1.0), (300.0, "b", 1.0))
    engine = run(hosting(gb=2, factor=2), demand, policy="lru")
    assert stays(played(engine, 360.0)) == [1.0, 12.0, 3.5, 3.5]
    assert phases(engine.nodes["n1"]) == {"a": "sleeping", "b": "ready"}
    assert len(engine.starts) == len(engine.stops) == 3


def test_without_host_memory_it_starts_again_from_nothing() -> None:
    """The same on a node where nobody can sleep."""
    demand = asks((0.0, "a", 1.0), (100.0, "b", 1.0), (200.0, "a", 1.0))
    assert stays(played(run(cluster(MODELS, gb=2), demand, policy="lru"), 260.0)) == [1.0, 12.0, 12.0]


def test_who_slept_longest_is_dropped_when_the_host_is_full() -> None:
    """Each in turn has the node; the host has room for one."""
    node = nodes_of(hosting(gb=2), PolicySettings())["n1"]
    for at_s, name, gone in ((0.0, "a", ""), (10.0, "b", "a"), (20.0, "c", "b")):
        node.placement = in_force((NodePlacement(node="n1", awake=(name,), stoppable=(gone,) if gone else ()),))
        for pod in look(node, at_s, LIMITS).stopping:
            finished_stop(node, pod.model, at_s + 1.0)
        assert node.hosted_bytes <= node.spec.host_memory_bytes
        look(node, at_s + 1.0, LIMITS)
        finished_start(node, name, at_s + 5.0)
    assert phases(node) == {"b": "sleeping", "c": "ready"}


def test_a_lost_node_has_forgotten_who_slept_there() -> None:
    """Host memory goes with the rest: a starts from nothing, after 10 s."""
    engine = run(
        hosting(gb=2),
        asks((0.0, "a", 1.0), (100.0, "b", 1.0), (200.0, "a", 1.0)),
        policy="lru",
        mishaps=[(150.0, NodeLost("n1")), (160.0, NodeBack("n1"))],
    )
    assert stays(played(engine, 260.0))[2] >= 11.0


@settings(max_examples=15, deadline=None)
@given(demand=laws.arrivals, befalls=laws.mishaps, policy=st.sampled_from(("marginal-dpp", "lru")), fresh=st.booleans())
def test_laws_hold_where_pods_sleep_and_pause(
    demand: list[Arrival], befalls: list[tuple[float, Mishap]], policy: PolicyName, fresh: bool
) -> None:
    """Each request is in one place, pods fit in memory and host memory, at every event; in the end nobody waits."""
    nodes = tuple(
        n.model_copy(update={"host_memory_bytes": n.memory_bytes, "pausing": n.id != "n1"}) for n in laws.SHAPE.nodes
    )
    shape = laws.SHAPE.model_copy(update={"nodes": nodes})
    how = {"policy": policy, "fresh": fresh, "network": laws.NETWORK, "settings": laws.PATIENCE}
    engine = run(shape, demand, mishaps=befalls, **how)  # type: ignore[arg-type]
    ended = played(engine, 400.0)
    assert sorted([*(r.number for r in ended), *engine.books.open]) == list(range(len(demand)))
    assert all(r.place == "running" for r in engine.books.open.values())
