"""What a plan was worth afterwards: on the same demand, against the fallback, by the twin."""

from typing import Any

import pytest

from fairlead.contracts.cluster import Cluster, SiteSpec
from fairlead.contracts.evidence import Call, Evidence
from fairlead.contracts.plans import EpochPlan, Rate, Warm
from fairlead.policy.epoch import neutral
from fairlead.policy.fairness import ModelStats
from fairlead.twin.branching import Branched, Candidate, Demand, Situation
from fairlead.twin.engines import brancher
from fairlead.twin.hindsight import demand, labelled
from tests.policy.situations import NOW_S, cluster, model, node, pod, slot_input, view

EPOCH_S = 300.0
SITES = (SiteSpec(id="s1", node=None, url="http://127.0.0.1:8"),)


def shape() -> Cluster:
    """Return three nodes and two models, each small enough for any node, and one site."""
    bare = cluster(
        [node("n1", 4.0), node("n2", 4.0), node("n3", 4.0)], [model("m1", 3.0), model("m2", 3.0, start_s=40.0)]
    )
    return bare.model_copy(update={"sites": SITES})


def plan(created_at_s: float = NOW_S - 1.0, **more: Any) -> EpochPlan:
    """Return the neutral plan but for what is said."""
    draft = neutral(shape())
    return EpochPlan(
        generation=3,
        parent=2,
        epoch=1,
        created_at_s=created_at_s,
        expires_at_s=NOW_S + 2 * EPOCH_S,
        source="llm",
        intents=draft.intents,
        priorities=draft.priorities,
        warm=(),
        why="",
    ).model_copy(update=more)


def evidence(plan_of: EpochPlan, calls: tuple[Call, ...]) -> Evidence:
    """Return an epoch in which m1 is awake everywhere, and what arrived in it."""
    nodes = [view(name, pod("m1", used_ago_s=100.0)) for name in ("n1", "n2", "n3")]
    begin = slot_input(shape(), nodes, trigger="slot", rates={"m1": 0.05, "m2": 0.001}, plan=plan_of)
    return Evidence(case="c1", ended_at_s=NOW_S + EPOCH_S, begin=begin, plan=plan_of, calls=calls)


def calls(*models: str, every_s: float = 8.0) -> tuple[Call, ...]:
    """Return requests for these models in turn, evenly over the epoch."""
    count = int(EPOCH_S / every_s)
    return tuple(Call(at_s=NOW_S + 1.0 + every_s * k, site="s1", model=models[k % len(models)]) for k in range(count))


def drained(*names: str) -> dict[str, Any]:
    """Return the change that drains these nodes."""
    return {
        "intents": tuple(
            i.model_copy(update={"role": "drain"}) if i.node in names else i for i in neutral(shape()).intents
        )
    }


def test_a_plan_that_closes_most_nodes_was_surely_worse() -> None:
    """On the demand as recorded and on others of the same counts; both values are told."""
    label = labelled(
        evidence(plan(**drained("n2", "n3")), calls("m1", "m1", "m2", every_s=4.0)), brancher("reference"), "twin 1"
    )
    assert label.advantage.high < 0.0
    assert label.advantage.demands == 8
    assert label.advantage.twin == "twin 1"
    assert label.fallback.objective < label.replayed.objective
    assert label.replayed.arrived == label.fallback.arrived == 75
    assert label.fallback.latency_s < label.replayed.latency_s


def test_a_plan_that_says_nothing_was_worth_nothing() -> None:
    """It is the fallback: equal on every demand."""
    label = labelled(evidence(plan(), calls("m1", "m2")), brancher("reference"), "twin 1")
    assert (label.advantage.value, label.advantage.low, label.advantage.high) == (0.0, 0.0, 0.0)
    assert label.replayed == label.fallback


def test_a_plan_that_was_made_late_acts_late() -> None:
    """And one made before the epoch acts from its begin; the fallback is neutral from the begin on."""
    asked: list[Candidate] = []

    def branch(_: Situation, candidate: Candidate, calls: Demand, until_s: float) -> Branched:
        asked.append(candidate)
        assert until_s == NOW_S + EPOCH_S
        stats = tuple(
            ModelStats(
                model=name,
                arrived=2,
                judged=2,
                timely=2,
                finished=2,
                unloaded_s=4.0,
                latency_sum_s=8.0 + calls[0].at_s % 1,
            )
            for name in ("m1", "m2")
        )
        return Branched(4, 4, 4.0, 1.0, 1.0, 0, 0, stats, "reference")

    warm = (Warm(model="m2", node="n1", at_s=NOW_S + 60.0),)
    for created_at_s, from_s in ((NOW_S - 1.0, None), (NOW_S + 60.0, NOW_S + 60.0)):
        asked.clear()
        made = plan(created_at_s, warm=warm, rates=(Rate(model="m2", per_s=0.2),))
        labelled(evidence(made, calls("m1")), branch, "twin 1")
        assert (asked[0].plan, asked[0].from_s) == (made, from_s)
        fallback = asked[-1].plan
        assert fallback is not None
        assert (fallback.source, fallback.warm, fallback.rates, asked[-1].from_s) == ("fallback", (), (), None)
        assert fallback.created_at_s <= NOW_S


def test_other_demands_have_the_same_counts_at_other_instants() -> None:
    """Slot by slot; what is outside of the epoch or names what is not there is left out."""
    strange = (
        Call(at_s=NOW_S - 1.0, site="s1", model="m1"),
        Call(at_s=NOW_S + 1.0, site="s9", model="m1"),
        Call(at_s=NOW_S + 1.0, site="s1", model="m9"),
        Call(at_s=NOW_S + EPOCH_S, site="s1", model="m1"),
    )
    made = evidence(plan(), (*calls("m1", "m2"), *strange))
    recorded = demand(made, 0)
    assert [one.at_s for one in recorded] == [one.at_s for one in calls("m1", "m2")]

    def counted(k: int) -> dict[tuple[int, str], int]:
        found: dict[tuple[int, str], int] = {}
        for one in demand(made, k):
            key = (int((one.at_s - NOW_S) // 30.0), one.model)
            found[key] = found.get(key, 0) + 1
        return found

    assert counted(1) == counted(2) == counted(0)
    assert demand(made, 1) == demand(made, 1)
    assert len({demand(made, k) for k in range(4)}) == 4
    assert all(one.work_s == 4.0 for one in demand(made, 3))
    assert list(demand(made, 3)) == sorted(demand(made, 3), key=lambda one: one.at_s)


@pytest.mark.parametrize("trigger", ["slot", "event"])
def test_an_epoch_without_requests_has_a_label_too(trigger: str) -> None:
    """Nothing was asked for, nothing was lost."""
    made = evidence(plan(**drained("n3")), ())
    made = made.model_copy(update={"begin": made.begin.model_copy(update={"trigger": trigger})})
    label = labelled(made, brancher("reference"), "twin 1")
    assert label.replayed.arrived == 0
    assert label.replayed.service == 1.0
