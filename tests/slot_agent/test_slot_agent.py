"""The slot agent's loops: slots, events, restarts, an absent store, a second agent."""

import asyncio
from typing import cast

import pytest
import structlog

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput
from fairlead.contracts.plans import Override, Placement, RoutingTable
from fairlead.contracts.readings import NodeReport
from fairlead.policy.registry import decide_slot
from slot_agent.decider import DecideSlot
from slot_agent.metrics import SlotMetrics
from tests.agents.world import count, world
from tests.slot_agent.edge import ORIGIN_S
from tests.slot_agent.stand_in import keep_and_start


def counting(decide: DecideSlot) -> tuple[DecideSlot, list[SlotInput]]:
    """Return a decider that keeps what it was asked, and what it keeps."""
    asked: list[SlotInput] = []

    def counted(given: SlotInput) -> SlotDecision:
        asked.append(given)
        return decide(given)

    return counted, asked


class GatedStore(MemoryStore):
    """A store that holds the reading of reports back while it is shut."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the reports once the gate is open."""
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        return await super().latest_node_reports()


class MeddledStore(MemoryStore):
    """A store on which somebody else publishes just before ours, so many times."""

    meddles = 0

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put another decision in force first."""
        if self.meddles and placement is not None and table is not None and isinstance(record.output, SlotDecision):
            self.meddles -= 1
            other = record.model_copy(update={"id": f"slot-of-another-{placement.generation}", "kind": "event"})
            given = record.input.model_copy(update={"trigger": "event"})
            output = record.output.model_copy(update={"state": given.state} if isinstance(given, SlotInput) else {})
            other = other.model_copy(update={"input": given, "output": output})
            await super().publish_slot(placement, table, other)
        await super().publish_slot(placement, table, record)


async def test_each_slot_gets_a_decision_of_its_own_at_its_begin() -> None:
    """Slots count from the clock's origin; none is late."""
    async with world() as w:
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics)
        await w.seconds(150)
        records = await w.journal("slot")
        assert [r.input.slot for r in records if isinstance(r.input, SlotInput)] == [0, 1, 2, 3, 4, 5]
        assert [r.made_at_s - ORIGIN_S for r in records] == [0.0, 30.0, 60.0, 90.0, 120.0, 150.0]
        assert [r.id for r in records] == [f"slot-{n}" for n in range(1, 7)]
        assert (count(metrics.registry, "fairlead_slots"), count(metrics.registry, "fairlead_slots_late")) == (4.0, 0.0)
        assert count(metrics.registry, "fairlead_slot_decisions") == 6.0
        assert count(metrics.registry, "fairlead_slot_steps") == 12.0


async def test_an_agent_that_starts_inside_a_slot_decides_it_at_once() -> None:
    """And the next at its begin."""
    async with world() as w:
        await w.seconds(37)
        await w.agent(keep_and_start)
        await w.seconds(25)
        records = await w.journal("slot")
        assert [round(r.made_at_s - ORIGIN_S) for r in records] == [37, 60]


async def test_a_missing_model_is_placed_at_once() -> None:
    """A wake is enough: neither the next slot nor the next report is waited for."""
    async with world() as w:
        await w.agent(decide_slot)
        await w.seconds(7)
        await w.miss("m3")
        await w.settle()
        last = (await w.journal())[-1]
        assert (last.kind, last.made_at_s) == ("event", ORIGIN_S + 7.0)
        placement = await w.store.current_placement()
        assert placement is not None
        assert sum("m3" in n.awake for n in placement.nodes) == 1


async def test_a_burst_of_wakes_makes_one_decision_and_those_during_it_one_more() -> None:
    """One decision is in flight at a time; what comes meanwhile is looked at together."""
    async with world(models=6, store_type=GatedStore) as w:
        store = cast(GatedStore, w.store)
        decide, asked = counting(keep_and_start)
        await w.agent(decide)
        await w.seconds(7)
        asked.clear()
        store.gate.clear()
        await w.miss("m2", "m3")
        await w.settle()
        assert store.waiting == 1
        await w.miss("m4", "m5", "m6")
        await w.settle()
        assert store.waiting == 1
        store.gate.set()
        await w.settle()
        assert [g.trigger for g in asked if g.decision.startswith("slot-")] == ["event", "event"]
        assert {m.model for m in asked[-1].snapshot.models if m.held} == {"m2", "m3", "m4", "m5", "m6"}


