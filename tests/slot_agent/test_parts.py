"""The slot agent's parts: when ticks come, which slots are late, what is remembered, which wakes are news."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput, SlotState
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.events import Event, EventKind, Wake
from fairlead.contracts.settings import Settings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.periods import Agenda, Periods
from fairlead.policy.registry import decide_slot
from fairlead.policy.wakes import Wakes, wake_of
from slot_agent.agenda import Punctuality
from slot_agent.memory import recall
from slot_agent.service import serve, static_placement
from slot_agent.standing import Standings
from tests.agents.world import world
from tests.slot_agent.edge import ORIGIN_S, cluster


def test_refreshes_start_anew_with_each_slot() -> None:
    """Every 7 s from a slot's begin; a slot of 30 s has four, and its end comes before the fifth."""
    agenda = Agenda(Periods(100.0, 30.0), 7.0)
    ticks = [100.0]
    while ticks[-1] < 160.0:
        ticks.append(agenda.next_tick_s(ticks[-1]))
    assert ticks == [100.0, 107.0, 114.0, 121.0, 128.0, 130.0, 137.0, 144.0, 151.0, 158.0, 160.0]


@given(
    origin_s=st.floats(0, 2e9), slot_s=st.floats(0.1, 1e3), refresh_s=st.floats(0.01, 1e3), after_s=st.floats(0, 1e5)
)
def test_the_next_tick_is_ahead_and_no_slot_is_passed_over(
    origin_s: float, slot_s: float, refresh_s: float, after_s: float
) -> None:
    """Whatever is rounded."""
    agenda = Agenda(Periods(origin_s, slot_s), refresh_s)
    now_s = origin_s + after_s
    tick_s = agenda.next_tick_s(now_s)
    assert now_s < tick_s <= agenda.slots.begins_at_s(agenda.slots.at(now_s) + 1)


def test_a_slot_is_late_if_it_ends_without_a_decision() -> None:
    """The slot in which counting began is not judged; several that end at once are all counted."""
    punctuality = Punctuality(current=4)
    assert punctuality.entered(5, decided=-1) == (0, 0)
    assert punctuality.entered(6, decided=5) == (1, 0)
    assert punctuality.entered(9, decided=7) == (3, 1)
    assert punctuality.entered(9, decided=7) == (0, 0)
    assert (punctuality.total, punctuality.late) == (4, 1)


async def a_record(kind: str) -> DecisionRecord:
    """Return the newest decision of this kind of a short run."""
    async with world() as w:
        await w.agent(decide_slot)
        for _ in range(6):
            w.edge.ask("m1")
            await w.seconds(11)
        await w.miss("m3")
        await w.seconds(1)
        return (await w.journal(kind))[-1]


async def test_what_a_slot_decision_knew_is_remembered() -> None:
    """Its rates, its totals and its slot."""
    record = await a_record("slot")
    assert isinstance(record.output, SlotDecision)
    memory = recall(record, 2, {"m1": 99})
    assert memory.state == record.output.state
    assert (memory.decided, memory.arrived["m1"]) == (2, 5)


async def test_after_an_event_arrivals_count_on_from_the_last_slot() -> None:
    """What it saw arriving is not in the rates yet."""
    memory = recall(await a_record("event"), 2, {})
    assert (memory.decided, memory.state.slot, memory.arrived["m1"]) == (2, 2, 5)


async def test_a_record_of_another_clock_gives_its_rates_only() -> None:
    """Its slot has not come yet here."""
    record = await a_record("slot")
    assert isinstance(record.output, SlotDecision)
    memory = recall(record, 1, {"m1": 99})
    assert memory.state == record.output.state.model_copy(update={"slot": 0})
    assert (memory.decided, memory.arrived) == (-1, {"m1": 99})


async def test_an_event_before_any_slot_decision_counted_nothing() -> None:
    """So slot 0 is still to be decided."""
    record = await a_record("event")
    fresh = SlotState(slot=0, rates=(), rotation=0)
    given = record.input.model_copy(update={"slot": 0, "state": fresh})
    record = record.model_copy(update={"input": given, "output": record.output.model_copy(update={"state": fresh})})
    assert recall(record, 0, {}).decided == -1


