"""One decision: read, fold, decide, publish; again on what is in force if somebody else was first."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from fairlead.agents.advice import Advising, Talk
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput, Snapshot
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.plans import EpochPlan, Guide, Override
from fairlead.contracts.ports import Clock, Store
from fairlead.policy.goals import in_force, under
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import Shape, fold, shape_of, totals, with_wakes
from fairlead.policy.wakes import Wakes
from slot_agent.foreseen import Foreseen
from slot_agent.memory import Memory, recall
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Case, Counselled, Occasion, taken_back
from slot_agent.standing import Standing, Standings

TRIES = 5
"""Decisions made again in a row because another was first; two agents that meet need one, more means a third party."""

Skipped = Literal["empty", "done", "deaf", "unchanged"]
"""Why nothing was decided: there is no node, it was decided before, no node is heard any more, nothing would change."""

DecideSlot = Callable[[SlotInput], SlotDecision]


class Decider:
    """Makes the slot agent's decisions and puts them in force, one at a time."""

    def __init__(
        self, store: Store, clock: Clock, case: Case, decide: DecideSlot, advisor: Advising, metrics: SlotMetrics
    ) -> None:
        controller = case.settings.controller
        self.wakes = Wakes(controller)
        self.standings = Standings(store, clock)
        self._store = store
        self._clock = clock
        self._case = case
        self._decide = decide
        self._advisor = advisor
        self._metrics = metrics
        self._foreseen = Foreseen(case.settings, metrics)
        self._slots = Periods(case.settings.clock_origin_s, controller.slot_s)
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

    async def decide_slot(self, slot: int, *, patient: bool = False) -> SlotInput | None:
        """Put a placement and a table for `slot` in force, unless they are. Raises `StoreUnavailable`.

        With patience nothing is decided while no node at all is heard any more: it is rather us who are deaf, because
        the database was away or this machine stood still, and the next reports are on their way. Returns what a
        language model shall be asked about; None where none shall.
        """
        # what people and the planner may have changed is read even if no event said so, once an epoch everything
        if slot % self._case.settings.controller.epoch_slots == 0:
            self.standings.forget()
        self.standings.forget("plan", "overrides", "goals", "notes")
        made = await self._decided(Occasion("slot", slot, patient=patient))
        if isinstance(made, DecisionRecord) and isinstance(made.input, SlotInput) and made.input.llm == "asked":
            return made.input
        return None

    async def decide_event(self, slot: int, *, forced: bool) -> None:
        """Put in force what changes by rule 1, if anything does. Raises `StoreUnavailable`.

        Unless `forced`, it is decided only where something may have changed: a request is held, a model is missed,
        a node or a pod is not as it was at the last decision. While no node is heard any more nothing is.
        """
        await self._decided(Occasion("event", slot, forced=forced))

    async def decide_advice(self, slot: int, talk: Talk, *, patient: bool) -> bool:
        """Put a table in force after a dialogue, and journal that dialogue. Raises `StoreUnavailable`.

        Returns False where that has to wait, because no node is heard any more.
        """
        patient = patient or self._is_in_time(talk, self._clock.now_s())
        made = await self._decided(Occasion("advice", slot, patient=patient, talk=talk))
        if made == "deaf":
            return False
        if isinstance(made, DecisionRecord) and made.dialogue is not None:
            self._advisor.concluded(talk.settle(made.dialogue.in_time), made.source, made.output.steps)
        else:
            settled = talk.settle(self._is_in_time(talk, self._clock.now_s()))
            self._advisor.concluded(settled, "fallback" if self.guiding(slot) is None else "llm", settled.steps)
        return True

    async def take_back(self, slot: int) -> bool:
        """Put the fallback's table in force if a proposal steers that no longer may. Raises `StoreUnavailable`.

        Returns False where that has to be looked at later: what steers is not known now, or no node is heard.
        """
        if self._memory is None:
            return False
        if self.guiding(slot) is None or (mode := await self._advisor.mode()) in ("auto", "assist"):
            return True
        ladder = taken_back(mode, self._advisor.held_back())
        return await self._decided(Occasion("advice", slot, ladder=ladder)) != "deaf"

    def guiding(self, slot: int) -> Guide | None:
        """Return the proposal that steers the decisions of `slot`, as far as is known."""
        return self._memory.guiding(slot) if self._memory is not None else None

    def _is_in_time(self, talk: Talk, now_s: float) -> bool:
        return now_s < talk.question.ends_at_s

    async def _decided(self, occasion: Occasion) -> DecisionRecord | Skipped:
        timeout_s = self._case.settings.mongodb.timeout_s
        began_s = self._clock.wall_s()
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._try(occasion, began_s)
            except TimeoutError as error:
                raise StoreUnavailable(f"the store did not answer a decision within {timeout_s} s") from error
            except Conflict:
                self._metrics.loop.conflicts.inc()
                self.forget()
        slot = occasion.slot
        raise StoreUnavailable(f"slot {slot}: another process was first {TRIES} times: is a third slot agent running?")

    async def _try(self, occasion: Occasion, began_s: float) -> DecisionRecord | Skipped:
        """Decide once. Raises `Conflict` if another decision was put in force meanwhile."""
        standing, nodes, gateways, arrived, llm = await asyncio.gather(
            self.standings.read(),
            self._store.latest_node_reports(),
            self._store.latest_gateway_reports(),
            self._store.arrived(),
            self._llm(occasion),
        )
        slot = occasion.slot
        if not standing.cluster.nodes:
            self.decided = max(self.decided, slot)  # there is nothing to decide about yet
            return "empty"
        memory = await self._remembered(standing, slot, arrived)
        if _is_done(occasion, memory):
            return "done"
        now_s = self._clock.now_s()
        settings = self._case.settings.controller
        wakes = self.wakes.pending(now_s, gateways)
        snapshot = fold(now_s, standing.cluster, nodes, gateways, arrived, memory.arrived, settings)
        shape = shape_of(snapshot)
        if occasion.patient and _is_deaf(snapshot):
            self._metrics.deaf.inc()
            return "deaf"
        if occasion.trigger == "slot":
            self._foreseen.look_out(standing.cluster, standing.notes, memory.state.rates, now_s)
        if (changed := self._foreseen.seen(occasion, standing.cluster, snapshot, gateways)) is not None:
            await self._store.wake(changed)
        if occasion.trigger == "slot" and (learned := self._foreseen.news()) is not None:
            await self._store.put_knowledge(learned)
        if not (occasion.forced or wakes or shape != self._shape or any(m.held for m in snapshot.models)):
            return "unchanged"
        counselled = self._counselled(occasion, memory, now_s, llm)
        given = self._given(occasion, standing, with_wakes(snapshot, wakes), memory, counselled)
        given, decision = self._made(given)
        self._shape = shape
        if decision.placement is None and decision.table is None:
            self._metrics.unchanged.inc()
            return "unchanged"
        return await self._published(given, decision, counselled, began_s)

    async def _llm(self, occasion: Occasion) -> str:
        """Return why no reply is in a decision that a slot begins with."""
        return await self._advisor.stance() if occasion.trigger == "slot" else ""

    def _counselled(self, occasion: Occasion, memory: Memory, now_s: float, llm: str) -> Counselled:
        """Return what a decision has of a language model."""
        if occasion.trigger == "slot":
            return Counselled(llm)
        if occasion.trigger == "event":
            return Counselled(memory.llm, memory.guiding(occasion.slot))
        if occasion.talk is None:
            return Counselled("answered", ladder=occasion.ladder)
        settled = occasion.talk.settle(self._is_in_time(occasion.talk, now_s))
        guide = settled.proposal if isinstance(settled.proposal, Guide) else None
        return Counselled("answered", guide, settled.steps, settled.dialogue)

    async def _remembered(self, standing: Standing, slot: int, arrived: Mapping[str, int]) -> Memory:
        """Return what the last decision left, from the journal where that was not ours or is not known."""
        seen = standing.seen
        if self._memory is None or self._memory_of != (seen.placement, seen.table):
            newest = await self._store.decisions(agent="slot-agent", limit=1, cursor=None)
            self._memory = recall(newest.items[0] if newest.items else None, slot, arrived)
            known = await self._store.knowledge()
            self._foreseen.resume(newest.items[0] if newest.items else None, standing.cluster, known)
            self._memory_of = (seen.placement, seen.table)
            self.decided = max(self.decided, self._memory.decided)
        return self._memory

    def _given(
        self, occasion: Occasion, standing: Standing, snapshot: Snapshot, memory: Memory, counselled: Counselled
    ) -> SlotInput:
        settings = self._case.settings
        now_s = snapshot.taken_at_s
        recent, forecast = self._foreseen.given(occasion.trigger, now_s)
        return SlotInput(
            trigger=occasion.trigger,
            slot=occasion.slot,
            now_s=now_s,
            seed=settings.seed,
            policy=settings.policy,
            settings=under(settings.controller, in_force(standing.goals, now_s)),
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
            guide=counselled.guide,
            ladder=counselled.ladder,
            llm=counselled.llm,
            recent=recent,
            forecast=forecast,
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

    async def _published(
        self, given: SlotInput, decision: SlotDecision, counselled: Counselled, began_s: float
    ) -> DecisionRecord:
        """Put a decision in force. Raises `Conflict`."""
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
            dialogue=counselled.dialogue,
        )
        await self._store.publish_slot(decision.placement, decision.table, record)
        self.standings.published(decision.placement, decision.table)
        self._remember(given, decision, counselled)
        self._metrics.loop.published(record, self._clock.wall_s() - began_s)
        return record

    def _remember(self, given: SlotInput, decision: SlotDecision, counselled: Counselled) -> None:
        placement, table = self._memory_of
        self._memory_of = (
            decision.placement.generation if decision.placement is not None else placement,
            decision.table.generation if decision.table is not None else table,
        )
        dialogue = counselled.dialogue.id if counselled.dialogue is not None else ""
        if given.trigger == "slot":
            arrived = totals(given.snapshot, counted=True)
            self._memory = Memory(decision.state, arrived, given.slot, llm=given.llm)
            self.decided = max(self.decided, given.slot)
        elif self._memory is not None:
            self._memory = replace(
                self._memory, state=decision.state, guide=given.guide, llm=given.llm, dialogue=dialogue
            )


def _is_done(occasion: Occasion, memory: Memory) -> bool:
    """Tell whether the journal has this decision already: another process made it, or its answer was lost."""
    if occasion.trigger == "slot":
        return memory.decided >= occasion.slot
    return occasion.talk is not None and memory.dialogue == occasion.talk.id


def _is_deaf(snapshot: Snapshot) -> bool:
    """Tell whether nodes were heard before and none is now."""
    return not any(n.up for n in snapshot.nodes) and any(n.observed_at_s is not None for n in snapshot.nodes)


def _in_force(plan: EpochPlan | None, now_s: float) -> EpochPlan | None:
    return plan if plan is not None and plan.expires_at_s > now_s else None


def _lasts(override: Override, now_s: float) -> bool:
    return override.expires_at_s is None or override.expires_at_s > now_s