async def test_a_wake_that_is_repeated_within_a_refresh_is_no_news() -> None:
    """The refresh looks at it again; a hundred repeats cost nothing."""
    async with world() as w:
        decide, asked = counting(keep_and_start)
        await w.agent(decide)
        await w.seconds(7)
        asked.clear()
        for _ in range(100):
            await w.miss("m3")
            await w.settle()
        assert len(asked) == 1


async def test_a_lost_node_is_noticed_by_the_age_of_its_reports() -> None:
    """Three report periods and at most a refresh after its last report; its models are started elsewhere."""
    async with world(awake=(("n1", "m1"), ("n2", "m2"))) as w:
        await w.agent(decide_slot)
        w.edge.ask("m2")
        await w.seconds(37)
        w.edge.lose("n2")
        lost_at_s = w.clock.now_s()
        w.edge.ask("m2", 5)
        await w.seconds(25)
        noticed = [r for r in await w.journal("event") if r.made_at_s > lost_at_s]
        given = noticed[0].input
        assert isinstance(given, SlotInput)
        assert [n.up for n in given.snapshot.nodes] == [True, False, True]
        assert "node/n2" in given.snapshot.stale
        assert noticed[0].made_at_s - lost_at_s <= 20.0
        placement = await w.store.current_placement()
        assert placement is not None
        assert any("m2" in n.awake for n in placement.nodes if n.node != "n2")


async def test_an_event_that_changes_nothing_is_not_journaled() -> None:
    """Refreshes without news do not even decide."""
    async with world() as w:
        decide, asked = counting(decide_slot)
        metrics = SlotMetrics()
        await w.agent(decide, metrics)
        await w.seconds(40)
        asked.clear()
        await w.store.put_override(override("m1"), if_revision=None)
        await w.seconds(15)
        assert [g.trigger for g in asked] == ["event"]
        assert await w.journal("event") == []
        assert count(metrics.registry, "fairlead_slot_unchanged") == 1.0


def override(model: str, node: str = "n1", expires_at_s: float | None = None) -> Override:
    """Return a pin."""
    return Override(
        id=f"pin-{model}",
        node=node,
        model=model,
        action="pin",
        created_at_s=ORIGIN_S,
        expires_at_s=expires_at_s,
        by="somebody",
        why="",
    )


async def test_an_override_acts_at_once_and_until_it_expires() -> None:
    """A pinned model is started within the same second; past its time it is not given to the decision."""
    async with world() as w:
        decide, asked = counting(decide_slot)
        await w.agent(decide)
        await w.seconds(12)
        await w.store.put_override(override("m3", "n3", ORIGIN_S + 40.0), if_revision=None)
        await w.settle()
        placement = await w.store.current_placement()
        assert placement is not None
        assert "m3" in placement.nodes[2].awake
        await w.seconds(50)
        assert [len(g.overrides) for g in asked if g.trigger == "slot"] == [0, 1, 0]


async def test_a_changed_cluster_is_seen_at_once() -> None:
    """The cluster is kept between decisions, and read again when something says that it changed."""
    async with world() as w:
        decide, asked = counting(keep_and_start)
        await w.agent(decide)
        await w.seconds(3)
        node = w.edge.cluster.nodes[0]
        await w.store.put_node(node.model_copy(update={"id": "n9"}), if_revision=None)
        await w.settle()
        assert [n.id for n in asked[-1].cluster.nodes] == ["n1", "n2", "n3", "n9"]


