"""The neutral plan, and why a proposed plan is infeasible."""

from math import nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.decisions import EpochInput, ModelView, NodeView, PodView, Snapshot, Step
from fairlead.contracts.plans import EpochPlan, Intent, ModelPriority, PlanDraft, Rate, Warm
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.epoch import check, decide_epoch, with_demand
from fairlead.policy.periods import Periods
from tests.slot_agent.edge import GB, ORIGIN_S, cluster

CLUSTER = cluster()
EMPTY = Snapshot(taken_at_s=ORIGIN_S, nodes=(), models=(), stale=())


def wanted(*models: str) -> Snapshot:
    """Return a snapshot in which these models have arrivals."""
    views = tuple(
        ModelView(model=m, arrived=1, held=0, oldest_held_s=0.0, asked_at_s=ORIGIN_S, arrived_total=1) for m in models
    )
    return EMPTY.model_copy(update={"models": views})


def epoch_input(parent: EpochPlan | None = None) -> EpochInput:
    """Return the input of the first epoch, or of one after `parent`."""
    generation = parent.generation + 1 if parent is not None else 1
    return EpochInput(
        epoch=3,
        now_s=ORIGIN_S,
        seed=0,
        settings=PolicySettings(),
        cluster=CLUSTER,
        snapshot=EMPTY,
        parent=parent,
        next_plan=generation,
        decision=f"epoch-{generation}",
    )


def planned(given: EpochInput) -> EpochPlan:
    """Return the plan that is made; there must be one."""
    plan = decide_epoch(given).plan
    assert plan is not None
    return plan


def draft(prefer: dict[str, tuple[str, ...]], **fields: Any) -> PlanDraft:
    """Return a draft with an intent for each node of the cluster."""
    intents = tuple(
        Intent(node=n.id, role="generalist", prefer=prefer.get(n.id, ()), avoid=(), bias=2) for n in CLUSTER.nodes
    )
    return PlanDraft(**{"intents": intents, "priorities": (), "warm": (), "why": "", **fields})


def rules(plan: EpochPlan | PlanDraft, snapshot: Snapshot = EMPTY) -> list[str]:
    """Return the codes of what is wrong."""
    return [r.rule for r in check(plan, CLUSTER, snapshot)]


def test_the_fallback_is_the_neutral_plan() -> None:
    """Each node and model once, every prior 1, and it says that there is no language model."""
    made = decide_epoch(epoch_input())
    plan = planned(epoch_input())
    assert (plan.generation, plan.parent, plan.epoch, plan.source) == (1, 0, 3, "fallback")
    assert plan.expires_at_s == ORIGIN_S + 330.0
    assert {(i.role, i.prefer, i.avoid, i.bias) for i in plan.intents} == {("generalist", (), (), 0)}
    assert [p.priority for p in plan.priorities] == [2, 2, 2]
    assert [(s.name, s.ok, s.code) for s in made.steps] == [("absent", False, "no-llm"), ("fallback", True, "ok")]


def test_a_plan_names_its_parent() -> None:
    """Generations rise by one."""
    first = planned(epoch_input())
    second = planned(epoch_input(first))
    assert (second.generation, second.parent) == (2, 1)


def test_the_neutral_plan_is_feasible_whatever_is_wanted() -> None:
    """It prefers nothing, so it neglects nobody."""
    assert check(planned(epoch_input()), CLUSTER, wanted("m1", "m2", "m3")) == ()


LADDER = (Step(name="call", ok=True, code="ok", text=""), Step(name="mode", ok=True, code="auto", text=""))


def advised(proposed: PlanDraft, **changes: Any) -> EpochInput:
    """Return the input of a decision after a dialogue."""
    return epoch_input().model_copy(update={"draft": proposed, "ladder": LADDER, "llm": "answered", **changes})


def test_what_a_language_model_proposed_becomes_the_plan() -> None:
    """With its reasons, its rates and what it wants warm; the ladder is the dialogue's."""
    proposed = draft(
        {"n1": ("m1", "m2"), "n2": ("m3",)},
        warm=(Warm(model="m1", node="n2", at_s=ORIGIN_S + 10.0),),
        rates=(Rate(model="m1", per_s=0.5),),
        why="as on Monday",
    )
    made = decide_epoch(advised(proposed))
    plan = planned(advised(proposed))
    assert (plan.generation, plan.source, plan.why) == (1, "llm", "as on Monday")
    assert (plan.created_at_s, plan.expires_at_s) == (ORIGIN_S, ORIGIN_S + 330.0)
    assert (plan.intents, plan.warm, plan.rates) == (proposed.intents, proposed.warm, proposed.rates)
    assert (made.steps, made.reasons) == (LADDER, ())
    alone = decide_epoch(advised(proposed, ladder=()))
    assert [(s.name, s.code) for s in alone.steps] == [("absent", "answered")]


