"""The dialogue: which rungs of the ladder an answer takes, what is asked in turn, and who acts in the end."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.memory_judging import NO_WORSE
from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.dialogue import Answer, AnswerCode, Approval, Ask, Judge, Judgement, ModeName
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.policy.dialogue import NOT_JUDGED, Advice, Conversation, advise, discuss, hold, said_next, settled
from fairlead.policy.differences import CHANGES_MOST
from fairlead.policy.registry import decide_slot
from tests.policy.dialogues import (
    DEADLINE_S,
    RATES,
    SHAPE,
    agreeing,
    answer,
    briefing,
    case,
    codes,
    epoch_asked,
    large_slot_asked,
    opening,
    planner_reply,
    slot_asked,
    slot_reply,
    text_of,
    told,
)
from tests.policy.situations import awake, cluster, placement, slot_input, view

SLOT = opening(slot_asked())
EPOCH = epoch_asked()
CASES = (case(1, EPOCH, RATES), case(2, EPOCH, {}))
PLAN = opening(EPOCH, CASES)
GOOD = text_of(slot_reply(SLOT, 0.2))
GOOD_PLAN = text_of(planner_reply(PLAN))
PASSED = ["call:ok", "parse:ok", "schema:ok", "feasibility:ok", "trust:ok"]


def short(move: float) -> dict[str, Any]:
    """Return a slot reply whose rows do not sum to 1."""
    reply = slot_reply(SLOT)
    for row in reply["routes"]["*"].values():
        row[max(row, key=lambda n: row[n])] -= move
    return reply


def test_a_good_reply_passes_all_rungs_and_is_judged() -> None:
    """The twin is the last that is asked."""
    advice, heard = told(discuss(SLOT), [answer(GOOD)])
    assert codes(advice.steps) == [*PASSED, "twin:no-worse"]
    assert all(s.ok for s in advice.steps)
    assert isinstance(advice.proposal, Guide)
    assert [type(one) for one in heard] == [Ask, Judge]
    assert isinstance(heard[1], Judge)
    assert heard[1].agent == "slot-agent"
    assert Guide.from_json(heard[1].proposal) == advice.proposal
    assert any("large-text (zone *): edge-1 0.50 → 0.30" in line for line in advice.changes)
    assert advice.steps[4].text == "rows are at most 0.20 away from the fallback's, 0.30 is trusted"


def test_a_good_plan_says_its_cases_and_what_it_would_change() -> None:
    """Against the neutral plan, in words for a person."""
    advice, heard = told(discuss(PLAN), [answer(GOOD_PLAN)])
    assert codes(advice.steps) == [*PASSED, "twin:no-worse"]
    assert isinstance(advice.proposal, PlanDraft)
    assert isinstance(heard[1], Judge)
    assert (heard[1].agent, PlanDraft.from_json(heard[1].proposal)) == ("planner", advice.proposal)
    assert advice.cited == ("abc-1-1",)
    assert [s.case for s in advice.shown] == ["abc-1-1", "abc-2-1"]
    assert advice.changes[0] == "edge-1: specialist, prefers small-text, bias 2"
    assert "vision: priority 3, demand expected rising" in advice.changes
    assert "vision warm on edge-1 at 10020 s" in advice.changes
    assert "large-text: 0.1 requests a second expected" in advice.changes
    assert advice.steps[4].text == "intents are between 0.59 and 1.68"


def test_a_plan_outside_of_the_vocabulary_is_repaired_too() -> None:
    """And where nothing of a reply changes anything, nothing is told."""
    advice, _ = told(discuss(PLAN), [answer("{}"), answer(GOOD_PLAN)])
    assert codes(advice.steps)[:5] == ["call:ok", "parse:ok", "schema:schema", "repair:asked", "call:ok"]
    assert advice.proposal is not None
    short_of = text_of(planner_reply(PLAN, nodes=planner_reply(PLAN)["nodes"][:2]))
    advice, _ = told(discuss(PLAN), [answer(short_of), answer(GOOD_PLAN)])
    assert codes(advice.steps)[3:5] == ["feasibility:node-once", "repair:asked"]
    same, _ = told(discuss(SLOT), [answer(text_of(slot_reply(SLOT)))])
    assert (same.proposal is None, same.changes) == (False, ())


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("no", ["call:ok", "parse:not-json"]),
        ("[]", ["call:ok", "parse:not-an-object"]),
        ('{"why": NaN}', ["call:ok", "parse:not-finite"]),
        ('{"why": 1, "why": 2}', ["call:ok", "parse:duplicate-key"]),
        ('{"why": ' + "[" * 99 + "]" * 99 + "}", ["call:ok", "parse:too-deep"]),
        ("{}", ["call:ok", "parse:ok", "schema:schema"]),
        (text_of(short(0.2)), ["call:ok", "parse:ok", "schema:ok", "feasibility:row-sum"]),
        (text_of(slot_reply(SLOT, 0.6)), [*PASSED[:-1], "trust:outside"]),
    ],
)
def test_what_another_answer_could_mend_is_asked_once_more(text: str, steps: list[str]) -> None:
    """With the fault in aliases; the second answer has its own rungs, and there is no third."""
    advice, heard = told(discuss(SLOT), [answer(text), answer(GOOD)])
    assert codes(advice.steps) == [*steps, "repair:asked", *PASSED, "twin:no-worse"]
    assert advice.proposal is not None
    first, second = heard[0], heard[1]
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert (first.turn, second.turn) == ("first", "repair")
    asked = next(s for s in advice.steps if s.name == "repair")
    assert asked.text in second.user
    assert not any(one in asked.text for one in ("edge-", "text", "say-yes"))
    failed, _ = told(discuss(SLOT), [answer(text), answer(text)])
    assert codes(failed.steps) == [*steps, "repair:asked", *steps]
    assert (failed.proposal, failed.changes) == (None, ())


def test_nothing_is_asked_again_where_there_is_no_time_left() -> None:
    """A second answer is expected to take as long as the first."""
    half = DEADLINE_S / 2.0
    advice, heard = told(discuss(SLOT), [answer("no", took_s=half + 0.01)])
    assert codes(advice.steps) == ["call:ok", "parse:not-json", "repair:no-time"]
    assert advice.steps[-1].text == "the first answer took 9.01 of 18.00 s"
    assert len(heard) == 1
    advice, heard = told(discuss(SLOT), [answer("no", took_s=half), answer(GOOD)])
    assert len(heard) == 3


@pytest.mark.parametrize("code", ["late", "unreachable", "budget-tokens", "breaker-open", "diverged", "too-long"])
def test_a_call_that_fails_is_not_repaired(code: AnswerCode) -> None:
    """There is nothing to mend; its reason is on the ladder."""
    failed = answer(None, code).model_copy(update={"detail": "because"})
    advice, heard = told(discuss(SLOT), [failed])
    assert codes(advice.steps) == [f"call:{code}"]
    assert (advice.steps[0].ok, advice.steps[0].text) == (False, "because")
    assert len(heard) == 1
    advice, _ = told(discuss(SLOT), [answer("no"), failed])
    assert codes(advice.steps) == ["call:ok", "parse:not-json", "repair:asked", f"call:{code}"]


def test_a_proposal_that_the_twin_finds_worse_does_not_act() -> None:
    """And is not repaired; one that is no worse passes."""
    worse = Judgement(code="worse", text="costs 3 % more")
    advice, heard = told(discuss(SLOT), [answer(GOOD)], worse)
    assert codes(advice.steps)[-1] == "twin:worse"
    assert (advice.proposal, advice.steps[-1].ok, len(heard)) == (None, False, 2)
    assert advice.changes
    fine, _ = told(discuss(SLOT), [answer(GOOD)], Judgement(code="no-worse", text=""))
    assert fine.proposal is not None


def test_an_answer_is_never_taken_for_a_judgement_or_the_other_way_round() -> None:
    """A driver that mixes them up is a programming error."""
    talk = discuss(SLOT)
    said_next(talk, None)
    with pytest.raises(TypeError, match="send an Answer"):
        said_next(talk, NOT_JUDGED)
    talk = discuss(SLOT)
    said_next(talk, None)
    said_next(talk, answer(GOOD))
    with pytest.raises(TypeError, match="send a Judgement"):
        said_next(talk, answer(GOOD))


def test_nobody_is_asked_where_there_is_nothing_to_decide_about() -> None:
    """No node, no model, or no pod that could be routed to."""
    empty = slot_input(cluster([], []), [], trigger="slot")
    models = slot_input(cluster([], SHAPE.models), [], trigger="slot")
    for bare in (empty, models, epoch_asked(empty)):
        advice, heard = told(advise(briefing(bare)), [])
        assert (codes(advice.steps), heard) == (["absent:no-cluster"], [])
    dark = slot_input(SHAPE, [view(n.id, up=False) for n in SHAPE.nodes], trigger="slot", placement=placement())
    advice, heard = told(advise(briefing(dark)), [])
    assert (codes(advice.steps), heard) == (["absent:no-pods"], [])
    assert settled(advice, "auto", None, True) == (None, (*advice.steps, decide_slot(dark).steps[-1]))


def test_an_event_that_changes_nothing_can_be_asked_about_too() -> None:
    """Then the fallback's rows are those of the placement in force."""
    names = {n.node: [p.model for p in n.pods] for n in slot_asked().snapshot.nodes}
    there = placement(*(awake(n, *models) for n, models in names.items()))
    calm = slot_asked(trigger="event", placement=there)
    assert decide_slot(calm).table is None
    advice, heard = told(advise(briefing(calm)), [answer("no"), answer("no")])
    assert len(heard) == 2
    assert advice.proposal is None


