"""The planner's loops: a plan when an epoch begins and whenever none is in force."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import cast

from fairlead.adapters.outage import Outage
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, EpochDecision, EpochInput
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import fold, totals
from planner.metrics import PlannerMetrics

TRIES = 5
"""Plans made again in a row because another was first: an operator may be, five times in a row nobody is."""

WATCHED: Sequence[EventKind] = ("plan", "node")

DecideEpoch = Callable[[EpochInput], EpochDecision]


class Planner:
    """Plans each epoch; `run` ends by cancellation only. A plan of an operator stays in force until it expires."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        version: str,
        decide: DecideEpoch,
        metrics: PlannerMetrics,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._version = version
        self._decide = decide
        self._metrics = metrics
        controller = settings.controller
        self._epochs = Periods(settings.clock_origin_s, controller.epoch_slots * controller.slot_s)
        self._bell = asyncio.Event()
        self._arrived: Mapping[str, int] | None = None

    async def run(self) -> None:
        """Plan until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_watching(), name="planner: changes")
            tasks.create_task(self._keep_planning(), name="planner: plans")

    async def _keep_watching(self) -> None:
        outage = Outage("the stream of changes", self._clock, self._metrics.watch_failures)
        while True:
            try:
                changes = cast(AsyncGenerator[Event, None], self._store.changes(WATCHED))
                async with aclosing(changes):
                    async for _ in changes:
                        outage.over()
                        self._bell.set()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
            self._bell.set()

    async def _keep_planning(self) -> None:
        outage = Outage("planning", self._clock, self._metrics.failures)
        while True:
            self._bell.clear()
            try:
                next_at_s = await self._plan_what_is_due()
                outage.over()
            except Exception as error:  # the top of this loop
                self._arrived = None
                await outage.failed(error)
                continue
            await self._wait(next_at_s)

    async def _wait(self, until_s: float) -> None:
        """Return at `until_s`, or at once when the plan in force changes."""
        waits = {
            asyncio.create_task(self._clock.sleep_until(until_s)),
            asyncio.create_task(self._bell.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _plan_what_is_due(self) -> float:
        """Put a plan in force if one is due; return when the next will be. Raises `StoreUnavailable`."""
        timeout_s = self._settings.mongodb.timeout_s
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(timeout_s):
                    plan, cluster = await asyncio.gather(self._store.current_plan(), self._store.cluster())
                    now_s = self._clock.now_s()
                    due_at_s = due_at(plan, cluster, now_s, self._epochs)
                    if due_at_s > now_s:
                        return due_at_s
                    if (made := await self._made(plan, cluster)) is not None:
                        return due_at(made, cluster, now_s, self._epochs)
            except TimeoutError as error:
                raise StoreUnavailable(f"the store did not answer the planner within {timeout_s} s") from error
            self._metrics.conflicts.inc()
            self._arrived = None
        raise StoreUnavailable(f"another process was first {TRIES} times: is a second planner running?")

    async def _made(self, parent: EpochPlan | None, cluster: Cluster) -> EpochPlan | None:
        """Make a plan and put it in force; None if another came first."""
        began_s = self._clock.wall_s()
        given = await self._given(parent, cluster)
        decision = self._decide(given)
        record = DecisionRecord(
            id=given.decision,
            agent="planner",
            kind="epoch",
            made_at_s=self._clock.now_s(),
            took_s=max(0.0, self._clock.wall_s() - began_s),
            source=decision.plan.source,
            version=self._version,
            input=given,
            output=decision,
        )
        try:
            await self._store.publish_epoch(decision.plan, record)
        except Conflict:
            return None
        self._arrived = totals(given.snapshot, counted=True)
        self._metrics.published(record, self._clock.wall_s() - began_s)
        return decision.plan

    async def _given(self, parent: EpochPlan | None, cluster: Cluster) -> EpochInput:
        nodes, gateways, arrived = await asyncio.gather(
            self._store.latest_node_reports(),
            self._store.latest_gateway_reports(),
            self._store.arrived(),
        )
        if self._arrived is None:
            self._arrived = await self._recalled(arrived)
        now_s = self._clock.now_s()
        controller = self._settings.controller
        generation = parent.generation + 1 if parent is not None else 1
        return EpochInput(
            epoch=self._epochs.at(now_s),
            now_s=now_s,
            seed=self._settings.seed,
            settings=controller,
            cluster=cluster,
            snapshot=fold(now_s, cluster, nodes, gateways, arrived, self._arrived, controller),
            parent=parent,
            next_plan=generation,
            decision=f"epoch-{generation}",
        )

    async def _recalled(self, arrived: Mapping[str, int]) -> Mapping[str, int]:
        """Return the totals of arrivals at the newest plan of our own, from the journal; those of now without one."""
        newest = await self._store.decisions(agent="planner", limit=1, cursor=None)
        known = totals(newest.items[0].input.snapshot, counted=True) if newest.items else {}
        return known or arrived


def due_at(plan: EpochPlan | None, cluster: Cluster, now_s: float, epochs: Periods) -> float:
    """Return when a plan has to be made, with `plan` in force: `now_s` if at once.

    At once also if `plan` is not about the nodes that there are now; but an operator's stays until it
    expires. A plan for an epoch that has not come yet was made with another origin of the clock, and does not count.
    """
    epoch = epochs.at(now_s)
    if plan is None or plan.expires_at_s <= now_s or plan.epoch > epoch:
        return now_s
    if plan.source == "operator":
        return plan.expires_at_s
    if plan.epoch < epoch or {i.node for i in plan.intents} != {n.id for n in cluster.nodes}:
        return now_s
    return epochs.begins_at_s(epoch + 1)
