"""Static placements and their ways of routing, `lru`, the first placement of all, and learned rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotState
from fairlead.contracts.plans import Intent
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.baselines import random_placement
from fairlead.policy.feasibility import check_placement
from fairlead.policy.rates import by_model, learned
from fairlead.policy.registry import decide_slot
from fairlead.policy.slot import REASONS_MOST
from fairlead.policy.streams import mixed, seeded, shuffled
from tests.policy.situations import (
    asked,
    awake,
    cluster,
    clusters,
    model,
    node,
    override,
    placed,
    placement,
    plan,
    pod,
    rules,
    slot_input,
    view,
)


@given(clusters(), st.integers(0, 5))
def test_a_random_placement_is_maximal_feasible_and_fixed_by_its_seed(shape: Cluster, seed: int) -> None:
    """No further model fits anywhere."""
    nodes = random_placement(shape, seed)
    assert nodes == random_placement(shape, seed)
    assert check_placement(nodes, shape) == ()
    for spec, found in zip(shape.nodes, nodes, strict=True):
        free = spec.memory_bytes - sum(m.memory_bytes for m in shape.models if m.id in found.awake)
        assert all(m.memory_bytes > free for m in shape.models if m.id not in found.awake)


def test_it_is_redrawn_until_every_model_is_somewhere() -> None:
    """Where that can be; on two nodes for one model each about every second draw has both."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2")])
    for seed in range(20):
        assert {m for n in random_placement(shape, seed) for m in n.awake} == {"m1", "m2"}


def test_it_is_not_redrawn_for_ever() -> None:
    """One node that holds either: the draw that covers most stays. With less memory than models, the first."""
    either = cluster([node("n1", 4.0), node("n2", 1.0)], [model("m1", 3.0), model("m2", 2.0)])
    assert len(random_placement(either, 1)[0].awake) == 1
    crowded = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    assert len(random_placement(crowded, 1)[0].awake) == 1


def test_the_stream_is_the_published_one() -> None:
    """First outputs of SplitMix64 for the states 0 and 1234567 (Vigna's reference code)."""
    assert mixed(0) == 0xE220A8397B1DCDAF
    assert mixed(1234567) == 6457827717110365317
    assert seeded(1, 2) != seeded(2, 1)
    assert sorted(shuffled(50, 3).tolist()) == list(range(50))


@pytest.mark.parametrize("policy", ["marginal-dpp", "lru"])
def test_adaptive_policies_begin_with_a_random_placement_when_nothing_runs(policy: PolicyName) -> None:
    """Fixed by the seed; bans, drains and standby hold for it too."""
    shape = cluster([node("n1", 4.0), node("n2", 4.0)], [model("m1"), model("m2")])
    idle = [view("n1"), view("n2")]
    first = decide_slot(slot_input(shape, idle, policy=policy))
    assert [r.rule for r in first.reasons] == ["first"]
    assert placed(first) == {n.node: n for n in random_placement(shape, 7)}
    wishes = plan((Intent(node="n2", role="standby", prefer=(), avoid=(), bias=0),))
    bans = (override("n1", "m1", "ban"),)
    limited = decide_slot(slot_input(shape, idle, policy=policy, plan=wishes, overrides=bans))
    assert placed(limited) == {"n1": awake("n1", "m2"), "n2": awake("n2")}
    running = decide_slot(slot_input(shape, [view("n1", pod("m1")), view("n2")], policy=policy))
    assert rules(running, "first") == []


@pytest.mark.parametrize(
    ("policy", "rule"),
    [("random-static", "strict"), ("round-robin", "rotate"), ("least-loaded-slot", "strict"), ("sed-static", "sed")],
)
def test_static_policies_keep_the_placement_that_they_are_given(policy: PolicyName, rule: str) -> None:
    """A lost pod is wanted again, a foreign one may go; a banned one goes for good."""
    shape = cluster([node("n1"), node("n2"), node("n3")], [model("m1"), model("m2")])
    static = (awake("n1", "m1"), awake("n2", "m1", "m2"), awake("n3", "m2"))
    views = [view("n1", pod("m1", count=3), pod("m2")), view("n2", pod("m1", count=1), pod("m2")), view("n3", up=False)]
    inputs = slot_input(shape, views, [asked("m1", ago_s=1.0)], policy=policy, static=static)
    decision = decide_slot(inputs)
    assert placed(decision) == {"n1": awake("n1", "m1", stoppable=("m2",)), "n2": static[1], "n3": static[2]}
    assert decision.table is not None
    assert {r.rule for r in decision.table.rows} == {rule}
    shares = {s.node: s.probability for s in decision.table.rows[0].shares}
    assert shares == ({"n1": 0.0, "n2": 1.0} if policy == "least-loaded-slot" else {"n1": 0.5, "n2": 0.5})
    banned = decide_slot(inputs.model_copy(update={"overrides": (override("n1", "m1", "ban"),)}))
    assert placed(banned)["n1"] == awake("n1", stoppable=("m1", "m2"))


