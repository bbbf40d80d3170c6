"""The evaluator: after each epoch it measures what came of the plan in force and remembers that as a case.

It looks at counters as each epoch begins, and judges an epoch one deadline after its end, when what arrived last has
been judged too. An epoch of which it has not seen begin and end, or in which the cluster changed, is never written.
Looking and judging are a task of their own: a store that is slow or away costs a case, never a plan.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from fairlead.adapters.outage import Outage
from fairlead.contracts.cases import Case, ModelTally, Provenance
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, EpochInput, SlotInput
from fairlead.contracts.errors import NotFound, Unavailable
from fairlead.contracts.evidence import Evidence
from fairlead.contracts.plans import EpochPlan, PlanDraft, Rate
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.readings import Outcome
from fairlead.contracts.settings import Settings
from fairlead.policy.cases import Before, Seen, SlotSeen, cluster_digest, features
from fairlead.policy.cases_evidence import calls_of, says_something
from fairlead.policy.cases_realised import Happened, realised
from fairlead.policy.epoch import placed
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import allowed_age_s
from planner.case_metrics import CaseMetrics
from planner.memory import CaseMemory
from planner.patience import within

PLANS_PAGE = 10
"""Plans read at once: an epoch has one, and one more for each change of its nodes or by an operator."""

PLANS_READ = 20
"""Newest lines of the planner's journal among which those about the last epoch are: it has a handful in each."""

OUTCOMES_PAGE = 1000
"""Outcomes read at once."""

CALLS_MOST = 20_000
"""Requests of an epoch that the twin plays again: 67 a second, a tenth of what would be due to `nation1000`, whose
epoch would take it an hour of a processor."""

Skipped = Literal["unseen", "cluster-changed", "known", "counters-lost", "no-demand", "no-plan", "no-slot"]
"""Why an epoch has no case: its begin or end was not seen; nodes or models changed; it has one; totals fell, because
counters were lost; nobody asked for anything; no plan was in force; its first slot was not decided in time."""


@dataclass(frozen=True, slots=True)
class Look:
    """What counters said as an epoch began."""

    cluster: Cluster
    arrived: Mapping[str, int]
    pods: tuple[int, int]
    """Ever started and stopped."""
    before: tuple[ModelTally, ...]
    """What had become by then of the requests of the epoch before."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch that has ended, seen from begin to end."""

    number: int
    begin_s: float
    end_s: float
    first: Look
    last: Look

    @property
    def length_s(self) -> float:
        """Domain seconds."""
        return self.end_s - self.begin_s


