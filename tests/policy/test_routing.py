"""Rule 5 of CONTROL §2: the table that strict executors follow."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fairlead.contracts.decisions import SlotInput
from fairlead.policy.arrays import Board, Flags, Floats, board
from fairlead.policy.rates import by_model
from fairlead.policy.registry import decide_slot
from fairlead.policy.routing import filled, poured
from tests.policy.situations import asked, awake, cluster, inputs, model, node, placement, pod, slot_input, view

SLOT_S = 30.0

CASES = st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.2, 30.0)), min_size=1, max_size=6)


def squares(of: Board, sent: Floats) -> float:
    """Return Σ_n (backlog seconds)²."""
    load = (of.pods.left_s.sum(axis=1) + sent @ of.work_s) / of.speed
    return float((load**2).sum())


@given(CASES, st.floats(0.01, 40.0))
def test_pouring_spends_all_and_levels_the_marginal_cost(pairs: list[tuple[float, float]], total: float) -> None:
    """Where something is poured the derivative is the same; elsewhere it is no less (the conditions of a minimum)."""
    load, each_s = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = poured(load, each_s, total)
    assert (found >= 0.0).all()
    assert found.sum() == pytest.approx(total)
    slope = (load + each_s * found) * each_s
    used = found > 1e-9 * total
    assert slope[used] == pytest.approx(slope[used][0], rel=1e-6)
    assert (slope[~used] >= slope[used][0] * (1.0 - 1e-6)).all()


@given(inputs(), st.integers(0, 1 << 32))
def test_no_other_table_has_a_clearly_smaller_sum_of_squares(i: SlotInput, seed: int) -> None:
    """Against random distributions over the same pods."""
    of = board(i, by_model(i, i.state))
    support: Flags = of.pods.ready
    sent = filled(of, support, SLOT_S)
    draws = np.random.default_rng(seed)
    for _ in range(5):
        other = draws.dirichlet(np.ones(len(of.nodes)), size=len(of.models)).T * support
        totals = other.sum(axis=0)
        other = np.where(totals > 0.0, other / np.where(totals > 0.0, totals, 1.0), 0.0) * sent.sum(axis=0)
        assert squares(of, sent) <= squares(of, other) * 1.01 + 1e-9


def test_a_row_leans_to_the_node_with_less_to_do_and_keeps_two_percent_uniform() -> None:
    """All requests of a slot fit beside the backlog of n1: only the uniform part goes there."""
    shape = cluster([node("n1"), node("n2"), node("n3")], [model("m1"), model("m2")])
    views = [
        view("n1", pod("m1"), pod("m2", count=1, work_s=500.0)),
        view("n2", pod("m1")),
        view("n3", pod("m1", "stopping")),
    ]
    before = placement(awake("n1", "m1", "m2"), awake("n2", "m1"), awake("n3"))
    inputs = slot_input(
        shape, views, [asked("m1", arrived=3)], trigger="slot", rates={"m1": 0.1, "m2": 0.0}, placement=before
    )
    table = decide_slot(inputs).table
    assert table is not None
    rows = {r.model: {s.node: s.probability for s in r.shares} for r in table.rows}
    assert rows == {"m1": pytest.approx({"n1": 0.01, "n2": 0.99}), "m2": {"n1": 1.0}}
    assert [(w.model, w.work_s) for w in table.work] == [("m1", 4.0), ("m2", 4.0)]
    assert [(s.node, s.speed) for s in table.speeds] == [("n1", 1.0), ("n2", 1.0), ("n3", 1.0)]
    assert {(r.zone, r.rule, r.prior_weight_s, r.explore) for r in table.rows} == {("*", "marginal", 0.0, 0.0)}
    assert (table.source, table.placement_generation, table.generation) == ("fallback", 2, 5)


def test_a_starting_pod_is_in_the_row_if_it_is_ready_within_the_deadline() -> None:
    """60 s by default."""
    shape = cluster([node("n1"), node("n2"), node("n3")], [model("m1")])
    views = [
        view("n1", pod("m1")),
        view("n2", pod("m1", "starting", ready_in_s=60.0)),
        view("n3", pod("m1", "starting", ready_in_s=61.0)),
    ]
    table = decide_slot(slot_input(shape, views, trigger="slot")).table
    assert table is not None
    assert [s.node for s in table.rows[0].shares] == ["n1", "n2"]
