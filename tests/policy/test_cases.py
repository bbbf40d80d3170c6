"""The key and the value of a case: digests, features of what was seen, the terms of F of what happened."""

import math

import pytest

from fairlead.contracts.cases import ModelTally
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, ModelView, NodeView, ShadowPrice, Snapshot
from fairlead.contracts.plans import Rate
from fairlead.contracts.tuning import PolicySettings, Weights
from fairlead.policy.cases import (
    Before,
    Seen,
    SlotSeen,
    believable,
    cluster_digest,
    features,
    seen_by_planner,
    seen_by_slot,
    slot_seen,
)
from fairlead.policy.cases_realised import Happened, realised
from fairlead.policy.registry import decide_slot
from tests.policy.remembering import case
from tests.policy.situations import GB, NOW_S, asked, cluster, model, node, pod, slot_input, view

SHAPE = cluster([node("n1", 6.0), node("n2", 10.0), node("n3", 6.0)], [model("m1"), model("m2", work_s=8.0)])
WEIGHTS = Weights()


def snapshot(*nodes: NodeView, models: tuple[ModelView, ...] = ()) -> Snapshot:
    """Return what is seen now."""
    return Snapshot(taken_at_s=NOW_S, nodes=nodes, models=models, stale=())


def seen(
    *nodes: NodeView,
    models: tuple[ModelView, ...] = (),
    rates: tuple[Rate, ...] = (),
    prices: tuple[ShadowPrice, ...] = (),
) -> Seen:
    """Return what is known at an epoch's begin."""
    return Seen(NOW_S, PolicySettings(), SHAPE, snapshot(*nodes, models=models), rates, prices)


def slot(number: int, spans: int = 1, up: tuple[str, ...] = ("n1",), blocked: str = "", **arrived: int) -> SlotSeen:
    """Return what a slot decision saw; `blocked` names a model in back-off on n1."""
    pods = frozenset({("n1", blocked)} if blocked else ())
    return SlotSeen(number, 30.0 * number, spans, arrived, frozenset(up), pods)


def before(*slots: SlotSeen, tallies: tuple[ModelTally, ...] = ()) -> Before:
    """Return the epoch before."""
    return Before(300.0, slots, tallies)


NOTHING = before()


def tally(name: str = "m1", **more: float) -> ModelTally:
    """Return what became of requests."""
    values = {"finished": 0, "timely": 0, "judged": 0, "ended": 0, "latency_sum_s": 0.0, "counted": 0, "cancelled": 0}
    return ModelTally.model_validate({"model": name, **values, **more})


@pytest.mark.parametrize(("per_s", "so"), [(0.0, True), (5.9, True), (6.1, False), (1e300, False)])
def test_a_case_is_believable_where_a_cluster_could_have_measured_it(per_s: float, *, so: bool) -> None:
    """Up to ten times what three nodes of speed 1 could serve of 4 s and 8 s of work; strangers count for nothing."""
    told = tuple(Rate(model=name, per_s=value) for name, value in (("m1", per_s), ("m9", 1e300), ("m2", 0.75)))
    assert believable(case(1).model_copy(update={"rates": told}), SHAPE) is so


def test_a_cluster_that_only_moved_keeps_its_digest() -> None:
    """Ports, zones and revisions are not what a case depends on; memory, speed and work are."""
    digest = cluster_digest(SHAPE)
    moved = [n.model_copy(update={"keeper_url": "http://10.0.0.9:1", "zone": "z", "revision": 4}) for n in SHAPE.nodes]
    assert cluster_digest(Cluster(nodes=tuple(moved), models=SHAPE.models, sites=())) == digest
    for changed in (
        cluster([node("n1", 7.0), *SHAPE.nodes[1:]], SHAPE.models),
        cluster([node("n1", 6.0, 1.1), *SHAPE.nodes[1:]], SHAPE.models),
        cluster(SHAPE.nodes[:2], SHAPE.models),
        cluster(SHAPE.nodes, [model("m1", work_s=5.0), SHAPE.models[1]]),
    ):
        assert cluster_digest(changed) != digest
    assert digest == "44d74ce5570576f0"


def test_what_nobody_measured_has_the_value_of_a_quiet_cluster() -> None:
    """Absent is not zero (invariant 10): the start rate, steady, Poisson, unloaded; nothing free where unheard."""
    made = features(seen(), NOTHING)
    first = made.models[0]
    assert (first.model, first.log_rate) == ("m1", math.log(0.001))
    assert (first.trend, first.dispersion, first.backlog_s, first.price_s, first.slowdown) == (0.0, 1.0, 0.0, 0.0, 1.0)
    assert [n.node for n in made.nodes] == ["n2", "n1", "n3"], "by capacity, then by id"
    assert {(n.up, n.free_ratio, n.speed, n.work_s, n.awake) for n in made.nodes} == {(False, 0.0, 1.0, 0.0, ())}
    assert (made.failures, made.day_ratio) == (0, NOW_S / 86_400.0)


