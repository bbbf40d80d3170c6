"""Agents that ask a language model in virtual time: who decides when, and that the fallback is never waited for."""

from dataclasses import replace
from typing import Literal

import pytest

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Answer, Ask, Judge, Judgement
from fairlead.contracts.errors import InputError
from fairlead.contracts.settings import LlmSettings
from fairlead.studies.asking import counsel_of, taking
from fairlead.twin.engine import Engine
from fairlead.twin.play import Figures, Game, engine_of, play, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of
from fairlead.twin.talking import Asker, Counsel, talk_figures
from testbed.scripted_counsel import scripted

SUBJECT = subject_of(scenario("city7-rotating"), 0.8, 3, warm_up_s=200.0, run_s=900.0)
SLOTS = 30


def agreeing(asked: SlotInput | EpochInput, judge: Judge, fresh: bool) -> Judgement:
    """Find everything no worse."""
    return Judgement(code="no-worse", text="a test")


def refusing(asked: SlotInput | EpochInput, judge: Judge, fresh: bool) -> Judgement:
    """Find everything worse."""
    return Judgement(code="worse", text="a test")


def counsel(ask: Asker, mode: Literal["auto", "shadow"] = "auto") -> Counsel:
    """Return how agents ask."""
    return counsel_of(LlmSettings(), ask, mode, "a test", agreeing)


def ran(ask: Asker, mode: Literal["auto", "shadow"] = "auto") -> Engine:
    """Return a run of three epochs that is over."""
    engine = engine_of(Game(SUBJECT, policy_at("agents@fresh"), 3, counsel=counsel(ask, mode)))
    engine.run(SUBJECT.window.end_at_s)
    return engine


def same(one: Figures, other: Figures) -> bool:
    """Tell whether runs differ by no more than a table that is written once more inside each slot."""
    means = (one.latency_s.mean, other.latency_s.mean)
    return (one.arrived, one.starts_per_hour) == (other.arrived, other.starts_per_hour) and means[0] == pytest.approx(
        means[1], rel=0.01
    )


@pytest.mark.parametrize(("at", "fresh"), [("agents@fresh", True), ("agents@5s", False)])
def test_the_twin_judges_with_what_the_run_knows_and_when(at: str, fresh: bool) -> None:
    """State on change or every few seconds: what it foretells differs by several percent."""
    told = []

    def heard(asked: SlotInput | EpochInput, judge: Judge, known: bool) -> Judgement:
        told.append(known)
        return Judgement(code="worse", text="a test")

    asking = counsel_of(LlmSettings(), scripted("good=1", 1, 2.0), "shadow", "a test", heard)
    engine_of(Game(SUBJECT, policy_at(at), 3, counsel=asking)).run(100.0)
    assert set(told) == {fresh}


def test_each_slot_and_each_epoch_is_asked_about_once() -> None:
    """The planner about the first epoch while it runs and about each next one ahead; latencies are virtual."""
    spoken = ran(scripted("good=1", 1, 2.0)).spoken
    assert [one.asked_at_s for one in spoken if one.agent == "slot-agent"] == [30.0 * k for k in range(SLOTS)]
    planned = [one.asked_at_s for one in spoken if one.agent == "planner"]
    assert planned == [18.0, 258.0, 558.0, 660.0, 858.0]  # a minute after demand has changed, too
    assert {one.took_s for one in spoken} == {3.0}  # a second of it the twin's
    assert all(one.acts for one in spoken if one.agent == "planner")
    figures = talk_figures(spoken)
    assert (figures.dialogues, figures.questions) == (SLOTS + 5, SLOTS + 5)
    assert (figures.unanswered, figures.malformed) == (0, 0)
    assert figures.tokens > 10_000


@pytest.mark.parametrize("mix", ["bad=1", "good=0.5,bad=0.5"])
def test_what_is_judged_only_leaves_the_fallback_alone(mix: str) -> None:
    """In shadow no proposal acts, whatever it says; each dialogue ends in the fallback's table as of that instant."""
    without = play(Game(SUBJECT, policy_at("marginal-dpp@fresh"), 3), lambda share: None)
    shadowed = play(
        Game(SUBJECT, policy_at("agents@fresh"), 3, counsel=counsel(scripted(mix, 1, 1.0), "shadow")),
        lambda share: None,
    )
    assert same(shadowed.figures, without.figures)
    assert shadowed.talks is not None
    assert shadowed.talks.acting == 0
    assert without.talks is None


def test_a_model_that_is_always_late_leaves_the_fallback_alone() -> None:
    """It takes longer than any deadline: each question has waited for all of its own."""
    late = ran(taking(scripted("good=1", 1, 0.0), 25.0))
    assert {one.held.exchanges[0].answer.code for one in late.spoken} == {"late"}
    assert {one.took_s for one in late.spoken} == {18.0}
    without = play(Game(SUBJECT, policy_at("marginal-dpp@fresh"), 3), lambda share: None)
    figures = play(
        Game(SUBJECT, policy_at("agents@fresh"), 3, counsel=counsel(taking(scripted("good=1", 1, 0.0), 25.0))),
        lambda share: None,
    ).figures
    assert same(figures, without.figures)


def test_equal_answers_give_equal_runs() -> None:
    """What acted changes where requests go, and the same again gives the same."""
    first, second = ran(scripted("good=1", 1, 2.0)), ran(scripted("good=1", 1, 2.0))
    ends = [(one.number, one.node, one.ended_at_s) for one in first.ended]
    assert ends == [(one.number, one.node, one.ended_at_s) for one in second.ended]
    plain = engine_of(Game(SUBJECT, policy_at("marginal-dpp@fresh"), 3))
    plain.run(SUBJECT.window.end_at_s)
    assert ends != [(one.number, one.node, one.ended_at_s) for one in plain.ended]


def test_a_model_that_fails_is_an_answer_too() -> None:
    """No reply is a proposal; the fallback goes on."""

    def broken(ask: Ask, name: str, deadline_s: float) -> Answer:
        return scripted("reset=1", 1, 0.5)(ask, name, deadline_s)

    figures = talk_figures(ran(broken).spoken)
    assert figures.unanswered == figures.questions == figures.dialogues
    assert figures.acting == 0


def test_agents_without_a_model_and_a_model_without_agents_are_refused() -> None:
    """With what to do."""
    game = Game(SUBJECT, policy_at("agents@fresh"), 3)
    with pytest.raises(InputError, match="--llm"):
        engine_of(game)
    with pytest.raises(InputError, match="agents and nobody else"):
        engine_of(replace(game, policy=policy_at("lru@fresh"), counsel=counsel(scripted("good=1", 1, 1.0))))
