"""What a proposal does to a slot: no decision waits for it, events carry it, and it ends with its slot."""

import asyncio
from typing import cast

import structlog

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_llm import MemoryLlm
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput
from fairlead.contracts.dialogue import Ask
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.events import Mode
from fairlead.contracts.plans import Placement, RoutingTable
from fairlead.policy.registry import decide_slot
from slot_agent.memory import recall
from slot_agent.metrics import SlotMetrics
from tests.agents.replies import PacedLlm, good
from tests.agents.test_dialogues import check_replays
from tests.agents.world import World, count, world
from tests.slot_agent.edge import ORIGIN_S

FULL = (("n1", "m1"), ("n2", "m1"), ("n1", "m2"), ("n2", "m2"))
"""Two nodes without room: a further model goes to the third, and the rows of these stay as they are."""


def inputs(records: list[DecisionRecord]) -> list[SlotInput]:
    """Return what these were made on."""
    return [r.input for r in records if isinstance(r.input, SlotInput)]


def sources(records: list[DecisionRecord]) -> list[tuple[str, str]]:
    """Return kind and source of each."""
    return [(r.kind, r.source) for r in records]


class LossyStore(MemoryStore):
    """A store that does a thing to tables that follow a dialogue, once: another's first, or an answer that is lost."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.meddles = 0
        self.losses = 0

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put the table in force."""
        if record.kind != "advice" or table is None:
            return await super().publish_slot(placement, table, record)
        if self.meddles:
            self.meddles -= 1
            raise Conflict("another was first")
        await super().publish_slot(placement, table, record)
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("the answer was lost")


class FickleStore(MemoryStore):
    """A store in which somebody switches the mode right after a dialogue has read it."""

    answered = False
    """Whether the model has answered: the next reading is the dialogue's."""

    async def mode(self, agent: str) -> Mode:
        """Return who may act."""
        found = await super().mode(agent)
        if self.answered:
            self.answered = False
            await self.put_mode(found.model_copy(update={"mode": "shadow"}), if_revision=found.revision)
        return found


async def test_a_mode_that_is_switched_right_after_it_was_read_is_heeded() -> None:
    """What is accepted on an old mode is taken back in the same breath."""
    async with world(store_type=FickleStore) as w:
        store = cast(FickleStore, w.store)

        def say(ask: Ask) -> str:
            store.answered = True
            return good(ask)

        await w.switch("slot-agent", "auto")
        await w.agent(decide_slot, llm=MemoryLlm(say))
        assert sources(await w.journal()) == [("slot", "fallback"), ("advice", "llm"), ("advice", "fallback")]
        table = await w.store.current_table()
        assert table is not None
        assert table.source == "fallback"
        await check_replays(w)


async def test_a_mode_that_is_switched_while_no_node_is_heard_is_heeded_afterwards() -> None:
    """A table without rows would take every node from the gateways."""
    async with world() as w:
        await guided(w)
        for node in w.edge.cluster.nodes:
            w.edge.lose(node.id)
        await w.seconds(13)
        await w.switch("slot-agent", "off")
        assert sources(await w.journal())[-1] == ("advice", "llm")
        w.edge.lost.clear()
        await w.seconds(10)
        assert sources(await w.journal())[-1] == ("advice", "fallback")


async def guided(w: World, metrics: SlotMetrics | None = None, after_s: float = 2.0) -> asyncio.Task[None]:
    """Start a slot agent, and return it once a proposal for its first slot steers."""
    await w.switch("slot-agent", "auto")
    task = await w.agent(decide_slot, metrics, PacedLlm(w.clock, after_s))
    await w.seconds(after_s + 1.0)
    table = await w.store.current_table()
    assert table is not None
    assert table.source == "llm"
    return task


async def test_no_decision_waits_for_a_model() -> None:
    """Each slot is decided at its begin and once more when its dialogue ends; none is late."""
    async with world() as w:
        metrics = SlotMetrics()
        await guided(w, metrics, after_s=10.0)
        await w.seconds(100)
        records = await w.journal()
        assert sources(records) == [("slot", "fallback"), ("advice", "llm")] * 4
        assert [r.made_at_s - ORIGIN_S for r in records] == [0, 10, 30, 40, 60, 70, 90, 100]
        assert {g.llm for g in inputs(records) if g.trigger == "slot"} == {"asked"}
        assert count(metrics.registry, "fairlead_slots_late") == 0.0
        await check_replays(w)


async def test_a_guided_table_has_the_proposed_rows_and_its_prior() -> None:
    """And belongs to the placement that is in force, which it leaves alone."""
    async with world() as w:
        await guided(w)
        table, placement = await w.store.current_table(), await w.store.current_placement()
        assert table is not None
        assert placement is not None
        assert (table.placement_generation, placement.generation) == (1, 1)
        assert [[round(s.probability, 6) for s in r.shares] for r in table.rows] == [[0.6, 0.4]]
        assert [r.prior_weight_s for r in table.rows] == [w.settings.controller.guide_prior_weight_s]


