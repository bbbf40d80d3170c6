"""One plan: read, fold, decide, publish."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairlead.agents.advice import Advising, Recall, Settled, Stance, Talk, nothing
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import (
    DecisionRecord,
    Dialogue,
    EpochDecision,
    EpochInput,
    ShadowPrice,
    SlotDecision,
    SlotInput,
    Step,
)
from fairlead.contracts.dialogue import ModeName
from fairlead.contracts.forecasts import Forecast, SlotArrivals
from fairlead.contracts.plans import EpochPlan, PlanDraft, Rate
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.goals import in_force, under
from fairlead.policy.ladder import FALLBACK, barred
from fairlead.policy.note_words import touching
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import fold, totals
from planner.metrics import PlannerMetrics

SUMMARIES = 60
"""So many lines of the journal are looked through for a slot's decision: an epoch has ten, and events between them."""

Learned = tuple[tuple[Rate, ...], tuple[ShadowPrice, ...], tuple[SlotArrivals, ...], Forecast | None]
"""Rates, prices, newest arrivals and forecast."""

DecideEpoch = Callable[[EpochInput], EpochDecision]


@dataclass(frozen=True, slots=True)
class Case:
    """What the process was started with: all that stays the same from plan to plan."""

    settings: Settings
    version: str
    recall: Recall = nothing


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force, and whether a language model would be asked now."""

    now_s: float
    plan: EpochPlan | None
    cluster: Cluster
    stance: Stance
    mode: ModeName


@dataclass(frozen=True, slots=True)
class Counselled:
    """What a decision has of a language model."""

    llm: str
    """Why no reply is in it; see `EpochInput.llm`."""
    draft: PlanDraft | None = None
    ladder: tuple[Step, ...] = ()
    dialogue: Dialogue | None = None


class Decider:
    """Makes the planner's decisions and puts them in force, one at a time."""

    def __init__(
        self, store: Store, clock: Clock, case: Case, decide: DecideEpoch, advisor: Advising, metrics: PlannerMetrics
    ) -> None:
        controller = case.settings.controller
        self._store = store
        self._clock = clock
        self._case = case
        self._decide = decide
        self._advisor = advisor
        self._metrics = metrics
        self._epochs = Periods(case.settings.clock_origin_s, controller.epoch_slots * controller.slot_s)
        self._arrived: Mapping[str, int] | None = None
        """Per model, all requests that had arrived when the last plan was made for an epoch's begin."""
        self._journaled = ""
        """The dialogue of the newest line of the journal, where that was read."""

    def forget(self) -> None:
        """Read everything anew next time: what was kept may not be what is in force."""
        self._arrived = None

    async def standing(self) -> Standing:
        """Return what stands now."""
        plan, cluster, stance, mode = await asyncio.gather(
            self._store.current_plan(), self._store.cluster(), self._advisor.stance(), self._advisor.mode()
        )
        if self._arrived is None:
            await self._remember()
        return Standing(self._clock.now_s(), plan, cluster, stance, mode)

    async def plan_epoch(self, standing: Standing, llm: str, talk: Talk | None) -> None:
        """Put a plan for the running epoch in force, a language model's if one may act. Raises `Conflict`."""
        began_s = self._clock.wall_s()
        epoch = self._epochs.at(standing.now_s)
        if talk is None:
            held_back = self._advisor.held_back()
            ladder = (barred(held_back), FALLBACK) if held_back else ()
            given = await self._given(standing, epoch, Counselled(llm, ladder=ladder), publish=True)
            await self._published(given, self._decide(given), None, began_s)
            return
        settled = talk.settle(standing.now_s < talk.question.ends_at_s)
        given = await self._given(standing, epoch, _counselled(settled), publish=True)
        record = await self._published(given, self._decide(given), settled.dialogue, began_s)
        self._advisor.concluded(settled, record.source, record.output.steps)

    async def take_advice(self, standing: Standing, talk: Talk) -> None:
        """Put what came of a dialogue in force beside the plan that is, or journal why not. Raises `Conflict`."""
        settled = talk.settle(standing.now_s < talk.question.ends_at_s)
        if talk.id == self._journaled:
            mine = standing.plan is not None and standing.plan.source == "llm"
            self._advisor.concluded(settled, "llm" if mine else "fallback", settled.steps)
            return
        began_s = self._clock.wall_s()
        if standing.plan is not None and standing.plan.source == "operator":
            settled = _overruled(settled)
        given = await self._given(standing, self._epochs.at(standing.now_s), _counselled(settled), publish=False)
        decision = self._decide(given)
        if decision.plan is None:
            given = given.model_copy(update={"decision": f"epoch-advice-{talk.id}"})
            decision = self._decide(given)
        record = await self._published(given, decision, settled.dialogue, began_s)
        self._advisor.concluded(settled, record.source, record.output.steps)

    async def asked(self, standing: Standing, epoch: int) -> EpochInput:
        """Return what a language model is told for its plan for an epoch, this one or the next; the twin too."""
        ahead = epoch > self._epochs.at(standing.now_s)
        given, placement, overrides = await asyncio.gather(
            self._given(standing, epoch, Counselled("asked"), publish=ahead),
            self._store.current_placement(),
            self._store.overrides(),
        )
        lasting = tuple(o for o in overrides if o.expires_at_s is None or o.expires_at_s > standing.now_s)
        return given.model_copy(update={"placement": placement, "overrides": lasting})

    async def _given(self, standing: Standing, epoch: int, counselled: Counselled, *, publish: bool) -> EpochInput:
        nodes, gateways, arrived, notes, goals, learned = await asyncio.gather(
            self._store.latest_node_reports(),
            self._store.latest_gateway_reports(),
            self._store.arrived(),
            self._store.notes(),
            self._store.lasting_goals(standing.now_s),
            self._learned(),
        )
        rates, prices, recent, forecast = learned
        parent, cluster, now_s = standing.plan, standing.cluster, standing.now_s
        goal = in_force(goals, now_s)
        controller = under(self._case.settings.controller, goal)
        generation = parent.generation + 1 if parent is not None else 1
        return EpochInput(
            epoch=epoch,
            now_s=now_s,
            seed=self._case.settings.seed,
            settings=controller,
            cluster=cluster,
            snapshot=fold(now_s, cluster, nodes, gateways, arrived, self._arrived or arrived, controller),
            parent=parent,
            next_plan=generation,
            decision=f"epoch-{generation}",
            rates=rates,
            prices=prices,
            draft=counselled.draft,
            ladder=counselled.ladder,
            llm=counselled.llm,
            publish=publish,
            begins_at_s=self._epochs.begins_at_s(epoch),
            recent=recent,
            forecast=forecast,
            notes=touching(notes, self._epochs.begins_at_s(epoch), self._epochs.begins_at_s(epoch + 1)),
            goal=goal,
        )

    async def _learned(self) -> Learned:
        """Return rates, shadow prices and forecast as the newest decision of a slot has them; nothing without one."""
        page = await self._store.decision_summaries(agent="slot-agent", limit=SUMMARIES, cursor=None)
        newest = next((line.id for line in page.items if line.kind == "slot"), None)
        record = await self._store.decision(newest) if newest is not None else None
        if record is None or not isinstance(record.input, SlotInput) or not isinstance(record.output, SlotDecision):
            return (), (), (), None
        return record.output.state.rates, record.output.prices, record.input.recent, record.input.forecast

    async def _published(
        self, given: EpochInput, decision: EpochDecision, dialogue: Dialogue | None, began_s: float
    ) -> DecisionRecord:
        record = DecisionRecord(
            id=given.decision,
            agent="planner",
            kind="epoch" if given.publish else "advice",
            made_at_s=self._clock.now_s(),
            took_s=max(0.0, self._clock.wall_s() - began_s),
            source=decision.plan.source if decision.plan is not None else "fallback",
            version=self._case.version,
            input=given,
            output=decision,
            dialogue=dialogue,
        )
        await self._store.publish_epoch(decision.plan, record)
        if given.publish:
            self._arrived = totals(given.snapshot, counted=True)
        self._metrics.loop.published(record, self._clock.wall_s() - began_s)
        return record

    async def _remember(self) -> None:
        """Read from the journal what had arrived at the newest plan; without one arrivals count from now."""
        newest = await self._store.decisions(agent="planner", limit=1, cursor=None)
        record = newest.items[0] if newest.items else None
        self._journaled = record.dialogue.id if record is not None and record.dialogue is not None else ""
        known = totals(record.input.snapshot, counted=record.kind == "epoch") if record is not None else {}
        self._arrived = known or await self._store.arrived()


def _counselled(settled: Settled) -> Counselled:
    draft = settled.proposal if isinstance(settled.proposal, PlanDraft) else None
    return Counselled("answered", draft, settled.steps, settled.dialogue)


def _overruled(settled: Settled) -> Settled:
    """Return a dialogue whose proposal does not act because an operator's plan is in force."""
    if settled.proposal is None:
        return settled
    step = Step(name="operator", ok=False, code="in-force", text="an operator's plan is in force until it expires")
    dialogue = settled.dialogue.model_copy(update={"unused": settled.proposal})
    return Settled(None, (*settled.steps, step), dialogue, settled.passed)
