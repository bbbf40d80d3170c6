"""The slot agent's loops: a clock that says when, a stream that says what changed, and one decision at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import structlog

from fairlead.adapters.outage import Outage
from fairlead.agents.advice import Advising, Question, Talk, nothing
from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.ports import Clock, Store
from fairlead.policy.periods import Agenda, Periods
from fairlead.policy.wakes import wake_of
from slot_agent.agenda import Punctuality
from slot_agent.decider import Decider, DecideSlot
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Case

DEAF_RATIO = 0.6
"""Share of a slot that its decision may wait for a first report when none is heard: leaves time to be punctual."""

WATCHED: Sequence[EventKind] = (
    "wake",
    "override",
    "node",
    "model",
    "site",
    "plan",
    "mode",
    "proposal",
    "goal",
)


class SlotAgent:
    """Decides each slot at its begin and on events between; `run` ends by cancellation only.

    A language model is asked beside it, in a task of its own: no decision waits for one.
    """

    def __init__(
        self, store: Store, clock: Clock, case: Case, decide: DecideSlot, advisor: Advising, metrics: SlotMetrics
    ) -> None:
        controller = case.settings.controller
        self._store = store
        self._clock = clock
        self._advisor = advisor
        self._metrics = metrics
        self._decider = Decider(store, clock, case, decide, advisor, metrics)
        self._deadline_s = case.settings.llm.slot_deadline_ratio * controller.slot_s / clock.speed
        """Wall seconds for a dialogue."""
        self._slots = Periods(case.settings.clock_origin_s, controller.slot_s)
        self._agenda = Agenda(self._slots, controller.refresh_s)
        self._slot = self._slots.at(clock.now_s())
        self._bell = asyncio.Event()
        self._event_due = False
        self._event_forced = False
        self._mode_due = True
        """The mode may be another one than when a proposal was accepted."""
        self._talks: deque[Talk] = deque()
        """Dialogues that have ended and are to be decided, oldest first."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        advisor.heed(self._mode_changed)

    async def run(self) -> None:
        """Decide until cancelled."""
        self._bell.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time(), name="slot-agent: time")
            tasks.create_task(self._keep_watching(), name="slot-agent: changes")
            tasks.create_task(self._keep_deciding(tasks), name="slot-agent: decisions")
            tasks.create_task(self._advisor.run(), name="slot-agent: status")

    def _ring(self, *, forced: bool) -> None:
        """Ask for one more decision, also while one is being made; many calls until then make one."""
        self._event_due = True
        self._event_forced |= forced
        self._bell.set()

    async def _keep_time(self) -> None:
        punctuality = Punctuality(self._slot)
        while True:
            await self._clock.sleep_until(self._agenda.next_tick_s(self._clock.now_s()))
            slot = self._slots.at(self._clock.now_s())
            if slot == self._slot:
                self._ring(forced=False)
                continue
            ended, late = punctuality.entered(slot, self._decider.decided)
            self._metrics.slots.inc(ended)
            self._metrics.late.inc(late)
            if late:
                self._log.warning("slots ended without a decision of their own", late=late, slot=slot)
            self._slot = slot
            self._bell.set()

    async def _keep_watching(self) -> None:
        outage = Outage("the stream of changes", self._clock, self._metrics.loop.watch_failures)
        while True:
            try:
                changes = cast(AsyncGenerator[Event, None], self._store.changes(WATCHED))
                async with aclosing(changes):
                    async for event in changes:
                        outage.over()
                        self._noticed(event)
            except Exception as error:  # the top of this loop
                await outage.failed(error)
            self._decider.standings.forget()
            self._mode_changed()
            self._ring(forced=True)

    def _noticed(self, event: Event) -> None:
        if event.kind in ("mode", "proposal"):
            self._mode_changed()
            return
        if event.kind == "wake" and event.text == "changed":
            return  # our own word to the planner
        self._decider.standings.forget_changed(event.kind)
        if event.kind != "wake" or self._decider.wakes.add(wake_of(event), self._clock.now_s()):
            self._ring(forced=True)

    def _mode_changed(self) -> None:
        self._advisor.noticed()
        self._mode_due = True
        self._bell.set()

    async def _keep_deciding(self, tasks: asyncio.TaskGroup) -> None:
        outage = Outage("the slot decision", self._clock, self._metrics.loop.failures)
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._decide_what_is_due(tasks)
                outage.over()
            except Exception as error:  # the top of this loop
                await self._lost(outage, error)

    async def _decide_what_is_due(self, tasks: asyncio.TaskGroup) -> None:
        slot = self._slot
        forced, event_due = self._event_forced, self._event_due
        self._event_due = self._event_forced = False
        patient = self._clock.now_s() < self._slots.begins_at_s(slot) + DEAF_RATIO * self._slots.length_s
        if self._decider.decided < slot:
            asked = await self._decider.decide_slot(slot, patient=patient)
            if asked is not None:
                tasks.create_task(self._converse(asked), name=f"slot-agent: dialogue about slot {slot}")
            event_due = False
        await self._take_back_if_due(slot)
        if event_due:
            await self._decider.decide_event(slot, forced=forced)
        while self._talks and await self._decider.decide_advice(slot, self._talks[0], patient=patient):
            self._talks.popleft()
            self._mode_due = True  # it may have been switched since the dialogue read it
        await self._take_back_if_due(slot)

    async def _take_back_if_due(self, slot: int) -> None:
        if self._mode_due:
            self._mode_due = not await self._decider.take_back(slot)

    async def _converse(self, asked: SlotInput) -> None:
        """Hold a dialogue about a slot, and ask for a decision on what has come of it."""
        ends_at_s = self._slots.begins_at_s(asked.slot + 1)
        left_s = (ends_at_s - self._clock.now_s()) / self._clock.speed
        if left_s <= 0:
            return
        talk = await self._advisor.hold(Question(asked, min(self._deadline_s, left_s), ends_at_s), nothing)
        if talk is not None:
            self._talks.append(talk)
            self._bell.set()

    async def _lost(self, outage: Outage, error: Exception) -> None:
        """Wait before the next try, which reads everything anew and decides also on what was due meanwhile."""
        self._decider.forget()
        await outage.failed(error)
        self._ring(forced=True)
