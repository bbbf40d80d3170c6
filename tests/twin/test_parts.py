"""Parts of the twin: the agent's drains, what an ingress believes, who is held, books that must add up."""

from dataclasses import replace

import pytest

from fairlead.contracts.events import Wake
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.reconcile import Limits
from fairlead.policy.steering import Steering
from fairlead.twin.agent import finished_start, freed, look, started
from fairlead.twin.node import Node
from fairlead.twin.requests import Arrival, Books, Request
from fairlead.twin.rules import nodes_of
from fairlead.twin.site import Site
from fairlead.twin.views import FreshView, ReportedView
from tests.twin.scene import GB, asks, cluster, ends, in_force, model, placed, played, run

LIMITS = Limits(drain_limit_s=100.0, backoff_first_s=5.0, backoff_most_s=300.0)
DRAWS = (0.5, 0.5)


def a_node(gb: int = 4) -> Node:
    """Return a node with a ready pod of a, which serves request 0 and has request 1 waiting."""
    shape = cluster((model("a"), model("b", gb=3)), gb=gb)
    node = nodes_of(shape, PolicySettings())["n1"]
    node.open(started(node, "a", 0.0))
    finished_start(node, "a", 0.0)
    for request in (0, 1):
        assert node.admit(request, "a", 4.0)
    assert node.pump("a", 0.0) == [0]
    return node


def swap() -> NodePlacement:
    """Return that b shall be awake in place of a."""
    return NodePlacement(node="n1", awake=("b",), stoppable=("a",))


def test_a_drain_gives_back_who_waits_and_lets_who_runs_finish() -> None:
    """Then the pod stops, claims memory for as long as that takes, and only then the other starts."""
    node = a_node()
    node.placement = in_force((swap(),))
    first = look(node, 1.0, LIMITS)
    assert (first.returned, first.lost, first.starting, first.stopping) == ([1], [], [], [])
    assert (node.pods["a"].phase, node.admit(2, "a", 1.0)) == ("draining", False)
    node.end(0, "a", 4.0)
    assert freed(node, "a")
    second = look(node, 4.0, LIMITS)
    assert [pod.model for pod in second.stopping] == ["a"]
    assert (second.starting, node.claimed_bytes) == ([], 2 * GB)
    del node.pods["a"]
    assert [pod.model for pod in look(node, 5.0, LIMITS).starting] == ["b"]
    assert (node.starts, node.stops) == (1, 1)


def test_a_drain_that_is_taken_back_lets_the_pod_serve_again() -> None:
    """A newer placement wants it after all."""
    node = a_node()
    node.placement = in_force((swap(),))
    look(node, 1.0, LIMITS)
    node.placement = in_force(placed([["a"]]), generation=2)
    assert look(node, 2.0, LIMITS).changed
    assert node.pods["a"].phase == "ready"
    assert node.admit(2, "a", 4.0)


def test_a_drain_that_lasts_too_long_loses_who_runs() -> None:
    """At its limit, not before; the work that was left does not slow anybody any more."""
    node = a_node()
    node.turn(0.001, 0.0)
    node.placement = in_force((swap(),))
    look(node, 1.0, LIMITS)
    assert look(node, 100.9, LIMITS).lost == []
    assert look(node, 101.0, LIMITS).lost == [0]
    assert node.due() is None


def test_what_a_node_does_not_have_cannot_be_admitted() -> None:
    """No pod of the model."""
    assert not a_node().admit(5, "b", 1.0)


def reported(node: Node) -> ReportedView:
    """Return the view of an ingress that has heard of the node at 0 s."""
    steering = Steering("s1", 30.0)
    steering.declared({"a": 4.0, "b": 4.0})
    view = ReportedView(steering, 15.0)
    assert view.heard(node.reading(0.0))
    return view


def waits(view: ReportedView | FreshView, now_s: float) -> float | None:
    """Return what a request of a would wait; None if nobody serves it."""
    return view.pick("a", now_s, DRAWS).wait_s


def test_a_view_adds_its_own_tickets_until_a_report_has_them() -> None:
    """8 s of work at first, drained by 2 s, twice 4 s added; a report has the ticket that came, not the other."""
    node = a_node()
    view = reported(node)
    assert waits(view, 2.0) == pytest.approx(6.0)
    for request in (7, 8):
        view.sent(request, "n1", "a")
    assert waits(view, 2.0) == pytest.approx(14.0)
    assert node.admit(7, "a", 4.0)
    view.acknowledged(7, 2.5)
    view.heard(node.reading(3.0))
    assert waits(view, 3.0) == pytest.approx(9.0 + 4.0)
    view.refused(8, "n1", "a")
    view.heard(node.reading(3.0))
    assert waits(view, 3.0) == pytest.approx(9.0)