class Evaluator:
    """Writes a case for each epoch that it has seen whole; `run` ends by cancellation only."""

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, version: str, memory: CaseMemory, metrics: CaseMetrics
    ) -> None:
        controller = settings.controller
        self._store = store
        self._clock = clock
        self._settings = settings
        self._timeout_s = settings.mongodb.timeout_s
        self._version = version
        self._memory = memory
        self._metrics = metrics
        self._epochs = Periods(settings.clock_origin_s, controller.epoch_slots * controller.slot_s)
        self._looks: dict[int, Look] = {}
        self._missed = -1
        """The newest epoch whose begin was not seen."""

    async def run(self) -> None:
        """Evaluate, and keep the memory in step with the store, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._memory.run(), name="planner: cases")
            tasks.create_task(self._keep_evaluating(), name="planner: evaluation")

    async def _keep_evaluating(self) -> None:
        outage = Outage("evaluating an epoch", self._clock, self._metrics.failures)
        while True:
            try:
                next_at_s = await self._do_what_is_due()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            await self._clock.sleep_until(next_at_s)

    async def _do_what_is_due(self) -> float:
        """Look, judge, and return when there is something to do again. Raises `StoreUnavailable`."""
        epoch = self._epochs.at(self._clock.now_s())
        if epoch not in self._looks and epoch > self._missed:
            await self._look(epoch)
        for ended in sorted(e for e in self._looks if e < epoch):
            due_s = self._due_s(ended)
            if due_s > self._clock.now_s():
                return min(due_s, self._epochs.begins_at_s(epoch + 1))
            await self._judge_once(ended)
        return self._epochs.begins_at_s(epoch + 1)

    def _due_s(self, epoch: int) -> float:
        """Return when an epoch is judged: one deadline of its slowest model after its end."""
        deadline_s = max((m.deadline_s for m in self._looks[epoch].cluster.models), default=0.0)
        return self._epochs.begins_at_s(epoch + 1) + deadline_s

    async def _look(self, epoch: int) -> None:
        """Note what counters say at an epoch's begin; too late, the epoch and the one before are not seen whole.

        Readings may be three report periods old (DESIGN §8, invariant 10), so a look may be as late.
        """
        begin_s = self._epochs.begins_at_s(epoch)
        latest_s = begin_s + allowed_age_s(self._settings.controller)
        if self._clock.now_s() <= latest_s:
            since_s = max(0.0, begin_s - self._epochs.length_s)
            async with within(self._timeout_s, "looking at counters"):
                cluster, arrived, pods, before = await asyncio.gather(
                    self._store.cluster(),
                    self._store.arrived(),
                    self._store.pod_totals(),
                    self._store.tallies(since_s, begin_s),
                )
            if self._clock.now_s() <= latest_s:
                self._looks[epoch] = Look(cluster, arrived, pods, before)
                return
        self._missed = epoch
        self._metrics.skipped.labels("unseen").inc()

    async def _judge_once(self, number: int) -> None:
        """Write the case of an epoch, or count why not; only a store that is away makes it due again."""
        try:
            written = await self._judged(number)
        except Unavailable:
            raise
        except Exception:
            del self._looks[number]
            self._metrics.skipped.labels("failed").inc()
            raise
        del self._looks[number]
        if isinstance(written, Case):
            self._metrics.written.labels(written.provenance.source).inc()
        else:
            self._metrics.skipped.labels(written).inc()

    async def _judged(self, number: int) -> Case | Skipped:
        last = self._looks.get(number + 1)
        if last is None:
            return "unseen"
        begin_s, end_s = self._epochs.begins_at_s(number), self._epochs.begins_at_s(number + 1)
        epoch = Epoch(number, begin_s, end_s, self._looks[number], last)
        case = await self._case(epoch)
        if isinstance(case, Case):
            await self._write(case, await self._evidence(case, epoch))
        return case

    async def _case(self, epoch: Epoch) -> Case | Skipped:
        """Return the case of an epoch, or why there is none."""
        digest = cluster_digest(epoch.first.cluster)
        if digest != cluster_digest(epoch.last.cluster):
            return "cluster-changed"
        await self._memory.ready(epoch.first.cluster)
        half_s = 0.5 * epoch.length_s
        if self._memory.has_one_of(epoch.begin_s - half_s, epoch.begin_s + half_s):
            return "known"
        counted = {m.id: _grown(m.id, epoch) for m in epoch.first.cluster.models}
        churn = sum(epoch.last.pods) - sum(epoch.first.pods)
        if min((*counted.values(), churn)) < 0:
            return "counters-lost"
        async with within(self._timeout_s, "counting outcomes"):
            tallies = await self._store.tallies(epoch.begin_s, epoch.end_s)
        told = {t.model: t.counted + t.cancelled for t in tallies}
        arrived = {m: max(n, told.get(m, 0)) for m, n in counted.items()}  # counters lag outcomes by a report
        happened = Happened(epoch.length_s, arrived, tallies, churn)
        value = realised(epoch.first.cluster, happened, self._settings.controller.weights)
        if value is None:
            return "no-demand"
        plan = await self._plan_of(epoch)
        if plan is None:
            return "no-plan"
        before = await self._before(epoch)
        if before is None:
            return "no-slot"
        seen, slots = before
        return Case(
            id=f"{digest}-{epoch.number}-{plan.generation}",
            epoch=epoch.number,
            began_at_s=epoch.begin_s,
            ended_at_s=epoch.end_s,
            features=features(seen, Before(epoch.length_s, slots, epoch.first.before)),
            plan_generation=plan.generation,
            intents=plan.intents,
            priorities=plan.priorities,
            warm=plan.warm,
            rates=tuple(Rate(model=m, per_s=count / epoch.length_s) for m, count in arrived.items()),
            realised=value,
            provenance=await self._provenance(plan, digest),
        )

    async def _evidence(self, case: Case, epoch: Epoch) -> Evidence | None:
        """Return what the twin can judge a case by; None where there is nothing to judge, or too much to play.

        Where the plan in force said nothing, that is a plan which passed the gates and did not act, if there is one.
        """
        plan, decision = await self._plan_of(epoch), None
        if not says_something(case):
            plan, decision = await self._unused(case, epoch)
        if plan is None:
            return None
        controller = self._settings.controller
        async with within(self._timeout_s, "reading what arrived"):
            frames = await self._memory.tape.read(epoch.begin_s)
            first = await self._store.decision(frames[0].decision)
            outcomes = await self._outcomes(epoch.begin_s)
        if outcomes is None or not isinstance(first.input, SlotInput):
            return None
        slots = [f.seen for f in frames[1:] if f.seen.taken_at_s < epoch.end_s + controller.slot_s]
        sites = [site.id for site in epoch.first.cluster.sites]
        return Evidence(
            case=case.id,
            ended_at_s=epoch.end_s,
            begin=first.input,
            plan=plan,
            calls=calls_of(outcomes, slots, sites, controller.slot_s, epoch.end_s),
            decision=decision,
        )

    async def _unused(self, case: Case, epoch: Epoch) -> tuple[EpochPlan | None, str | None]:
        """Return the newest plan for an epoch that passed the gates and did not act, and its decision; None, None."""
        async with within(self._timeout_s, "reading the journal"):
            page = await self._store.decision_summaries(agent="planner", limit=PLANS_READ, cursor=None)
            for line in page.items:
                if line.about != epoch.number or line.made_at_s >= epoch.end_s:
                    continue
                record = await self._store.decision(line.id)
                draft = record.dialogue.unused if record.dialogue is not None else None
                if not isinstance(record.input, EpochInput) or not isinstance(draft, PlanDraft):
                    continue
                said = {"intents": draft.intents, "priorities": draft.priorities, "warm": draft.warm}
                if says_something(case.model_copy(update=said)):
                    return placed(record.input, draft, "llm"), record.id
        return None, None

    async def _outcomes(self, since_s: float) -> list[Outcome] | None:
        """Return the outcomes of requests that arrived since then; None if those are more than the twin would play."""
        found: list[Outcome] = []
        cursor = None
        while len(found) <= CALLS_MOST:
            page = await self._store.outcomes(limit=OUTCOMES_PAGE, cursor=cursor)
            found += [one for one in page.items if one.arrived_at_s >= since_s]
            cursor = page.cursor
            if cursor is None or page.items[-1].ended_at_s < since_s:
                return found
        return None

    async def _before(self, epoch: Epoch) -> tuple[Seen, tuple[SlotSeen, ...]] | None:
        """Return what the decision of the first slot knew, and the slots of the epoch before; None without it."""
        async with within(self._timeout_s, "reading the journal"):
            frames = await self._memory.tape.read(epoch.begin_s - epoch.length_s)
        slot_s = self._settings.controller.slot_s
        number = epoch.number * self._settings.controller.epoch_slots
        for frame in frames:
            taken_s = frame.seen.taken_at_s
            if frame.begin is not None and frame.seen.slot == number and 0.0 <= taken_s - epoch.begin_s < slot_s:
                return frame.begin, tuple(
                    f.seen for f in frames if taken_s - epoch.length_s < f.seen.taken_at_s <= taken_s
                )
        return None

    async def _plan_of(self, epoch: Epoch) -> EpochPlan | None:
        """Return the plan that was in force for most of an epoch."""
        plans: list[EpochPlan] = []
        cursor = None
        async with within(self._timeout_s, "reading plans"):
            while not plans or plans[-1].created_at_s > epoch.begin_s:
                page = await self._store.plans(limit=PLANS_PAGE, cursor=cursor)
                plans += page.items
                cursor = page.cursor
                if cursor is None:
                    break
        return most_in_force(plans, epoch.begin_s, epoch.end_s)

    async def _provenance(self, plan: EpochPlan, digest: str) -> Provenance:
        """Return where a case comes from; an operator's plan has no line in the journal and is named for itself."""
        record: DecisionRecord | None = None
        if plan.source != "operator":
            try:
                async with within(self._timeout_s, "reading the journal"):
                    record = await self._store.decision(f"epoch-{plan.generation}")
            except NotFound:  # published by hand, or the journal was cut
                record = None
        dialogue = record.dialogue if record is not None and plan.source == "llm" else None
        return Provenance(
            cluster=digest,
            source=plan.source,
            policy=self._settings.policy,
            llm=dialogue.exchanges[-1].answer.model if dialogue is not None and dialogue.exchanges else "",
            decision=record.id if record is not None else f"plan-{plan.generation}",
            version=self._version,
            seed=self._settings.seed,
        )

    async def _write(self, case: Case, evidence: Evidence | None) -> None:
        """Make room for a case by the policy's choice, then keep it; the store's own limit is a safety net."""
        capacity = self._settings.llm.case_capacity
        for name in self._memory.beyond(capacity - 1):
            async with within(self._timeout_s, "forgetting a case"):
                with suppress(NotFound):  # a person was first
                    await self._store.delete_case(name)
            self._memory.forget(name)
            self._metrics.forgotten.inc()
        async with within(self._timeout_s, "keeping a case"):
            await self._store.add_case(case, capacity=capacity)
            if evidence is not None:
                await self._store.put_evidence(evidence)
        self._memory.note(case)
        if evidence is not None and evidence.decision is not None:
            self._memory.owe(case)


def most_in_force(plans: Sequence[EpochPlan], begin_s: float, end_s: float) -> EpochPlan | None:
    """Return which of `plans`, newest first, was in force for most of a time; None if none was at all.

    A plan is in force until it expires or the next is made; of equal ones the newer counts.
    """
    most_s, longest, until_s = 0.0, None, end_s
    for plan in plans:
        in_force_s = min(until_s, plan.expires_at_s) - max(begin_s, plan.created_at_s)
        if in_force_s > most_s:
            most_s, longest = in_force_s, plan
        until_s = min(until_s, plan.created_at_s)
    return longest


def _grown(model: str, epoch: Epoch) -> int:
    """Return how many requests for a model were counted within an epoch; one never asked for has no counter."""
    return epoch.last.arrived.get(model, 0) - epoch.first.arrived.get(model, 0)
