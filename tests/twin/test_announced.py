"""Notes in the twin: told in time, recognised as they come true, and no reason to act where they do not."""

import itertools
from dataclasses import replace

import pytest

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.contracts.plans import PlanDraft
from fairlead.policy.note_reading import told
from fairlead.studies.voicing import counsel_by
from fairlead.twin.announced import AHEAD_S, FIRST_S
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import WARM_UP_S, scenario
from fairlead.twin.subjects import subject_of

BEGINS_S = WARM_UP_S + FIRST_S


@pytest.mark.parametrize(
    "name",
    [
        "city7-event",
        "catalogue-roomy-event",
        "catalogue-roomy-rush",
        "catalogue-roomy-upgrade",
        "catalogue-roomy-switch",
    ],
)
def test_notes_say_what_comes_and_the_untrue_ones_the_same(name: str) -> None:
    """The code reads in their words the rates of the event; without it demand stays as it was."""
    chosen, untrue = scenario(name), scenario(f"{name}-untrue")
    shape = cluster(chosen.cluster, default_ports(chosen.cluster))
    notes = chosen.said(shape, 0.6, 3)
    assert untrue.said(shape, 0.6, 3) == notes
    usual, event = itertools.islice(chosen.spans(shape, 0.6, 3), 2)
    assert next(untrue.spans(shape, 0.6, 3)).rates == usual.rates
    first = notes[0]
    assert (
        (first.from_s, first.created_at_s) == (event.start_s, event.start_s - AHEAD_S) == (BEGINS_S, BEGINS_S - AHEAD_S)
    )
    before, after = dict(usual.rates), dict(event.rates)
    said = {one.model: one.rate(before[one.model], shape) for one in told(first.text, shape)}
    assert said
    for model, per_s in said.items():
        assert per_s == pytest.approx(after[model], rel=0.02, abs=1e-4)


def test_an_upgrade_changes_the_version_of_half_of_the_kinds_for_good() -> None:
    """What is asked for moves to the other model of its kind, in turn; after four of them all is as at first."""
    chosen = scenario("catalogue-roomy-upgrade")
    shape = cluster(chosen.cluster, default_ports(chosen.cluster))
    spans = [dict(span.rates) for span in itertools.islice(chosen.spans(shape, 0.6, 2), 5)]
    asked = [{model for model, rate in rates.items() if rate} for rates in spans]
    for before, after in itertools.pairwise(asked):
        assert (len(after), len(after - before)) == (8, 4)
        assert {model[:-1] for model in after} == {model[:-1] for model in before}
    assert not asked[0] & asked[2]
    assert spans[4] == spans[0]


def test_a_rush_brings_as_much_work_again_of_a_model_that_was_silent() -> None:
    """Beside the usual, which goes on; another model in each event."""
    chosen = scenario("catalogue-roomy-rush")
    shape = cluster(chosen.cluster, default_ports(chosen.cluster))
    work_s, speed = {m.id: m.work_s for m in shape.models}, sum(n.speed for n in shape.nodes)
    usual, *later = itertools.islice(chosen.spans(shape, 0.4, 1), 4)
    before, rushed = dict(usual.rates), []
    for event in later[::2]:
        more = {m: rate - before[m] for m, rate in event.rates if rate != before[m]}
        ((model, per_s),) = more.items()
        assert before[model] == 0.0
        assert per_s * work_s[model] / speed == pytest.approx(0.4)
        rushed.append(model)
    assert len({*rushed}) == 2


@pytest.mark.parametrize(
    ("name", "comes"), [("catalogue-roomy-switch", True), ("catalogue-roomy-switch-untrue", False)]
)
def test_a_plan_acts_on_a_note_once_it_comes_true(name: str, comes: bool) -> None:
    """Within half a minute of demand; where the twin refuses what rests on words alone, an untrue note does nothing."""

    def doubting(asked: SlotInput | EpochInput, judge: Judge, fresh: bool) -> Judgement:
        plan = PlanDraft.from_json(judge.proposal)
        assert isinstance(asked, EpochInput)
        seen = not plan.rates or (asked.forecast is not None and asked.forecast.regime != "")
        return Judgement(code="no-worse" if seen else "worse", text="as demand is seen")

    subject = subject_of(scenario(name), 0.6, 1)
    counsel = replace(counsel_by("newcomer", subject.cluster, 1), arbiter=doubting)
    engine = engine_of(Game(subject, policy_at("agents:newcomer@fresh"), 1, counsel=counsel))
    engine.run(BEGINS_S + 60.0)
    told_of = [
        (one.asked_at_s, one.acts)
        for one in engine.spoken
        if isinstance(one.held.advice.proposal, PlanDraft) and one.held.advice.proposal.rates
    ]
    if comes:
        assert [acts for _, acts in told_of] == [True]
        assert BEGINS_S < told_of[0][0] <= BEGINS_S + 30.0
    else:
        assert told_of == []
    ahead = [one for one in engine.spoken if any(step.code == "worse" for step in one.steps)]
    assert [BEGINS_S - 300.0 < one.asked_at_s < BEGINS_S for one in ahead] == [True]