def test_a_node_shows_what_it_has_room_for_and_what_is_awake() -> None:
    """What drains still claims memory, but is not awake; what is in back-off claims none."""
    pods = (pod("m1", count=2), pod("m2", "draining"), pod("m3", "starting"), pod("m4", "off", blocked=True))
    heard = features(seen(view("n1", *pods, speed=0.8)), NOTHING).nodes[1]
    assert (heard.node, heard.up, heard.speed, heard.work_s) == ("n1", True, 0.8, 8.0)
    assert heard.awake == ("m1", "m3")
    assert heard.free_ratio == pytest.approx(1.0 - 4.0 * GB / (6.0 * GB))
    full = features(seen(view("n1", *(pod("m1") for _ in range(4)))), NOTHING).nodes[1]
    assert full.free_ratio == 0.0, "a node whose agent has overdrawn has nothing free"


def test_backlog_is_what_waits_and_what_is_held() -> None:
    """Running requests do not wait."""
    nodes = (view("n1", pod("m2", count=3, running=1)), view("n2", pod("m2", count=1, running=2)))
    made = features(seen(*nodes, models=(asked("m2", held=4),)), NOTHING)
    assert [m.backlog_s for m in made.models] == [0.0, 8.0 * 6]


def test_rates_and_prices_are_those_of_the_newest_slot() -> None:
    """A rate below the start value counts as that."""
    rates = (Rate(model="m1", per_s=0.2), Rate(model="m2", per_s=1e-9))
    prices = (ShadowPrice(model="m2", node=None, worth_s=-3.0),)
    made = features(seen(rates=rates, prices=prices), NOTHING).models
    assert [m.log_rate for m in made] == [math.log(0.2), math.log(0.001)]
    assert [m.price_s for m in made] == [0.0, -3.0]


def test_the_trend_is_the_newest_slot_against_what_was_learned() -> None:
    """Over as many slots as it counted; one more request on both sides."""
    rates = (Rate(model="m1", per_s=0.1),)
    assert features(seen(rates=rates), before(slot(1, m1=9), slot(2, m1=3))).models[0].trend == 0.0
    assert features(seen(rates=rates), before(slot(2, spans=2, m1=13))).models[0].trend == pytest.approx(math.log(2.0))
    assert features(seen(rates=rates), before(slot(2, m1=3), slot(3, spans=0, m1=0))).models[0].trend == 0.0


def test_dispersion_is_variance_over_mean_of_single_slots() -> None:
    """Three counts at least; what spans several slots or nothing is left out; silence is no burst."""
    counts = [slot(k, m1=n, m2=0) for k, n in enumerate((2, 4, 12))]
    odd = (slot(4, spans=3, m1=90, m2=0), slot(5, spans=0, m1=70, m2=0), slot(6, m2=0))
    made = features(seen(), before(*counts, *odd)).models
    assert made[0].dispersion == pytest.approx(28.0 / 6.0)
    assert made[1].dispersion == 1.0
    assert features(seen(), before(*counts[:2])).models[0].dispersion == 1.0


def test_slowdown_is_mean_latency_over_work() -> None:
    """Where nothing came to an end, what arrived has waited half the epoch; where nothing arrived, nobody waited."""
    given = before(slot(1, m1=5, m2=4), tallies=(tally("m1", counted=4, latency_sum_s=32.0), tally("m2", cancelled=1)))
    assert [m.slowdown for m in features(seen(), given).models] == [2.0, 150.0 / 8.0]
    assert features(seen(), before(tallies=(tally("m1", counted=1),))).models[0].slowdown == 0.1
    short = Before(4.0, (slot(1, m1=1),), ())
    assert features(seen(), short).models[0].slowdown == 1.0


def test_failures_are_nodes_and_pods_lost_from_slot_to_slot() -> None:
    """One that is still down is not lost again; the last look is the snapshot's."""
    slots = (slot(1, up=("n1", "n2")), slot(2, up=("n1",), blocked="m1"), slot(3, up=("n1",), blocked="m1"))
    now = (view("n1", pod("m1", "off", blocked=True), pod("m2", "off", blocked=True)), view("n2", up=False))
    assert features(seen(*now), before(*slots)).failures == 3
    assert features(seen(view("n2")), before(slots[0])).failures == 1


