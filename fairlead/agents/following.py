"""What follows a dialogue: what it was worth, whether what it brought does well, how near the twin's prediction came.

All of it is kept in the store, so that an agent that is started again goes on with it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from fairlead.adapters.outage import Outage, describe
from fairlead.agents.advice import Settled
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.waiting import Insisting
from fairlead.contracts.agent_memory import Acting, AgentMemory, Prediction, Trip, Vitals
from fairlead.contracts.dialogue import AgentName, Judgement, ModeName, WatchdogStatus, Worth
from fairlead.contracts.errors import foreign
from fairlead.contracts.events import Wake
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.periods import Periods
from fairlead.policy.remembrance import resumed
from fairlead.policy.snapshot import fold
from fairlead.policy.twin_error import TwinError
from fairlead.policy.watchdog import Watchdog, vitals
from fairlead.policy.worth import added, chosen_trial, worth


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a follower looks, and whom it is for."""

    agent: AgentName
    store: Store
    clock: Clock
    settings: Settings
    metrics: DialogueMetrics


class Follower:
    """Watches what was accepted, measures what was predicted, sums up what dialogues were worth, and keeps all of it.

    `run` ends by cancellation only.
    """

    def __init__(self, sight: Sight, memory: AgentMemory) -> None:
        """`memory` is what it goes on with; see `remembered`."""
        controller, limits = sight.settings.controller, sight.settings.llm.watchdog
        self.error = TwinError(limits, memory.predictions)
        self._sight = sight
        self._memory = memory
        self._gains = memory.gains
        self._slots = Periods(sight.settings.clock_origin_s, controller.slot_s)
        self._watchdog = Watchdog(limits, controller.slot_s, memory.watch)
        self._bells: list[Callable[[], None]] = []
        self._wrong = bool(self.error.wrong())
        """Whether the twin was not believed when it was last looked at."""
        self._news = asyncio.Event()
        """There is something to be kept."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def heed(self, bell: Callable[[], None]) -> None:
        """Ring this whenever it begins or ends that nothing may act."""
        self._bells.append(bell)

    def held_back(self) -> str:
        """Return why nothing may act now; empty where it may."""
        return foreign(self._watchdog.holds(self._sight.clock.now_s()))

    def worth(self, mode: ModeName) -> Worth:
        """Return what the dialogues so far are worth, and what that suggests in this mode."""
        return worth(self._gains, mode)

    def status(self) -> WatchdogStatus:
        """Return what the watchdog has found."""
        state, held = self._watchdog.state, self.held_back()
        return WatchdogStatus(
            holds=bool(held),
            until_s=state.last.until_s if state.last is not None else 0.0,
            text=foreign(f"{state.last.code}: {state.last.text}") if state.last is not None else "",
            trips=state.trips,
        )

    def memory(self) -> AgentMemory:
        """Return what is to be kept now."""
        update = {
            "at_s": self._sight.clock.now_s(),
            "gains": self._gains,
            "predictions": self.error.state,
            "watch": self._watchdog.state,
        }
        return self._memory.model_copy(update=update)

    def concluded(self, ended: Settled, *, acts: bool) -> None:
        """Follow what was decided after a dialogue: the proposal where it acts, else the fallback."""
        judgements = ended.dialogue.judgements
        self._gains = added(self._gains, judgements, ended.dialogue.exchanges)
        if judgements:
            self._judged(judgements[-1], ended, acts=acts)
        self._news.set()

    def _judged(self, judgement: Judgement, ended: Settled, *, acts: bool) -> None:
        begun_s = ended.dialogue.asked.now_s
        trial = chosen_trial(judgement)
        latency_s = None if trial is None else trial.latency_s if acts else trial.fallback_latency_s
        until_s = begun_s + judgement.horizon_s
        if latency_s is not None:
            self.error.predicted(Prediction(at_s=begun_s, until_s=until_s, latency_s=latency_s))
        if acts:
            now_s = self._sight.clock.now_s()
            self._watchdog.accepted(Acting(at_s=now_s, until_s=until_s, latency_s=latency_s, cited=ended.cited))

    async def run(self) -> None:
        """Look at each slot's begin, and keep what is known after that and after each dialogue, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking(), name=f"{self._sight.agent}: looks")
            tasks.create_task(self._keep_memory(), name=f"{self._sight.agent}: memory")

    async def _keep_looking(self) -> None:
        sight = self._sight
        outage = Outage(f"following the {sight.agent}", sight.clock, sight.metrics.failures("watchdog"))
        held = self.held_back()
        while True:
            slot = self._slots.at(sight.clock.now_s())
            await sight.clock.sleep_until(self._slots.begins_at_s(slot + 1))
            try:
                async with asyncio.timeout(sight.settings.mongodb.timeout_s):
                    await self._look()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
            self._news.set()
            if held != (held := self.held_back()):
                for bell in self._bells:
                    bell()

    async def _keep_memory(self) -> None:
        sight = self._sight
        outage = Outage(f"keeping the memory of the {sight.agent}", sight.clock, sight.metrics.failures("memory"))
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                async with asyncio.timeout(sight.settings.mongodb.timeout_s):
                    await sight.store.put_agent_memory(self.memory())
                outage.over()
            except Exception as error:  # the top of this loop
                self._news.set()
                await outage.failed(error)

    async def _look(self) -> None:
        """Measure what is due, and see what acts. Raises `StoreUnavailable`."""
        store, now_s = self._sight.store, self._sight.clock.now_s()
        await self._quarantine()
        for one in self.error.due(now_s - self._slots.length_s):  # what ended is reported within a slot
            found = await store.tallies(one.at_s, one.until_s)
            counted, latency_s = sum(t.counted for t in found), sum(t.latency_sum_s for t in found)
            self.error.measured(one, counted, latency_s)
        await self._wake_if_wrong(now_s)
        if (await store.mode(self._sight.agent)).mode not in ("auto", "assist"):
            self._watchdog.rests()
            return
        trip = self._watchdog.looked(await self._vitals(now_s))
        if trip is not None:
            self._tripped(trip)
            await self._quarantine()

    async def _wake_if_wrong(self, now_s: float) -> None:
        """Have the planner asked early where the twin has become wrong: something is not as it is thought to be."""
        wrong = bool(self.error.wrong())
        if wrong and not self._wrong and (models := (await self._sight.store.cluster()).models):
            wake = Wake(model=models[0].id, reason="changed", site=None, wait_s=0.0, at_s=now_s)
            await self._sight.store.wake(wake)
        self._wrong = wrong

    async def _vitals(self, now_s: float) -> Vitals:
        store = self._sight.store
        cluster, nodes, gateways, tallies = await asyncio.gather(
            store.cluster(),
            store.latest_node_reports(),
            store.latest_gateway_reports(),
            store.tallies(*self._watchdog.window_s(now_s)),
        )
        snapshot = fold(now_s, cluster, nodes, gateways, {}, {}, self._sight.settings.controller)
        return vitals(snapshot, cluster, tallies)

    def _tripped(self, trip: Trip) -> None:
        self._sight.metrics.tripped(trip.code)
        self._log.warning("what was accepted is out of bounds: the fallback acts", why=trip.text, cases=len(trip.cited))

    async def _quarantine(self) -> None:
        """Quarantine the cases of trips, as far as that is not done. Raises `StoreUnavailable`."""
        for trip in self._watchdog.state.pending:
            await self._sight.store.quarantine_cases(trip.cited, foreign(f"watchdog: {trip.text}"))
            self._watchdog.quarantined(trip)


async def remembered(sight: Sight, fresh: AgentMemory) -> AgentMemory:
    """Return what an agent goes on with, once the store has said what was kept.

    That is `fresh` where nothing was, or by a Fairlead whose memories this one cannot read.
    """
    outage = Outage(f"reading the memory of the {sight.agent}", sight.clock, sight.metrics.failures("memory"))
    insisting = Insisting(outage, sight.settings.mongodb.timeout_s)
    try:
        found = await insisting.got(lambda: sight.store.agent_memory(sight.agent))
    except ValidationError as error:
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        log.warning("an agent's memory cannot be read: it begins anew", agent=sight.agent, error=describe(error))
        found = None
    return resumed(found, fresh, sight.settings.controller.slot_s)