def test_without_a_journal_arrivals_count_from_now() -> None:
    """What arrived before anybody looked belongs to no slot."""
    memory = recall(None, 7, {"m1": 5})
    assert memory.state == SlotState(slot=6, rates=(), rotation=0)
    assert (memory.decided, memory.arrived) == (-1, {"m1": 5})


async def test_a_journal_without_totals_counts_from_now() -> None:
    """Absent is not zero."""
    record = await a_record("slot")
    assert isinstance(record.input, SlotInput)
    models = tuple(m.model_copy(update={"arrived_total": None}) for m in record.input.snapshot.models)
    snapshot = record.input.snapshot.model_copy(update={"models": models})
    record = record.model_copy(update={"input": record.input.model_copy(update={"snapshot": snapshot})})
    assert recall(record, 2, {"m1": 99}).arrived == {"m1": 99}


def wake(model: str = "m1", at_s: float = ORIGIN_S) -> Wake:
    """Return a wake of the first site."""
    return Wake(model=model, reason="missing", site="s1", wait_s=0.0, at_s=at_s)


def test_the_same_wake_is_news_once_in_a_refresh() -> None:
    """Of another model, or of another reason, at once."""
    wakes = Wakes(PolicySettings())
    assert wakes.add(wake(), ORIGIN_S)
    assert not wakes.add(wake(), ORIGIN_S + 4.9)
    assert wakes.add(wake("m2"), ORIGIN_S + 4.9)
    assert wakes.add(wake().model_copy(update={"reason": "wait"}), ORIGIN_S + 4.9)
    assert wakes.add(wake(), ORIGIN_S + 5.0)


def test_a_wake_is_pending_until_it_is_outdated() -> None:
    """Three report periods without a report of its site."""
    wakes = Wakes(PolicySettings())
    wakes.add(wake("m2"), ORIGIN_S)
    wakes.add(wake("m1"), ORIGIN_S)
    assert [w.model for w in wakes.pending(ORIGIN_S + 15.0, ())] == ["m1", "m2"]
    assert wakes.pending(ORIGIN_S + 15.1, ()) == ()


@pytest.mark.parametrize(("text", "reason"), [("missing", "missing"), ("wait", "wait"), ("?", "missing")])
def test_an_event_says_which_model_is_missed_and_why(text: str, reason: Literal["missing", "wait"]) -> None:
    """A reason that is not known is the strongest one."""
    event = Event(sequence=1, kind="wake", id="m1", at_s=ORIGIN_S, text=text)
    assert wake_of(event) == Wake(model="m1", reason=reason, site=None, wait_s=0.0, at_s=ORIGIN_S)


async def test_what_stands_is_read_again_only_where_it_may_have_changed() -> None:
    """Each kind of event is about one part."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    standings = Standings(store, clock)
    first = await standings.read()
    assert (first.cluster.nodes, first.seen.placement) == ((), 0)
    await store.replace_cluster(cluster())
    others: tuple[EventKind, ...] = ("report", "decision", "wake", "mode", "override", "plan", "placement", "table")
    for kind in others:
        standings.forget_changed(kind)
        assert (await standings.read()).cluster.nodes == ()
    standings.forget_changed("node")
    assert len((await standings.read()).cluster.nodes) == 3


def test_without_a_file_there_is_no_static_placement(tmp_path: Path) -> None:
    """Policies that need one are told by its absence."""
    assert static_placement(tmp_path) == ()


def test_the_static_placement_is_read_from_the_state_directory(tmp_path: Path) -> None:
    """A list of placements of nodes."""
    (tmp_path / "static.json").write_text('[{"node": "n1", "awake": ["m1"], "stoppable": []}]')
    assert [(n.node, n.awake) for n in static_placement(tmp_path)] == [("n1", ("m1",))]


@pytest.mark.parametrize("text", ["", "{}", '[{"node": "n1"}]', '[{"node": "N", "awake": [], "stoppable": []}]'])
def test_a_static_placement_that_is_none_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    """Before anything is decided."""
    (tmp_path / "static.json").write_text(text)
    with pytest.raises(ConfigError, match=r"static\.json is not a list of placements"):
        static_placement(tmp_path)


async def test_a_slot_agent_without_a_database_says_what_to_set() -> None:
    """It cannot work without."""
    with pytest.raises(ConfigError, match="FAIRLEAD_MONGODB_URI"):
        await serve(Settings())
