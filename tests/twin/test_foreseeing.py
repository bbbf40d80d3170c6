"""Forecasts in virtual time: who is told them, who decides by them, and what wakes the planner early."""

from dataclasses import replace

from fairlead.contracts.dialogue import Judgement
from fairlead.contracts.forecasts import Knowledge, Regime
from fairlead.contracts.plans import Rate
from fairlead.contracts.settings import LlmSettings
from fairlead.studies.asking import counsel_of
from fairlead.twin.calendar import NodeLost
from fairlead.twin.engine import Engine
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from testbed.scripted_counsel import scripted

STEADY = subject_of(scenario("city7-stationary"), 0.6, 3, warm_up_s=200.0, run_s=700.0)
TURNING = subject_of(scenario("city7-rotating"), 0.6, 3, warm_up_s=100.0, run_s=270.0)

CATALOGUE = subject_of(scenario("catalogue-roomy"), 0.6, 3, warm_up_s=200.0, run_s=750.0)


def asking(subject: Subject, knowledge: Knowledge | None = None) -> Engine:
    """Return a run that is over, whose agents ask somebody to whom nobody listens."""
    counsel = counsel_of(
        LlmSettings(), scripted("good=1", 1, 2.0), "shadow", "a test", lambda *_: Judgement(code="worse", text="")
    )
    engine = engine_of(Game(subject, policy_at("agents@fresh"), 3, counsel=counsel, knowledge=knowledge))
    engine.run(subject.window.end_at_s)
    return engine


def planned(engine: Engine) -> list[float]:
    """Return when the planner asked."""
    return [one.asked_at_s for one in engine.spoken if one.agent == "planner"]


def told(engine: Engine, at_s: float) -> str:
    """Return what the planner was told of the forecast then."""
    one = next(s for s in engine.spoken if s.agent == "planner" and s.asked_at_s == at_s)
    return one.held.exchanges[0].ask.user.split("Forecast", 1)[1].split("\n\n", 1)[0]


def test_while_nothing_changes_the_planner_asks_at_its_times() -> None:
    """Once about the epoch that runs first, and ahead of each other one."""
    assert planned(asking(STEADY)) == [18.0, 258.0, 558.0]


def test_a_lost_node_wakes_the_planner() -> None:
    """Once its silence is noticed, three reports later; not for what comes soon after."""
    lost = replace(STEADY, mishaps=((300.0, NodeLost("node-3")),))
    times = planned(asking(lost))
    early = [at_s for at_s in times if at_s not in (18.0, 258.0, 558.0)]
    assert len(early) == 1
    assert 300.0 < early[0] <= 330.0


def test_the_planner_is_told_the_regime_that_is_recognised() -> None:
    """One that was learned before and begins now, with its rates, is recognised; without such knowledge none is."""
    span = next(scenario("city7-rotating").spans(TURNING.cluster, 0.6, 3))
    first = Regime(id="r1", seen_s=1200.0, rates=tuple(Rate(model=model, per_s=rate) for model, rate in span.rates))
    known = asking(TURNING, Knowledge(regimes=(first,)))
    assert "r1 now" in told(known, 258.0)
    assert "r1 now" not in told(asking(TURNING), 258.0)
    assert "error" in told(known, 258.0)


def test_the_fallback_decides_by_the_forecast_where_it_is_told_to() -> None:
    """Then other pods are started than without."""
    ends = []
    for policy in ("marginal-dpp@fresh", "marginal-dpp[forecast=true]@fresh"):
        engine = engine_of(Game(CATALOGUE, policy_at(policy), 3))
        engine.run(CATALOGUE.window.end_at_s)
        ends.append([(one.number, one.node, one.ended_at_s) for one in engine.ended])
    assert ends[0] != ends[1]
