"""Groups of nodes and models: as many as there may be, alike inside, the same each time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fairlead.contracts.cluster import NodeSpec
from fairlead.policy.aliases import Aliases, by_id
from fairlead.policy.grouping import Limits, grouped, heaviest, split, views_of
from tests.policy.prompt_scenes import scene
from tests.policy.situations import GB, cluster, model, node, pod, slot_input, view

TABLES = st.tuples(st.integers(1, 40), st.integers(1, 5)).flatmap(
    lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(-20, 20))
)


@given(TABLES, st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_a_split_keeps_everybody_and_never_makes_more_groups_than_allowed(table: np.ndarray, most: int) -> None:
    """Each row is in one group; fewer groups than allowed only where all rows of a group are alike."""
    groups = split(table, [np.arange(len(table))], most)
    assert sorted(int(k) for g in groups for k in g) == list(range(len(table)))
    assert len(groups) <= most
    assert all(len(g) for g in groups)
    if len(groups) < most:
        assert all((table[g] == table[g[0]]).all() for g in groups)


@given(TABLES, st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_more_groups_are_never_less_alike(table: np.ndarray, most: int) -> None:
    """Each split lowers the sum of squares within groups."""

    def within(groups: list[np.ndarray]) -> float:
        return float(sum(((table[g] - table[g].mean(axis=0)) ** 2).sum() for g in groups))

    whole = [np.arange(len(table))]
    assert within(split(table, whole, most + 1)) <= within(split(table, whole, most)) + 1e-6


def aliases(limits: Limits, *, zones: int = 1) -> Aliases:
    """Return the aliases of a cluster of 40 nodes and 30 models."""
    given_slot = scene(40, 30, zones=zones)
    rates = {m.id: 0.01 * k for k, m in enumerate(given_slot.cluster.models)}
    return grouped(given_slot.cluster, given_slot.snapshot, rates, limits, heaviest(given_slot.cluster, rates))


def test_the_heaviest_models_keep_an_alias_for_themselves() -> None:
    """The rest shares what is left."""
    given_slot = scene(40, 30)
    rates = {m.id: 0.01 * k for k, m in enumerate(given_slot.cluster.models)}
    first = heaviest(given_slot.cluster, rates)
    work = {m.id: rates[m.id] * m.work_s for m in given_slot.cluster.models}
    assert [work[m] for m in first] == sorted(work.values(), reverse=True)
    found = aliases(Limits(6, 8, 5))
    assert len(found.models) == 8
    alone = {ids[0] for _, ids in found.models if len(ids) == 1}
    assert alone >= set(first[:5])
    assert sum(len(ids) for _, ids in found.models) == 30


@pytest.mark.parametrize(("zones", "apart"), [(1, True), (3, True), (4, False)])
def test_nodes_of_one_group_are_in_one_zone_where_zones_are_few(zones: int, apart: bool) -> None:
    """At most half as many zones as groups; where there are more, network delays are no reason (CONTROL §3)."""
    found = aliases(Limits(6, 8, 5), zones=zones)
    assert len(found.nodes) == 6
    mixed = [ids for _, ids in found.nodes if len({int(n[-4:]) % zones for n in ids}) > 1]
    assert (not mixed) == apart


def test_nodes_that_are_down_are_no_group_with_nodes_that_are_up() -> None:
    """Nor are small ones with large ones, or those with one model with those with another, while groups last."""
    shape = cluster([node(f"n{k}", 6.0 if k < 4 else 12.0) for k in range(8)], [model("x"), model("y")])
    views = [view(f"n{k}", pod("x" if k % 2 else "y"), up=k != 3) for k in range(7)]
    given_slot = slot_input(shape, views)
    assert views_of(shape, given_slot.snapshot)["n7"].up is False
    found = grouped(shape, given_slot.snapshot, {}, Limits(6, 2, 2), ())
    groups = {frozenset(ids) for _, ids in found.nodes}
    assert groups == {
        frozenset({"n0", "n2"}),
        frozenset({"n1"}),
        frozenset({"n3"}),
        frozenset({"n4", "n6"}),
        frozenset({"n5"}),
        frozenset({"n7"}),
    }
    assert by_id(found.nodes)["n0"] == "n01"


def test_alike_nodes_are_one_group_however_many_there_may_be() -> None:
    """Nothing is split that does not differ; pods that go away make no difference."""
    nodes = [NodeSpec(id=f"n{k}", memory_bytes=8 * GB, speed=1.0, keeper_url="http://127.0.0.1:9") for k in range(9)]
    shape = cluster(nodes, [model("x")])
    given_slot = slot_input(shape, [view(n.id, *([pod("x", "draining")] if n.id == "n4" else [])) for n in nodes])
    found = grouped(shape, given_slot.snapshot, {}, Limits(4, 1, 1), ("x",))
    assert found.nodes == (("n01", tuple(n.id for n in nodes)),)
    assert found.grouped
