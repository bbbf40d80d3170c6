"""Agents by rule: they find in a prompt what stands there, say valid things, and use or abuse what they are told."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.contracts.plans import Guide
from fairlead.studies.voicing import counsel_by, learned, misled
from fairlead.twin.engine import Engine
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from fairlead.twin.talking import Spoken
from fairlead.twin.voices.reading import Cell, NodeLine, PlannerPrompt, SlotPrompt, Told, Unreadable, read
from fairlead.twin.voices.rules import (
    hostile_plan,
    hostile_rows,
    misread,
    mistaken,
    random_plan,
    random_rows,
    stand_in,
    steady,
)
from fairlead.twin.voices.speaking import VOICES, VoiceName

CITY7 = subject_of(scenario("city7-rotating"), 0.8, 3, warm_up_s=100.0, run_s=660.0)
CYCLE = subject_of(scenario("catalogue-roomy-cycle"), 0.6, 2, warm_up_s=100.0, run_s=2500.0)

PROMPT = PlannerPrompt(
    nodes=(
        NodeLine("n01", 6.0, ("m01",), 1.4),
        NodeLine("n02", 6.0, ("m02", "m03"), 1.0),
        NodeLine("n03", 10.0, (), 0.6),
    ),
    models=(("m01", 1.0), ("m02", 2.0), ("m03", 5.0)),
    grouped=False,
    per_minute=(("m01", 9.0), ("m02", 3.0), ("m03", 0.0)),
)

ROWS = SlotPrompt((("m01", (Cell("n01", 0.5, 0.0, True), Cell("n02", 0.3, 20.0, True), Cell("n03", 0.2, 0.0, False))),))


def agreeable(asked: SlotInput | EpochInput, proposal: Judge, fresh: bool) -> Judgement:
    """Let everything pass that has come so far."""
    return Judgement(code="no-worse", text="as a test has it")


def ran(voice: VoiceName, subject: Subject = CITY7) -> Engine:
    """Return a run in which this voice is asked, and no twin is in its way."""
    knowledge = None
    if subject is CYCLE:
        knowledge = learned(subject_of(scenario("catalogue-roomy-cycle"), 0.6, 77, run_s=14_400.0))
        knowledge = misled(knowledge) if voice == "placebo" else knowledge
    counsel = replace(counsel_by(voice, subject.cluster, 3), arbiter=agreeable)
    engine = engine_of(Game(subject, policy_at(f"agents:{voice}@fresh"), 3, counsel=counsel, knowledge=knowledge))
    engine.run(subject.window.end_at_s)
    return engine


def steps(one: Spoken) -> dict[str, str]:
    """Return the code of each rung that a dialogue came to."""
    return {step.name: step.code for step in one.steps}


def told(one: Told, at_s: float | None) -> PlannerPrompt:
    """Return a prompt that tells of one thing."""
    return replace(PROMPT, told=(replace(one, at_s=at_s),))


@pytest.mark.parametrize("voice", VOICES)
def test_every_voice_says_what_the_gates_before_the_twin_let_pass(voice: VoiceName) -> None:
    """Harm has to be done by valid words; rows drawn at random alone may be too far from the fallback's."""
    spoken = ran(voice).spoken
    assert {one.agent for one in spoken} >= {"planner"}
    assert all(steps(one)["schema"] == "ok" for one in spoken)
    plans = [one for one in spoken if one.agent == "planner"]
    assert all(steps(one).get("feasibility") == "ok" for one in plans)
    if voice != "random":
        assert all(one.acts for one in spoken)


@pytest.fixture(scope="module")
def through_changes() -> tuple[Spoken, ...]:
    """Return what the stand-in said in a run with two changes of regime."""
    return tuple(ran("stand-in", CYCLE).spoken)


def test_what_comes_is_told_at_its_time(through_changes: tuple[Spoken, ...]) -> None:
    """First the change is noticed and its regime recognised, the next one stands in the timetable."""
    told = [
        (one.asked_at_s, one) for one in through_changes if one.held.advice.proposal and rates_at_s(one) is not None
    ]
    noticed = [at_s for at_s, _ in told if 1200.0 <= at_s < 1260.0]
    ahead = [rates_at_s(one) for at_s, one in told if 2300.0 < at_s < 2400.0]
    assert noticed
    assert ahead == [2400.0]
    assert all(at_s >= 1200.0 for at_s, _ in told)


def test_a_placebo_is_told_another_regime_at_the_same_time(through_changes: tuple[Spoken, ...]) -> None:
    """Right about when, wrong about what."""
    right, wrong = (
        next(one.held.advice.proposal for one in spoken if rates_at_s(one) == 2400.0)
        for spoken in (through_changes, ran("placebo", CYCLE).spoken)
    )
    assert wrong != right


def rates_at_s(one: Spoken) -> float | None:
    """Return from when on the rates hold that a dialogue's proposal tells."""
    found = one.held.advice.proposal
    return getattr(found, "rates_at_s", None)