def test_times_that_are_past_are_now_or_never() -> None:
    """A wish to warm is dropped a minute after its time (CONTROL §2)."""
    times = (ORIGIN_S - 60.0, ORIGIN_S - 59.0, ORIGIN_S, ORIGIN_S + 5.0)
    proposed = draft({}, warm=tuple(Warm(model="m1", node="n1", at_s=at_s) for at_s in times))
    made = decide_epoch(advised(proposed))
    assert [w.at_s for w in planned(advised(proposed)).warm] == [ORIGIN_S, ORIGIN_S, ORIGIN_S + 5.0]
    assert [(r.rule, r.node, r.model, r.value_s) for r in made.reasons] == [("warm-late", "n1", "m1", 60.0)]


@pytest.mark.parametrize(("said_s", "told_s"), [(None, None), (-60.0, None), (-59.0, 0.0), (0.0, 0.0), (5.0, 5.0)])
def test_rates_that_come_late_are_told_now_or_not_at_all(said_s: float | None, told_s: float | None) -> None:
    """After a minute the counters show them; `warm` is still judged by them."""
    at_s = None if said_s is None else ORIGIN_S + said_s
    rates = (Rate(model="m1", per_s=0.5),)
    made = planned(advised(draft({}).model_copy(update={"rates": rates, "rates_at_s": at_s})))
    assert (made.rates, made.rates_at_s) == (rates, None if told_s is None else ORIGIN_S + told_s)


@pytest.mark.parametrize(
    ("proposed", "rule"),
    [
        (draft({"n1": ("m1", "m2", "m3")}), "memory"),
        (draft({}, intents=draft({}).intents[1:]), "node-once"),
        (draft({}, priorities=(ModelPriority(model="m1", priority=1, expected="same"),) * 2), "model-once"),
        (draft({}, warm=(Warm(model="m1", node="n1", at_s=ORIGIN_S + 331.0),)), "warm-time"),
    ],
)
def test_a_draft_that_no_longer_fits_gives_way_to_the_neutral_plan(proposed: PlanDraft, rule: str) -> None:
    """The ladder goes on: feasibility, then the fallback."""
    made = decide_epoch(advised(proposed))
    assert planned(advised(proposed)) == planned(epoch_input())
    assert made.steps[:2] == LADDER
    assert [(s.name, s.ok, s.code) for s in made.steps[2:]] == [("feasibility", False, rule), ("fallback", True, "ok")]
    assert [r.rule for r in made.reasons] == [rule, "neutral"]
    quiet = decide_epoch(advised(proposed, publish=False))
    assert (quiet.plan, quiet.steps, [r.rule for r in quiet.reasons]) == (None, made.steps, [rule])


def test_where_a_plan_is_in_force_a_rejected_dialogue_leaves_it() -> None:
    """Only the ladder is journaled; an accepted one replaces it."""
    rejected = (Step(name="call", ok=False, code="late", text=""), Step(name="fallback", ok=True, code="ok", text=""))
    given = epoch_input(planned(epoch_input())).model_copy(update={"publish": False, "ladder": rejected})
    made = decide_epoch(given)
    assert (made.plan, made.steps, made.reasons) == (None, rejected, ())
    accepted = decide_epoch(given.model_copy(update={"draft": draft({})}))
    assert accepted.plan is not None
    assert (accepted.plan.generation, accepted.plan.parent) == (2, 1)


def test_why_no_reply_is_in_a_plan_is_on_the_ladder() -> None:
    """By its code, in words."""
    made = decide_epoch(epoch_input().model_copy(update={"llm": "no-time"}))
    assert [(s.name, s.code) for s in made.steps] == [("absent", "no-time"), ("fallback", "ok")]
    assert made.steps[0].text == "an answer would come too late to be of use"


def test_a_model_has_one_priority_at_most() -> None:
    """A draft that gives it two contradicts itself."""
    twice = (
        ModelPriority(model="m1", priority=1, expected="same"),
        ModelPriority(model="m1", priority=2, expected="same"),
    )
    assert rules(draft({}, priorities=twice)) == ["model-once"]


def test_a_draft_that_prefers_all_wanted_models_where_they_fit_is_feasible() -> None:
    """Two models of 2 GB fit the 4 GB of a node."""
    assert rules(draft({"n1": ("m1", "m2"), "n2": ("m3",)}), wanted("m1", "m2", "m3")) == []


def test_a_model_with_demand_that_no_node_prefers_is_neglected() -> None:
    """So is one that is preferred only where not all preferred models fit, or where the node is to be drained."""
    assert rules(draft({"n1": ("m1",)}), wanted("m1", "m2")) == ["neglected"]
    assert rules(draft({"n1": ("m1", "m2", "m3")}), wanted("m1")) == ["memory", "neglected"]
    intents = list(draft({"n1": ("m1",)}).intents)
    intents[0] = intents[0].model_copy(update={"role": "drain"})
    assert rules(draft({}, intents=tuple(intents)), wanted("m1")) == ["neglected"]


