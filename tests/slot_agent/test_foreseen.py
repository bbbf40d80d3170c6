"""What the slot agent foresees live: it is journaled, handed to the planner, and wakes that one at a change."""

from fairlead.contracts.decisions import DecisionRecord, EpochInput, SlotInput
from fairlead.contracts.events import Wake
from fairlead.contracts.notes import Note
from fairlead.policy.registry import decide_slot
from planner.metrics import PlannerMetrics
from slot_agent.metrics import SlotMetrics
from tests.agents.replies import PacedLlm
from tests.agents.world import World, count, world
from tests.slot_agent.edge import ORIGIN_S


async def slots_of(w: World, slots: int, **asked: int) -> None:
    """Let so many slots pass, with so many requests for each model in the second half of each."""
    for _ in range(slots):
        await w.seconds(14)
        for model, times in asked.items():
            w.edge.ask(model, times)
        await w.seconds(16)


def seen(record: DecisionRecord) -> SlotInput:
    """Return what a slot's decision was made on."""
    assert isinstance(record.input, SlotInput)
    return record.input


def early(records: list[DecisionRecord]) -> list[float]:
    """Return when the planner was asked, but for its own times."""
    asked = [r.dialogue.asked for r in records if r.dialogue is not None]
    times = [a.now_s - ORIGIN_S for a in asked if isinstance(a, EpochInput)]
    return [at_s for at_s in times if at_s % 300.0 not in (18.0, 258.0)]


async def test_each_slot_is_told_what_came_and_what_is_expected() -> None:
    """Arrivals of each slot that ended, and a forecast; events have neither, for they do not decide by it."""
    async with world() as w:
        await w.agent(decide_slot)
        await slots_of(w, 4, m1=6)
        await w.miss("m3")
        await w.settle()
        given = seen((await w.journal("slot"))[-1])
        assert [(one.slot, one.model, one.arrived) for one in given.recent] == [(k, "m1", 6) for k in range(4)]
        assert given.forecast is not None
        assert given.forecast.until_s == given.now_s + 600.0
        rates = {r.model: r.per_s for r in given.forecast.rates}
        assert rates["m1"] > rates["m2"]
        event = seen((await w.journal("event"))[-1])
        assert (event.recent, event.forecast) == ((), None)


async def test_after_a_restart_the_slot_agent_goes_on_from_the_journal() -> None:
    """The newest slots are known again, those before and those of the gap are not."""
    async with world() as w:
        task = await w.agent(decide_slot)
        await slots_of(w, 5, m1=6)
        task.cancel()
        await w.seconds(60)
        await w.agent(decide_slot)
        await slots_of(w, 2, m1=3)
        told = [(one.slot, one.arrived) for one in seen((await w.journal("slot"))[-1]).recent]
        assert told == [*((k, 6) for k in range(5)), (7, 3), (8, 3)]


async def test_what_was_learned_survives_a_restart() -> None:
    """Regimes and changes are kept as they are learned; the next slot agent recognises the regime that is back."""
    async with world() as w:
        task = await w.agent(decide_slot)
        await slots_of(w, 10, m1=8)
        await slots_of(w, 10, m2=8)
        task.cancel()
        kept = await w.store.knowledge()
        assert [one.id for one in kept.regimes] == ["r1"]
        await w.agent(decide_slot)
        await slots_of(w, 3, m2=8)
        await slots_of(w, 6, m1=8)
        forecast = seen((await w.journal("slot"))[-1]).forecast
        assert forecast is not None
        assert forecast.regime == "r1"


async def test_a_change_of_demand_wakes_the_planner_but_a_missed_model_does_not() -> None:
    """Asked within a slot of the change, told the forecast; not again inside the cool-down."""
    async with world() as w:
        await w.switch("planner", "auto")
        slot, planner = SlotMetrics(), PlannerMetrics()
        await w.agent(decide_slot, slot)
        await w.planner(llm=PacedLlm(w.clock, 2.0), metrics=planner)
        await slots_of(w, 11, m1=8)
        await w.miss("m3")
        await w.settle()
        assert early(await w.journal(agent="planner")) == []
        changed_s = w.clock.now_s() - ORIGIN_S
        await slots_of(w, 2, m1=8, m2=40)
        await w.store.wake(Wake(model="m1", reason="changed", site=None, wait_s=0.0, at_s=w.clock.now_s()))
        await w.seconds(20)
        records = await w.journal(agent="planner")
        times = early(records)
        assert len(times) == 1
        assert changed_s + 14.0 < times[0] <= changed_s + 60.0
        told = next(r.input for r in records if r.made_at_s - ORIGIN_S > times[0])
        assert told.recent
        assert told.forecast is not None
        assert count(slot.registry, "fairlead_slot_changes") == 1.0


async def test_a_change_just_before_the_next_question_is_left_to_that() -> None:
    """An early question would not be answered before it; where nobody can be asked, nobody is."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(245)
        await w.store.wake(Wake(model="m1", reason="changed", site=None, wait_s=0.0, at_s=w.clock.now_s()))
        await w.seconds(60)
        assert early(await w.journal(agent="planner")) == []
    async with world() as w:
        await w.planner()
        await w.seconds(100)
        await w.store.wake(Wake(model="m1", reason="changed", site=None, wait_s=0.0, at_s=w.clock.now_s()))
        await w.seconds(60)
        assert len(await w.journal(agent="planner")) == 1


async def test_what_a_note_says_is_recognised_as_it_comes_true() -> None:
    """Within its first slot, although nothing like it was ever seen; the forecast names the note."""
    async with world() as w:
        note = Note(
            id="note-1",
            text="m3 16 a minute, others stop",
            from_s=ORIGIN_S + 300.0,
            until_s=ORIGIN_S + 900.0,
            by="ann",
            created_at_s=ORIGIN_S,
        )
        await w.store.put_note(note, if_revision=None)
        await w.agent(decide_slot)
        await slots_of(w, 10, m1=8)
        before = seen((await w.journal("slot"))[-1]).forecast
        await slots_of(w, 2, m3=8)
        after = seen((await w.journal("slot"))[-1]).forecast
        assert before is not None
        assert before.regime == ""
        assert after is not None
        assert (after.regime, after.since_s) == ("note-1", ORIGIN_S + 300.0)