@pytest.mark.parametrize(
    ("one", "at_s", "expected"),
    [
        (Told("r2", (("m03", 5.0),), kept=3), 0.0, ("r2", 0)),
        (Told("r2", (("m03", 5.0),), kept=3), 61.4, ("r2", 61)),
        (Told("r2", (("m03", 5.0),), kept=3), -10.0, ("r2", 0)),
        (Told("r2", (("m03", 5.0),), kept=3), 300.0, None),
        (Told("r2", (("m03", 5.0),), kept=1, missed=1), 0.0, None),
        (Told("r1", (("m03", 5.0),), now=True), -30.0, ("r1", "now")),
        (Told("r1", (("m03", 5.0),), now=True), -200.0, None),
        (Told("r1", (("m03", 5.0),), now=True), None, None),
        (Told("o1", (("m03", 5.0),)), 30.0, ("o1", 30)),
        (Told("o1", ()), 30.0, None),
        (Told("c1", (("m03", 5.0),)), None, None),
    ],
)
def test_the_stand_in_expects_what_begins_within_the_epoch(
    one: Told, at_s: float | None, expected: tuple[str, int | Literal["now"]] | None
) -> None:
    """What comes later, is long known, or is as often missed as kept, is left to the counters."""
    reply = stand_in(told(one, at_s))
    assert (reply["rates_of"], reply["rates_at"]) == (expected or (None, "now"))
    assert all(wish["bias"] == 0 and wish["role"] == "generalist" for wish in reply["nodes"])


def test_a_placebo_tells_another_regime_than_the_one_that_has_begun() -> None:
    """Where it knows of none, it says nothing; what comes is wrong by its timetable already."""
    now = Told("r1", (("m03", 5.0),), at_s=-30.0, now=True)
    comes = Told("r2", (("m01", 5.0),), at_s=1200.0, kept=3)
    assert mistaken(replace(PROMPT, told=(now, comes)))["rates_of"] == "r2"
    assert mistaken(replace(PROMPT, told=(now,)))["rates_of"] is None
    assert mistaken(replace(PROMPT, told=(replace(comes, at_s=0.0),)))["rates_of"] == "r2"


def test_a_hostile_plan_drains_the_fastest_avoids_what_is_awake_and_warms_what_nobody_wants() -> None:
    """All of it within the limits that the prompt names."""
    prompt = replace(PROMPT, told=(Told("c1", (("m01", 9.0), ("m02", 3.0))), Told("c2", (("m03", 30.0),))))
    reply = hostile_plan(prompt)
    roles = {wish["node"]: wish["role"] for wish in reply["nodes"]}
    assert roles == {"n01": "drain", "n02": "specialist", "n03": "specialist"}
    assert {wish["node"]: wish["avoid"] for wish in reply["nodes"]}["n02"] == ["m02", "m03"]
    assert {said["model"]: said["priority"] for said in reply["models"]} == {"m01": 0, "m02": 4, "m03": 4}
    assert reply["rates_of"] == "c2"
    assert reply["warm"][0] == {"model": "m01", "node": "n02", "at": "now"}


def test_rows_go_where_a_voice_wants_them() -> None:
    """A tenth to where least waits; two tenths to where most does, or seems to."""
    assert steady(ROWS)["routes"]["*"]["m01"] == {"n01": 0.6, "n02": 0.3, "n03": 0.1}
    assert hostile_rows(ROWS)["routes"]["*"]["m01"] == {"n01": 0.3, "n02": 0.3, "n03": 0.4}
    lie = misread(ROWS)
    assert isinstance(lie, SlotPrompt)
    assert [cell.work_s for cell in lie.rows[0][1]] == [20.0, 0.0, 20.0]
    row = random_rows(ROWS, np.random.default_rng(1))["routes"]["*"]["m01"]
    assert sum(row.values()) == pytest.approx(1.0)


def test_misread_times_are_now_and_random_plans_are_drawn_again_alike() -> None:
    """What comes is said to come at once; equal streams say equal things."""
    lie = misread(told(Told("r2", (("m03", 5.0),), kept=3), 240.0))
    assert isinstance(lie, PlannerPrompt)
    assert [one.at_s for one in lie.told] == [0.0]
    first, second = (random_plan(lie, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != random_plan(lie, np.random.default_rng(8))


def test_a_poisoned_case_moves_nothing() -> None:
    """The twin finds that what it promises costs too much where it is a lie: the run is the fallback's to the bit."""
    counsel = counsel_by("poisoned", CITY7.cluster, 3)
    poisoned = engine_of(Game(CITY7, policy_at("agents:poisoned@fresh"), 3, counsel=counsel))
    plain = engine_of(Game(CITY7, policy_at("marginal-dpp@fresh"), 3))
    for engine in (poisoned, plain):
        engine.run(CITY7.window.end_at_s)
    assert {steps(one)["twin"] for one in poisoned.spoken} == {"worse"}
    ends = [[(one.number, one.node, one.ended_at_s) for one in engine.ended] for engine in (poisoned, plain)]
    assert ends[0] == ends[1]


def test_a_prompt_misread_moves_rows_no_further_than_they_are_trusted() -> None:
    """Whatever is read, a row stays within the bound, and a plan tilts within a factor of two."""
    spoken = ran("misread").spoken
    guides = [one.held.advice.proposal for one in spoken if isinstance(one.held.advice.proposal, Guide)]
    assert len(guides) > 5
    trusted = [step.text for one in spoken for step in one.steps if step.name == "trust" and step.ok]
    far = [float(found[1]) for text in trusted if (found := re.match(r"rows are at most ([0-9.]+) away", text))]
    assert len(far) == len(guides)
    assert max(far) <= 0.3


def test_what_is_no_prompt_of_ours_is_not_read() -> None:
    """It says what it missed."""
    with pytest.raises(Unreadable, match="no tables"):
        read("Good morning")