async def test_an_event_after_it_carries_the_proposal() -> None:
    """Its table has the proposed rows that fit beside the fallback's for what is new."""
    async with world(awake=FULL) as w:
        await guided(w)
        await w.seconds(4)
        await w.miss("m3")
        await w.settle()
        event = (await w.journal("event"))[-1]
        assert event.source == "llm"
        assert isinstance(event.input, SlotInput)
        assert event.input.guide == inputs(await w.journal("advice"))[-1].guide
        assert [f"{s.name}:{s.code}" for s in event.output.steps] == ["absent:answered", "mode:guided"]
        await check_replays(w)


async def test_rows_that_are_no_longer_near_the_fallbacks_are_dropped_one_by_one() -> None:
    """A model that is started on the first node moves the other's requests away from there."""
    async with world() as w:
        await guided(w)
        await w.seconds(4)
        await w.miss("m3")
        await w.settle()
        event = (await w.journal("event"))[-1]
        assert event.source == "fallback"
        assert [(r.rule, r.model) for r in event.output.reasons if r.rule == "guide-dropped"] == [
            ("guide-dropped", "m1")
        ]
        await check_replays(w)


async def test_a_proposal_whose_node_is_lost_no_longer_acts() -> None:
    """The event on the loss is decided with what is left of it: nothing."""
    async with world() as w:
        await guided(w)
        w.edge.lose("n1")
        await w.seconds(20)
        events = [r for r in await w.journal("event") if isinstance(r.input, SlotInput) and r.input.guide is not None]
        assert events
        table = await w.store.current_table()
        assert table is not None
        assert all(s.node != "n1" for row in table.rows for s in row.shares)
        await check_replays(w)


async def test_a_proposal_ends_with_its_slot() -> None:
    """The next slot is the fallback's until its own dialogue has ended, also on events."""
    async with world() as w:
        await guided(w)
        await w.seconds(26)
        w.tasks[0].cancel()
        await w.settle()
        await w.agent(decide_slot)
        await w.seconds(3)
        await w.miss("m3")
        await w.seconds(1)
        late = [g for g in inputs(await w.journal()) if g.slot == 1]
        assert [g.trigger for g in late] == ["slot", "event"]
        assert all(g.guide is None for g in late)
        table = await w.store.current_table()
        assert table is not None
        assert table.source == "fallback"


async def test_after_a_kill_in_mid_slot_the_proposal_steers_on() -> None:
    """It is remembered from the journal; nothing is asked twice about one slot."""
    async with world(awake=FULL) as w:
        task = await guided(w)
        task.cancel()
        await w.seconds(5)
        again = MemoryLlm(good)
        await w.agent(decide_slot, llm=again)
        await w.seconds(2)
        await w.miss("m3")
        await w.seconds(1)
        assert (await w.journal())[-1].kind == "event"
        assert (await w.journal())[-1].source == "llm"
        assert again.asked == []
        await check_replays(w)


async def test_after_a_kill_during_a_dialogue_the_slot_stays_the_fallbacks() -> None:
    """The next slot is asked about."""
    async with world() as w:
        await w.switch("slot-agent", "auto")
        task = await w.agent(decide_slot, llm=PacedLlm(w.clock, 10.0))
        await w.seconds(5)
        task.cancel()
        await w.agent(decide_slot, llm=PacedLlm(w.clock, 10.0))
        await w.seconds(40)
        assert sources(await w.journal()) == [("slot", "fallback"), ("slot", "fallback"), ("advice", "llm")]


async def test_a_process_without_a_model_takes_back_what_one_with_a_model_left() -> None:
    """Nobody could switch it off any more."""
    async with world() as w:
        task = await guided(w)
        task.cancel()
        await w.agent(decide_slot)
        table = await w.store.current_table()
        assert table is not None
        assert table.source == "fallback"
        assert [f"{s.name}:{s.code}" for s in (await w.journal())[-1].output.steps] == ["mode:off", "fallback:ok"]
        await check_replays(w)


async def test_rates_and_arrivals_are_those_of_a_run_without_a_model() -> None:
    """Advice counts nothing, also where a restart remembers it."""

    async def rates(*, model: bool) -> list[SlotDecision]:
        async with world() as w:
            await w.switch("slot-agent", "shadow")
            llm = PacedLlm(w.clock, 4.0) if model else None
            task = await w.agent(decide_slot, llm=llm)
            for second in range(1, 170):
                if second % 3 == 0:
                    w.edge.ask("m1")
                if second == 69:
                    task.cancel()
                    await w.agent(decide_slot, llm=llm)
                await w.seconds(1)
            return [r.output for r in await w.journal("slot") if isinstance(r.output, SlotDecision)]

    with_model, without = await rates(model=True), await rates(model=False)
    assert [d.state for d in with_model] == [d.state for d in without]
    assert len(without) == 6