async def test_without_a_cluster_there_is_nothing_to_decide_until_there_is_one() -> None:
    """No slot is late for that, and the first cluster is decided on at once."""
    async with world(nodes=0, models=0, awake=()) as w:
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics)
        await w.seconds(65)
        assert await w.journal() == []
        assert count(metrics.registry, "fairlead_slots_late") == 0.0
        async with world() as other:
            await w.store.replace_cluster(other.edge.cluster)
        await w.settle()
        assert len(await w.journal()) == 1


async def test_after_a_kill_rates_and_counts_go_on_from_the_journal() -> None:
    """An agent that is killed and started again learns the same rates as one that never was."""

    async def rates(*, killed: bool) -> list[DecisionRecord]:
        async with world() as w:
            task = await w.agent(decide_slot)
            for second in range(1, 170):
                if second % 3 == 0:
                    w.edge.ask("m1")
                if killed and second == 70:
                    task.cancel()
                if killed and second == 85:
                    await w.agent(decide_slot)
                await w.seconds(1)
            return await w.journal("slot")

    whole, broken = await rates(killed=False), await rates(killed=True)
    assert [r.output.state for r in whole if isinstance(r.output, SlotDecision)] == [
        r.output.state for r in broken if isinstance(r.output, SlotDecision)
    ]
    assert [r.input.slot for r in broken if isinstance(r.input, SlotInput)] == [0, 1, 2, 3, 4, 5]


async def test_arrivals_are_counted_once_over_slots_events_and_restarts() -> None:
    """What the slot decisions counted adds up to what arrived until the last of them."""
    async with world() as w:
        task = await w.agent(decide_slot)
        for second in range(1, 200):
            w.edge.ask("m1")
            if second % 20 == 0:
                await w.miss("m2")
            if second == 100:
                task.cancel()
                await w.agent(decide_slot)
            await w.seconds(1)
        slots = [r.input for r in await w.journal("slot") if isinstance(r.input, SlotInput)]
        assert sum(s.snapshot.models[0].arrived for s in slots) == slots[-1].snapshot.models[0].arrived_total


async def test_while_the_store_is_away_it_is_tried_again_and_said_once() -> None:
    """Slots that pass meanwhile are late; the first slot after is decided."""
    async with world() as w:
        metrics = SlotMetrics()
        with structlog.testing.capture_logs() as logs:
            await w.agent(decide_slot, metrics)
            await w.seconds(40)
            w.store.unavailable = True
            await w.seconds(70)
            w.store.unavailable = False
            await w.seconds(45)
        slots = [r.input.slot for r in await w.journal("slot") if isinstance(r.input, SlotInput)]
        assert slots == [0, 1, 3, 4, 5]
        assert count(metrics.registry, "fairlead_slots_late") == 1.0
        assert 10.0 <= count(metrics.registry, "fairlead_slot_failures") <= 80.0
        said = [entry["event"] for entry in logs if "slot decision" in entry["event"]]
        assert said == [
            "the slot decision failed: going on with the last good state",
            "the slot decision works again",
        ]


async def test_a_decision_that_fails_is_made_again() -> None:
    """Whatever goes wrong inside, the loop goes on, and says what it was."""
    failures = 2

    def failing(given: SlotInput) -> SlotDecision:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ZeroDivisionError("no speed")
        return decide_slot(given)

    async with world() as w:
        metrics = SlotMetrics()
        with structlog.testing.capture_logs() as logs:
            await w.agent(failing, metrics)
            await w.seconds(5)
        assert len(await w.journal()) == 1
        assert count(metrics.registry, "fairlead_slot_failures") == 2.0
        assert "no speed" in logs[0]["error"]


async def test_a_store_that_does_not_answer_in_time_counts_as_away() -> None:
    """The time-out is of the wall."""
    async with world(store_type=GatedStore) as w:
        store = cast(GatedStore, w.store)
        w.settings = w.settings.model_copy(
            update={"mongodb": w.settings.mongodb.model_copy(update={"timeout_s": 0.01})}
        )
        store.gate.clear()
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics)
        async with asyncio.timeout(10.0):
            while not count(metrics.registry, "fairlead_slot_failures"):
                await asyncio.sleep(0.005)
        store.gate.set()
        await w.seconds(5)
        assert len(await w.journal()) == 1


