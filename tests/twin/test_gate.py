"""The twin's gate: nothing acts that is not surely no worse, the close ones play longer, beliefs are judged twice."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.cluster import SiteSpec
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.contracts.plans import Guide, GuideRow, PlanDraft, Rate, Share, Warm
from fairlead.contracts.tuning import GateSettings
from fairlead.policy.epoch import neutral
from fairlead.policy.fairness import ModelStats
from fairlead.twin.branching import Branched, Candidate, Demand, Situation, branched
from fairlead.twin.court import Means
from fairlead.twin.gate import IDLE, NO_SITES, judged
from fairlead.twin.streams import stream
from tests.policy.dialogues import SHAPE as NODES_AND_MODELS
from tests.policy.dialogues import epoch_asked, slot_asked

SHAPE = NODES_AND_MODELS.model_copy(update={"sites": (SiteSpec(id="east", node=None, url="http://east:9"),)})
SETTINGS = GateSettings(plan_margin_ratio=0.01)
USUAL_S = 12.0
"""Mean latency under the fallback: F is a tenth, and 1 % of F is 0.12 s."""


@dataclass
class Made:
    """Branches that are made up: a latency for a candidate on a demand, and chance."""

    latency_s: Callable[[Candidate, Demand], float]
    shared_s: float = 2.0
    """Deviation that all candidates have in common."""
    own_s: float = 0.0
    """Deviation of each candidate's own."""
    heard: list[tuple[Candidate, Demand, float]] = field(default_factory=list)

    def branch(self, situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
        """Return what has become of it; all requests are in time."""
        self.heard.append((candidate, demand, until_s))
        seed = round(sum(one.at_s for one in demand) * 1e6)
        chance_s = self.shared_s * stream(seed, "shared").standard_normal()
        chance_s += self.own_s * stream(seed, "own", candidate.name).standard_normal()
        latency_s = max(0.0, self.latency_s(candidate, demand) + chance_s)
        each = max(1, len(demand) // len(SHAPE.models))
        stats = [ModelStats(model.id, each, each, each, each, 1.0, each * latency_s) for model in SHAPE.models]
        return branched(stats, 0, 0, "reference")

    def played(self, name: str) -> int:
        """Return on how many demands a candidate was played."""
        return sum(candidate.name == name for candidate, _, _ in self.heard)


def slower(**by_s: float) -> Callable[[Candidate, Demand], float]:
    """Return latencies of candidates by their names, in seconds beyond the fallback's."""
    return lambda candidate, demand: USUAL_S + by_s.get(candidate.name.replace("-", "_"), 0.0)


def draft(k: int = 0, **changes: object) -> PlanDraft:
    """Return a plan that warms something, each number another time."""
    warm = (Warm(model="vision", node="edge-1", at_s=epoch_asked().now_s + 20.0 + k),)
    return neutral(SHAPE).model_copy(update={"warm": warm, **changes})


def verdict(made: Made, *drafts: PlanDraft, gate: GateSettings = SETTINGS, seed: int = 7) -> Judgement:
    """Return what the gate says of plans."""
    asked = epoch_asked(cluster=SHAPE, seed=seed)
    first, *others = (one.to_json() for one in drafts)
    return judged(asked, Judge(agent="planner", proposal=first, others=tuple(others)), gate, Means(made.branch))


def test_by_default_a_plan_that_costs_anything_for_sure_may_not_act() -> None:
    """What it has started is undone after its epoch."""
    for cost_s, code in ((0.05, "worse"), (-0.05, "no-worse")):
        found = verdict(Made(slower(proposal=cost_s)), draft(), gate=GateSettings())
        assert found.code == code


@given(seed_s=st.floats(-0.1, 0.1))
@settings(max_examples=5, deadline=None)
def test_what_costs_surely_no_more_than_the_margin_may_act(seed_s: float) -> None:
    """With chance in common a percent of F is seen on eight demands."""
    made = Made(slower(proposal=seed_s))
    found = verdict(made, draft())
    assert (found.code, found.chosen) == ("no-worse", "proposal")
    assert found.trials[0].scenarios == SETTINGS.scenarios
    assert found.trials[0].gain == pytest.approx(-seed_s / 120.0, abs=1e-9)
    assert found.trials[0].latency_s == pytest.approx((found.trials[0].fallback_latency_s or 0.0) + seed_s)


@pytest.mark.parametrize(("by_s", "own_s"), [(0.3, 0.0), (-0.2, 3.0), (0.0, 3.0)], ids=["worse", "unproven", "unknown"])
def test_what_is_worse_or_not_known_not_to_be_may_not(by_s: float, own_s: float) -> None:
    """A gain that chance alone could bring is none."""
    found = verdict(Made(slower(proposal=by_s), own_s=own_s), draft())
    assert found.code == "worse"
    assert found.trials[0].low < -SETTINGS.margin_ratio * found.trials[0].fallback
    assert found.text.startswith("proposal: gain ")


def test_every_candidate_is_played_on_the_fallbacks_demands_to_the_same_end() -> None:
    """The plan acts from the epoch's begin on, and an epoch is played from there."""
    made = Made(slower())
    verdict(made, draft(), draft(1))
    by_name = {name: [d for c, d, _ in made.heard if c.name == name] for name in ("fallback", "proposal", "other-1")}
    assert by_name["fallback"] == by_name["proposal"] == by_name["other-1"]
    asked = epoch_asked()
    assert {until_s for _, _, until_s in made.heard} == {asked.now_s + 20.0 + 300.0}
    starts = {candidate.name: candidate.from_s for candidate, _, _ in made.heard}
    assert starts == {"fallback": None, "proposal": asked.now_s + 20.0, "other-1": asked.now_s + 20.0}


def test_the_best_of_those_that_are_no_worse_is_chosen_and_the_close_ones_play_longer() -> None:
    """Sixteen candidates take no more branches than sixteen times eight, and who is far behind takes few of them."""
    gains = {f"other_{k}": 0.4 * k for k in range(1, 16)} | {"other_7": -2.0, "other_3": -1.5}
    made = Made(slower(**gains), own_s=0.3)
    found = verdict(made, *(draft(k) for k in range(16)))
    assert (found.code, found.chosen) == ("no-worse", "other-7")
    assert [trial.name for trial in found.trials][:2] == ["other-7", "other-3"]
    assert len(found.trials) == 16
    assert sum(made.played(trial.name) for trial in found.trials) <= 16 * SETTINGS.scenarios
    assert made.played("other-7") > 2 * SETTINGS.scenarios
    assert made.played("other-15") == 2


def test_a_plan_that_is_close_is_played_on_more_demands_and_looked_at_once_more() -> None:
    """What eight demands leave open, more may settle; what is surely good or surely bad takes no more than these."""
    for by_s, own_s, played, code in (
        (-4.0, 8.0, 64, "no-worse"),
        (-4.0, 0.1, 8, "no-worse"),
        (9.0, 0.1, 8, "worse"),
    ):
        made = Made(slower(proposal=by_s), own_s=own_s)
        found = verdict(made, draft())
        assert (made.played("proposal"), found.trials[0].scenarios, found.code) == (played, played, code)


def test_the_more_candidates_the_surer_the_best_has_to_be() -> None:
    """Of many equal ones the luckiest would pass alone, but not among fifteen others."""
    passed = 0
    for k in range(10):
        made = Made(slower(), own_s=2.0)
        passed += verdict(made, *(draft(n) for n in range(16)), seed=k).code == "no-worse"
    assert passed <= 1
    one, many = (
        verdict(Made(slower(), own_s=1.0), *(draft(n) for n in range(count)), gate=GateSettings(scenarios=64)).trials[0]
        for count in (1, 2)
    )
    assert one.high - one.low < many.high - many.low


def test_who_is_surely_refused_plays_no_further() -> None:
    """All of four are bad: the finalists' round is played by one, so that there is something to say."""
    made = Made(slower(proposal=5.0, other_1=6.0, other_2=7.0, other_3=8.0), own_s=0.01)
    found = verdict(made, *(draft(k) for k in range(4)))
    assert found.code == "worse"
    assert made.played("proposal") > made.played("other-1") == made.played("other-3")


def busy(demand: Demand) -> bool:
    """Tell whether vision is asked for more often than it was."""
    return sum(one.model == "vision" for one in demand) > 20


TOLD = (Rate(model="vision", per_s=0.5),)


@pytest.mark.parametrize(
    ("true_s", "false_s", "code"),
    [(-2.0, 0.2, "no-worse"), (-2.0, 0.4, "worse"), (0.0, 0.0, "worse"), (0.1, -1.0, "worse")],
    ids=["pays", "costs too much", "gains nothing", "is worse where it comes true"],
)
def test_what_expects_more_than_the_forecast_must_gain_where_it_comes_true(
    true_s: float, false_s: float, code: str
) -> None:
    """And may cost two percent of F where it does not."""

    def latency_s(candidate: Candidate, demand: Demand) -> float:
        return USUAL_S + (candidate.name == "proposal") * (true_s if busy(demand) else false_s)

    found = verdict(Made(latency_s, own_s=0.02), draft(rates=TOLD))
    assert found.code == code
    assert [trial.believed for trial in found.trials] == [False, True]
    assert "if it comes true" in found.text


def test_what_the_forecast_expects_too_is_judged_once() -> None:
    """A rate as it was learned is no belief."""
    found = verdict(Made(slower()), draft(rates=(Rate(model="small-text", per_s=0.3),)))
    assert [trial.believed for trial in found.trials] == [False]


def test_what_is_expected_for_later_comes_true_later() -> None:
    """Rates that begin to hold after the end of what is played are none of its demand."""
    late = draft(rates=TOLD, rates_at_s=epoch_asked().now_s + 900.0)
    assert [trial.believed for trial in verdict(Made(slower()), late).trials] == [False]
    soon = draft(rates=TOLD, rates_at_s=epoch_asked().now_s + 120.0)
    made = Made(slower())
    assert [trial.believed for trial in verdict(made, soon).trials] == [False, True]
    hoped = made.heard[-1][1]
    asked_for = [one.at_s - epoch_asked().now_s for one in hoped if one.model == "vision"]
    assert sum(at_s < 120.0 for at_s in asked_for) < 5 < 50 < len(asked_for)


def test_a_plan_that_changes_nothing_is_not_played_and_one_that_does_not_fit_neither() -> None:
    """The first may act, though there is nothing to act; a variation that does nothing is not chosen before it."""
    made = Made(slower())
    found = verdict(made, neutral(SHAPE), draft())
    assert (found.code, found.text, found.trials) == ("no-worse", IDLE, ())
    assert verdict(made, draft(intents=())).code == "worse"
    assert not made.heard
    harm = verdict(Made(slower(proposal=5.0)), draft(), neutral(SHAPE))
    assert (harm.code, [trial.name for trial in harm.trials]) == ("worse", ["proposal"])


def test_rows_are_played_for_their_slot_with_the_plan_in_force() -> None:
    """For the fallback too: what is judged is the rows alone."""
    asked = slot_asked().model_copy(update={"cluster": SHAPE})
    row = GuideRow(zone="*", model="vision", shares=(Share(node="edge-1", probability=1.0),))
    made = Made(slower())
    guide = Guide(slot=asked.slot, rows=(row,), why="")
    found = judged(asked, Judge(agent="slot-agent", proposal=guide.to_json()), SETTINGS, Means(made.branch))
    assert (found.code, found.horizon_s) == ("no-worse", SETTINGS.guide_horizon_s)
    assert {(candidate.name, candidate.guide) for candidate, _, _ in made.heard} == {
        ("fallback", None),
        ("proposal", guide),
    }


@pytest.mark.parametrize(
    ("most", "names", "demands", "ahead_s"),
    [(3600, 3, 8, 320), (2300, 2, 8, 320), (1700, 1, 8, 320), (860, 1, 4, 320), (600, 1, 5, 170), (300, 1, 4, 95)],
)
def test_of_a_large_cluster_fewer_candidates_are_played_then_on_fewer_demands_then_not_so_far(
    most: int, names: int, demands: int, ahead_s: int
) -> None:
    """So that judging takes a bounded time; the words say so. There are some 150 requests in a whole branch here."""
    made = Made(slower(proposal=9.0, other_1=9.0, other_2=9.0))
    found = verdict(made, draft(), draft(1), draft(2), gate=GateSettings(requests_most=most))
    assert (len(found.trials), found.horizon_s) == (names, ahead_s)
    assert made.played("proposal") >= demands
    assert sum(len(demand) for _, demand, _ in made.heard) <= most * 7 / len(SHAPE.nodes)
    said = f"in its time {names} of 3, {ahead_s} s ahead; proposal: gain"
    assert found.text.startswith("proposal: gain" if names == 3 else said)


def test_where_not_even_the_least_fits_nothing_is_played_and_the_reason_says_so() -> None:
    """At once: no branch is begun that could not be used."""
    made = Made(slower())
    found = verdict(made, draft(rates=TOLD), gate=GateSettings(requests_most=150))
    assert (found.code, found.trials, found.horizon_s, made.heard) == ("no-time", (), 0.0, [])
    least = "16 branches of some 47 requests, 95 s ahead; in the time there is 262 can be played"
    assert found.text == f"even the least takes too long: {least}"


@pytest.mark.parametrize(
    ("left", "code", "played"), [(1e9, "no-worse", 64), (4000.0, "worse", 13), (100.0, "no-time", 0)]
)
def test_by_the_clock_it_is_measured_on_a_slot_what_playing_takes(left: float, code: str, played: int) -> None:
    """A branch of no length lays the situation out before; what is left counts from then on, at each round."""
    made = Made(slower(proposal=-4.0), own_s=8.0)

    def still() -> float | None:
        return left - 150.0 * (len(made.heard) - 2) if len(made.heard) > 1 else None

    asked = epoch_asked(cluster=SHAPE, seed=7)
    judge = Judge(agent="planner", proposal=draft().to_json())
    found = judged(asked, judge, SETTINGS, Means(made.branch, still))
    assert [until_s - asked.now_s for _, _, until_s in made.heard[:2]] == [0.0, 30.0]
    assert made.heard[0][1] == ()
    assert 0 < len(made.heard[1][1]) < 40
    assert {candidate.name for candidate, _, _ in made.heard[:2]} == {"fallback"}
    assert (found.code, made.played("proposal")) == (code, played)


@pytest.mark.parametrize("fresh", [True, False])
def test_branches_know_of_state_as_the_run_does(fresh: bool) -> None:
    """On change, or every few seconds."""
    seen = []

    def branch(situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
        seen.append(situation.fresh)
        return Made(slower()).branch(situation, candidate, demand, until_s)

    asked = epoch_asked(cluster=SHAPE, seed=7)
    judged(asked, Judge(agent="planner", proposal=draft().to_json()), SETTINGS, Means(branch, fresh=fresh))
    assert set(seen) == {fresh}


def test_in_a_cluster_without_sites_nothing_can_be_judged_and_the_reason_says_so() -> None:
    """Nobody sends a request there, so that no demand can come."""
    made = Made(slower())
    asked = epoch_asked(seed=7)
    found = judged(asked, Judge(agent="planner", proposal=draft().to_json()), SETTINGS, Means(made.branch))
    assert asked.cluster.sites == ()
    assert (found.code, found.text, made.heard) == ("not-judged", NO_SITES, [])


def test_no_more_candidates_are_looked_at_than_are_allowed() -> None:
    """The first ones count."""
    found = verdict(Made(slower()), *(draft(k) for k in range(9)), gate=GateSettings(candidates=3))
    assert {trial.name for trial in found.trials} == {"proposal", "other-1", "other-2"}