def test_what_an_earlier_dialogue_brought_is_not_in_the_question() -> None:
    """The fallback that a reply is measured against is the fallback."""
    guided = slot_asked(guide=told(discuss(SLOT), [answer(GOOD)])[0].proposal, ladder=decide_slot(slot_asked()).steps)
    assert opening(guided).question.ask == SLOT.question.ask
    assert opening(guided).about == SLOT.about


def test_a_live_dialogue_and_one_in_a_test_are_the_same() -> None:
    """Driven with a model in memory: the same questions, the same advice; ids count the questions."""
    llm = MemoryLlm([Saying("no", took_s=3.0), Saying(GOOD, took_s=4.0)])
    held = asyncio.run(hold("slot-agent-8-1", advise(briefing(slot_asked())), llm, DEADLINE_S, agreeing))
    direct, heard = told(advise(briefing(slot_asked())), [e.answer for e in held.exchanges])
    assert held.advice == direct
    assert [e.id for e in held.exchanges] == ["slot-agent-8-1.1", "slot-agent-8-1.2"]
    assert [e.ask for e in held.exchanges] == [one for one in heard if isinstance(one, Ask)]
    assert held.judgements == (NO_WORSE,)


def test_where_nobody_judges_nothing_acts() -> None:
    """Nothing unproven may; the ladder says that there is no twin."""
    held = asyncio.run(hold("slot-agent-8-1", advise(briefing(slot_asked())), MemoryLlm([GOOD]), DEADLINE_S))
    assert held.judgements == (NOT_JUDGED,)
    assert held.advice.proposal is None
    assert codes(held.advice.steps)[-1] == "twin:not-judged"


