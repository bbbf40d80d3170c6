"""What follows a dialogue: whether what it brought does well, and how near the twin's prediction came, slot by slot."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fairlead.adapters.outage import Outage
from fairlead.agents.advice import Settled
from fairlead.agents.metrics import DialogueMetrics
from fairlead.contracts.dialogue import AgentName, Judgement, Trial, WatchdogStatus
from fairlead.contracts.errors import foreign
from fairlead.contracts.events import Wake
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import fold
from fairlead.policy.twin_error import Prediction, TwinError
from fairlead.policy.watchdog import Accepted, Trip, Vitals, Watchdog, vitals


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a follower looks, and whom it is for."""

    agent: AgentName
    store: Store
    clock: Clock
    settings: Settings
    metrics: DialogueMetrics


class Follower:
    """Watches what was accepted and measures what was predicted; `run` ends by cancellation only."""

    def __init__(self, sight: Sight) -> None:
        controller, limits = sight.settings.controller, sight.settings.llm.watchdog
        self.error = TwinError(limits)
        self._sight = sight
        self._slots = Periods(sight.settings.clock_origin_s, controller.slot_s)
        self._watchdog = Watchdog(limits, controller.slot_s)
        self._bells: list[Callable[[], None]] = []
        self._wrong = False
        """Whether the twin was not believed when it was last looked at."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def heed(self, bell: Callable[[], None]) -> None:
        """Ring this whenever it begins or ends that nothing may act."""
        self._bells.append(bell)

    def held_back(self) -> str:
        """Return why nothing may act now; empty where it may."""
        return foreign(self._watchdog.holds(self._sight.clock.now_s()))

    def status(self) -> WatchdogStatus:
        """Return what the watchdog has found."""
        last, held = self._watchdog.last, self.held_back()
        return WatchdogStatus(
            holds=bool(held),
            until_s=last.until_s if last is not None else 0.0,
            text=foreign(f"{last.code}: {last.text}") if last is not None else "",
            trips=self._watchdog.trips,
        )

    def concluded(self, ended: Settled, *, acts: bool) -> None:
        """Follow what was decided after a dialogue: the proposal where it acts, else the fallback."""
        judgements = ended.dialogue.judgements
        if not judgements:
            return
        judgement, begun_s = judgements[-1], ended.dialogue.asked.now_s
        trial = chosen_trial(judgement)
        latency_s = None if trial is None else trial.latency_s if acts else trial.fallback_latency_s
        until_s = begun_s + judgement.horizon_s
        if latency_s is not None:
            self.error.predicted(Prediction(begun_s, until_s, latency_s))
        if acts:
            self._watchdog.accepted(Accepted(self._sight.clock.now_s(), until_s, latency_s, ended.cited))

    async def run(self) -> None:
        """Look at each slot's begin until cancelled."""
        sight = self._sight
        outage = Outage(f"following the {sight.agent}", sight.clock, sight.metrics.failures("watchdog"))
        held = ""
        while True:
            slot = self._slots.at(sight.clock.now_s())
            await sight.clock.sleep_until(self._slots.begins_at_s(slot + 1))
            try:
                async with asyncio.timeout(sight.settings.mongodb.timeout_s):
                    await self._look()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
            if held != (held := self.held_back()):
                for bell in self._bells:
                    bell()

    async def _look(self) -> None:
        """Measure what is due, and see what acts. Raises `StoreUnavailable`."""
        store, now_s = self._sight.store, self._sight.clock.now_s()
        for one in self.error.due(now_s - self._slots.length_s):  # what ended is reported within a slot
            found = await store.tallies(one.at_s, one.until_s)
            counted, latency_s = sum(t.counted for t in found), sum(t.latency_sum_s for t in found)
            self.error.measured(one, counted, latency_s)
        await self._wake_if_wrong(now_s)
        if (await store.mode(self._sight.agent)).mode not in ("auto", "assist"):
            return
        trip = self._watchdog.looked(await self._vitals(now_s))
        if trip is not None:
            await self._tripped(trip)

    async def _wake_if_wrong(self, now_s: float) -> None:
        """Have the planner asked early where the twin has become wrong: something is not as it is thought to be."""
        before, self._wrong = self._wrong, bool(self.error.wrong())
        if self._wrong and not before and (models := (await self._sight.store.cluster()).models):
            wake = Wake(model=models[0].id, reason="changed", site=None, wait_s=0.0, at_s=now_s)
            await self._sight.store.wake(wake)

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

    async def _tripped(self, trip: Trip) -> None:
        self._sight.metrics.tripped(trip.code)
        self._log.warning("what was accepted is out of bounds: the fallback acts", why=trip.text, cases=len(trip.cited))
        if trip.cited:
            await self._sight.store.quarantine_cases(trip.cited, foreign(f"watchdog: {trip.text}"))


def chosen_trial(judgement: Judgement) -> Trial | None:
    """Return what the twin says of what was chosen, on demand as the forecast has it; None if it played nothing."""
    return next((t for t in judgement.trials if t.name == judgement.chosen and not t.believed), None)
