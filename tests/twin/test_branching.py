"""Branches: both engines mean the same to the bit, and what they foretell is near to what becomes of a run."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster, SiteSpec
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.errors import InputError
from fairlead.contracts.plans import Guide, GuideRow, NodePlacement, Rate, Share
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.measuring import Window, model_stats
from fairlead.twin.branching import (
    Branched,
    Candidate,
    Demand,
    Situation,
    branched,
    first_plan,
    objective_of,
    situation_of,
)
from fairlead.twin.compiled.native import installed
from fairlead.twin.engines import brancher
from fairlead.twin.play import Game, Outcome, engine_of, policy_at
from fairlead.twin.present import present
from fairlead.twin.requests import Arrival, Network
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of
from tests.policy.situations import (
    NOW_S,
    asked,
    awake,
    cluster,
    inputs,
    model,
    node,
    placement,
    plan,
    pod,
    slot_input,
    view,
)
from tests.twin.test_compiled_deciding import guides, plans

compiled = pytest.mark.skipif(not installed(), reason="numba is not installed: the reference engine serves")

POLICIES: tuple[PolicyName, ...] = ("marginal-dpp", "marginal-dpp", "lru", "sed-static", "round-robin")
UNTIL_S = NOW_S + 130.0


def with_sites(shape: Cluster, count: int, *, pausing: bool = False, host: int = 0, inside: int = 1) -> Cluster:
    """Return the cluster with sites, and nodes that pause or host sleeping pods."""
    return Cluster(
        nodes=tuple(
            n.model_copy(update={"pausing": pausing, "host_memory_bytes": host * n.memory_bytes}) for n in shape.nodes
        ),
        models=tuple(m.model_copy(update={"concurrency": inside, "deadline_s": 40.0}) for m in shape.models),
        sites=tuple(SiteSpec(id=f"s{k}", node=None, url="http://127.0.0.1:9100") for k in range(1, count + 1)),
    )


def far(shape: Cluster, between_s: float = 0.01) -> Network:
    """Return a network in which each node is a little farther than the one before."""
    return Network(
        {s.id: {n.id: between_s * k for k, n in enumerate(shape.nodes)} for s in shape.sites},
        {m.id: 0.05 * (k % 2) for k, m in enumerate(shape.models)},
        {m.id: 0.1 * (k % 3) for k, m in enumerate(shape.models)},
    )


@st.composite
def demands(draw: st.DrawFn, shape: Cluster) -> Demand:
    """Draw what might arrive, also at one instant and after the end."""
    instants = st.one_of(st.floats(0, 140), st.integers(0, 28).map(lambda k: 5.0 * k))
    found = draw(
        st.lists(
            st.builds(
                Arrival,
                at_s=instants.map(lambda s: NOW_S + s),
                site=st.sampled_from([s.id for s in shape.sites]),
                model=st.sampled_from([m.id for m in shape.models]),
                work_s=st.sampled_from((0.5, 4.0, 8.0, 30.0)),
            ),
            max_size=40,
        )
    )
    return tuple(sorted(found, key=lambda one: one.at_s))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Draw any pods, placement in force, requests and orders, of any policy."""
    given_ = draw(inputs(policies=POLICIES))
    shape = with_sites(
        given_.cluster,
        draw(st.integers(1, 3)),
        pausing=draw(st.booleans()),
        host=draw(st.sampled_from((0, 0, 1))),
        inside=draw(st.sampled_from((1, 1, 2))),
    )
    own = PolicySettings(yielding=draw(st.booleans()), moving=draw(st.booleans()))
    wished = given_.model_copy(update={"cluster": shape, "settings": own})
    return replace(situation_of(wished, far(shape)), fresh=draw(st.sampled_from((True, True, False))))


@st.composite
def candidates(draw: st.DrawFn, situation: Situation, i: SlotInput) -> Candidate:
    """Draw the fallback, or a plan and rows, the plan at once or later, also at a slot's begin."""
    from_s = draw(st.sampled_from((None, NOW_S, NOW_S + 12.5, NOW_S + 30.0, UNTIL_S)))
    return Candidate("any", draw(plans(situation.cluster)), draw(guides(i)), from_s)


def plain(found: Branched) -> Branched:
    """Return figures without who made them."""
    return replace(found, engine="reference")


