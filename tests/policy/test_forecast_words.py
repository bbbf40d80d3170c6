"""The forecast in the planner's question: rates, the regime that is now and the one that comes; replies that use it."""

import json

from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.forecasts import Coming, Forecast, RateForecast, Regime
from fairlead.contracts.plans import PlanDraft, Rate
from fairlead.contracts.replies import PlannerReply
from fairlead.policy.forecast_words import forecast_lines, regime_aliases, remembered_regimes
from fairlead.policy.parsing import Fault
from fairlead.policy.planner_gate import drafted, meant
from fairlead.policy.questions import Question, planner_question
from fairlead.policy.registry import decide_slot
from tests.policy.prompt_scenes import PLANNER_SAMPLING, epoch, scene, texts

LINES = """\
by timetable, error 0.21, plain 0.54
0 to 102: rates m01 12 m02 6
102 to 300: rates m03 18
r1 now since -618: rates m01 12 m02 6
r2 at 102 (72 to 132), kept 5, missed 1: rates m03 18"""


def foreseen(**changes: object) -> EpochInput:
    """Return the planner's input 18 s before an epoch, with a change of regime two minutes ahead."""
    given = scene(7, 4)
    asked = epoch(given, decide_slot(given))
    now_s, change_s, end_s = asked.now_s, asked.now_s + 120.0, asked.now_s + 600.0
    rates = tuple(
        RateForecast(
            site=site, model=model, from_s=a, until_s=b, per_s=per_s, low_per_s=0.5 * per_s, high_per_s=2.0 * per_s
        )
        for site in ("s1", "s2")
        for model, a, b, per_s in (
            ("model-000", now_s, change_s, 0.1),
            ("model-001", now_s, change_s, 0.05),
            ("model-002", change_s, end_s, 0.15),
            ("model-003", change_s, end_s, 0.0),
            ("forgotten", change_s, end_s, 1.0),
        )
    )
    forecast = Forecast(
        made_at_s=now_s,
        until_s=end_s,
        method="timetable",
        rates=rates,
        error=0.21,
        plain_error=0.54,
        regime="r7",
        since_s=now_s - 600.0,
        coming=Coming(
            at_s=change_s, low_at_s=change_s - 30.0, high_at_s=change_s + 30.0, regime="r3", seen=5, missed=1
        ),
        regimes=(
            Regime(id="r3", seen_s=900.0, rates=(Rate(model="model-002", per_s=0.3),)),
            Regime(
                id="r7", seen_s=900.0, rates=(Rate(model="model-000", per_s=0.2), Rate(model="model-001", per_s=0.1))
            ),
        ),
    )
    return asked.model_copy(update={"forecast": forecast.model_copy(update=changes)})


def question(given: EpochInput) -> Question:
    """Return what the planner is asked."""
    return planner_question(given, texts()[0], (), (), PLANNER_SAMPLING)


def test_the_question_tells_rates_now_and_after_the_change() -> None:
    """In requests a minute over all sites, seconds after the epoch's begin; the regimes by aliases."""
    given = foreseen()
    asked = question(given)
    assert forecast_lines(given, asked.aliases) == LINES
    assert LINES in asked.ask.user
    assert asked.aliases.regimes == (("r1", ("r7",)), ("r2", ("r3",)))
    assert '"rates":{"enum":["r1","r2"],"type":"string"}' in asked.ask.reply_schema


def test_without_a_forecast_none_is_told() -> None:
    """Then no regime can be named either."""
    given = foreseen().model_copy(update={"forecast": None})
    assert forecast_lines(given, question(given).aliases) == "none"
    assert regime_aliases(given) == ()


def test_a_regime_without_a_begin_or_a_next_one_is_told_as_far_as_it_is_known() -> None:
    """What has no rates stands as 0; what is not recognised has no line; an epoch that has begun counts from now."""
    given = foreseen(since_s=None, coming=None, error=None, plain_error=None)
    lines = forecast_lines(given.model_copy(update={"begins_at_s": None}), question(given).aliases).split("\n")
    assert lines[0] == "by timetable, error -, plain -"
    assert lines[1].startswith("0 to 120: rates m01 12")
    assert lines[-1] == "r1 now: rates m01 12 m02 6"
    assert remembered_regimes(foreseen(regime="", coming=None)) == {}
    silent = foreseen(rates=(), coming=None, regimes=(Regime(id="r7", rates=(), seen_s=9.0),))
    assert forecast_lines(silent, question(silent).aliases).split("\n")[1:] == ["r1 now since -618: rates 0"]


def reply(rates_of: str) -> PlannerReply:
    """Return a reply that is neutral but for the rates that it expects."""
    nodes = [{"node": f"n{k:02d}", "role": "generalist", "prefer": [], "avoid": [], "bias": 0} for k in range(1, 8)]
    words = {"nodes": nodes, "models": [], "warm": [], "rates_of": rates_of, "confidence": 1, "cases_cited": []}
    return PlannerReply.from_json(json.dumps({**words, "why": ""}))


def test_a_reply_may_expect_the_rates_of_a_regime() -> None:
    """Of the one that comes; one that the question has not is a fault."""
    given = foreseen()
    aliases = meant(question(given).aliases, ())
    draft = drafted(reply("r2"), given, aliases)
    assert isinstance(draft, PlanDraft)
    assert {r.model: r.per_s for r in draft.rates}["model-002"] == 0.3
    fault = drafted(reply("r3"), given, aliases)
    assert isinstance(fault, Fault)
    assert fault.code == "unknown-case"