async def test_two_slot_agents_at_once_do_no_harm() -> None:
    """Each slot is decided once, generations have no gap, arrivals are counted once."""
    async with world() as w:
        metrics = (SlotMetrics(), SlotMetrics())
        for m in metrics:
            await w.agent(decide_slot, m)
        for second in range(200):
            w.edge.ask("m1")
            if second % 25 == 3:
                await w.miss("m2", "m3")
            await w.seconds(1)
        records = await w.journal()
        slots = [r.input for r in records if r.kind == "slot" and isinstance(r.input, SlotInput)]
        assert [s.slot for s in slots] == [0, 1, 2, 3, 4, 5, 6]
        assert sum(s.snapshot.models[0].arrived for s in slots) == slots[-1].snapshot.models[0].arrived_total
        made = [
            r.output.placement.generation for r in records if isinstance(r.output, SlotDecision) and r.output.placement
        ]
        assert made == list(range(1, len(made) + 1))
        assert sum(count(m.registry, "fairlead_slot_decisions") for m in metrics) == len(records)
        assert all(count(m.registry, "fairlead_slots_late") == 0.0 for m in metrics)


@pytest.mark.parametrize("meddles", [1, 4, 9])
async def test_invariant_09_an_older_generation_never_overwrites_a_newer(meddles: int) -> None:
    """A decision that came second is made again on what is in force; nine times in a row needs a second try."""
    async with world(store_type=MeddledStore) as w:
        store = cast(MeddledStore, w.store)
        store.meddles = meddles
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics)
        await w.seconds(5)
        generations = await store.generations()
        assert (generations.placement, generations.table) == (meddles + 1, meddles + 1)
        own = [r for r in await w.journal() if r.kind == "slot"]
        assert [r.id for r in own] == [f"slot-{meddles + 1}"]
        given = own[0].input
        assert isinstance(given, SlotInput)
        assert given.placement is not None
        assert given.placement.generation == meddles
        assert count(metrics.registry, "fairlead_slot_conflicts") == meddles


async def test_invariant_12_without_demand_nothing_is_started() -> None:
    """After the first placement an idle cluster is left alone for twenty slots."""
    async with world() as w:
        await w.agent(decide_slot)
        await w.seconds(60)
        starts, placed = w.edge.starts, (await w.journal())[-1].output
        await w.seconds(600)
        assert isinstance(placed, SlotDecision)
        assert w.edge.starts == starts
        assert await w.journal("event") == []


async def test_a_table_gets_a_row_once_a_model_has_a_pod() -> None:
    """A model without pods has none; the missed one has one as soon as its pod starts soon enough."""
    async with world(awake=(("n1", "m1"),)) as w:
        await w.agent(decide_slot)
        await w.seconds(7)
        await w.miss("m3")
        await w.seconds(30)
        table = await w.store.current_table()
        assert table is not None
        assert "m3" in {r.model for r in table.rows}


async def test_while_no_node_at_all_is_heard_decisions_wait_for_reports() -> None:
    """It is rather us who are deaf: no event is decided, and a slot only when most of it has passed."""
    async with world() as w:
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics)
        await w.seconds(32)
        for node in w.edge.cluster.nodes:
            w.edge.lose(node.id)
        await w.seconds(26)
        assert [r.kind for r in await w.journal()] == ["slot", "slot"]
        await w.seconds(7)
        w.edge.lost.clear()
        await w.seconds(15)
        back = (await w.journal())[-1]
        assert isinstance(back.input, SlotInput)
        assert back.input.slot == 2
        assert all(n.up for n in back.input.snapshot.nodes)
        assert back.made_at_s == ORIGIN_S + 75.0
        for node in w.edge.cluster.nodes:
            w.edge.lose(node.id)
        await w.seconds(65)
        late = (await w.journal("slot"))[-1]
        assert late.made_at_s == ORIGIN_S + 140.0
        assert count(metrics.registry, "fairlead_slots_late") == 0.0
        assert count(metrics.registry, "fairlead_slot_deaf") > 0.0