def test_a_static_policy_leaves_a_foreign_last_pod_of_a_model_with_demand() -> None:
    """Until one of its own is ready."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    static = (awake("n1"), awake("n2", "m1"))
    for phase, stoppable in (("starting", ()), ("ready", ("m1",))):
        own = pod("m1", "starting", ready_in_s=5.0) if phase == "starting" else pod("m1")
        views = [view("n1", pod("m1", count=1)), view("n2", own)]
        inputs = slot_input(shape, views, policy="sed-static", static=static, rates={"m1": 0.1})
        assert placed(decide_slot(inputs))["n1"] == awake("n1", stoppable=stoppable)


def test_lru_starts_an_absent_model_in_place_of_the_least_recently_used_idle_pods() -> None:
    """On the node with least work; none younger than 1.5 starts, no busy one before eight starts."""
    shape = cluster([node("n1", 4.0), node("n2", 2.0)], [model("m1"), model("m2"), model("m3"), model("m4")])
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    views = [view("n1", pod("m2", used_ago_s=50.0), pod("m3", used_ago_s=90.0)), view("n2", pod("m4", count=1))]
    decision = decide_slot(slot_input(shape, views, held, policy="lru"))
    assert placed(decision)["n1"] == awake("n1", "m1", "m2", stoppable=("m3",))
    young = [view("n1", pod("m2", age_s=29.0), pod("m3", age_s=29.0)), view("n2", pod("m4", count=1))]
    none = decide_slot(slot_input(shape, young, held, policy="lru"))
    assert [r.rule for r in none.reasons] == ["lru-absent-no-room"]
    patient = [asked("m1", held=1, oldest_s=161.0, ago_s=161.0)]
    assert placed(decide_slot(slot_input(shape, young, patient, policy="lru")))["n2"].stoppable == ("m4",)


def test_lru_starts_a_second_pod_for_a_long_wait_where_there_is_less_than_half_the_work() -> None:
    """Not while one starts, not for a short wait, and nothing for a model that is asked for but not held."""
    shape = cluster([node("n1"), node("n2"), node("n3")], [model("m1"), model("m2")])
    asking = [asked("m1", ago_s=1.0), asked("m2", ago_s=1.0)]
    busy = view("n1", pod("m1", count=5))
    for others, started in (
        ((view("n2", pod("m2", count=3)), view("n3", pod("m2", count=2))), ["n3"]),
        ((view("n2", pod("m1", count=4)), view("n3")), ["n3"]),
        ((view("n2", pod("m1", count=6)), view("n3")), ["n3"]),
        ((view("n2", pod("m1", "starting", ready_in_s=9.0)), view("n3")), []),
        ((view("n2", pod("m1", count=1)), view("n3")), []),
    ):
        decision = decide_slot(slot_input(shape, [busy, *others], asking, policy="lru"))
        assert [r.node for r in rules(decision, "lru-wait")] == started
    assert rules(decision, "lru-absent") == []


def test_a_slots_arrivals_enter_the_rates_once() -> None:
    """Half-life 4 slots; missed slots count as such; an event and a slot that was counted change nothing."""
    shape = cluster([node("n1")], [model("m1"), model("m2")])
    demand = [asked("m1", arrived=30), asked("gone", arrived=3)]
    one = learned(slot_input(shape, [], demand, trigger="slot", rates={"m1": 0.2}, slot=8))
    assert by_model(slot_input(shape, []), one) == {"m1": pytest.approx(0.2 + (1 - 2**-0.25) * 0.8), "m2": 0.001}
    assert (one.slot, one.rotation) == (8, 1)
    late = learned(slot_input(shape, [], demand, trigger="slot", rates={"m1": 0.2}, slot=11))
    assert by_model(slot_input(shape, []), late)["m1"] == pytest.approx(0.2 + 0.5 * (0.25 - 0.2))
    for trigger, slot in (("event", 9), ("slot", 7)):
        again = slot_input(shape, [], demand, trigger=trigger, rates={"m1": 0.2}, slot=slot)
        assert learned(again) == again.state
    new = slot_input(shape, [], demand, trigger="slot", slot=1000)
    first = learned(new.model_copy(update={"state": SlotState(slot=0, rates=(), rotation=0)}))
    assert by_model(new, first)["m1"] == pytest.approx(0.001 + (1 - 2**-0.25) * 0.999)


def test_a_long_list_of_reasons_is_cut_and_says_so() -> None:
    """A journal line of a large cluster stays readable."""
    names = [f"n{k:04d}" for k in range(REASONS_MOST + 5)]
    shape = cluster([node(n) for n in names], [model("m1"), model("m2")])
    views = [view(n, pod("m1"), pod("m2")) for n in names]
    static = tuple(awake(n, "m1") for n in names)
    decision = decide_slot(slot_input(shape, views, policy="sed-static", static=static, placement=placement()))
    assert len(decision.reasons) == REASONS_MOST + 1
    assert decision.reasons[-1].text == "5 further reasons are left out"