@compiled
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_engines_mean_the_same_to_the_bit(data: st.DataObject) -> None:
    """Every figure of a branch is equal in every digit, from any situation, of any candidate, on any demand."""
    situation = data.draw(situations())
    slots = slot_input(situation.cluster, ()).model_copy(update={"slot": 8})
    candidate = data.draw(candidates(situation, slots))
    demand = data.draw(demands(situation.cluster))
    by_hand = brancher("reference")(situation, candidate, demand, UNTIL_S)
    fast = brancher("compiled")(situation, candidate, demand, UNTIL_S)
    assert (by_hand.engine, fast.engine) == ("reference", "compiled")
    assert plain(fast) == by_hand


@compiled
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_tables_that_are_used_again_leave_no_trace(data: st.DataObject) -> None:
    """A branch comes out the same whatever was played before it from the same situation."""
    situation = data.draw(situations())
    slots = slot_input(situation.cluster, ()).model_copy(update={"slot": 8})
    play = brancher("compiled")
    one, other = data.draw(candidates(situation, slots)), data.draw(candidates(situation, slots))
    few, many = sorted((data.draw(demands(situation.cluster)), data.draw(demands(situation.cluster))), key=len)
    first = play(situation, one, few, UNTIL_S)
    play(situation, other, many, UNTIL_S)
    assert play(situation, one, few, UNTIL_S) == first


@pytest.mark.parametrize("cut_s", [640.0, 905.0])
def test_a_branch_from_a_snapshot_is_near_to_what_becomes_of_the_run(cut_s: float) -> None:
    """The reference engine is cut at an instant; 2 minutes on with the same demand, means differ by less than 2 %.

    Who is present is rebuilt from W, K and counts, so that ages and sites are guesses. Seed 1: 0.0 % and 1.3 %.
    """
    subject = subject_of(scenario("city7-rotating"), 0.8, 1, 600.0, cut_s + 120.0)
    engine = engine_of(Game(subject, policy_at("marginal-dpp@fresh"), 1))
    engine.run(cut_s)
    here = situation_of(engine.asked(), subject.network)
    before = {one.number for one in engine.ended}
    starts, stops = len(engine.starts), len(engine.stops)
    demand = tuple(one for one in subject.demand() if one.at_s >= cut_s)
    foretold = brancher("auto")(here, Candidate("fallback"), demand, cut_s + 120.0)
    engine.run(cut_s + 120.0)
    left = [one for one in (*engine.ended, *engine.books.open.values()) if one.number not in before]
    outcomes = [Outcome(one.arrival.model, one.arrival.at_s, one.ended_at_s, one.fate) for one in left]
    stats = model_stats(outcomes, subject.cluster, Window(cut_s, cut_s + 120.0))
    became = branched(stats, len(engine.starts) - starts, len(engine.stops) - stops, "reference")
    assert (foretold.arrived, foretold.starts, foretold.stops) == (became.arrived, became.starts, became.stops)
    assert foretold.finished == pytest.approx(became.finished, abs=2)
    assert foretold.latency_s == pytest.approx(became.latency_s, rel=0.02)


def at_rest(**changes: object) -> Situation:
    """Return two nodes with a pod of m1 each: one runs a request with 1 s left and has two waiting, one drains."""
    shape = with_sites(cluster([node("n1"), node("n2")], [model("m1"), model("m2")]), 2)
    first = pod("m1", count=3, running=1, work_s=9.0, used_ago_s=3.0)
    last = pod("m1", "draining", count=2, running=1, work_s=6.0, used_ago_s=50.0)
    given_ = slot_input(
        shape,
        [view("n1", first), view("n2", last)],
        [asked("m1", ago_s=1.0), asked("m2", held=2, oldest_s=9.0, ago_s=4.0)],
        rates={"m1": 0.5},
        placement=placement(awake("n1", "m1"), awake("n2", stoppable=("m1",))),
    )
    return replace(situation_of(given_, far(shape)), **changes)  # type: ignore[arg-type]


def test_who_is_present_is_rebuilt_from_work_and_counts() -> None:
    """Who runs has what W leaves after those who wait; who waits for a draining pod is held; the oldest come first."""
    found = present(at_rest())
    assert [(one.model, one.node, one.running, one.left_s, NOW_S - one.entered_at_s) for one in found] == [
        ("m1", "n2", True, 2.0, 50.0),
        ("m2", None, False, 4.0, 9.0),
        ("m2", None, False, 4.0, 6.5),
        ("m1", "n1", True, 1.0, 5.0),
        ("m1", "n1", False, 4.0, 3.0),
        ("m1", "n1", False, 4.0, 1.0),
        ("m1", None, False, 4.0, 0.0),
    ]
    assert [one.site for one in found] == ["s1", "s2", "s1", "s2", "s1", "s2", "s1"]


