"""Variations of a plan: what the code tries beside a proposal, and how the twin's choice among them acts."""

from dataclasses import replace

import pytest

from fairlead.contracts.dialogue import Ask, Judge, Judgement
from fairlead.contracts.plans import Guide, Intent, ModelPriority, PlanDraft, Rate, Warm
from fairlead.contracts.tuning import GateSettings, PolicySettings
from fairlead.policy.dialogue import Opening, discuss
from fairlead.policy.differences import guide_changes
from fairlead.policy.epoch import check, neutral
from fairlead.policy.slot_gate import furthest
from fairlead.policy.variations import varied
from fairlead.policy.weighing import RouteTopic
from tests.policy.dialogues import (
    SHAPE,
    answer,
    codes,
    epoch_asked,
    opening,
    planner_reply,
    slot_asked,
    slot_reply,
    text_of,
    told,
)

DRAFT = PlanDraft(
    intents=(
        Intent(node="a", role="specialist", prefer=("x",), avoid=(), bias=4),
        Intent(node="b", role="drain", prefer=(), avoid=(), bias=2),
        Intent(node="c", role="generalist", prefer=(), avoid=("y",), bias=0),
    ),
    priorities=(
        ModelPriority(model="x", priority=4, expected="rising"),
        ModelPriority(model="y", priority=2, expected="same"),
        ModelPriority(model="z", priority=0, expected="same"),
    ),
    warm=(Warm(model="x", node="a", at_s=30.0),),
    why="",
    rates=(Rate(model="x", per_s=1.0),),
)


def test_each_part_of_a_plan_is_tried_without_and_its_tilt_one_step_milder_and_bolder() -> None:
    """Bias and priority stay within their levels, and nodes that prefer nothing are not tilted."""
    made = {one.words: one.draft for one in varied(DRAFT)}
    assert list(made) == ["without warming", "without preferences", "without expectations", "milder", "bolder"]
    assert made["without warming"] == DRAFT.model_copy(update={"warm": ()})
    plain = made["without preferences"]
    assert {(i.role, i.prefer, i.avoid, i.bias) for i in plain.intents} == {("generalist", (), (), 0)}
    assert [p.priority for p in plain.priorities] == [2, 2, 2]
    assert (plain.warm, plain.rates) == (DRAFT.warm, DRAFT.rates)
    assert made["without expectations"].rates == ()
    assert {p.expected for p in made["without expectations"].priorities} == {"same"}
    assert [i.bias for i in made["milder"].intents] == [3, 2, 0]
    assert [p.priority for p in made["milder"].priorities] == [3, 2, 1]
    assert [i.bias for i in made["bolder"].intents] == [4, 2, 1]


def test_a_plan_that_says_nothing_has_no_variations_and_none_stands_twice() -> None:
    """Of two that are equal the first stays."""
    assert varied(neutral(SHAPE)) == ()
    told_only = DRAFT.model_copy(update={"intents": (), "priorities": (), "warm": ()})
    assert [one.words for one in varied(told_only)] == ["without expectations"]


def test_variations_fit_where_the_plan_does() -> None:
    """The gates before the twin need not be passed again."""
    found = opening(epoch_asked())
    advice, heard = told(discuss(found), [answer(text_of(planner_reply(found)))])
    judge = heard[-1]
    assert isinstance(judge, Judge)
    asked = found.briefing.asked
    for text in (judge.proposal, *judge.others):
        assert check(PlanDraft.from_json(text), asked.cluster, asked.snapshot) == ()
    assert len(judge.others) >= 3
    assert advice.proposal is not None


