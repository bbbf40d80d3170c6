"""Rules 2 to 4 of CONTROL §2: starts for gain each slot, shadow prices, intents, warming, operators' overrides."""

import math

import pytest

from fairlead.contracts.plans import EpochPlan, Intent, ModelPriority, Rate, Warm
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.registry import decide_slot
from tests.policy.situations import (
    NOW_S,
    asked,
    awake,
    cluster,
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


def phi(capacity: float, rate: float, work_s: float, start_s: float, horizon_s: float = 120.0) -> float:
    """Return Φ as CONTROL §2 writes it, without learned rates to be counted in."""
    load = rate * work_s
    if capacity > 0.0:
        return load * horizon_s / max(capacity - load, 0.15 * capacity)
    start = (1.0 - math.exp(-rate * horizon_s)) * start_s * (1.0 + rate * start_s / 2.0)
    return load * horizon_s / max(0.7 - load, 0.105) + start


def steady(rate: float, slot_s: float = 30.0) -> int:
    """Return the arrivals of a slot that leave a rate as it is."""
    return round(rate * slot_s)


def test_the_pair_that_gains_most_is_started_and_journaled() -> None:
    """One busy model, one free node: worth and score are those of the formula."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    views = [view("n1", pod("m1")), view("n2")]
    demand = [asked("m1", arrived=steady(0.2), ago_s=1.0)]
    decision = decide_slot(slot_input(shape, views, demand, trigger="slot", rates={"m1": 0.2}))
    assert placed(decision)["n2"] == awake("n2", "m1")
    worth_s = phi(1.0, 0.2, 4.0, 20.0) - phi(2.0, 0.2, 4.0, 20.0)
    reason = rules(decision, "rule2-worth")[0]
    assert reason.value_s == pytest.approx((1.0 - 20.0 / 120.0) * worth_s)
    assert [(p.model, p.node) for p in decision.prices] == [("m1", "n2")]
    assert decision.prices[0].worth_s == pytest.approx(worth_s)


def test_a_swap_pays_the_regret_of_its_victims_twice() -> None:
    """η = 1: m2's second pod goes for m1's only where m1 gains that much more."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0), node("n3", 6.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m1")), view("n2", pod("m2")), view("n3", pod("m2"), pod("m1"))]
    for rate, swapped in ((0.3, True), (0.02, False)):
        rates = {"m1": rate, "m2": 0.05}
        demand = [asked(m, arrived=steady(r), ago_s=1.0) for m, r in rates.items()]
        decision = decide_slot(slot_input(shape, views, demand, trigger="slot", rates=rates))
        assert placed(decision)["n2"] == (awake("n2", "m1", stoppable=("m2",)) if swapped else awake("n2", "m2"))


def test_nothing_is_started_where_active_models_do_not_fit_in_four_fifths() -> None:
    """There activation is on demand only; models that nobody asked for do not count."""
    shape = cluster([node("n1", 5.0), node("n2", 5.0)], [model("m1", 4.5), model("m2", 4.5), model("m3", 4.5)])
    views = [view("n1", pod("m1")), view("n2")]
    rates = {"m1": 0.2, "m2": 0.2, "m3": 0.2}
    many = [asked(m, arrived=6, ago_s=1.0) for m in rates]
    full = decide_slot(slot_input(shape, views, many, trigger="slot", rates=rates))
    assert [r.rule for r in full.reasons] == ["rule2-full"]
    few = [asked("m1", arrived=6, ago_s=1.0), asked("m2", ago_s=700.0), asked("m3")]
    assert rules(decide_slot(slot_input(shape, views, few, trigger="slot", rates=rates)), "rule2-worth")


def test_a_start_that_gains_less_than_a_request_second_is_left() -> None:
    """The decision says how much it would have gained."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    views = [view("n1", pod("m1")), view("n2")]
    decision = decide_slot(slot_input(shape, views, [asked("m1", ago_s=1.0)], trigger="slot", rates={"m1": 0.0005}))
    reason = rules(decision, "rule2-none")[0]
    assert reason.value_s is not None
    assert 0.0 < reason.value_s < 1.0
    assert placed(decision)["n2"] == awake("n2")


def test_where_nothing_can_be_started_the_shadow_price_has_no_node() -> None:
    """It is what one more pod would be worth; 0 where every node has one."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m1", age_s=1.0)), view("n2", pod("m1"))]
    demand = [asked("m1", arrived=6, ago_s=1.0), asked("m2", arrived=6, ago_s=1.0)]
    pins = (override("n2", "m1", "pin"),)
    inputs = slot_input(shape, views, demand, trigger="slot", rates={"m1": 0.2, "m2": 0.2}, overrides=pins)
    prices = {p.model: p for p in decide_slot(inputs).prices}
    assert (prices["m1"].node, prices["m1"].worth_s) == (None, 0.0)
    assert prices["m2"].node is None
    assert prices["m2"].worth_s > 1.0


