"""The drift-plus-penalty baselines and the random placement that is redrawn (CONTROL §5)."""

import numpy as np
import pytest
from hypothesis import given, settings

from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.plans import Reason
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.arrays import board
from fairlead.policy.baselines import random_placement, redrawn
from fairlead.policy.density import fair_weights
from fairlead.policy.rates import by_model
from fairlead.policy.registry import decide_slot
from tests.policy.situations import (
    asked,
    awake,
    cluster,
    inputs,
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
from tests.policy.test_invariants import demand, here, newly_stopped

DENSE: tuple[PolicyName, ...] = ("dpp", "bmw-dpp")


def started(reasons: list[Reason]) -> list[tuple[str | None, str | None]]:
    """Return the pairs that reasons speak of."""
    return [(r.node, r.model) for r in reasons]


@pytest.mark.parametrize("policy", DENSE)
def test_they_begin_with_a_random_placement_and_do_nothing_between_slots(policy: PolicyName) -> None:
    """As every adaptive policy; an event changes what is in force only where an operator does."""
    shape = cluster([node("n1", 4.0), node("n2", 4.0)], [model("m1"), model("m2"), model("m3")])
    first = decide_slot(slot_input(shape, [view("n1"), view("n2")], policy=policy))
    assert placed(first) == {n.node: n for n in random_placement(shape, 7)}
    views = [view("n1", pod("m1"), pod("m2", count=9)), view("n2", pod("m1"), pod("m2", count=9))]
    former = placement(awake("n1", "m1", "m2"), awake("n2", "m1", "m2"))
    event = slot_input(shape, views, [asked("m3", held=4, oldest_s=9.0, ago_s=1.0)], policy=policy, placement=former)
    assert decide_slot(event).placement is None
    banned = decide_slot(event.model_copy(update={"overrides": (override("n1", "m1", "ban"),)}))
    assert placed(banned)["n1"] == awake("n1", "m2", stoppable=("m1",))


@pytest.mark.parametrize(("policy", "gone"), [("dpp", "m1"), ("bmw-dpp", "m1")])
def test_a_missed_model_takes_the_place_of_what_relieves_least_for_its_memory(policy: PolicyName, gone: str) -> None:
    """`m2` has queues, `m1` none: where no room is left, `m1` goes for `m3`, though it is the last of its model."""
    shape = cluster([node("n1", 4.0)], [model("m1"), model("m2"), model("m3")])
    views = [view("n1", pod("m1"), pod("m2", count=4))]
    held = [asked("m3", held=4, oldest_s=9.0, ago_s=1.0)]
    rates = {"m1": 0.002, "m2": 0.1, "m3": 0.1}
    decision = decide_slot(slot_input(shape, views, held, trigger="slot", policy=policy, rates=rates))
    assert placed(decision) == {"n1": awake("n1", "m2", "m3", stoppable=(gone,))}
    assert started(rules(decision, "density")) == [("n1", "m3")]
    assert started(rules(decision, "victim")) == [("n1", gone)]


def test_dpp_starts_where_the_drift_exceeds_the_penalty() -> None:
    """Q·s − V·a with s = min(Q, vT/b): a queue of 3 at 20 s of start pays below V = 0.45."""
    shape = cluster([node("n1", 4.0), node("n2", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m2")), view("n2", pod("m2"))]
    held = [asked("m1", held=3, oldest_s=9.0, ago_s=1.0)]
    for weight, expected in ((0.44, [("n1", "m1")]), (0.46, [])):
        made = PolicySettings(start_weight=weight)
        decision = decide_slot(slot_input(shape, views, held, trigger="slot", policy="dpp", settings=made))
        assert started(rules(decision, "density")) == expected


def test_bmw_dpp_counts_what_it_expects_and_is_biased_to_what_is_there() -> None:
    """No queue: `dpp` starts nothing; `bmw-dpp` gives the model with demand more pods, the idle one without none."""
    shape = cluster([node("n1", 4.0), node("n2", 4.0)], [model("m1", 3.0), model("m2", 3.0)])
    views = [view("n1", pod("m1")), view("n2", pod("m2"))]
    given_rates = {"m1": 0.4, "m2": 0.0}
    found = {
        policy: placed(decide_slot(slot_input(shape, views, trigger="slot", policy=policy, rates=given_rates)))
        for policy in DENSE
    }
    assert found["dpp"] == {"n1": awake("n1", "m1"), "n2": awake("n2", "m2")}
    assert found["bmw-dpp"] == {"n1": awake("n1", "m1"), "n2": awake("n2", "m1", stoppable=("m2",))}
    even = {"m1": 0.2, "m2": 0.2}
    kept = decide_slot(slot_input(shape, views, trigger="slot", policy="bmw-dpp", rates=even))
    assert placed(kept) == {"n1": awake("n1", "m1"), "n2": awake("n2", "m2")}


def test_of_pods_that_were_not_chosen_those_used_last_stay() -> None:
    """As far as the room goes that the started ones leave."""
    names = ("m1", "m2", "m3", "m4")
    shape = cluster([node("n1", 6.0)], [model(name) for name in names])
    pods = (pod("m1", used_ago_s=50.0), pod("m2", used_ago_s=5.0), pod("m3", used_ago_s=500.0))
    held = [asked("m4", held=2, oldest_s=9.0, ago_s=1.0)]
    decision = decide_slot(slot_input(shape, [view("n1", *pods)], held, trigger="slot", policy="dpp"))
    assert placed(decision) == {"n1": awake("n1", "m1", "m2", "m4", stoppable=("m3",))}


def test_a_model_weighs_by_its_delay_relative_to_that_of_all() -> None:
    """Little's law: 4 and 12 requests at equal rates are half and one and a half of the mean; clipped at 2."""
    shape = cluster([node("n1", 9.0)], [model("m1"), model("m2"), model("m3")])
    for counts, weights in (((4, 12, 8), (0.5, 1.5, 1.0)), ((0, 0, 9), (0.5, 0.5, 2.0)), ((0, 0, 0), (1.0, 1.0, 1.0))):
        pods = [pod(name, count=k) for name, k in zip(("m1", "m2", "m3"), counts, strict=True)]
        given_input = slot_input(shape, [view("n1", *pods)], rates=dict.fromkeys(("m1", "m2", "m3"), 0.1))
        view_of = board(given_input, by_model(given_input, given_input.state))
        assert np.allclose(fair_weights(view_of), weights)


@settings(max_examples=200)
@given(inputs(DENSE))
def test_invariant_04_a_last_ready_pod_goes_for_a_slots_placement_only_while_a_model_is_missed(i: SlotInput) -> None:
    """Nor does anything stop inside its dwell; operators' overrides apart."""
    decision = decide_slot(i)
    fixed = {(o.node, o.model) for o in i.overrides} | {(r.node, r.model) for r in rules(decision, "banned")}
    pinned = {r.node for r in rules(decision, "pinned")}
    missed = any(m.held for m in i.snapshot.models)
    stoppable = {(n.node, m) for n in (decision.placement.nodes if decision.placement else ()) for m in n.stoppable}
    starts_s = {m.id: m.start_delay_s for m in i.cluster.models}
    for name, gone in newly_stopped(i, decision):
        if (name, gone) in fixed or name in pinned:
            continue
        assert i.now_s - here(i)[name, gone].since_at_s >= starts_s[gone]
        left = [k for k, p in here(i).items() if k[1] == gone and p.phase == "ready" and k not in stoppable]
        assert left or missed or demand(i)[gone] <= i.settings.rate_start_per_s


def test_a_redrawn_placement_holds_for_an_epoch_and_what_it_does_not_have_goes() -> None:
    """Whoever asks for it; the next epoch has another one."""
    shape = cluster([node("n1", 4.0), node("n2", 4.0)], [model("m1"), model("m2"), model("m3")])
    made = PolicySettings()
    drawn = [redrawn(shape, made, 7, slot) for slot in range(40)]
    assert [drawn[k] == drawn[k - 1] for k in range(1, 10)] == [True] * 9
    assert len(set(drawn)) > 1
    others = {n.node: tuple(m for m in ("m1", "m2", "m3") if m not in n.awake) for n in drawn[8]}
    views = [view(name, *(pod(m, count=2) for m in here_)) for name, here_ in others.items()]
    decision = decide_slot(slot_input(shape, views, trigger="slot", policy="random-dynamic", slot=8))
    assert placed(decision) == {n.node: awake(n.node, *n.awake, stoppable=others[n.node]) for n in drawn[8]}
    assert decision.table is not None
    assert {r.rule for r in decision.table.rows} == {"strict"}


@pytest.mark.parametrize(("policy", "rule"), [("dpp", "strict"), ("bmw-dpp", "pair")])
def test_both_share_the_water_filled_table_and_choose_differently_in_it(policy: PolicyName, rule: str) -> None:
    """One draw, or the better of two."""
    shape = cluster([node("n1"), node("n2", speed=0.5)], [model("m1")])
    views = [view("n1", pod("m1")), view("n2", pod("m1"), speed=0.5)]
    tables = [
        decide_slot(slot_input(shape, views, trigger="slot", policy=one, rates={"m1": 0.1})).table
        for one in (policy, "marginal-dpp")
    ]
    assert tables[0] is not None
    assert tables[1] is not None
    assert [r.shares for r in tables[0].rows] == [r.shares for r in tables[1].rows]
    assert [r.rule for r in tables[0].rows] == [rule]


def test_how_marginal_dpp_routes_and_which_wait_it_takes_for_long_can_be_set() -> None:
    """So that both can be taken away, and measured."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    views = [view("n1", pod("m1", count=10)), view("n2")]
    asking = [asked("m1", ago_s=1.0)]
    for starts, begun in ((1.9, 1), (2.1, 0)):
        made = PolicySettings(wait_starts=starts, route="sed")
        decision = decide_slot(slot_input(shape, views, asking, settings=made, placement=None))
        assert len(rules(decision, "rule1-wait")) == begun
        assert decision.table is not None
        assert {r.rule for r in decision.table.rows} == {"sed"}
