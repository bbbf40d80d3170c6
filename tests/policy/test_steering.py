"""What steers an ingress: the newest table while it lasts, and after that the pods themselves."""

from fairlead.contracts.events import Wake
from fairlead.contracts.plans import ModelWork, RoutingTable, Row, Rule, Share
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.choice import NodeLoad, PodQueue
from fairlead.policy.moving import Waiting
from fairlead.policy.steering import Steering
from fairlead.policy.streams import unit
from fairlead.policy.wakes import Wakes

SLOT_S = 30.0
LOADS = {
    "n1": NodeLoad(1.0, 0.0, (PodQueue("m1", "ready", 0.0, 6.0, 2),)),
    "n2": NodeLoad(1.0, 0.0, (PodQueue("m1", "ready", 0.0, 0.0, 0),)),
}
DRAWS = (0.5, 0.0)


def row(zone: str, node: str, rule: Rule = "marginal") -> Row:
    """Return a row that sends requests of m1 to one node."""
    shares = (Share(node=node, probability=1.0),)
    return Row(zone=zone, model="m1", rule=rule, prior_weight_s=0.0, explore=0.0, shares=shares)


def table(generation: int, *rows: Row) -> RoutingTable:
    """Return a table that expires at 60 s and says that a request of m1 is 4 s of work."""
    return RoutingTable(
        generation=generation,
        placement_generation=1,
        plan_generation=0,
        slot=0,
        created_at_s=0.0,
        expires_at_s=60.0,
        decision=f"slot-{generation}",
        source="fallback",
        rows=rows,
        work=(ModelWork(model="m1", work_s=4.0),),
        speeds=(),
    )


def steering(*tables: RoutingTable) -> Steering:
    """Return what steers site s1 after these tables."""
    one = Steering("s1", SLOT_S)
    one.declared({"m1": 3.0})
    for each in tables:
        one.steer_by(each)
    return one


def test_without_a_table_the_shortest_expected_delay_counts() -> None:
    """By the declared work."""
    chosen = steering().chosen("m1", LOADS, 0.0, DRAWS)
    assert chosen.pick is not None
    assert (chosen.pick.node, chosen.wait_s, chosen.table) == ("n2", 0.0, None)


def test_a_table_steers_until_three_slots_past_its_expiry() -> None:
    """A strict row is obeyed though its node is the fuller one; nothing is priced for it."""
    one = steering(table(1, row("*", "n1", "strict")))
    steered = one.chosen("m1", LOADS, 149.9, DRAWS)
    assert steered.pick is not None
    assert (steered.pick.node, steered.wait_s, steered.table) == ("n1", None, one.table)
    past = one.chosen("m1", LOADS, 150.0, DRAWS)
    assert past.pick is not None
    assert (past.pick.node, past.table) == ("n2", None)


def test_the_row_of_the_own_site_goes_before_the_one_for_all() -> None:
    """Its wait is what the pod has before: the table's work is taken."""
    priced = {"n1": LOADS["n1"]}
    one = steering(table(1, row("s1", "n1"), row("*", "n2", "strict")))
    chosen = one.chosen("m1", priced, 0.0, DRAWS)
    assert chosen.pick is not None
    assert (chosen.pick.node, chosen.wait_s, one.work["m1"]) == ("n1", 6.0, 4.0)


def test_nobody_serves_a_model_without_pods() -> None:
    """With a row and without."""
    assert steering(table(1, row("*", "n1"))).chosen("m1", {}, 0.0, DRAWS).pick is None
    assert steering().chosen("m1", {}, 0.0, DRAWS).pick is None


def test_invariant_09_a_table_that_is_not_newer_is_refused_and_counted() -> None:
    """The same generation twice is no news either."""
    one = steering(table(2, row("*", "n1")))
    assert not one.steer_by(table(1, row("*", "n2")))
    assert not one.steer_by(table(2, row("*", "n2")))
    assert one.table is not None
    assert (one.table.generation, one.older_tables) == (2, 2)


def test_the_unit_interval_does_not_reach_one() -> None:
    """Whatever the bits are: a draw of 1 would fall outside every row."""
    assert unit(0) == 0.0
    assert unit(2**64 - 1) == 1.0 - 2.0**-53


def test_wakes_are_silent_until_one_comes() -> None:
    """And again once what it said has become old."""
    wakes = Wakes(PolicySettings())
    assert wakes.silent
    wakes.add(Wake(model="m1", reason="missing", site=None, wait_s=0.0, at_s=5.0), 5.0)
    assert not wakes.silent
    assert wakes.pending(30.0, ()) == ()
    assert wakes.silent


def test_tickets_move_while_a_table_says_so() -> None:
    """By its marginal rows, until it steers no more; without one, or by strict rows alone, they stay."""
    assert not steering().moving(0.0)
    assert not steering(table(1, row("*", "n1", "strict"))).moving(0.0)
    one = steering(table(1, row("*", "n1")))
    assert (one.moving(149.9), one.moving(150.0)) == (True, False)
    (move,) = one.moves([Waiting(0, "m1", "n1", 0.5)], LOADS, 0.5)
    assert (move.ticket, move.to) == (0, "n2")
