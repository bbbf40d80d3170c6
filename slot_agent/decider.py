"""One decision: read, fold, decide, publish; again on what is in force if somebody else was first."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.decisions import DecisionRecord, GenerationSeen, SlotDecision, SlotInput, Snapshot
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.plans import EpochPlan, NodePlacement, Override
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.snapshot import fold, totals, with_wakes
from slot_agent.memory import Memory, recall
from slot_agent.metrics import SlotMetrics
from slot_agent.standing import Standing, Standings
from slot_agent.wakes import Wakes

TRIES = 5
"""Decisions made again in a row because another was first; two agents that meet need one, more means a third party."""

Trigger = Literal["slot", "event"]
DecideSlot = Callable[[SlotInput], SlotDecision]
Shape = tuple[tuple[str, bool, tuple[tuple[str, str, bool], ...]], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What the process was started with: all that stays the same from decision to decision."""

    settings: Settings
    static: tuple[NodePlacement, ...]
    version: str


class Decider:
    """Makes the slot agent's decisions and puts them in force, one at a time."""

    def __init__(self, store: Store, clock: Clock, case: Case, decide: DecideSlot, metrics: SlotMetrics) -> None:
        self.wakes = Wakes(case.settings.controller)
        self.standings = Standings(store)
        self._store = store
        self._clock = clock
        self._case = case
        self._decide = decide
        self._metrics = metrics
        self.decided = -1
        """The newest slot that is known to have a decision; -1 before the first."""
        self._memory: Memory | None = None
        self._memory_of = (0, 0)
        """Generations of placement and table as of that memory: with others in force it is another's turn."""
        self._shape: Shape | None = None

    def forget(self) -> None:
        """Read everything anew next time: what was kept may not be what is in force."""
        self.standings.forget()
        self._memory = None

    async def decide_slot(self, slot: int, *, patient: bool = False) -> None:
        """Put a placement and a table for `slot` in force, unless they are. Raises `StoreUnavailable`.

        With patience nothing is decided while no node at all is heard any more: it is rather us who are deaf, because
        the database was away or this machine stood still, and the next reports are on their way.
        """
        # what people and the planner may have changed is read even if no event said so, once an epoch everything
        if slot % self._case.settings.controller.epoch_slots == 0:
            self.standings.forget()
        self.standings.forget("plan", "overrides")
        await self._decided("slot", slot, forced=True, patient=patient)

    async def decide_event(self, slot: int, *, forced: bool) -> None:
        """Put in force what changes by rule 1, if anything does. Raises `StoreUnavailable`.

        Unless `forced`, it is decided only where something may have changed: a request is held, a model is missed,
        a node or a pod is not as it was at the last decision. While no node is heard any more nothing is.
        """
        await self._decided("event", slot, forced=forced, patient=True)

    async def _decided(self, trigger: Trigger, slot: int, *, forced: bool, patient: bool) -> None:
        timeout_s = self._case.settings.mongodb.timeout_s
        began_s = self._clock.wall_s()
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(timeout_s):
                    if await self._try(trigger, slot, began_s, forced=forced, patient=patient):
                        return
            except TimeoutError as error:
                raise StoreUnavailable(f"the store did not answer a decision within {timeout_s} s") from error
            self._metrics.conflicts.inc()
            self.forget()
        raise StoreUnavailable(f"slot {slot}: another process was first {TRIES} times: is a third slot agent running?")

    async def _try(self, trigger: Trigger, slot: int, began_s: float, *, forced: bool, patient: bool) -> bool:
        """Return False if another decision was put in force meanwhile."""
        standing, nodes, gateways, arrived = await asyncio.gather(
            self.standings.read(),
            self._store.latest_node_reports(),
            self._store.latest_gateway_reports(),
            self._store.arrived(),
        )
        if not standing.cluster.nodes:
            self.decided = max(self.decided, slot)  # there is nothing to decide about yet
            return True
        memory = await self._remembered(standing.seen, slot, arrived)
        if trigger == "slot" and memory.decided >= slot:
            return True
        now_s = self._clock.now_s()
        settings = self._case.settings.controller
        wakes = self.wakes.pending(now_s, gateways)
        snapshot = fold(now_s, standing.cluster, nodes, gateways, arrived, memory.arrived, settings)
        shape = _shape(snapshot)
        if patient and _is_deaf(snapshot):
            self._metrics.deaf.inc()
            return True
        if not (forced or wakes or shape != self._shape or any(m.held for m in snapshot.models)):
            return True
        given = self._given(trigger, slot, standing, with_wakes(snapshot, wakes), memory)
        given, decision = self._made(given)
        self._shape = shape
        if decision.placement is None and decision.table is None:
            self._metrics.unchanged.inc()
            return True
        return await self._published(given, decision, began_s)

    async def _remembered(self, seen: GenerationSeen, slot: int, arrived: Mapping[str, int]) -> Memory:
        """Return what the last decision left, from the journal where that was not ours or is not known."""
        if self._memory is None or self._memory_of != (seen.placement, seen.table):
            newest = await self._store.decisions(agent="slot-agent", limit=1, cursor=None)
            self._memory = recall(newest.items[0] if newest.items else None, slot, arrived)
            self._memory_of = (seen.placement, seen.table)
            self.decided = max(self.decided, self._memory.decided)
        return self._memory

    def _given(self, trigger: Trigger, slot: int, standing: Standing, snapshot: Snapshot, memory: Memory) -> SlotInput:
        settings = self._case.settings
        now_s = snapshot.taken_at_s
        return SlotInput(
            trigger=trigger,
            slot=slot,
            now_s=now_s,
            seed=settings.seed,
            policy=settings.policy,
            settings=settings.controller,
            cluster=standing.cluster,
            snapshot=snapshot,
            state=memory.state,
            plan=_in_force(standing.plan, now_s),
            placement=standing.placement,
            overrides=tuple(o for o in standing.overrides if _lasts(o, now_s)),
            static=self._case.static,
            next_placement=standing.seen.placement + 1,
            next_table=standing.seen.table + 1,
            decision=f"slot-{standing.seen.placement + 1}",
        )

    def _made(self, given: SlotInput) -> tuple[SlotInput, SlotDecision]:
        """Return the decision and the input that it was made on.

        A decision is named for its placement; one that turns out to have none is made again under its table's name.
        """
        decision = self._decide(given)
        if decision.placement is None and decision.table is not None:
            given = given.model_copy(update={"decision": f"slot-table-{given.next_table}"})
            decision = self._decide(given)
        return given, decision

    async def _published(self, given: SlotInput, decision: SlotDecision, began_s: float) -> bool:
        record = DecisionRecord(
            id=given.decision,
            agent="slot-agent",
            kind=given.trigger,
            made_at_s=self._clock.now_s(),
            took_s=max(0.0, self._clock.wall_s() - began_s),
            source=decision.table.source if decision.table is not None else "fallback",
            version=self._case.version,
            input=given,
            output=decision,
        )
        try:
            await self._store.publish_slot(decision.placement, decision.table, record)
        except Conflict:
            return False
        self.standings.published(decision.placement, decision.table)
        self._remember(given, decision)
        self._metrics.published(record, self._clock.wall_s() - began_s)
        return True

    def _remember(self, given: SlotInput, decision: SlotDecision) -> None:
        placement, table = self._memory_of
        self._memory_of = (
            decision.placement.generation if decision.placement is not None else placement,
            decision.table.generation if decision.table is not None else table,
        )
        if given.trigger == "slot":
            self._memory = Memory(decision.state, totals(given.snapshot, counted=True), given.slot)
            self.decided = max(self.decided, given.slot)
        elif self._memory is not None:
            self._memory = Memory(decision.state, self._memory.arrived, self._memory.decided)


def _shape(snapshot: Snapshot) -> Shape:
    return tuple((n.node, n.up, tuple((p.model, p.phase, p.blocked) for p in n.pods)) for n in snapshot.nodes)


def _is_deaf(snapshot: Snapshot) -> bool:
    """Tell whether nodes were heard before and none is now."""
    return not any(n.up for n in snapshot.nodes) and any(n.observed_at_s is not None for n in snapshot.nodes)


def _in_force(plan: EpochPlan | None, now_s: float) -> EpochPlan | None:
    return plan if plan is not None and plan.expires_at_s > now_s else None


def _lasts(override: Override, now_s: float) -> bool:
    return override.expires_at_s is None or override.expires_at_s > now_s
