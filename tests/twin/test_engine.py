"""The reference engine: small cases whose instants can be worked out by hand."""

import pytest

from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.steering import Steering
from fairlead.twin.calendar import Calendar, Mishap, NodeBack, NodeLost, Rung, Sent, SpeedTurned, Ticked
from fairlead.twin.engine import Engine
from fairlead.twin.requests import Network, at_once
from fairlead.twin.rules import nodes_of, rules
from fairlead.twin.views import FreshView
from tests.twin.scene import asks, cluster, ends, in_force, model, played, run

TWO = (model("a"), model("b"))


def test_events_come_by_time_then_kind_then_as_they_were_entered() -> None:
    """A decision comes last at its instant, a lost node first."""
    calendar = Calendar()
    for at_s, event in ((2.0, Sent()), (1.0, Rung()), (1.0, Ticked()), (1.0, NodeLost("n1")), (1.0, NodeLost("n0"))):
        calendar.enter(at_s, event)
    assert [calendar.take() for _ in range(5)] == [
        (1.0, NodeLost("n1")),
        (1.0, NodeLost("n0")),
        (1.0, Ticked()),
        (1.0, Rung()),
        (2.0, Sent()),
    ]
    assert calendar.next_at_s() is None


def test_busy_pods_share_the_node_evenly() -> None:
    """The first has 3 s left when the second comes: both run at half speed until 7 s, the second alone until 8 s."""
    engine = run(cluster(TWO), asks((0.0, "a", 4.0), (1.0, "b", 4.0)), awake=[["a", "b"]])
    assert ends(played(engine)) == [7.0, 8.0]


def test_a_pod_serves_first_come_first_served() -> None:
    """One at a time, at the node's speed."""
    engine = run(cluster(TWO, speeds=(2.0,)), asks((0.0, "a", 4.0), (0.5, "a", 2.0), (1.0, "a", 4.0)), awake=[["a"]])
    assert ends(played(engine)) == [2.0, 3.0, 5.0]


def test_requests_inside_a_pod_share_its_part() -> None:
    """Two at once in a pod of concurrency 2, the third waits for the first place."""
    shape = cluster((model("a", concurrency=2),))
    engine = run(shape, asks((0.0, "a", 2.0), (0.0, "a", 4.0), (0.0, "a", 1.0)), awake=[["a"]])
    assert ends(played(engine)) == [4.0, 7.0, 6.0]


def test_a_request_takes_the_network_both_ways() -> None:
    """Up, over, served, back, down; the other site is nearer."""
    network = Network({"s1": {"n1": 0.25}, "s2": {"n1": 0.125}}, {"a": 1.0}, {"a": 2.0})
    demand = [*asks((0.0, "a", 4.0)), *asks((100.0, "a", 4.0), site="s2")]
    engine = run(cluster((model("a"),), sites=2), demand, awake=[["a"]], network=network)
    assert ends(played(engine)) == [0.0 + 7.5, 100.0 + 7.25]


def test_a_missed_model_is_started_and_its_requests_are_held_until_it_is_ready() -> None:
    """The other model's pod is idle: it drains, stops for 1 s, then the missed one starts for 10 s."""
    shape = cluster((model("a"), model("b")), gb=2)
    demand = asks((100.0, "a", 4.0), (101.0, "a", 4.0), (200.0, "b", 4.0))
    engine = run(shape, demand, policy="lru")
    first = set(engine.nodes["n1"].pods)
    assert len(first) == 1
    requests = played(engine, 400.0)
    later = [one for one in requests if one.arrival.model not in first]
    assert later[0].ended_at_s == pytest.approx(later[0].arrival.at_s + 1.0 + 10.0 + 4.0)
    assert {one.fate for one in requests} == {"finished"}


