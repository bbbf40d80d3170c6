"""Waiting tickets move by price in the twin: at once where state is seen on change, in turns where it is reported."""

from fairlead.contracts.tuning import PolicySettings
from fairlead.twin.requests import Arrival, Network, Request
from tests.twin.scene import asks, cluster, ends, model, played, run

SHAPE = cluster((model("a", gb=4),), speeds=(1.0, 1.0), sites=2)
SLOW_FIRST = ((1.0, "a", 40.0), (1.1, "a", 1.0), (1.2, "a", 1.0), (1.3, "a", 1.0))
"""One of ten times the mean work of 4 s, and three short ones: two pods, two tickets each."""


def outcome(*, fresh: bool, moving: bool, demand: list[Arrival], network: Network | None = None) -> list[Request]:
    """Return what became of the demand on two nodes with a pod each; every step is checked."""
    engine = run(
        SHAPE,
        demand,
        policy="marginal-dpp",
        fresh=fresh,
        settings=PolicySettings(moving=moving),
        network=network,
    )
    return played(engine, 100.0)


def test_a_ticket_goes_where_a_place_becomes_free() -> None:
    """Who waits behind the slow request goes over when the other pod is done, at 3.1 s, and is served at once."""
    moved = outcome(fresh=True, moving=True, demand=asks(*SLOW_FIRST))
    assert [(one.node, one.attempts) for one in moved] == [("n1", 1), ("n2", 1), ("n2", 2), ("n2", 1)]
    assert ends(moved) == [41.0, 2.1, 4.1, 3.1]
    stayed = outcome(fresh=True, moving=False, demand=asks(*SLOW_FIRST))
    assert [one.attempts for one in stayed] == [1, 1, 1, 1]
    assert ends(stayed) == [41.0, 2.1, 42.0, 3.1]


def test_a_ticket_is_under_way_for_a_round_trip_and_the_way_to_its_next_node() -> None:
    """The other pod is done at 3.6 s: 0.4 s there and back, 0.5 s to that node, 1 s of service, 0.5 s back."""
    far = {"n1": 0.5, "n2": 0.2}
    network = Network(between_s={"s1": far, "s2": far}, up_s={"a": 0.0}, down_s={"a": 0.0})
    moved = outcome(fresh=True, moving=True, demand=asks(*SLOW_FIRST), network=network)
    assert [(one.node, one.attempts) for one in moved] == [("n2", 1), ("n1", 1), ("n1", 2), ("n1", 1)]
    assert ends(moved) == [41.4, 3.1, 6.0, 4.1]


def test_with_reports_ingresses_take_turns() -> None:
    """Each has a ticket behind the slow request. The other pod is done at 6.6 s: one goes at 10 s, one at 15 s."""
    demand = [
        *asks((0.5, "a", 60.0), (0.6, "a", 4.0), (0.7, "a", 1.0), (0.8, "a", 1.0)),
        *asks((0.9, "a", 1.0), (1.0, "a", 1.0), site="s2"),
    ]
    moved = outcome(fresh=False, moving=True, demand=demand)
    assert [(one.arrival.site, one.ended_at_s) for one in moved if one.attempts > 1] == [("s1", 16.0), ("s2", 11.0)]
    stayed = outcome(fresh=False, moving=False, demand=demand)
    assert ends(stayed) == [60.5, 4.6, 61.5, 5.6, 62.5, 6.6]
