"""Rule 1 of CONTROL §2: who needs a pod now, on which node it costs least, and whom it displaces."""

from fairlead.contracts.plans import NodePlacement
from fairlead.policy.registry import decide_slot
from tests.policy.situations import (
    GB,
    asked,
    awake,
    cluster,
    model,
    node,
    override,
    placed,
    placement,
    pod,
    rules,
    slot_input,
    view,
)

BUSY = {"count": 1, "used_ago_s": 1.0}


def test_a_held_model_without_pods_starts_where_that_costs_least() -> None:
    """Nobody is displaced on either node; the faster one serves its first request sooner."""
    shape = cluster([node("n1"), node("n2", speed=1.4)], [model("m1"), model("m2")])
    views = [view("n1", pod("m2")), view("n2", speed=1.4)]
    decision = decide_slot(slot_input(shape, views, [asked("m1", held=2, oldest_s=0.2, ago_s=0.2)]))
    assert placed(decision)["n2"] == awake("n2", "m1")
    assert placed(decision)["n1"] == awake("n1", "m2")
    assert [(r.rule, r.node, r.model) for r in decision.reasons] == [("rule1-missing", "n2", "m1")]
    assert decision.reasons[0].value_s == 20.0 + 4.0 / 1.4


def test_a_table_comes_with_the_placement_and_names_the_pod_that_it_starts() -> None:
    """A ticket may wait in the queue of a pod that is ready within the deadline."""
    shape = cluster([node("n1"), node("n2")], [model("m1"), model("m2", start_s=90.0)])
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2), asked("m2", held=1, oldest_s=0.1, ago_s=0.1)]
    decision = decide_slot(slot_input(shape, [view("n1"), view("n2")], held))
    assert decision.table is not None
    assert [r.model for r in decision.table.rows] == ["m1"]
    assert {m for n in placed(decision).values() for m in n.awake} == {"m1", "m2"}


def test_the_least_regretted_idle_pod_makes_room() -> None:
    """Idle m2 is asked for often, idle m3 is not: m3 goes, though it stands on the slower node."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2"), model("m3")])
    views = [view("n1", pod("m2")), view("n2", pod("m3"), speed=0.8)]
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    decision = decide_slot(slot_input(shape, views, held, rates={"m1": 0.01, "m2": 0.2, "m3": 0.001}))
    assert placed(decision) == {"n1": awake("n1", "m2"), "n2": awake("n2", "m1", stoppable=("m3",))}
    assert [(r.rule, r.model) for r in decision.reasons] == [("victim", "m3"), ("rule1-missing", "m1")]


def test_busy_young_starting_and_pinned_pods_are_not_displaced() -> None:
    """Nobody can make room now; the decision says so, and an event changes nothing."""
    shape = cluster([node(f"n{k}", 2.0) for k in range(1, 5)], [model("m1"), model("m2")])
    views = [
        view("n1", pod("m2", count=1)),
        view("n2", pod("m2", age_s=19.0)),
        view("n3", pod("m2", "starting", ready_in_s=5.0)),
        view("n4", pod("m2")),
    ]
    held = [asked("m1", held=1, oldest_s=3.0, ago_s=3.0)]
    before = placement(*[awake(f"n{k}", "m2") for k in range(1, 5)])
    pins = (override("n4", "m2", "pin"),)
    decision = decide_slot(slot_input(shape, views, held, placement=before, overrides=pins))
    assert (decision.placement, decision.table) == (None, None)
    assert [r.rule for r in decision.reasons] == ["rule1-no-room"]


def test_what_was_held_for_eight_starts_may_take_a_busy_pod_where_nobody_waits() -> None:
    """Not the one with a queue, as it is alone; the busy one costs 5 s a GB more."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2"), model("m3")])
    views = [view("n1", pod("m2", count=2)), view("n2", pod("m3", count=1))]
    before = placement(awake("n1", "m2"), awake("n2", "m3"))
    for oldest_s, expected in ((159.0, None), (161.0, awake("n2", "m1", stoppable=("m3",)))):
        held = [asked("m1", held=1, oldest_s=oldest_s, ago_s=oldest_s)]
        decision = decide_slot(slot_input(shape, views, held, placement=before))
        assert (placed(decision)["n2"] if expected else decision.placement) == expected


def test_of_the_displaced_only_as_many_go_as_are_needed() -> None:
    """The small one is cheapest per GB but does not make room enough; with the large one gone it may stay."""
    shape = cluster([node("n1", 6.0)], [model("m1", 4.0), model("m2", 1.0), model("m3", 5.0)])
    views = [view("n1", pod("m2"), pod("m3"))]
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    decision = decide_slot(slot_input(shape, views, held, rates={"m1": 0.01, "m2": 0.0, "m3": 0.01}))
    assert placed(decision)["n1"] == awake("n1", "m1", "m2", stoppable=("m3",))
    both = cluster([node("n1", 6.0)], [model("m1", 6.0), model("m2", 1.0), model("m3", 5.0)])
    assert placed(decide_slot(slot_input(both, views, held)))["n1"] == awake("n1", "m1", stoppable=("m2", "m3"))