async def test_advice_remembered_has_counted_nothing() -> None:
    """What arrived since the slot's own decision is still to be counted; the proposal and its dialogue are known."""
    async with world() as w:
        await guided(w)
        w.edge.ask("m1", 4)
        await w.seconds(34)
        record = (await w.journal("advice"))[-1]
        assert isinstance(record.output, SlotDecision)
        assert record.dialogue is not None
        memory = recall(record, 1, {"m1": 99})
        assert (memory.decided, memory.arrived["m1"], memory.state) == (1, 4, record.output.state)
        assert (memory.guiding(1) is not None, memory.guiding(2)) == (True, None)
        assert (memory.dialogue, memory.llm) == (record.dialogue.id, "answered")


async def test_another_decision_that_comes_first_is_no_harm() -> None:
    """The advice is decided again on what is in force then; still one line."""
    async with world(store_type=LossyStore) as w:
        cast(LossyStore, w.store).meddles = 3
        metrics = SlotMetrics()
        await guided(w, metrics)
        assert len(await w.journal("advice")) == 1
        assert count(metrics.registry, "fairlead_slot_conflicts") == 3.0
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="accepted") == 1.0


async def test_a_line_whose_writing_was_not_confirmed_is_not_written_twice() -> None:
    """The journal is read again before the second try."""
    async with world(store_type=LossyStore) as w:
        cast(LossyStore, w.store).losses = 1
        metrics = SlotMetrics()
        with structlog.testing.capture_logs():
            await guided(w, metrics)
            await w.seconds(5)
        assert len(await w.journal("advice")) == 1
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="accepted") == 1.0


async def test_while_an_earlier_question_is_open_a_slot_is_not_asked_about() -> None:
    """A dialogue that began late in a slot may hang over its end; the one after is asked about again."""
    async with world() as w:
        await w.switch("slot-agent", "auto")
        await w.seconds(20)
        llm = PacedLlm(w.clock, 1e6, heedless=True)
        await w.agent(decide_slot, llm=llm)
        await w.seconds(14)
        llm.after_s = 1.0
        await w.seconds(30)
        records = await w.journal()
        assert [(g.trigger, g.slot, g.llm) for g in inputs(records)] == [
            ("slot", 0, "asked"),
            ("slot", 1, "busy"),
            ("advice", 1, "answered"),
            ("slot", 2, "asked"),
            ("advice", 2, "answered"),
        ]
        assert [r.source for r in records] == ["fallback"] * 4 + ["llm"]
        await check_replays(w)


async def test_where_there_is_nothing_to_route_nobody_is_asked() -> None:
    """The line says why."""
    async with world(models=0, awake=()) as w:
        await w.switch("slot-agent", "auto")
        llm = MemoryLlm(good)
        metrics = SlotMetrics()
        await w.agent(decide_slot, metrics, llm)
        advice = (await w.journal("advice"))[0]
        assert [f"{s.name}:{s.code}" for s in advice.output.steps] == ["absent:no-cluster", "fallback:ok"]
        assert advice.dialogue is not None
        assert advice.dialogue.exchanges == ()
        assert llm.asked == []
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="unasked") == 1.0


async def test_advice_waits_while_no_node_is_heard() -> None:
    """A table without rows would take every node from the gateways."""
    async with world() as w:
        metrics = SlotMetrics()
        await w.switch("slot-agent", "auto")
        await w.agent(decide_slot, metrics, PacedLlm(w.clock, 17.0))
        for node in w.edge.cluster.nodes:
            w.edge.lose(node.id)
        await w.seconds(19)
        assert sources(await w.journal()) == [("slot", "fallback")]
        w.edge.lost.clear()
        await w.seconds(7)
        assert sources(await w.journal())[1] == ("advice", "llm")
        assert count(metrics.registry, "fairlead_slot_deaf") >= 1.0


async def test_a_cluster_that_is_emptied_meanwhile_leaves_nothing_to_decide() -> None:
    """The dialogue is counted, and the loop goes on."""
    async with world() as w:
        metrics = SlotMetrics()
        await w.switch("slot-agent", "auto")
        await w.agent(decide_slot, metrics, PacedLlm(w.clock, 5.0))
        before = w.edge.cluster
        await w.store.replace_cluster(before.model_copy(update={"nodes": (), "sites": ()}))
        await w.seconds(8)
        assert await w.journal("advice") == []
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="outdated") == 1.0
        await w.store.replace_cluster(before)
        await w.seconds(30)
        assert sources(await w.journal())[-1] == ("advice", "llm")


async def test_two_slot_agents_hold_one_dialogue_a_slot() -> None:
    """Whoever has decided the slot asks; the other carries what came of it."""
    async with world() as w:
        await w.switch("slot-agent", "auto")
        llm = PacedLlm(w.clock, 2.0)
        for _ in range(2):
            await w.agent(decide_slot, llm=llm)
        await w.seconds(100)
        assert len(llm.inner.asked) == 4
        assert sources(await w.journal()) == [("slot", "fallback"), ("advice", "llm")] * 4
        await check_replays(w)