def test_who_waits_longer_than_allowed_is_refused() -> None:
    """Held or queued alike; who is being served is not."""
    settings = PolicySettings(hold_timeout_s=10.0)
    shape = cluster((model("a"), model("b", gb=3)), gb=2 + 1)
    demand = asks((0.0, "a", 30.0), (1.0, "a", 4.0), (2.0, "b", 4.0))
    requests = played(run(shape, demand, awake=[["a"]], settings=settings))
    assert [(one.fate, one.ended_at_s) for one in requests] == [
        ("finished", 30.0),
        ("refused", 11.0),
        ("refused", 12.0),
    ]


def test_a_request_on_a_lost_node_is_sent_again_from_its_beginning() -> None:
    """It had 1 s left on the fast node; the slow one serves all of it."""
    shape = cluster((model("a"),), speeds=(2.0, 1.0))
    engine = run(shape, asks((0.0, "a", 4.0)), awake=[["a"], ["a"]], mishaps=[(1.5, NodeLost("n1"))])
    (request,) = played(engine)
    assert (request.fate, request.ended_at_s, request.attempts, request.node) == ("finished", 5.5, 2, "n2")


def test_a_request_that_is_lost_twice_has_failed() -> None:
    """As live: once is put right."""
    shape = cluster((model("a"),), speeds=(2.0, 1.0))
    mishaps = [(1.5, NodeLost("n1")), (2.0, NodeLost("n2"))]
    (request,) = played(run(shape, asks((0.0, "a", 4.0)), awake=[["a"], ["a"]], mishaps=mishaps))
    assert (request.fate, request.ended_at_s) == ("failed", 2.0)


def test_a_request_that_waits_on_a_lost_node_moves_as_often_as_needed() -> None:
    """It has never been served, so nothing is lost with it."""
    shape = cluster((model("a"),), speeds=(4.0, 3.0, 0.25))
    demand = asks((0.0, "a", 40.0), (0.0, "a", 40.0), (0.5, "a", 4.0))
    mishaps = [(1.0, NodeLost("n1")), (1.5, NodeLost("n2"))]
    last = played(run(shape, demand, awake=[["a"], ["a"], ["a"]], mishaps=mishaps))[-1]
    assert (last.fate, last.node, last.attempts) == ("finished", "n3", 3)


def test_a_node_that_comes_back_is_empty_and_starts_its_pods_again() -> None:
    """Back at 20 s, ready at 30 s; the request is held meanwhile, for nobody else has the model."""
    shape = cluster((model("a"),))
    mishaps: list[tuple[float, Mishap]] = [(1.0, NodeLost("n1")), (20.0, NodeBack("n1"))]
    (request,) = played(run(shape, asks((5.0, "a", 4.0)), awake=[["a"]], mishaps=mishaps))
    assert request.ended_at_s == 34.0


def test_nobody_is_told_of_a_slow_down_but_completions_show_it() -> None:
    """Half done at 2 s, the rest at a quarter of the speed; the keeper's v falls with each completion."""
    shape = cluster((model("a"),))
    engine = run(
        shape, asks((0.0, "a", 4.0), (20.0, "a", 4.0)), awake=[["a"]], mishaps=[(2.0, SpeedTurned("n1", 0.25))]
    )
    believed = [engine.nodes["n1"].load(0.0).speed]
    engine.run(20.0)
    believed.append(engine.nodes["n1"].load(20.0).speed)
    engine.run(60.0)
    believed.append(engine.nodes["n1"].load(60.0).speed)
    assert ends(engine.ended) == [10.0, 36.0]
    assert believed[:2] == pytest.approx([1.0, 0.4**0.15])
    assert believed[2] < believed[1]


def test_each_ingress_has_its_own_view() -> None:
    """Reported every 5 s, two sites send to the same idle node; seen as it is, the second takes the other."""
    shape = cluster((model("a"),), speeds=(1.1, 1.0), sites=2)
    demand = [*asks((1.0, "a", 4.0)), *asks((1.5, "a", 4.0), site="s2"), *asks((1.75, "a", 4.0))]
    for fresh, nodes in ((False, ["n1", "n1", "n2"]), (True, ["n1", "n2", "n1"])):
        engine = run(shape, demand, awake=[["a"], ["a"]], fresh=fresh)
        assert [one.node for one in played(engine)] == nodes


