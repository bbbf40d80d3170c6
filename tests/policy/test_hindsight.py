"""A decision in hindsight: over which requests it is judged, what was expected of what acted, who was next."""

import pytest

from fairlead.adapters.store_rules import summary_of
from fairlead.contracts.cases import Advantage, ModelTally
from fairlead.contracts.decisions import DecisionRecord, Dialogue
from fairlead.contracts.dialogue import Judgement, Trial
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.plans import Source
from fairlead.policy.dialogue import Advice, advise
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.hindsight import account, case_of, measured, turned_out, window_s
from fairlead.policy.registry import decide_slot
from tests.adapters import store_examples as some
from tests.policy.dialogues import answer, briefing, epoch_asked, slot_asked, told
from tests.policy.remembering import case

MADE_S = 10_018.0
SLOT, EPOCH = slot_asked(), epoch_asked()


def judged(horizon_s: float = 120.0) -> Judgement:
    """Return what the twin said of a candidate in two worlds and of another."""
    trials = tuple(
        Trial(
            name=name, believed=believed, scenarios=8, objective=0.3, fallback=0.4, gain=gain, low=0.0, high=1.0,
            latency_s=9.0, fallback_latency_s=11.0,
        )
        for name, believed, gain in (("other-1", True, 0.5), ("other-1", False, 0.1), ("proposal", False, 0.05))
    )  # fmt: skip
    return Judgement(code="no-worse", text="", chosen="other-1", trials=trials, horizon_s=horizon_s, took_s=0.5)


def record(given: object, *, source: Source = "llm", judgement: Judgement | None = None) -> DecisionRecord:
    """Return a line of the journal; after a dialogue of one question where there is a judgement."""
    held = None
    if judgement is not None:
        brief = briefing(given)  # type: ignore[arg-type]
        advice, heard = told(advise(brief), [answer("no", took_s=10.0)])
        assert isinstance(advice, Advice)
        held = Dialogue.model_validate(
            {
                "id": "d-1", "asked": given, "settings": brief.settings, "prompt": "slot/1", "cases": (), "shown": (),
                "exchanges": ({"id": "d-1.1", "ask": heard[0], "answer": answer("no", took_s=10.0)},),
                "judgements": (judgement,), "mode": "auto", "approval": None, "in_time": True,
            }
        )  # fmt: skip
    is_slot = given is SLOT
    return DecisionRecord.model_validate(
        {
            "id": "one", "agent": "slot-agent" if is_slot else "planner", "kind": "slot" if is_slot else "epoch",
            "made_at_s": MADE_S, "took_s": 0.01, "source": source, "version": "0", "input": given,
            "output": decide_slot(SLOT) if is_slot else decide_epoch(EPOCH), "dialogue": held,
        }
    )  # fmt: skip


TALLY = ModelTally(model="m1", finished=3, timely=2, judged=3, ended=3, latency_sum_s=30.0, counted=4, cancelled=0)


def test_it_is_judged_by_what_arrives_as_long_as_the_twin_has_played_or_in_its_period() -> None:
    """A plan from its epoch's begin on, where that is still to come."""
    assert window_s(record(SLOT)) == (MADE_S, MADE_S + 30.0)
    assert EPOCH.begins_at_s == 10_020.0
    assert window_s(record(EPOCH)) == (10_020.0, 10_320.0)
    assert window_s(record(SLOT, judgement=judged())) == (MADE_S, SLOT.now_s + 120.0)
    assert window_s(record(SLOT, judgement=judged(0.0))) == (MADE_S, MADE_S + 30.0)


def test_what_acted_is_held_against_what_was_expected_of_it() -> None:
    """The proposal where it acts, else the fallback; the next best beside it; what it all cost."""
    acts = turned_out(record(SLOT, judgement=judged()), [TALLY, TALLY], MADE_S + 60.0, None)
    assert (acts.predicted_s, acts.judging_s, acts.questions, acts.seconds) == (9.0, 0.5, 1, 10.0)
    assert acts.chosen is not None
    assert acts.runner_up is not None
    assert (acts.acted, acts.chosen.gain, acts.runner_up.name) == ("other-1", 0.1, "proposal")
    assert acts.measured is not None
    assert (acts.measured.until_s, acts.measured.over) == (MADE_S + 60.0, False)
    assert (acts.measured.requests, acts.measured.latency_s) == (8, 7.5)
    assert (acts.measured.judged, acts.measured.timely) == (6, 4)
    shadow = turned_out(record(SLOT, source="fallback", judgement=judged()), [], MADE_S + 500.0, None)
    assert shadow.runner_up is not None
    assert (shadow.acted, shadow.runner_up.name, shadow.predicted_s) == ("fallback", "other-1", 11.0)
    assert shadow.measured is not None
    assert (shadow.measured.over, shadow.measured.latency_s) == (True, None)