def test_nobody_is_older_than_a_request_may_wait() -> None:
    """What is reported to be held for longer than the hold timeout is given up at once, not in the past."""
    short = PolicySettings(hold_timeout_s=8.0)
    here = at_rest(settings=short)
    assert max(NOW_S - one.entered_at_s for one in present(here)) == 8.0
    assert brancher("auto")(here, Candidate("fallback"), (), NOW_S + 1.0).arrived == 7


def test_a_language_models_plan_counts_as_the_neutral_one_until_a_candidates_own_acts() -> None:
    """The fallback keeps an operator's plan; a plan for later leaves what is in force until then."""
    mine, its = plan(), plan().model_copy(update={"source": "llm"})
    assert first_plan(at_rest(plan=mine), Candidate("fallback")) is mine
    assert first_plan(at_rest(plan=its), Candidate("fallback")) is None
    assert first_plan(at_rest(plan=mine), Candidate("one", its)) is its
    assert first_plan(at_rest(plan=mine), Candidate("one", its, from_s=NOW_S + 5.0)) is mine


def test_a_planners_input_is_a_situation_inside_a_slot() -> None:
    """Slots are counted as epochs are; what arrived since the slot's begin is what the rates expect."""
    here = at_rest()
    given_ = EpochInput(
        epoch=2,
        now_s=NOW_S,
        seed=4,
        settings=PolicySettings(slot_s=20.0, epoch_slots=5),
        cluster=here.cluster,
        snapshot=here.snapshot,
        parent=None,
        next_plan=1,
        decision="epoch-1",
        rates=(Rate(model="m1", per_s=0.5),),
        begins_at_s=NOW_S + 45.0,
    )
    found = situation_of(given_, here.network)
    assert (found.origin_s, found.state.slot, found.slot_begins) == (NOW_S - 155.0, 7, False)
    assert [one.arrived for one in found.snapshot.models] == [8, 0]  # 15 s of the slot at 0.5/s, rounded to even
    assert situation_of(given_.model_copy(update={"begins_at_s": None})).origin_s == 0.0


def row(zone: str) -> GuideRow:
    """Return a proposed row."""
    return GuideRow(zone=zone, model="m1", shares=(Share(node="n1", probability=1.0),))


@compiled
@pytest.mark.parametrize(
    ("changes", "candidate", "why"),
    [
        ({"policy": "dpp"}, Candidate("any"), "does not play dpp"),
        ({"settings": PolicySettings(route="sed")}, Candidate("any"), "route sed"),
        ({}, Candidate("any", guide=Guide(slot=8, rows=(row("s1"),), why="")), "rows of one zone"),
        (
            {"placement": placement(NodePlacement(node="n1", awake=(), stoppable=("m1",), forced=("m1",)))},
            Candidate("any"),
            "by force",
        ),
    ],
)
def test_what_the_compiled_core_does_not_know_the_reference_plays(
    changes: dict[str, object], candidate: Candidate, why: str
) -> None:
    """`auto` falls back, `compiled` is refused with the reason."""
    here = at_rest(**changes)
    assert brancher("auto")(here, candidate, (), NOW_S + 20.0).engine == "reference"
    with pytest.raises(InputError, match=why):
        brancher("compiled")(here, candidate, (), NOW_S + 20.0)


def test_the_objective_of_a_branch_has_all_its_terms() -> None:
    """Latency over the mean deadline, J', starts and stops over pods that could be, and what was not finished."""
    here = at_rest()
    found = brancher("reference")(here, Candidate("fallback"), (), NOW_S + 20.0)
    terms = objective_of(found, here.cluster, here.settings.weights)
    assert terms.latency == pytest.approx(0.5 * found.latency_s / 40.0)
    assert terms.fairness == pytest.approx(0.5 * (1.0 - found.fairness))
    assert terms.churn == pytest.approx(0.05 * found.churn / 4.0)
    assert terms.service == pytest.approx(0.5 * (1.0 - found.service))
    assert found.churn == 1  # m2 is asked for; the pod that drained stays, for nothing else needs its place
    empty = branched(model_stats((), here.cluster, Window(0.0, 1.0)), 0, 0, "reference")
    assert objective_of(empty, here.cluster, here.settings.weights).total == 0.0