def test_a_report_tells_what_the_view_did_not_know() -> None:
    """At 5 s the first site learns of the other's request on the faster node."""
    shape = cluster((model("a"),), speeds=(1.1, 1.0), sites=2)
    demand = [*asks((4.0, "a", 4.0), site="s2"), *asks((5.5, "a", 4.0))]
    assert [one.node for one in played(run(shape, demand, awake=[["a"], ["a"]], fresh=False))] == ["n1", "n2"]


def test_a_ticket_that_comes_too_late_to_wait_is_refused() -> None:
    """The one on its way finds the pod busy, the other is refused by a pod that drains and comes back too late."""
    shape = cluster(TWO, gb=2)
    network = Network({"s1": {"n1": 0.25}}, {"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0})
    settings = PolicySettings(hold_timeout_s=0.375)
    busy = run(shape, asks((1.0, "a", 30.0), (1.0, "a", 4.0)), awake=[["a"]], network=network, settings=settings)
    assert [(one.fate, one.ended_at_s) for one in played(busy)] == [("finished", 31.5), ("refused", 1.375)]
    slow = Network({"s1": {"n1": 0.5}}, network.up_s, network.down_s)
    late = run(shape, asks((1.0, "a", 30.0), (1.0, "a", 4.0)), awake=[["a"]], network=slow, settings=settings)
    assert [(one.fate, one.ended_at_s) for one in played(late)] == [("finished", 32.0), ("refused", 1.5)]
    draining = run(shape, asks((1.0, "a", 4.0)), awake=[["a"]], network=network, settings=settings, fresh=False)
    drained(draining, "n1")
    assert [(one.fate, one.ended_at_s) for one in played(draining, 10.0)] == [("refused", 1.5)]


def test_after_three_refusals_a_request_waits_for_news() -> None:
    """Four nodes drain that the ingress believes ready; it tries three of them, and looks again at the next report."""
    shape = cluster(TWO, speeds=(4.0, 3.0, 2.0, 1.0), gb=2)
    engine = run(shape, asks((1.0, "a", 4.0)), awake=[["a"]] * 4, fresh=False)
    for name in ("n1", "n2", "n3"):
        drained(engine, name)
    engine.run(5.0)
    (request,) = engine.books.open.values()
    assert (request.place, request.attempts) == ("held", 3)
    assert [(one.node, one.ended_at_s) for one in played(engine, 20.0)] == [("n4", 9.0)]


def drained(engine: Engine, name: str) -> None:
    """Let a node's agent follow a placement that wants b there in place of a."""
    engine.order(name, in_force((NodePlacement(node=name, awake=("b",), stoppable=("a",)),), generation=9))


def test_a_drain_that_does_not_end_is_forced_and_its_request_is_sent_again() -> None:
    """Ten minutes after it began, 1 s to stop, 10 s to start the other; no pod of the request's model is left."""
    shape = cluster(TWO, gb=2)
    settings = PolicySettings(hold_timeout_s=5000.0)
    nodes = nodes_of(shape, settings)
    steering = Steering("s1", settings.slot_s)
    steering.declared({"a": 4.0, "b": 4.0})
    views = {"s1": FreshView(steering, nodes)}
    patient = rules(settings, 0, fresh=True)
    engine = Engine(nodes, views, at_once(shape), asks((0.0, "a", 5000.0)), patient)
    engine.begin()
    engine.stand("n1", "a")
    engine.run(1.0)
    drained(engine, "n1")
    engine.run(600.5)
    assert engine.nodes["n1"].pods["a"].phase == "draining"
    engine.run(611.5)
    (request,) = engine.books.open.values()
    assert (request.place, request.sent_again) == ("held", True)
    assert [(p.model, p.phase) for p in nodes["n1"].pods.values()] == [("b", "starting")]
    engine.run(613.0)
    assert nodes["n1"].pods["b"].phase == "ready"
    assert (engine.starts, engine.decisions) == ([602.0], 0)
    assert not engine.step() or engine.now_s > 613.0