def test_one_start_for_each_seven_nodes_each_on_another_node() -> None:
    """Of 21 nodes in three blocks, with settings that allow more, a block's starts touch no node twice."""
    names = [f"n{k:02d}" for k in range(21)]
    models = [model(f"m{k}") for k in range(1, 5)]
    shape = cluster([node(n, 8.0) for n in names], models)
    views = [view(n, pod("m1") if k % 2 else pod("m2")) for k, n in enumerate(names)]
    rates = {m.id: 1.0 for m in models}
    demand = [asked(m, arrived=30, ago_s=1.0) for m in rates]
    for nodes_per_start, expected in ((7, 3), (3, 7), (30, 1)):
        limits = PolicySettings(nodes_per_start=nodes_per_start)
        inputs = slot_input(shape, views, demand, trigger="slot", rates=rates, settings=limits, placement=placement())
        started = rules(decide_slot(inputs), "rule2-worth")
        assert len(started) == expected
        assert len({r.node for r in started}) == expected


def test_a_block_leaves_nodes_whose_victims_it_has_touched() -> None:
    """Two starts for m1, both of which would displace m2: after the first, m2's regret is another one."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0), node("n3", 2.0), node("n4", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m1")), *[view(f"n{k}", pod("m2")) for k in (2, 3, 4)]]
    rates = {"m1": 0.5, "m2": 0.01}
    demand = [asked(m, arrived=steady(r), ago_s=1.0) for m, r in rates.items()]
    limits = PolicySettings(nodes_per_start=2, fit_ratio=1.0)
    inputs = slot_input(shape, views, demand, trigger="slot", rates=rates, settings=limits)
    decision = decide_slot(inputs)
    assert len(rules(decision, "victim")) <= 2
    assert sum("m2" in n.awake for n in placed(decision).values()) >= 1


def test_intents_tilt_worth_and_regret_by_two_at_most() -> None:
    """Of two equal nodes the preferred one is taken; of two equal models the prior one."""
    shape = cluster([node("n1"), node("n2"), node("n3")], [model("m1", 6.0), model("m2", 6.0)])
    views = [view("n1", pod("m1")), view("n2"), view("n3")]
    rates = {"m1": 0.2, "m2": 0.2}
    demand = [asked(m, arrived=6, ago_s=1.0) for m in rates]
    intents = tuple(
        Intent(node=n, role="generalist", prefer=p, avoid=a, bias=4)
        for n, p, a in (("n2", (), ("m2",)), ("n3", ("m2",), ()), ("gone", ("m1",), ()))
    )
    unknown = (ModelPriority(model="gone", priority=4, expected="same"),)
    leaning = slot_input(shape, views, demand, trigger="slot", rates=rates, plan=plan(intents, unknown))
    first = rules(decide_slot(leaning), "rule2-worth")[0]
    assert (first.node, first.model) == ("n3", "m2")
    plain = rules(decide_slot(slot_input(shape, views, demand, trigger="slot", rates=rates)), "rule2-worth")[0]
    assert (plain.node, plain.model) == ("n2", "m2")
    assert first.value_s == pytest.approx(2.0 * (plain.value_s or 0.0))
    priorities = (ModelPriority(model="m2", priority=0, expected="falling"),)
    less = slot_input(shape, views, demand, trigger="slot", rates=rates, plan=plan((), priorities))
    assert rules(decide_slot(less), "rule2-worth")[0].model == "m1"


def test_a_plan_that_has_expired_says_nothing() -> None:
    """Its drain is over."""
    shape = cluster([node("n1"), node("n2")], [model("m1")])
    drain = (Intent(node="n1", role="drain", prefer=(), avoid=(), bias=0),)
    views = [view("n1", pod("m1")), view("n2", pod("m1"))]
    before = placement(awake("n1", "m1"), awake("n2", "m1"))
    for until_s, expected in ((NOW_S, None), (NOW_S + 1.0, awake("n1", stoppable=("m1",)))):
        decision = decide_slot(slot_input(shape, views, placement=before, plan=plan(drain, until_s=until_s)))
        assert (placed(decision)["n1"] if expected else decision.placement) == expected


def test_a_drained_node_lets_go_what_is_ready_elsewhere_and_has_the_rest_placed_elsewhere() -> None:
    """M1 stays until its successor is ready; m2 that nobody asks for goes; m3 is inside its dwell."""
    shape = cluster([node("n1", 8.0), node("n2", 8.0)], [model("m1"), model("m2"), model("m3")])
    drain = plan((Intent(node="n1", role="drain", prefer=(), avoid=(), bias=0),))
    views = [view("n1", pod("m1"), pod("m2"), pod("m3", age_s=1.0)), view("n2")]
    rates = {"m1": 0.1, "m2": 0.0, "m3": 0.0}
    first = decide_slot(slot_input(shape, views, rates=rates, plan=drain))
    assert placed(first) == {"n1": awake("n1", "m1", "m3", stoppable=("m2",)), "n2": awake("n2", "m1")}
    assert [r.rule for r in first.reasons] == ["rule1-lost", "drain"]
    views = [view("n1", pod("m1"), pod("m2", "stopping")), view("n2", pod("m1"))]
    second = decide_slot(slot_input(shape, views, rates=rates, plan=drain, placement=first.placement))
    assert placed(second) == {"n1": awake("n1", stoppable=("m1",)), "n2": awake("n2", "m1")}


def test_standby_starts_nothing_new_and_keeps_what_is_there() -> None:
    """The only other node is on standby."""
    shape = cluster([node("n1", 8.0)], [model("m1"), model("m2")])
    standby = plan((Intent(node="n1", role="standby", prefer=(), avoid=(), bias=0),))
    held = [asked("m1", held=1, oldest_s=0.2, ago_s=0.2)]
    decision = decide_slot(slot_input(shape, [view("n1", pod("m2"))], held, plan=standby))
    assert placed(decision)["n1"] == awake("n1", "m2")


def test_warming_takes_a_request_for_sure_and_still_has_to_fit() -> None:
    """At its time and a minute longer; not twice, not where somebody that matters would have to go."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m1")), view("n2")]
    rates = {"m1": 0.2, "m2": 0.0}
    demand = [asked("m1", arrived=6, ago_s=1.0)]
    for at_s, target, rule in (
        (NOW_S, "n2", ["warm"]),
        (NOW_S - 59.0, "n2", ["warm"]),
        (NOW_S + 1.0, "n2", []),
        (NOW_S - 60.0, "n2", []),
        (NOW_S, "n1", ["warm-refused"]),
        (NOW_S, "gone", []),
    ):
        wish = plan(warm=(Warm(model="m2", node=target, at_s=at_s),))
        inputs = slot_input(shape, views, demand, trigger="slot", rates=rates, plan=wish, placement=placement())
        assert [r.rule for r in rules(decide_slot(inputs), "warm", "warm-refused")] == rule
    wish = plan(warm=(Warm(model="m1", node="n1", at_s=NOW_S),))
    inputs = slot_input(shape, views, demand, trigger="slot", rates=rates, plan=wish)
    assert rules(decide_slot(inputs), "warm", "warm-refused") == []