def test_planner_and_slot_agent_see_the_same() -> None:
    """Features come from either's input; arrivals of a first decision ever were not counted and say nothing."""
    given = slot_input(
        SHAPE, [view("n1", pod("m1"))], [asked("m1", arrived=3)], trigger="slot", rates={"m1": 0.1, "m2": 0.1}
    )
    decided = decide_slot(given)
    by_slot = seen_by_slot(given, decided)
    by_planner = seen_by_planner(
        EpochInput(
            epoch=1,
            now_s=NOW_S,
            seed=7,
            settings=given.settings,
            cluster=SHAPE,
            snapshot=given.snapshot,
            parent=None,
            next_plan=1,
            decision="epoch-1",
            rates=decided.state.rates,
            prices=decided.prices,
        )
    )
    assert by_slot == by_planner
    one = slot_seen(given)
    assert (one.slot, one.taken_at_s, one.spans, one.arrived) == (8, NOW_S, 1, {"m1": 3})
    assert one.up == frozenset({"n1"})
    assert not one.blocked
    first = given.model_copy(update={"state": given.state.model_copy(update={"rates": ()})})
    assert slot_seen(first).spans == 0


def happened(*tallies: ModelTally, churn: int = 0, **arrived: int) -> Happened:
    """Return what was measured of five minutes."""
    return Happened(300.0, arrived, tallies, churn)


def test_an_epoch_that_nobody_asked_anything_in_has_no_figure() -> None:
    """Also where all that arrived was cancelled."""
    assert realised(SHAPE, happened(), WEIGHTS) is None
    assert realised(SHAPE, happened(tally("m1", cancelled=2), m1=2), WEIGHTS) is None


def test_terms_of_f_where_everything_has_an_outcome() -> None:
    """L over the deadline, J' over x1, churn over nodes × models, what finished over what arrived."""
    first = tally("m1", finished=9, timely=8, judged=8, ended=10, counted=10, latency_sum_s=300.0, cancelled=1)
    second = tally("m2", finished=5, timely=4, judged=8, ended=10, counted=10, latency_sum_s=900.0)
    made = realised(SHAPE, happened(first, second, churn=3, m1=11, m2=10), WEIGHTS)
    assert made is not None
    assert (made.arrived, made.finished, made.churn) == (20, 14, 3)
    assert made.latency_s == 60.0
    assert made.service == 0.7
    jain = (1.0 + 0.5) ** 2 / (2 * (1.0 + 0.25))
    assert made.fairness == pytest.approx((jain - 0.5) / 0.5)
    assert made.objective == pytest.approx(0.5 + 0.5 * (1.0 - made.fairness) + 0.05 * 3 / 6 + 0.5 * 0.3)


def test_what_has_no_outcome_yet_counts_with_its_age_and_as_untimely() -> None:
    """First come first served: the open ones are the last that arrived; a starved model waits half the epoch."""
    starved = realised(SHAPE, happened(m1=10), WEIGHTS)
    assert starved is not None
    assert (starved.latency_s, starved.service, starved.fairness) == (150.0, 0.0, 0.0)
    assert (starved.arrived, starved.finished) == (10, 0)
    served = tally("m1", finished=90, timely=72, judged=72, ended=90, counted=90, latency_sum_s=90.0)
    late = realised(SHAPE, happened(served, m1=100), WEIGHTS)
    assert late is not None
    assert late.latency_s == pytest.approx((90.0 + 10 * 15.0) / 100), "the last ten of a hundred came within 30 s"
    assert (late.fairness, late.service) == (1.0, 0.9), "30 s are within the deadline: nobody is judged untimely"


def test_a_deadline_that_has_passed_is_judged() -> None:
    """Of 50 open requests over 150 s, those of the first 90 s were due within the epoch."""
    served = tally("m1", finished=50, timely=50, judged=50, ended=50, counted=50, latency_sum_s=50.0)
    other = tally("m2", finished=80, timely=80, judged=80, ended=100, counted=100, latency_sum_s=100.0)
    made = realised(SHAPE, happened(served, other, m1=100, m2=90), WEIGHTS)
    assert made is not None
    assert made.arrived == 200, "outcomes count where counters lag behind them"
    ratio = 50 / 80
    jain = (1.0 + ratio) ** 2 / (2 * (1.0 + ratio * ratio))
    assert made.fairness == pytest.approx((jain - 0.5) / 0.5)


def test_deadlines_that_differ_weigh_by_their_requests() -> None:
    """Lref is the mean deadline of what was asked for."""
    patient = SHAPE.models[1].model_copy(update={"deadline_s": 180.0})
    shape = cluster(SHAPE.nodes, [SHAPE.models[0], patient])
    tallies = (
        tally("m1", finished=1, counted=1, ended=1, latency_sum_s=30.0),
        tally("m2", finished=3, counted=3, ended=3, latency_sum_s=270.0),
    )
    made = realised(shape, happened(*tallies, m1=1, m2=3), WEIGHTS)
    assert made is not None
    assert made.objective == pytest.approx(0.5 * 75.0 / 150.0)