def test_the_candidate_that_the_twin_chose_acts_and_is_what_people_read() -> None:
    """With what it would change and how it differs from the model's own."""
    found = opening(epoch_asked())
    chosen = Judgement(code="no-worse", text="gain 0.1", chosen="other-1")
    advice, heard = told(discuss(found), [answer(text_of(planner_reply(found)))], chosen)
    judge = heard[-1]
    assert isinstance(judge, Judge)
    assert isinstance(advice.proposal, PlanDraft)
    assert advice.proposal.to_json() == judge.others[0]
    assert advice.steps[-1].text == "without warming; gain 0.1"
    assert not any("warm on" in line for line in advice.changes)


def asking(found: Opening, proposals: int, gate: GateSettings | None = None) -> Opening:
    """Return the same opening with so many proposals asked for."""
    briefing = found.briefing
    asked = briefing.asked
    if gate is not None:
        asked = asked.model_copy(update={"settings": PolicySettings(gate=gate)})
    settings = briefing.settings.model_copy(update={"proposals": proposals})
    return replace(found, briefing=replace(briefing, asked=asked, settings=settings))


def test_further_proposals_are_asked_for_while_time_lasts_and_bad_ones_are_passed_over() -> None:
    """Each question is another one; the first proposal stays the first, what is not valid is not tried."""
    found = asking(opening(epoch_asked()), 4, GateSettings(variations=False))
    second = planner_reply(found, warm=[])
    answers = [answer(text_of(planner_reply(found))), answer("no"), answer(text_of(second), took_s=8.0)]
    advice, heard = told(discuss(found), answers)
    asks = [one for one in heard if isinstance(one, Ask)]
    assert [ask.turn for ask in asks] == ["first", "another", "another"]  # 6 s are left, the slowest took 8
    assert len({ask.user for ask in asks}) == 3
    assert [ask.sampling.temperature for ask in asks] == [0.0, 0.8, 0.8]
    judge = heard[-1]
    assert isinstance(judge, Judge)
    assert len(judge.others) == 1
    assert PlanDraft.from_json(judge.others[0]).warm == ()
    assert codes(advice.steps)[0] == "call:ok"


@pytest.mark.parametrize("code", ["worse", "late", "absent", "wrong", "no-time"])
def test_nothing_acts_that_the_twin_has_not_found_no_worse(code: str) -> None:
    """Also where it was late, absent, wrong or without time."""
    found = opening(slot_asked())
    judgement = Judgement.model_validate({"code": code, "text": "so it is"})
    advice, heard = told(discuss(found), [answer(text_of(slot_reply(found)))], judgement)
    assert advice.proposal is None
    assert codes(advice.steps)[-1] == f"twin:{code}"
    assert isinstance(heard[-1], Judge)


def test_rows_are_tried_half_way_to_the_fallbacks_too() -> None:
    """Which acts, and is what people read, where the twin chose it."""
    found = opening(slot_asked())
    chosen = Judgement(code="no-worse", text="gain 0.1", chosen="other-1")
    advice, heard = told(discuss(found), [answer(text_of(slot_reply(found, 0.2)))], chosen)
    judge, about = heard[-1], found.about
    assert isinstance(judge, Judge)
    assert isinstance(about, RouteTopic)
    (other,) = judge.others
    guide, milder = Guide.from_json(judge.proposal), Guide.from_json(other)
    assert furthest(guide, about.table) > 0.0
    assert furthest(milder, about.table) == pytest.approx(0.5 * furthest(guide, about.table))
    assert advice.proposal == milder
    assert advice.changes == guide_changes(milder, about.table)
    assert advice.steps[-1].text == "half-way to the fallback's rows; gain 0.1"


def test_rows_of_the_fallback_itself_and_without_variations_are_tried_alone() -> None:
    """There is nothing between two equal rows."""
    found = opening(slot_asked())
    moved, own = slot_reply(found, 0.2), slot_reply(found)
    for reply, gate, others in ((moved, None, 1), (moved, GateSettings(variations=False), 0), (own, None, 0)):
        _, heard = told(discuss(asking(found, 1, gate)), [answer(text_of(reply))])
        judge = heard[-1]
        assert isinstance(judge, Judge)
        assert len(judge.others) == others
