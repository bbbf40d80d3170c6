"""What is wrong with a placement or a table, said as reasons."""

from fairlead.contracts.decisions import Snapshot
from fairlead.contracts.plans import Row, Share
from fairlead.policy.feasibility import check_placement, check_rows
from tests.policy.situations import NOW_S, awake, cluster, model, node, pod, view

SHAPE = cluster([node("n1", 4.0), node("n2", 2.0)], [model("m1"), model("m2"), model("m3", start_s=90.0)])


def row(name: str, *nodes: str) -> Row:
    """Return a uniform row."""
    shares = tuple(Share(node=n, probability=1.0 / len(nodes)) for n in nodes)
    return Row(zone="*", model=name, rule="strict", prior_weight_s=0.0, explore=0.0, shares=shares)


def test_a_placement_that_fits_has_no_faults() -> None:
    """What may stop does not count against the memory."""
    assert check_placement([awake("n1", "m1", "m2"), awake("n2", "m1", stoppable=("m2",))], SHAPE) == ()


def test_unknown_ids_and_overfull_nodes_are_named() -> None:
    """Each fault once, in order."""
    faults = check_placement([awake("gone", "m1"), awake("n1", "m1", stoppable=("x",)), awake("n2", "m1", "m2")], SHAPE)
    assert [(f.rule, f.node, f.model) for f in faults] == [
        ("unknown-node", "gone", None),
        ("unknown-model", "n1", "x"),
        ("memory", "n2", None),
    ]


def test_a_row_may_name_pods_that_are_ready_starting_soon_or_started_by_its_placement() -> None:
    """Not those that are stopping, not those on nodes that are down, not those that come after the deadline."""
    snapshot = Snapshot(
        taken_at_s=NOW_S,
        nodes=(
            view("n1", pod("m1"), pod("m2", "starting", ready_in_s=61.0)),
            view("n2", pod("m1", "stopping"), pod("m2", "starting", ready_in_s=60.0)),
            view("n3", up=False),
        ),
        models=(),
        stale=(),
    )
    begun = {"n2": frozenset({"m1", "m3"})}
    rows = [row("m1", "n1", "n2", "n3"), row("m2", "n1", "n2"), row("m3", "n2"), row("x", "n1")]
    faults = check_rows(rows, SHAPE, snapshot, begun)
    assert [(f.rule, f.node, f.model) for f in faults] == [
        ("no-pod", "n3", "m1"),
        ("too-late", "n1", "m2"),
        ("too-late", "n2", "m3"),
        ("unknown-model", None, "x"),
    ]
