"""Slot decisions with a guide: which of its rows steer the table, and what the ladder says of it."""

from typing import Any

import pytest

from fairlead.contracts.decisions import SlotDecision, SlotInput, Step
from fairlead.contracts.plans import Guide, GuideRow, Row, Share
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.guiding import steered
from fairlead.policy.ladder import FALLBACK
from fairlead.policy.registry import decide_slot
from tests.policy.dialogues import codes
from tests.policy.situations import (
    asked,
    awake,
    cluster,
    model,
    node,
    override,
    placement,
    pod,
    rules,
    slot_input,
    view,
)

SHAPE = cluster([node("n1"), node("n2"), node("n3")], [model("m1"), model("m2"), model("m3")])
VIEWS = (view("n1", pod("m1"), pod("m2")), view("n2", pod("m1")), view("n3"))
IN_FORCE = placement(awake("n1", "m1", "m2"), awake("n2", "m1"), awake("n3"), generation=4)
ACCEPTED = (Step(name="call", ok=True, code="ok", text=""), Step(name="mode", ok=True, code="auto", text=""))


def advice(**changes: Any) -> SlotInput:
    """Return the input of a decision after a dialogue about slot 8."""
    given = slot_input(SHAPE, VIEWS, [asked("m1", arrived=3)], rates={"m1": 0.2, "m2": 0.05}, placement=IN_FORCE)
    return given.model_copy(update={"trigger": "advice", "llm": "answered", **changes})


def row(name: str, found: dict[str, float], zone: str = "*") -> GuideRow:
    """Return a proposed row."""
    shares = tuple(Share(node=n, probability=p) for n, p in found.items())
    return GuideRow(zone=zone, model=name, shares=shares)


def guide(*rows: GuideRow, slot: int = 8) -> Guide:
    """Return a guide."""
    return Guide(slot=slot, rows=rows, why="")


def table_rows(decision: SlotDecision) -> dict[tuple[str, str], Row]:
    """Return the rows of the table; there is one."""
    assert decision.table is not None
    return {(r.zone, r.model): r for r in decision.table.rows}


def chances(found: Row) -> dict[str, float]:
    """Return the probabilities of a row."""
    return {s.node: round(s.probability, 9) for s in found.shares}


def test_advice_is_a_table_alone_for_the_placement_in_force() -> None:
    """Nothing is placed and no rate is learned; without a guide it is the fallback's, computed afresh."""
    given = advice()
    decision = decide_slot(given)
    assert decision.placement is None
    assert decision.table is not None
    assert (decision.table.generation, decision.table.placement_generation) == (5, 4)
    assert decision.table.source == "fallback"
    assert decision.state == given.state
    assert decision.prices == ()
    assert set(table_rows(decision)) == {("*", "m1"), ("*", "m2")}
    assert codes(decision.steps) == ["absent:answered", "fallback:ok"]


def test_advice_has_a_table_even_before_anything_was_placed() -> None:
    """Of the pods that are there."""
    decision = decide_slot(advice(placement=None))
    assert decision.table is not None
    assert decision.table.placement_generation == 0
    assert set(table_rows(decision)) == {("*", "m1"), ("*", "m2")}


def test_advice_follows_the_placement_in_force_not_the_overrides_since() -> None:
    """What it lets go has no row, what it starts soon enough has one; a pin waits for the next event."""
    changed = placement(awake("n1", "m2", stoppable=("m1",)), awake("n2", "m1"), awake("n3", "m3"))
    decision = decide_slot(advice(placement=changed, overrides=(override("n3", "m1", "pin"),)))
    found = table_rows(decision)
    assert set(chances(found["*", "m1"])) == {"n2"}
    assert set(chances(found["*", "m3"])) == {"n3"}


def test_guided_rows_stand_in_the_place_of_the_fallbacks() -> None:
    """With their soft prior; the others stay as they are, the ladder is the dialogue's."""
    plain = table_rows(decide_slot(advice()))
    own = chances(plain["*", "m1"])
    moved = {"n1": own["n1"] + 0.1, "n2": own["n2"] - 0.1}
    decision = decide_slot(advice(guide=guide(row("m1", moved)), ladder=ACCEPTED))
    assert decision.table is not None
    assert decision.table.source == "llm"
    found = table_rows(decision)
    assert chances(found["*", "m1"]) == pytest.approx(moved)
    assert (found["*", "m1"].rule, found["*", "m1"].prior_weight_s) == ("marginal", 1.0)
    assert found["*", "m2"] == plain["*", "m2"]
    assert decision.steps == ACCEPTED
    assert rules(decision) == []


def test_rows_that_no_longer_fit_fall_back_one_by_one_with_a_reason() -> None:
    """A model without pods, a row without a node left, one too far from the fallback's of now."""
    own = chances(table_rows(decide_slot(advice()))["*", "m1"])
    gone = guide(row("m3", {"n1": 1.0}), row("m2", {"n2": 0.5, "n3": 0.5}), row("m1", own))
    decision = decide_slot(advice(guide=gone, ladder=ACCEPTED))
    assert [(r.rule, r.model, r.text) for r in decision.reasons] == [
        ("guide-dropped", "m3", "zone *: the model has no pod any more"),
        ("guide-dropped", "m2", "zone *: none of the nodes of the row has a pod any more"),
    ]
    assert decision.table is not None
    assert decision.table.source == "llm"
    far = decide_slot(advice(guide=guide(row("m1", {"n1": 1.0, "n2": 0.0})), ladder=ACCEPTED))
    assert rules(far, "guide-dropped")[0].text == "zone *: 0.62 away from the fallback's of now, 0.30 is trusted"