@pytest.mark.parametrize(
    ("source", "gain", "runner_up"), [("llm", -0.05, None), ("fallback", -0.05, "proposal"), ("llm", 0.0, "other-1")]
)
def test_the_runner_up_is_the_best_of_what_did_not_act(source: Source, gain: float, runner_up: str | None) -> None:
    """That is the fallback where a candidate acted and the others are worse than it."""
    first, other = (t for t in judged().trials if not t.believed)
    first = first.model_copy(update={"name": "proposal"})
    other = other.model_copy(update={"name": "other-1", "gain": gain})
    said = judged().model_copy(update={"chosen": "proposal", "trials": (first, other)})
    found = turned_out(record(SLOT, source=source, judgement=said), [], MADE_S, None).runner_up
    assert (found.name if found is not None else None) == runner_up


def test_without_a_dialogue_nothing_was_expected_and_nothing_spent() -> None:
    """So too where the twin played nothing."""
    plain = turned_out(record(SLOT), [], MADE_S, None)
    assert (plain.chosen, plain.runner_up, plain.predicted_s, plain.questions) == (None, None, None, 0)
    assert plain.acted == "llm"  # rows that were accepted before in its slot
    idle = Judgement(code="no-worse", text="it changes nothing")
    assert turned_out(record(SLOT, judgement=idle), [], MADE_S, None).chosen is None


def test_a_plan_is_joined_with_the_case_that_it_became() -> None:
    """With what it was worth against the fallback; a slot's decision becomes none."""
    assert case_of(record(SLOT), "abc") is None
    assert case_of(record(EPOCH), "abc") == "abc-4-3"
    gain = Advantage(value=0.1, low=0.0, high=0.2, twin="reference 0")
    one = case(1).model_copy(update={"advantage": gain})
    found = turned_out(record(EPOCH), [], MADE_S, one)
    assert (found.case, found.realised, found.advantage) == (one.id, one.realised, gain)
    kept = PlanWorth(decision="epoch-3", case="abc-4-3", realised=one.realised, advantage=gain)
    forgotten = turned_out(record(EPOCH), [], MADE_S, kept)
    assert (forgotten.case, forgotten.realised, forgotten.advantage) == ("abc-4-3", one.realised, gain)


@pytest.mark.parametrize(("source", "made_by"), [("llm", "epoch-2"), ("operator", None)])
def test_a_slot_is_its_decisions_their_plan_and_what_its_dialogues_cost(source: Source, made_by: str | None) -> None:
    """Under no plan where none was in force; a late dialogue is about the slot that it was asked in."""
    one = record(SLOT, judgement=judged())
    plan = some.plan(2).model_copy(update={"source": source})
    planned = one.model_copy(update={"input": SLOT.model_copy(update={"plan": plan})})
    line = summary_of(one)
    worth = turned_out(one, [], MADE_S, None)
    came = measured((MADE_S, MADE_S + 30.0), [TALLY], MADE_S + 10.0)
    found = account(planned, [line], [worth, worth], came)
    assert (found.plan, found.plan_source, found.plan_decision) == (2, source, made_by)
    assert (found.slot, found.begins_at_s, found.ends_at_s) == (SLOT.slot, MADE_S, MADE_S + 30.0)
    assert (found.seconds, found.prompt_tokens) == (21.0, 2 * worth.prompt_tokens)
    bare = account(one, [line.model_copy(update={"about": None, "number": 7})], [], came)
    assert (bare.slot, bare.plan, bare.plan_source, bare.plan_decision, bare.measured) == (7, 0, None, None, came)