def test_longest_held_goes_first() -> None:
    """There is room for one only."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    held = [asked("m1", held=5, oldest_s=2.0, ago_s=0.1), asked("m2", held=1, oldest_s=9.0, ago_s=9.0)]
    decision = decide_slot(slot_input(shape, [view("n1")], held, placement=placement()))
    assert placed(decision)["n1"].awake == ("m2",)
    assert [r.model for r in rules(decision, "rule1-no-room")] == ["m1"]


def test_a_long_wait_gets_a_second_pod_where_it_is_shorter_than_what_that_costs() -> None:
    """Four requests ahead are 16 s of wait, below the 20 s + 4 s of a start; ten are more.

    An event of another model does not count, nor does one while a start is under way.
    """
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    before = placement(awake("n1", "m1"), awake("n2"))
    for count, ago_s, expected in ((4, 1.0, None), (10, 1.0, "n2")):
        views = [view("n1", pod("m1", count=count)), view("n2")]
        decision = decide_slot(slot_input(shape, views, [asked("m1", ago_s=ago_s)], placement=before))
        assert [r.node for r in rules(decision, "rule1-wait")] == ([expected] if expected else [])
    running = [view("n1", pod("m1", count=1, work_s=40.0)), view("n2")]
    quiet = decide_slot(slot_input(shape, running, [asked("m1", ago_s=50.0)], placement=before))
    assert quiet.reasons == ()
    starting = [view("n1", pod("m1", count=10)), view("n2", pod("m1", "starting", ready_in_s=9.0))]
    assert decide_slot(slot_input(shape, starting, [asked("m1", ago_s=1.0)], placement=before)).reasons == ()


def test_a_long_wait_without_room_elsewhere_is_left_alone() -> None:
    """No reason is written: nothing is missing."""
    shape = cluster([node("n1")], [model("m1")])
    views = [view("n1", pod("m1", count=10))]
    before = placement(awake("n1", "m1"))
    assert decide_slot(slot_input(shape, views, [asked("m1", ago_s=1.0)], placement=before)).reasons == ()


def test_a_model_whose_node_is_lost_is_placed_elsewhere_at_once() -> None:
    """Before anybody is held, if it is asked for; the lost node's list is empty, so that it comes back empty."""
    shape = cluster([node("n1"), node("n2")], [model("m1"), model("m2")])
    before = placement(awake("n1", "m1", "m2"), awake("n2"))
    views = [view("n1", up=False), view("n2")]
    decision = decide_slot(slot_input(shape, views, placement=before, rates={"m1": 0.05, "m2": 0.0}))
    assert placed(decision) == {"n1": awake("n1"), "n2": awake("n2", "m1")}
    assert [r.rule for r in decision.reasons] == ["rule1-lost"]


def test_a_node_that_was_never_heard_keeps_what_it_was_told() -> None:
    """It may be about to begin; but nobody counts on it."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    before = placement(awake("n1", "m1"), awake("n2"))
    views = [view("n1", up=False, seen=False), view("n2")]
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    decision = decide_slot(slot_input(shape, views, held, placement=before))
    assert placed(decision) == {"n1": awake("n1", "m1"), "n2": awake("n2", "m1")}


def test_a_start_that_has_not_begun_is_not_ordered_twice() -> None:
    """Its victim is still leaving: both stay as they were decided."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2")])
    before = placement(awake("n1", "m1", stoppable=("m2",)), awake("n2"))
    views = [view("n1", pod("m2", "draining", count=1)), view("n2")]
    held = [asked("m1", held=1, oldest_s=2.0, ago_s=2.0)]
    decision = decide_slot(slot_input(shape, views, held, placement=before, rates={"m2": 0.1}))
    assert decision.placement is None
    assert [r.rule for r in decision.reasons] == ["pending"]


def test_a_victim_that_is_not_needed_any_more_is_kept() -> None:
    """Other room came free: the start needs nobody to go."""
    shape = cluster([node("n1", 4.0)], [model("m1"), model("m2")])
    before = placement(awake("n1", "m1", stoppable=("m2",)))
    views = [view("n1", pod("m2", "draining", count=1))]
    decision = decide_slot(slot_input(shape, views, placement=before))
    assert placed(decision)["n1"] == awake("n1", "m1", "m2")


def test_an_ordered_start_that_nobody_waits_for_lets_its_victim_stay() -> None:
    """The demand that it was decided for has gone."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    before = placement(awake("n1", "m1", stoppable=("m2",)))
    views = [view("n1", pod("m2", count=1))]
    decision = decide_slot(slot_input(shape, views, placement=before, rates={"m1": 0.0, "m2": 0.1}))
    assert placed(decision)["n1"] == awake("n1", "m2")
    assert [r.rule for r in decision.reasons] == ["dropped"]


def test_a_victim_that_became_the_last_ready_pod_stays_for_a_model_that_has_one() -> None:
    """Its other pod was lost meanwhile: what was a swap for gain is called off."""
    shape = cluster([node("n1", 2.0), node("n2", 4.0)], [model("m1"), model("m2")])
    before = placement(awake("n1", "m1", stoppable=("m2",)), awake("n2", "m1", "m2"))
    views = [view("n1", pod("m2", count=1)), view("n2", pod("m1"))]
    decision = decide_slot(slot_input(shape, views, placement=before, rates={"m1": 0.1, "m2": 0.1}))
    assert placed(decision)["n1"] == awake("n1", "m2")


def test_a_pod_that_is_stopping_is_in_neither_list_and_frees_its_room() -> None:
    """Its successor may be ordered already; the agent waits for the room."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m2", "stopping", age_s=0.5))]
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    assert placed(decide_slot(slot_input(shape, views, held)))["n1"] == awake("n1", "m1")