def test_where_no_row_fits_any_more_the_fallback_acts_and_the_ladder_says_so() -> None:
    """Behind the rungs of the dialogue."""
    decision = decide_slot(advice(guide=guide(row("m3", {"n1": 1.0})), ladder=ACCEPTED))
    assert decision.table is not None
    assert decision.table.source == "fallback"
    assert codes(decision.steps) == ["call:ok", "mode:auto", "feasibility:no-rows", "fallback:ok"]


def test_a_rejected_dialogue_leaves_the_fallback_and_its_ladder() -> None:
    """The decision is the same as without a model."""
    rejected = (Step(name="parse", ok=False, code="not-json", text=""), FALLBACK)
    decision = decide_slot(advice(ladder=rejected))
    assert decision.steps == rejected
    assert decision.table == decide_slot(advice()).table


def test_events_later_in_the_slot_carry_the_guide_along() -> None:
    """Each decision checks the rows anew; a slot's own decision too, if it comes after a restart."""
    own = chances(table_rows(decide_slot(advice()))["*", "m1"])
    held = advice().snapshot.model_copy(
        update={"models": (asked("m1", arrived=3), asked("m3", held=1, oldest_s=0.5, ago_s=0.5))}
    )
    for trigger in ("event", "slot"):
        given = advice(trigger=trigger, snapshot=held, guide=guide(row("m1", own)), llm="asked")
        decision = decide_slot(given)
        assert decision.placement is not None
        assert decision.table is not None
        assert decision.table.source == "llm"
        assert codes(decision.steps) == ["absent:asked", "mode:guided"]
    quiet = decide_slot(advice(trigger="event", guide=guide(row("m1", own)), llm="asked"))
    assert (quiet.placement, quiet.table) == (None, None)


def test_a_guide_of_another_slot_steers_nothing() -> None:
    """It ends with its slot."""
    own = chances(table_rows(decide_slot(advice()))["*", "m1"])
    decision = decide_slot(advice(guide=guide(row("m1", own), slot=7)))
    assert decision.table is not None
    assert decision.table.source == "fallback"


@pytest.mark.parametrize("policy", ["random-static", "round-robin", "least-loaded-slot", "sed-static", "lru", "dpp"])
def test_baselines_take_no_advice(policy: str) -> None:
    """They are what an agent is compared with."""
    own = chances(table_rows(decide_slot(advice()))["*", "m1"])
    plain = advice(policy=policy, llm="baseline")
    decision = decide_slot(plain.model_copy(update={"guide": guide(row("m1", own))}))
    assert decision.table == decide_slot(plain).table
    assert codes(decision.steps) == ["absent:baseline", "fallback:ok"]


def test_an_unknown_reason_of_absence_has_no_words() -> None:
    """The code stays."""
    assert decide_slot(advice(llm="holiday")).steps[0] == Step(name="absent", ok=False, code="holiday", text="")
    assert decide_slot(advice(llm="no-llm")).steps[0].text == "no model is configured for the slot agent"


def own_row(name: str, zone: str = "*", **found: float) -> Row:
    """Return a row of the fallback's."""
    shares = tuple(Share(node=n, probability=p) for n, p in found.items())
    return Row(zone=zone, model=name, rule="marginal", prior_weight_s=0.0, explore=0.0, shares=shares)


def test_a_pod_that_came_since_joins_with_the_rows_smallest_share() -> None:
    """As at a gateway; a node that the row gives nothing gets nothing."""
    rows = (own_row("m1", n1=0.5, n2=0.3, n3=0.2),)
    found = steered(rows, guide(row("m1", {"n1": 0.75, "n2": 0.25})), PolicySettings())
    assert chances(found.rows[0]) == {"n1": 0.6, "n2": 0.2, "n3": 0.2}
    zero = steered(rows, guide(row("m1", {"n1": 0.75, "n2": 0.25, "n3": 0.0})), PolicySettings())
    assert chances(zero.rows[0]) == {"n1": 0.75, "n2": 0.25, "n3": 0.0}


def test_a_row_outside_the_trust_region_of_now_is_dropped() -> None:
    """0.3 is inside, more is not."""
    rows = (own_row("m1", n1=0.5, n2=0.5),)
    assert steered(rows, guide(row("m1", {"n1": 0.8, "n2": 0.2})), PolicySettings()).guided == 1
    found = steered(rows, guide(row("m1", {"n1": 0.81, "n2": 0.19})), PolicySettings())
    assert found.rows == rows
    assert [r.text for r in found.reasons] == ["zone *: 0.31 away from the fallback's of now, 0.30 is trusted"]


def test_a_row_of_a_zone_stands_beside_the_one_for_all() -> None:
    """Measured against the zone's own row where the fallback has one."""
    rows = (own_row("m1", n1=0.5, n2=0.5), own_row("m2", n1=1.0))
    found = steered(
        rows,
        guide(row("m2", {"n1": 1.0}, zone="north"), row("m1", {"n1": 0.6, "n2": 0.4}, zone="north")),
        PolicySettings(),
    )
    assert [(r.zone, r.model, r.prior_weight_s) for r in found.rows] == [
        ("*", "m1", 0.0),
        ("north", "m1", 1.0),
        ("*", "m2", 0.0),
        ("north", "m2", 1.0),
    ]
    again = steered(found.rows, guide(row("m1", {"n1": 0.8, "n2": 0.2}, zone="north")), PolicySettings())
    assert again.guided == 1
    assert chances(again.rows[1]) == {"n1": 0.8, "n2": 0.2}