class Listening:
    """A model that says no and remembers how much time it was given."""

    def __init__(self, took_s: float) -> None:
        self.given_s: list[float] = []
        self._took_s = took_s

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Say no."""
        self.given_s.append(deadline_s)
        return answer("no", took_s=self._took_s)

    def statuses(self) -> tuple[()]:
        """Return none."""
        return ()

    async def close(self) -> None:
        """Do nothing."""


def test_a_dialogue_is_not_over_while_a_question_is_open() -> None:
    """Who takes it for ended is told."""
    conversation = Conversation("slot-agent-8-1", advise(briefing(slot_asked())), DEADLINE_S)
    assert conversation.ask is not None
    with pytest.raises(TypeError, match="a question is open"):
        conversation.held()


def test_the_deadline_is_for_all_answers_together() -> None:
    """What the first took is not there for the second; no less than nothing is left."""
    slow = Listening(8.0)
    asyncio.run(hold("d", advise(briefing(slot_asked())), slow, DEADLINE_S))
    assert slow.given_s == [18.0, 10.0]
    over = Listening(8.0)
    asyncio.run(hold("d", advise(briefing(slot_asked())), over, 5.0))
    assert over.given_s == [5.0, 0.0]


ADVICE = told(discuss(SLOT), [answer(GOOD)])[0]
PLANNED = told(discuss(PLAN), [answer(GOOD_PLAN)])[0]
REJECTED = told(discuss(SLOT), [answer(None, "late")])[0]


def approval(said: str) -> Approval:
    """Return what a person said."""
    return Approval.model_validate({"answer": said, "by": "somebody", "at_s": 1.0})


@pytest.mark.parametrize(
    ("mode", "said", "in_time", "last"),
    [
        ("auto", None, True, ["mode:auto"]),
        ("auto", None, False, ["mode:slot-over", "fallback:ok"]),
        ("shadow", None, True, ["mode:shadow", "fallback:ok"]),
        ("off", None, True, ["mode:off", "fallback:ok"]),
        ("assist", "approved", True, ["approval:approved"]),
        ("assist", "approved", False, ["mode:slot-over", "fallback:ok"]),
        ("assist", "declined", True, ["approval:declined", "fallback:ok"]),
        ("assist", "expired", True, ["approval:expired", "fallback:ok"]),
        ("assist", None, True, ["approval:expired", "fallback:ok"]),
    ],
)
def test_who_acts_depends_on_the_mode_a_person_and_the_time(
    mode: ModeName, said: str | None, in_time: bool, last: list[str]
) -> None:
    """What has passed the gates acts only where it may."""
    proposal, steps = settled(ADVICE, mode, approval(said) if said else None, in_time)
    assert codes(steps) == [*codes(ADVICE.steps), *last]
    assert (proposal == ADVICE.proposal) == (len(last) == 1)
    assert (proposal is None) == (last[-1] == "fallback:ok")


def test_what_has_not_passed_the_gates_acts_in_no_mode() -> None:
    """The ladder ends with the fallback."""
    for mode in ("auto", "assist", "shadow", "off"):
        assert settled(REJECTED, mode, None, True) == (None, (*REJECTED.steps, decide_slot(slot_asked()).steps[-1]))
    assert codes(settled(PLANNED, "auto", None, False)[1])[-2:] == ["mode:epoch-over", "fallback:ok"]


@pytest.mark.parametrize(("mode", "last"), [("auto", "watchdog"), ("assist", "watchdog"), ("shadow", "mode")])
def test_what_the_watchdog_holds_back_does_not_act(mode: ModeName, last: str) -> None:
    """Whoever approved it; where nothing would act anyway the mode is the reason."""
    proposal, steps = settled(ADVICE, mode, approval("approved"), True, "backlog: too much waits")
    assert (proposal, steps[-2].name, steps[-1].code) == (None, last, "ok")
    assert last == "mode" or (steps[-2].code, steps[-2].text) == ("out-of-bounds", "backlog: too much waits")


def test_long_lists_of_changes_are_counted() -> None:
    """A person reads a hundred lines at most, none longer than a text may be."""
    shown = epoch_asked(large_slot_asked(150, 30))
    found = opening(shown)
    advice, _ = told(discuss(found), [answer(text_of(planner_reply(found))), answer("no")])
    assert advice.proposal is not None
    assert len(advice.changes) == CHANGES_MOST + 1
    assert advice.changes[-1].startswith("and ")
    crowd = opening(slot_input_with_one_model(60))
    moved, _ = told(discuss(crowd), [answer(text_of(slot_reply(crowd, 0.25))), answer("no")])
    assert all(len(line) <= 256 for line in moved.changes)
    assert moved.changes[0].endswith("…")


def slot_input_with_one_model(nodes: int) -> SlotInput:
    """Return a cluster in which one model has a pod on every node, half of them busy."""
    large = large_slot_asked(nodes, 1)
    views = tuple(
        n.model_copy(update={"pods": tuple(p.model_copy(update={"work_s": 4.0 * (k % 5)}) for p in n.pods)})
        for k, n in enumerate(large.snapshot.nodes)
    )
    rates = tuple(r.model_copy(update={"per_s": 5.0}) for r in large.state.rates)
    return large.model_copy(
        update={
            "snapshot": large.snapshot.model_copy(update={"nodes": views}),
            "state": large.state.model_copy(update={"rates": rates}),
        }
    )


@given(st.lists(st.text(max_size=200) | st.sampled_from([GOOD, GOOD_PLAN, GOOD[:-9], "{}"]), min_size=2, max_size=2))
def test_invariant_08_any_two_replies_end_in_an_advice(texts: list[str]) -> None:
    """Whatever they are: two questions at most, and a proposal only past every rung."""
    for found in (SLOT, PLAN):
        advice, heard = told(discuss(found), [answer(text) for text in texts])
        assert isinstance(advice, Advice)
        assert sum(isinstance(one, Ask) for one in heard) <= 2
        assert codes(advice.steps).count("call:ok") == sum(isinstance(one, Ask) for one in heard)
        if advice.proposal is not None:
            assert codes(advice.steps)[-6:] == [*PASSED, "twin:no-worse"]