def test_warming_is_judged_by_the_rates_that_the_plan_expects() -> None:
    """What will not be asked for makes room, and is not warmed; queues count whatever is expected."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0), node("n3", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m1")), view("n2", pod("m1")), view("n3")]
    demand = [asked("m1", arrived=6, ago_s=1.0)]
    for target, expected, rule in (
        ("n1", {}, "warm-refused"),
        ("n1", {"m1": 0.0, "m2": 0.3}, "warm"),
        ("n3", {}, "warm"),
        ("n3", {"m2": 0.0, "gone": 1.0}, "warm-refused"),
        ("n3", {"m1": 0.0}, "warm"),
    ):
        wish = plan(warm=(Warm(model="m2", node=target, at_s=NOW_S),)).model_copy(
            update={"rates": tuple(Rate(model=m, per_s=r) for m, r in expected.items())}
        )
        inputs = slot_input(
            shape, views, demand, trigger="slot", rates={"m1": 0.2, "m2": 0.0}, plan=wish, placement=placement()
        )
        assert [r.rule for r in rules(decide_slot(inputs), "warm", "warm-refused")] == [rule]


def told(rates: dict[str, float], at_s: float | None) -> EpochPlan:
    """Return a plan that says which rates hold from an instant on."""
    said = tuple(Rate(model=m, per_s=r) for m, r in rates.items())
    return plan().model_copy(update={"rates": said, "rates_at_s": at_s})


def test_rates_that_a_plan_tells_are_learned_in_the_slot_in_which_they_begin() -> None:
    """Then, once, and of models that there are; what it says nothing of stays, and events learn nothing."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    said = {"m1": 0.5, "gone": 1.0}
    for at_s, trigger, until_s, expected in (
        (NOW_S, "slot", NOW_S + 300.0, 0.5),
        (NOW_S - 29.9, "slot", NOW_S + 300.0, 0.5),
        (NOW_S - 30.0, "slot", NOW_S + 300.0, 0.2),
        (NOW_S + 0.1, "slot", NOW_S + 300.0, 0.2),
        (None, "slot", NOW_S + 300.0, 0.2),
        (NOW_S, "slot", NOW_S, 0.2),
        (NOW_S, "event", NOW_S + 300.0, 0.2),
    ):
        inputs = slot_input(
            shape,
            [view("n1")],
            [asked("m1", arrived=6, ago_s=1.0)],
            trigger=trigger,
            rates={"m1": 0.2, "m2": 0.1},
            plan=told(said, at_s).model_copy(update={"expires_at_s": until_s}),
        )
        rates = {r.model: r.per_s for r in decide_slot(inputs).state.rates}
        assert rates["m1"] == pytest.approx(expected)
        assert rates["m2"] == 0.1
        assert set(rates) == {"m1", "m2"}