def test_each_node_has_one_intent() -> None:
    """A draft of a part of the cluster is none."""
    found = check(draft({}, intents=draft({}).intents[:2]), CLUSTER, EMPTY)
    assert [(r.rule, r.node) for r in found] == [("node-once", "n3")]
    twice = (*draft({}).intents, draft({}).intents[0])
    assert rules(draft({}, intents=twice)) == ["node-once"]


def test_an_unknown_id_names_the_nearest() -> None:
    """Whoever wrote it sees what was meant."""
    strange = (*draft({"n1": ("m11",)}).intents, Intent(node="n33", role="standby", prefer=(), avoid=("x",), bias=0))
    found = check(
        draft(
            {},
            intents=strange,
            priorities=(ModelPriority(model="m-2", priority=2, expected="same"),),
            warm=(Warm(model="m4", node="n4", at_s=ORIGIN_S),),
        ),
        CLUSTER,
        EMPTY,
    )
    assert [r.rule for r in found] == [f"unknown-{w}" for w in ("model", "node", "model", "model", "model", "node")]
    assert found[0].text == "no model 'm11'; the nearest is 'm1'"
    assert "'n3'" in found[1].text


def test_where_there_are_no_nodes_an_unknown_one_has_no_nearest() -> None:
    """The message says that."""
    found = check(draft({}), cluster(nodes=0, models=0), EMPTY)
    assert found[0].text == "no node 'n1'; the cluster has no nodes"


def test_a_model_to_be_warmed_fits_its_node_in_the_plans_time() -> None:
    """A model of 6 GB fits no node of 4 GB; a time before the plan is none of the plan's."""
    big = CLUSTER.models[0].model_copy(update={"id": "m9", "memory_bytes": 6 * GB})
    wide = CLUSTER.nodes[0].model_copy(update={"id": "n9", "memory_bytes": 6 * GB})
    mixed = CLUSTER.model_copy(update={"models": (*CLUSTER.models, big), "nodes": (*CLUSTER.nodes, wide)})
    plan = planned(epoch_input().model_copy(update={"cluster": mixed}))
    early = plan.model_copy(update={"warm": (Warm(model="m9", node="n1", at_s=ORIGIN_S - 1.0),)})
    assert [r.rule for r in check(early, mixed, EMPTY)] == ["memory", "warm-time"]
    fine = plan.model_copy(update={"warm": (Warm(model="m9", node="n9", at_s=ORIGIN_S + 1.0),)})
    assert check(fine, mixed, EMPTY) == ()


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        ({"arrived": 1}, True),
        ({"held": 1}, True),
        ({"asked_at_s": ORIGIN_S - 600.0}, True),
        ({"asked_at_s": ORIGIN_S - 600.1}, False),
        ({}, False),
    ],
)
def test_demand_is_arrivals_held_requests_or_a_request_within_ten_minutes(fields: dict[str, Any], has: bool) -> None:
    """Silence is no demand."""
    view = {"model": "m1", "arrived": 0, "held": 0, "oldest_held_s": 0.0, "asked_at_s": None, **fields}
    snapshot = EMPTY.model_copy(update={"models": (ModelView(**view),)})
    assert with_demand(snapshot) == (("m1",) if has else ())


def test_what_waits_in_a_queue_is_demand_too() -> None:
    """Also without a gateway that reports arrivals."""
    pod = PodView(
        model="m2",
        phase="ready",
        since_at_s=0.0,
        ready_in_s=0.0,
        work_s=2.0,
        count=1,
        running=1,
        used_at_s=None,
        blocked=False,
    )
    view = NodeView(node="n1", up=True, observed_at_s=ORIGIN_S, speed=1.0, pods=(pod,))
    assert with_demand(EMPTY.model_copy(update={"nodes": (view,)})) == ("m2",)


@given(
    origin_s=st.floats(0, 2e9),
    length_s=st.floats(0.01, 1e4),
    period=st.integers(0, 10**6),
    into=st.floats(0, 1, exclude_max=True),
)
def test_an_instant_is_in_the_period_that_began_last(
    origin_s: float, length_s: float, period: int, into: float
) -> None:
    """Also where sums of seconds are rounded; before the origin it is period 0."""
    periods = Periods(origin_s, length_s)
    now_s = periods.begins_at_s(period) + into * length_s
    at = periods.at(now_s)
    assert periods.begins_at_s(at) <= now_s < periods.begins_at_s(at + 1)
    assert periods.at(periods.begins_at_s(at)) == at
    assert periods.at(origin_s - 1.0) == 0


def test_an_instant_just_before_a_period_is_not_in_it() -> None:
    """Where the quotient is rounded up to the next whole number."""
    periods = Periods(762.3, 43.3)
    assert nextafter(periods.begins_at_s(35), 0.0) < periods.begins_at_s(35)
    assert periods.at(nextafter(periods.begins_at_s(35), 0.0)) == 34
