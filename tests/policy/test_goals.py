"""Goals in words: levels, weights, what is in force, and what it would change."""

import pytest

from fairlead.contracts.dialogue import Approval
from fairlead.contracts.notes import Aims, Goal, GoalReading, ModelLevel
from fairlead.contracts.plans import ModelPriority
from fairlead.contracts.tuning import PolicySettings, Weights
from fairlead.policy.epoch import decide_epoch, raised
from fairlead.policy.goals import AIMS, changes, in_force, read_goal, under, unread, view, weighted
from fairlead.policy.questions import planner_question
from fairlead.policy.registry import decide_slot
from fairlead.twin.clusters import cluster
from tests.policy.prompt_scenes import PLANNER_SAMPLING, epoch, scene, texts

CITY = cluster("city7", lambda _: 1)
VISION = "vision-language"


def goal(name: str = "g1", from_s: float = 0.0, until_s: float | None = None, at_s: float | None = 10.0) -> Goal:
    """Return a goal that Ann approved at an instant, or that waits."""
    reading = GoalReading(
        aims=Aims(fairness=4), priorities=(ModelLevel(model="model-001", priority=4),), read_by="rule"
    )
    return Goal(
        id=name,
        text="fair first",
        from_s=from_s,
        until_s=until_s,
        by="ann",
        created_at_s=0.0,
        reading=reading,
        weights=weighted(Weights(), reading.aims),
        changes=(),
        approval=None if at_s is None else Approval(answer="approved", by="ann", at_s=at_s),
    )


@pytest.mark.parametrize(
    ("text", "aims", "priorities", "left"),
    [
        ("protect vision tonight, energy second", {"churn": 3}, {VISION: 4}, ""),
        ("Fairness first; latency", {"fairness": 4, "latency": 3}, {}, ""),
        ("small-text and image less, ignore churn", {"churn": 0}, {"small-text": 1, "image": 1}, ""),
        ("losses matter most, gracefully", {"service": 4}, {}, "not understood: matter gracefully"),
        ("normal speed then images last", {"latency": 2}, {"image": 1}, ""),
    ],
)
def test_a_goal_is_read_clause_by_clause(
    text: str, aims: dict[str, int], priorities: dict[str, int], left: str
) -> None:
    """What matters and how much; what is not understood is said."""
    found = read_goal(text, CITY)
    assert found is not None
    assert found.aims == Aims(**aims)
    assert {one.model: one.priority for one in found.priorities} == priorities
    assert (found.read_by, found.why) == ("rule", left)


def test_words_that_name_nothing_are_no_goal() -> None:
    """A level alone is none either."""
    assert read_goal("be nice first", CITY) is None
    assert unread("be nice first").startswith(
        "'be nice first' names no model and no term of the objective: say which ("
    )


def test_levels_move_weights_and_leave_their_sum() -> None:
    """Twice as much a level; neutral levels are the configuration; without any weight there is nothing to move."""
    assert weighted(Weights(), Aims()) == Weights()
    found = weighted(Weights(), Aims(latency=4, churn=0))
    assert found.latency == pytest.approx(8 * found.fairness / 2, rel=1e-3)
    assert found.churn == pytest.approx(found.service / 40, rel=1e-2)
    assert sum(getattr(found, one) for one in AIMS) == pytest.approx(1.55, abs=1e-3)
    nothing = Weights(latency=0.0, fairness=0.0, churn=0.0, service=0.0)
    assert weighted(nothing, Aims(latency=4)) == nothing


def test_the_goal_approved_last_is_in_force_in_its_time() -> None:
    """One that waits, was declined, is over or is still to come is not."""
    declined = goal("g9").model_copy(update={"approval": Approval(answer="declined", by="ann", at_s=99.0)})
    goals: tuple[Goal, ...] = (
        declined,
        goal("g3", until_s=50.0, at_s=30.0),
        goal("g2", from_s=60.0, at_s=40.0),
        goal("g1"),
    )
    goals = (goal("g4", at_s=None), *goals)
    found = {now_s: in_force(goals, now_s) for now_s in (20.0, 55.0, 60.0)}
    assert {now_s: one.id for now_s, one in found.items() if one} == {20.0: "g3", 55.0: "g1", 60.0: "g2"}
    assert in_force((), 1.0) is None
    seen = view(goals, PolicySettings(), 20.0)
    assert (seen.in_force, seen.waiting) == (goals[2], goals[0])
    assert view((), PolicySettings(), 20.0).weights == Weights()


def test_the_diff_names_what_would_change_and_nothing_else() -> None:
    """Weights and priorities, before and after; nothing where it is in force already."""
    now = view((), PolicySettings(), 20.0)
    said = changes(now, goal().weights, goal().reading.priorities)
    assert said[-1] == "priority of model-001: 2 → 4"
    assert len([one for one in said if one.startswith("weight of ")]) == 4
    assert changes(view((goal(),), PolicySettings(), 20.0), goal().weights, goal().reading.priorities) == ()


def test_weights_and_priorities_of_the_goal_are_in_force() -> None:
    """A plan's own priorities are moved by the goal's, inside 0 to 4; the neutral plan has them too."""
    settings = under(PolicySettings(), goal())
    assert (settings.weights, under(settings, None)) == (goal().weights, settings)
    mine = tuple(ModelPriority(model=f"model-{k:03d}", priority=3, expected="same") for k in (0, 1))
    assert [one.priority for one in raised(mine, goal())] == [3, 4]
    assert raised(mine, None) == mine
    slot = scene(7, 4)
    given = epoch(slot, decide_slot(slot)).model_copy(update={"goal": goal(), "settings": settings})
    decision = decide_epoch(given)
    assert decision.plan is not None
    assert {one.model: one.priority for one in decision.plan.priorities}["model-001"] == 4
    assert "but for those of the goal" in decision.reasons[-1].text
    line = planner_question(given, texts()[0], (), (), PLANNER_SAMPLING).ask.user.splitlines()[0]
    assert line.startswith("Weights: latency 0.25, unfairness 1")
    assert line.endswith('; as an operator put it: "fair first".')
