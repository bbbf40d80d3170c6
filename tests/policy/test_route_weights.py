"""Rows as integer weights: zero stays zero, the split stays within 1 %, and a change too small to matter is none."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.plans import Share
from fairlead.policy.route_weights import BACKENDS_MOST, KEPT_ONE_IN, WHOLE, alike, weigh


def row(parts: Sequence[float]) -> tuple[Share, ...]:
    """Return a row whose shares are as `parts`."""
    total = sum(parts)
    return tuple(Share(node=f"node-{k:02}", probability=part / total) for k, part in enumerate(parts))


parts = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1.0)), min_size=1, max_size=BACKENDS_MOST).filter(
    lambda some: sum(some) > 1e-9
)
rows = parts.map(row)


@given(rows)
def test_zero_stays_zero_and_the_split_is_within_one_percent(shares: tuple[Share, ...]) -> None:
    """With every pod ready the weights are the row."""
    found = weigh(shares, {s.node for s in shares})
    assert list(found.weights) == [s.node for s in shares]
    assert sum(found.weights.values()) == WHOLE
    assert found.left_out < 1e-9
    for share in shares:
        weight = found.weights[share.node]
        assert weight >= 0
        assert abs(weight / WHOLE - share.probability) <= 1.0 / WHOLE + 1e-9
        assert share.probability > 0.0 or weight == 0


@given(rows, st.sets(st.integers(0, BACKENDS_MOST - 1)))
def test_a_pod_that_is_not_ready_weighs_nothing_beside_one_that_is(shares: tuple[Share, ...], ready: set[int]) -> None:
    """The split among those that are ready is as in the row; where none is, the row stands."""
    names = {f"node-{k:02}" for k in ready}
    found = weigh(shares, names)
    served = [s for s in shares if s.node in names and s.probability > 0.0] or [s for s in shares if s.probability]
    total = sum(s.probability for s in served)
    expected = {s.node: s.probability / total for s in served}
    assert sum(found.weights.values()) == WHOLE
    for node, weight in found.weights.items():
        assert abs(weight / WHOLE - expected.get(node, 0.0)) <= 0.01
        assert node in expected or weight == 0


@given(st.lists(st.floats(0.01, 1.0), min_size=BACKENDS_MOST + 1, max_size=60).map(row))
def test_of_more_nodes_than_a_rule_can_have_the_likeliest_are_kept(shares: tuple[Share, ...]) -> None:
    """What is left out is said."""
    found = weigh(shares, {s.node for s in shares})
    kept = set(found.weights)
    assert len(kept) == BACKENDS_MOST
    gone = [s.probability for s in shares if s.node not in kept]
    assert max(gone) <= min(s.probability for s in shares if s.node in kept)
    assert abs(found.left_out - sum(gone)) < 1e-9


@given(rows, rows)
def test_weights_that_are_kept_are_within_one_percent_of_the_row(
    old: tuple[Share, ...], new: tuple[Share, ...]
) -> None:
    """Rounding and the dead band together stay below what is promised, and no zero is lost."""
    nodes = {s.node for s in (*old, *new)}
    had, wanted = weigh(old, nodes).weights, weigh(new, nodes).weights
    assert alike(had, had)
    if alike(had, wanted):
        for share in new:
            assert abs(had[share.node] / WHOLE - share.probability) < 0.01
            assert wanted[share.node] > 0 or had[share.node] == 0


def test_a_split_does_not_stand_over_a_zero_another_node_or_a_larger_step() -> None:
    """Each of these is a change that a gateway must be told."""
    had = {"a": 5000, "b": 5000}
    step = WHOLE // KEPT_ONE_IN
    assert alike(had, {"a": 5000 + step, "b": 5000 - step})
    assert not alike(had, {"a": 5001 + step, "b": 4999 - step})
    assert not alike(had, {"a": 5000, "c": 5000})
    assert not alike({"a": 9999, "b": 1}, {"a": 10_000, "b": 0})
    assert not alike({"a": 0}, {"a": WHOLE})
    assert alike({"a": 0.25, "b": 0.75}, {"a": 2500, "b": 7500})