def test_a_refusal_counts_until_the_next_report() -> None:
    """The pod gets no more requests; that it takes some again is news."""
    node = a_node()
    view = reported(node)
    view.sent(7, "n1", "a")
    view.refused(7, "n1", "a")
    assert waits(view, 1.0) is None
    assert view.heard(node.reading(5.0))
    assert not view.heard(node.reading(6.0))
    assert waits(view, 6.0) is not None


def test_invariant_10_in_the_twin_an_old_report_is_not_used() -> None:
    """After three periods, or when the node does not answer: not reachable, until it reports again."""
    node = a_node()
    view = reported(node)
    assert waits(view, 15.0) is not None
    assert waits(view, 15.1) is None
    view.heard(node.reading(20.0))
    view.lost("n1", 20.0)
    assert waits(view, 20.0) is None
    assert view.heard(node.reading(25.0))
    assert waits(view, 25.0) is not None


def test_a_fresh_view_sees_what_is_there_and_what_is_on_its_way() -> None:
    """Nothing of a dead node."""
    node = a_node()
    steering = Steering("s1", 30.0)
    steering.declared({"a": 4.0, "b": 4.0})
    view = FreshView(steering, {"n1": node})
    view.sent(7, "n1", "a")
    assert waits(view, 2.0) == pytest.approx(6.0 + 4.0)
    view.refused(7, "n1", "a")
    assert waits(view, 2.0) == pytest.approx(6.0)
    node.die(2.0)
    assert waits(view, 2.0) is None


def test_a_ticket_that_a_draining_pod_refuses_finds_another() -> None:
    """Reported every 5 s, the ingress does not know of the drain yet; both nodes have the model."""
    shape = cluster((model("a"), model("b")), speeds=(2.0, 1.0), gb=2)
    engine = run(shape, asks((1.0, "a", 4.0), (1.5, "a", 4.0)), awake=[["a"], ["a"]], fresh=False)
    engine.order("n1", in_force((swap(),), generation=9))
    requests = played(engine, 20.0)
    assert [(one.node, one.attempts) for one in requests] == [("n2", 2), ("n2", 1)]
    assert ends(requests) == [5.0, 9.0]


def site(told: list[Wake]) -> Site:
    """Return an ingress that tells its wakes to a list."""
    return Site("s1", reported(a_node()), 5.0, told.append)


def test_the_same_is_said_once_in_a_refresh() -> None:
    """Of another model, or for another reason, at once."""
    told: list[Wake] = []
    one = site(told)
    for name, now_s in (("a", 0.0), ("a", 4.9), ("b", 4.9), ("a", 5.0)):
        one.say(name, "missing", now_s)
    one.say("a", "wait", 5.0)
    assert [(w.model, w.reason, w.at_s) for w in told] == [
        ("a", "missing", 0.0),
        ("b", "missing", 4.9),
        ("a", "missing", 5.0),
        ("a", "wait", 5.0),
    ]


def test_who_came_first_is_first_also_when_it_is_held_later() -> None:
    """A request that was given back stands before those who came after it; its age counts from when it was held."""
    one = site([])
    requests = [Request(k, Arrival(float(k), "s1", "a", 1.0)) for k in range(3)]
    for k, now_s in ((1, 10.0), (2, 11.0), (0, 12.0)):
        one.arrive("a", now_s)
        one.hold(requests[k], now_s)
    assert list(one.held["a"]) == [0, 1, 2]
    counted = one.reading(13.0).models["a"]
    assert (counted.arrived, counted.held, counted.oldest_at_s, counted.asked_at_s) == (3, 3, 10.0, 12.0)
    for request in requests:
        one.release(request)
    assert (one.held, one.waiting()) == ({}, [])


def test_books_that_do_not_add_up_are_noticed() -> None:
    """A request that is nowhere, one that two places have, one that its place does not have."""
    books = Books()
    request = Request(0, Arrival(0.0, "s1", "a", 1.0))
    books.arrive(request)
    books.check(queued=0, running=0, held=0)
    with pytest.raises(AssertionError, match="but nodes and sites have"):
        books.check(queued=1, running=0, held=0)
    request.place = "held"
    with pytest.raises(AssertionError, match="the books say"):
        books.check(queued=0, running=0, held=1)
    del books.open[0]
    with pytest.raises(AssertionError, match="1 arrived"):
        books.check(queued=0, running=0, held=0)


def test_a_node_with_more_pods_than_memory_is_noticed() -> None:
    """By the check of every event."""
    engine = run(cluster((model("a"),)), [], awake=[["a"]])
    engine.check()
    node = engine.nodes["n1"]
    node.pods["a"] = replace(node.pods["a"], memory_bytes=5 * GB)
    with pytest.raises(AssertionError, match="pods claim"):
        engine.check()