def test_a_crashed_pod_stays_awake_where_room_is_left() -> None:
    """So that its agent starts it again after the back-off; nobody counts on it, and what is held starts elsewhere."""
    shape = cluster([node("n1"), node("n2", speed=0.6)], [model("m1")])
    before = placement(awake("n1", "m1"), awake("n2"))
    views = [view("n1", pod("m1", "off", blocked=True)), view("n2", speed=0.6)]
    quiet = decide_slot(slot_input(shape, views, placement=before, rates={"m1": 0.0}))
    assert (quiet.placement, quiet.reasons) == (None, ())
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    moved = decide_slot(slot_input(shape, views, held, placement=before, rates={"m1": 0.0}))
    assert placed(moved) == {"n1": awake("n1"), "n2": awake("n2", "m1")}


def test_a_crashed_pod_gives_way_to_what_was_started_in_its_room() -> None:
    """Of two crashed ones the first keeps its room."""
    shape = cluster([node("n1", 4.0)], [model("m1"), model("m2"), model("m3", 4.0)])
    before = placement(awake("n1", "m1", "m2"))
    crashed = view("n1", pod("m1", "off", blocked=True), pod("m2", "off", blocked=True))
    assert decide_slot(slot_input(shape, [crashed], placement=before, rates={"m1": 0.0, "m2": 0.0})).placement is None
    held = [asked("m3", held=1, oldest_s=0.2, ago_s=0.2)]
    decision = decide_slot(slot_input(shape, [crashed], held, placement=before))
    assert placed(decision)["n1"] == awake("n1", "m3")


def test_without_nodes_or_models_there_is_nothing_to_decide() -> None:
    """An empty cluster has an empty placement and table."""
    for shape in (cluster([], [model("m1")]), cluster([node("n1")], []), cluster([], [])):
        decision = decide_slot(
            slot_input(shape, [view(n.id) for n in shape.nodes], trigger="slot", placement=placement())
        )
        assert decision.placement is not None
        assert decision.table is not None
        assert decision.placement.nodes == tuple(NodePlacement(node=n.id, awake=(), stoppable=()) for n in shape.nodes)
        assert decision.table.rows == ()
        assert [p.worth_s for p in decision.prices] == [0.0 for _ in shape.models]


def test_unknown_nodes_and_models_in_what_is_remembered_are_left_out() -> None:
    """They were taken out of the cluster since."""
    shape = cluster([node("n1")], [model("m1")])
    before = placement(awake("gone", "m1"), awake("n1", "left", "m1", stoppable=("other",)))
    views = [view("gone", pod("m1")), view("n1", pod("left"), pod("m1"))]
    decision = decide_slot(slot_input(shape, views, [asked("left", held=3, oldest_s=2.0)], placement=before))
    assert placed(decision) == {"n1": awake("n1", "m1")}
    assert shape.nodes[0].memory_bytes == 6 * GB


def test_a_start_in_the_room_of_a_banned_pod_stays_ordered() -> None:
    """The banned one is the last ready pod of a model with demand: it goes all the same, by the operator's word."""
    shape = cluster([node("n1", 6.0), node("n2", 2.0)], [model("m1"), model("m2"), model("m3", 3.0)])
    views = [view("n1", pod("m1"), pod("m3")), view("n2", pod("m2"))]
    before = placement(awake("n1", "m2", "m3", stoppable=("m1",)), awake("n2", "m2"))
    rates, bans = {"m1": 0.02, "m2": 0.02}, (override("n1", "m1", "ban"),)
    decision = decide_slot(slot_input(shape, views, rates=rates, placement=before, overrides=bans))
    assert decision.placement is None or placed(decision)["n1"] == awake("n1", "m2", "m3", stoppable=("m1",))


def test_a_last_ready_pod_does_not_go_for_a_start_that_nobody_waits_for() -> None:
    """m3 is ordered in its room with m2; m2 is ready elsewhere, m3 nobody asks for: both orders fall."""
    shape = cluster([node("n1", 6.0), node("n2", 3.0)], [model("m1", 5.0), model("m2", 2.2), model("m3", 1.0)])
    views = [view("n1", pod("m1")), view("n2", pod("m2"))]
    before = placement(awake("n1", "m2", "m3", stoppable=("m1",)), awake("n2", "m2"))
    decision = decide_slot(slot_input(shape, views, rates={"m1": 0.02, "m2": 0.02, "m3": 0.0}, placement=before))
    assert placed(decision)["n1"] == awake("n1", "m1")
