"""The planner's loops: epochs, plans of operators, an absent store, a second planner, a restart."""

import pytest
import structlog

from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import EpochDecision, EpochInput
from fairlead.contracts.plans import EpochPlan
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.periods import Periods
from fairlead.policy.planning import due_at
from fairlead.policy.replay import again
from planner.metrics import PlannerMetrics
from tests.agents.world import World, count, world
from tests.slot_agent.edge import ORIGIN_S, cluster

EPOCH_S = 300.0


async def plans(w: World) -> list[EpochPlan]:
    """Return all plans, oldest first."""
    return list(reversed((await w.store.plans(limit=1000, cursor=None)).items))


async def inputs(w: World) -> list[EpochInput]:
    """Return what the planner's decisions were made on, oldest first."""
    return [r.input for r in await w.journal(agent="planner") if isinstance(r.input, EpochInput)]


async def operators_plan(w: World, for_s: float) -> EpochPlan:
    """Put an operator's plan in force."""
    now = (await plans(w))[-1]
    plan = now.model_copy(
        update={
            "generation": now.generation + 1,
            "parent": now.generation,
            "source": "operator",
            "created_at_s": w.clock.now_s(),
            "expires_at_s": w.clock.now_s() + for_s,
        }
    )
    await w.store.publish_plan(plan)
    await w.settle()
    return plan


async def test_a_plan_is_made_at_once_and_then_as_each_epoch_begins() -> None:
    """Epochs count from the clock's origin, not from the start of the process."""
    async with world() as w:
        await w.clock.advance(100.0)
        metrics = PlannerMetrics()
        await w.planner(metrics=metrics)
        await w.seconds(600)
        made = await plans(w)
        assert [(p.generation, p.parent, p.epoch) for p in made] == [(1, 0, 0), (2, 1, 1), (3, 2, 2)]
        assert [p.created_at_s - ORIGIN_S for p in made] == [100.0, 300.0, 600.0]
        assert count(metrics.registry, "fairlead_epoch_decisions") == 3.0
        assert count(metrics.registry, "fairlead_epoch_steps") == 6.0


async def test_at_every_instant_a_plan_is_in_force() -> None:
    """It lasts longer than until the next."""
    async with world() as w:
        await w.planner()
        for _ in range(70):
            await w.seconds(10)
            plan = await w.store.current_plan()
            assert plan is not None
            assert plan.expires_at_s > w.clock.now_s()


async def test_an_operators_plan_stays_until_it_expires() -> None:
    """Over the begin of an epoch, and then a plan is made at once."""
    async with world() as w:
        await w.planner()
        await w.seconds(100)
        await operators_plan(w, 350.0)
        await w.seconds(500)
        made = await plans(w)
        assert [(p.source, p.epoch) for p in made] == [
            ("fallback", 0),
            ("operator", 0),
            ("fallback", 1),
            ("fallback", 2),
        ]
        assert [p.created_at_s - ORIGIN_S for p in made[2:]] == [450.0, 600.0]


async def test_a_node_that_joins_gets_its_intent_at_once() -> None:
    """A plan is about the nodes that there are."""
    async with world() as w:
        await w.planner()
        await w.seconds(50)
        await w.store.put_node(w.edge.cluster.nodes[0].model_copy(update={"id": "n9"}), if_revision=None)
        await w.settle()
        made = await plans(w)
        assert [len(p.intents) for p in made] == [3, 4]
        assert made[-1].intents[-1].node == "n9"


async def test_after_a_kill_no_plan_is_made_twice_and_arrivals_count_on() -> None:
    """The plan in force is kept, and the next counts from the journal's totals."""
    async with world() as w:
        task = await w.planner()
        w.edge.ask("m1", 10)
        await w.seconds(100)
        task.cancel()
        w.edge.ask("m1", 5)
        await w.seconds(50)
        await w.planner()
        await w.seconds(200)
        assert [p.epoch for p in await plans(w)] == [0, 1]
        assert [i.snapshot.models[0].arrived for i in await inputs(w)] == [0, 15]


async def test_two_planners_at_once_make_one_plan_an_epoch() -> None:
    """Invariant 9: the second finds the first's plan in force."""
    async with world() as w:
        await w.planner()
        await w.planner()
        await w.seconds(900)
        assert [p.epoch for p in await plans(w)] == [0, 1, 2, 3]


async def test_while_the_store_is_away_the_planner_tries_again_and_says_so_once() -> None:
    """An epoch that began meanwhile gets its plan afterwards."""
    async with world() as w:
        metrics = PlannerMetrics()
        with structlog.testing.capture_logs() as logs:
            await w.planner(metrics=metrics)
            await w.seconds(280)
            w.store.unavailable = True
            await w.seconds(60)
            w.store.unavailable = False
            await w.seconds(20)
        assert [p.epoch for p in await plans(w)] == [0, 1]
        assert count(metrics.registry, "fairlead_epoch_failures") >= 10.0
        assert [entry["event"] for entry in logs] == [
            "planning failed: going on with the last good state",
            "planning works again",
        ]


async def test_a_plan_that_fails_is_made_again() -> None:
    """Whatever goes wrong inside, the loop goes on."""
    failures = 1

    def failing(given: EpochInput) -> EpochDecision:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise KeyError("n1")
        return decide_epoch(given)

    async with world() as w:
        metrics = PlannerMetrics()
        with structlog.testing.capture_logs():
            await w.planner(failing, metrics)
            await w.seconds(5)
        assert len(await plans(w)) == 1
        assert count(metrics.registry, "fairlead_epoch_failures") == 1.0


async def test_invariant_07_every_plan_of_a_run_is_decided_again_the_same() -> None:
    """From its line of the journal alone."""
    async with world() as w:
        await w.planner()
        for _ in range(12):
            w.edge.ask("m2", 3)
            await w.seconds(100)
        page = await w.store.decisions(agent="planner", limit=1000, cursor=None)
        assert len(page.items) == 5
        prompts = prompt_texts()
        assert all(again(type(r).from_json(r.to_json()), prompts).identical for r in page.items)


@pytest.mark.parametrize(
    ("source", "epoch", "expires_in_s", "now_s", "due_s"),
    [
        ("fallback", 0, 330.0, 100.0, 300.0),
        ("fallback", 0, 330.0, 300.0, 300.0),
        ("fallback", 0, 50.0, 100.0, 100.0),
        ("fallback", 5, 9000.0, 100.0, 100.0),
        ("operator", 0, 900.0, 400.0, 900.0),
        ("operator", 0, 400.0, 400.0, 400.0),
        ("operator", 5, 9000.0, 100.0, 100.0),
    ],
)
def test_when_the_next_plan_is_due(source: str, epoch: int, expires_in_s: float, now_s: float, due_s: float) -> None:
    """At the next epoch or an operator's expiry; at once if it has run out or is of another clock."""
    nodes = cluster().nodes
    given = {
        "generation": 1,
        "parent": 0,
        "epoch": epoch,
        "created_at_s": ORIGIN_S,
        "expires_at_s": ORIGIN_S + expires_in_s,
        "source": source,
        "intents": [{"node": n.id, "role": "generalist", "prefer": [], "avoid": [], "bias": 0} for n in nodes],
        "priorities": [],
        "warm": [],
        "why": "",
    }
    plan = EpochPlan.model_validate(given)
    assert due_at(plan, cluster(), ORIGIN_S + now_s, Periods(ORIGIN_S, EPOCH_S), "auto") == ORIGIN_S + due_s
