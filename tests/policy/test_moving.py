"""Waiting tickets go where they save more than half a second (CONTROL §2 rule 7), and no further."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.plans import Row, Rule, Share
from fairlead.policy.choice import CANDIDATES, NodeLoad, PodQueue, dispatched, price, taken
from fairlead.policy.moving import Costs, Move, Waiting, moves

WORK = {"m1": 4.0, "m2": 2.0}
COSTS = Costs(WORK, {})


def row(nodes: list[str], *, model: str = "m1", rule: Rule = "marginal", prior_weight_s: float = 0.0) -> Row:
    """Return a row over these nodes, the first four times as likely as each other one."""
    weights = [4.0] + [1.0] * (len(nodes) - 1)
    shares = tuple(Share(node=n, probability=w / sum(weights)) for n, w in zip(nodes, weights, strict=True))
    return Row(zone="*", model=model, rule=rule, prior_weight_s=prior_weight_s, explore=0.0, shares=shares)


def load(*queues: tuple[str, int], speed: float = 1.0) -> NodeLoad:
    """Return a node with these requests of mean work, in ready pods."""
    return NodeLoad(speed, 0.0, tuple(PodQueue(m, "ready", 0.0, WORK[m] * count, count) for m, count in queues))


def waiting(*at: tuple[str, str]) -> list[Waiting]:
    """Return tickets 0, 1, … that wait for (model, node)."""
    return [Waiting(k, model, node, 0.5) for k, (model, node) in enumerate(at)]


def moved(found: tuple[Move, ...]) -> list[tuple[int, str]]:
    """Return who goes where."""
    return [(move.ticket, move.to) for move in found]


def test_the_newest_go_until_both_places_cost_the_same() -> None:
    """Five on n1, none on n2: two go, the newest first; a third would save nothing."""
    loads = {"n1": load(("m1", 5)), "n2": load(("m1", 0))}
    found = moves(waiting(*[("m1", "n1")] * 4), {"m1": row(["n1", "n2"])}, loads, COSTS, 0.5)
    assert moved(found) == [(3, "n2"), (2, "n2")]
    assert [move.saves_s for move in found] == [16.0, 8.0]


def test_a_ticket_stays_where_it_saves_no_more_than_it_must() -> None:
    """One behind another, the other node as fast and idle: 4 s are saved, not more."""
    loads, rows = {"n1": load(("m1", 2)), "n2": load(("m1", 0))}, {"m1": row(["n1", "n2"])}
    assert moved(moves(waiting(("m1", "n1")), rows, loads, COSTS, 3.9)) == [(0, "n2")]
    assert moves(waiting(("m1", "n1")), rows, loads, COSTS, 4.0) == ()


def test_what_it_does_to_others_counts() -> None:
    """On n2 it would be done as soon, and delay three small requests that are ahead of it."""
    loads = {"n1": load(("m1", 3)), "n2": load(("m1", 0), ("m2", 3))}
    assert moves(waiting(("m1", "n1")), {"m1": row(["n1", "n2"])}, loads, COSTS, 0.5) == ()


def test_the_network_and_the_rows_prior_count() -> None:
    """An idle node that is 5 s away, or that a language model made four times less likely at 3 s each."""
    loads, there = {"n1": load(("m1", 2)), "n2": load(("m1", 0))}, waiting(("m1", "n1"))
    rows = {"m1": row(["n1", "n2"])}
    assert moves(there, rows, loads, Costs(WORK, {"n2": 5.0}), 0.5) == ()
    assert moves(there, {"m1": row(["n1", "n2"], prior_weight_s=3.0)}, loads, COSTS, 0.5) == ()


@pytest.mark.parametrize("rule", ["sed", "rotate", "strict", "pair"])
def test_baselines_and_strict_executors_move_nothing(rule: Rule) -> None:
    """Only rows of rule `marginal` do."""
    loads = {"n1": load(("m1", 9)), "n2": load(("m1", 0))}
    assert moves(waiting(("m1", "n1")), {"m1": row(["n1", "n2"], rule=rule)}, loads, COSTS, 0.5) == ()


def test_what_cannot_be_priced_stays() -> None:
    """No row of the model, a node that is not reached, a pod that drains, one that is not there any more."""
    loads = {
        "n1": load(("m2", 9)),
        "n2": load(("m1", 0)),
        "n3": NodeLoad(1.0, 0.0, (PodQueue("m1", "draining", 0.0, 36.0, 9),)),
    }
    there = waiting(("m2", "n1"), ("m1", "n9"), ("m1", "n3"), ("m1", "n1"))
    assert moves(there, {"m1": row(["n1", "n2", "n3"])}, loads, COSTS, 0.5) == ()


def test_of_many_pods_some_are_priced_and_always_the_own_one() -> None:
    """One pod in forty is idle: only a draw that falls on it finds it."""
    names = [f"n{k:02}" for k in range(40)]
    loads = {name: load(("m1", 0 if name == "n39" else 5)) for name in names}
    even = Row(
        zone="*",
        model="m1",
        rule="marginal",
        prior_weight_s=0.0,
        explore=0.0,
        shares=tuple(Share(node=n, probability=1 / 40) for n in names),
    )
    found = [moves([Waiting(0, "m1", "n00", k / 100)], {"m1": even}, loads, COSTS, 0.5) for k in range(100)]
    hits = [bool(one) for one in found]
    assert all(moved(one) == [(0, "n39")] for one in found if one)
    assert sum(hits) / 100 == pytest.approx(CANDIDATES / 40, abs=0.02)


queues = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.floats(0.5, 3.0)), min_size=2, max_size=5)


@given(queues, st.floats(0.0, 5.0), st.data())
def test_each_move_lowers_the_delay_of_all_by_what_it_saves(
    shape: list[tuple[int, int, float]], least_s: float, data: st.DataObject
) -> None:
    """Priced one after the other: the sum of d + e falls by more than the threshold each time; none moves twice."""
    loads = {f"n{k}": load(("m1", a), ("m2", b), speed=v) for k, (a, b, v) in enumerate(shape)}
    places = [(m, n) for n, one in loads.items() for pod in one.pods for m in [pod.model] * pod.count]
    there = waiting(*data.draw(st.permutations(places)))
    rows = {m: row(sorted(loads), model=m) for m in WORK}
    found = moves(there, rows, loads, COSTS, least_s)
    assert len({move.ticket for move in found}) == len(found)
    for move in found:
        one = there[move.ticket]
        loads[one.node] = taken(loads[one.node], one.model, WORK[one.model])
        saves_s = _cost(loads, one.node, one.model) - _cost(loads, move.to, one.model)
        assert saves_s == pytest.approx(move.saves_s)
        assert move.saves_s > least_s
        loads[move.to] = dispatched(loads[move.to], one.model, WORK[one.model])


def _cost(loads: dict[str, NodeLoad], node: str, model: str) -> float:
    pod = next(p for p in loads[node].pods if p.model == model)
    cost = price(node, loads[node], pod, WORK, 0.0)
    return cost.delay_s + cost.externality_s


def test_no_load_falls_below_nothing() -> None:
    """A word that is older than a start may count less work than its tickets."""
    one = taken(NodeLoad(1.0, 0.0, (PodQueue("m1", "ready", 0.0, 1.0, 0),)), "m1", 4.0)
    assert (one.pods[0].work_s, one.pods[0].count) == (0.0, 0)