def test_news_of_rates_makes_room_for_what_will_be_asked_for() -> None:
    """Models that were asked for until now no longer count against the memory, and each node may start one pod."""
    shape = cluster([node(f"n{k}", 2.0) for k in range(1, 5)], [model(f"m{k}", 2.0) for k in range(1, 5)])
    views = [view("n1", pod("m1")), view("n2", pod("m2")), view("n3", pod("m3")), view("n4", pod("m4"))]
    demand = [asked(f"m{k}", arrived=6, ago_s=1.0) for k in range(1, 5)]
    rates = {f"m{k}": 0.2 for k in range(1, 5)}
    for said, at_s, started in (
        ({"m1": 0.9, "m2": 0.0, "m3": 0.0, "m4": 0.0}, NOW_S, {"n2", "n3", "n4"}),
        ({"m1": 0.9, "m2": 0.0, "m3": 0.0, "m4": 0.0}, NOW_S + 1.0, set()),
        ({"m1": 0.9}, NOW_S, set()),
        ({}, NOW_S, set()),
    ):
        inputs = slot_input(
            shape, views, demand, trigger="slot", rates=rates, plan=told(said, at_s), placement=placement()
        )
        assert {r.node for r in rules(decide_slot(inputs), "rule2-worth")} == started


def test_a_pin_makes_room_for_itself_and_a_ban_lets_go() -> None:
    """Above dwell and demand: the operator has said so. The banned model is placed elsewhere at once."""
    shape = cluster([node("n1", 2.0), node("n2", 2.0)], [model("m1"), model("m2")])
    views = [view("n1", pod("m2", age_s=1.0)), view("n2")]
    rates = {"m1": 0.0, "m2": 0.2}
    decision = decide_slot(slot_input(shape, views, rates=rates, overrides=(override("n1", "m1", "pin"),)))
    assert placed(decision)["n1"] == awake("n1", "m1", stoppable=("m2",))
    decision = decide_slot(slot_input(shape, views, rates=rates, overrides=(override("n1", "m2", "ban"),)))
    assert placed(decision) == {"n1": awake("n1", stoppable=("m2",)), "n2": awake("n2", "m2")}


def test_of_two_overrides_for_a_pair_the_newer_holds_and_expired_ones_do_not() -> None:
    """Unknown nodes and models are left out."""
    shape = cluster([node("n1", 2.0)], [model("m1")])
    views = [view("n1", pod("m1"))]
    before = placement(awake("n1", "m1"))
    older, newer = override("n1", "m1", "ban", ago_s=9.0), override("n1", "m1", "pin", name="o2", ago_s=1.0)
    past = override("n1", "m1", "ban", name="o3", ago_s=0.5, until_s=NOW_S)
    strange = (override("gone", "m1", "ban"), override("n1", "gone", "ban"))
    inputs = slot_input(shape, views, placement=before, overrides=(newer, older, past, *strange))
    assert decide_slot(inputs).placement is None


def test_a_pin_that_nothing_makes_room_for_is_said() -> None:
    """Two pinned models that do not fit together: the first stays."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    pins = (override("n1", "m1", "pin"), override("n1", "m2", "pin", name="o2"))
    decision = decide_slot(slot_input(shape, [view("n1", pod("m1"))], overrides=pins))
    assert placed(decision)["n1"] == awake("n1", "m1")
    assert [r.rule for r in decision.reasons] == ["pin-no-room"]


def test_a_pinned_pod_in_back_off_stays_pinned() -> None:
    """Also without a placement that had it."""
    shape = cluster([node("n1", 2.0)], [model("m1"), model("m2")])
    pins = (override("n1", "m1", "pin"),)
    views = [view("n1", pod("m1", "off", blocked=True))]
    decision = decide_slot(slot_input(shape, views, overrides=pins, placement=placement(awake("n1"))))
    assert placed(decision)["n1"] == awake("n1", "m1")
