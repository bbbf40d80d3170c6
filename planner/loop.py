"""The planner's loops: a plan when an epoch begins and whenever none is in force, and a model asked beside them."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from fairlead.adapters.outage import Outage
from fairlead.agents.advice import Advising, Question, Talk
from fairlead.agents.waiting import until
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.ports import Clock, Store
from fairlead.policy.planning import agenda, due_at
from planner.decider import Case, DecideEpoch, Decider, Standing
from planner.metrics import PlannerMetrics

TRIES = 5
"""Plans made again in a row because another was first: an operator may be, five times in a row nobody is."""

WATCHED: Sequence[EventKind] = ("plan", "node", "mode", "proposal", "wake", "note")


class Planner:
    """Plans each epoch; `run` ends by cancellation only. A plan of an operator stays in force until it expires.

    A language model is asked ahead about the epoch that comes, or, where a plan had to be made without it, about the
    running one; no plan waits for an answer.
    """

    def __init__(
        self, store: Store, clock: Clock, case: Case, decide: DecideEpoch, advisor: Advising, metrics: PlannerMetrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._case = case
        self._advisor = advisor
        self._metrics = metrics
        self._decider = Decider(store, clock, case, decide, advisor, metrics)
        self._agenda = agenda(case.settings)
        self._bell = asyncio.Event()
        self._conflicts = 0
        self._talks: list[Talk] = []
        """Dialogues that have ended and are to be decided, oldest first."""
        self._talking: set[int] = set()
        """Epochs about which dialogues are being held."""
        self._asked = -1
        """The newest epoch that was asked about."""
        self._owed: tuple[int, float] | None = None
        """A running epoch that is still to be asked about, and when."""
        self._woken = False
        """Something has changed, and the planner was not asked since."""
        self._early_at_s: float | None = None
        """When it was asked early, the last time."""
        advisor.heed(self._bell.set)

    async def run(self) -> None:
        """Plan until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_watching(), name="planner: changes")
            tasks.create_task(self._keep_planning(tasks), name="planner: plans")
            tasks.create_task(self._advisor.run(), name="planner: status")

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
            self._advisor.noticed()
            self._bell.set()

    def _noticed(self, event: Event) -> None:
        if event.kind == "wake":
            if event.text != "changed":
                return  # a model is missed: that is the slot agent's
            self._woken = True
        if event.kind == "note":
            self._woken = True
        if event.kind in ("mode", "proposal"):
            self._advisor.noticed()
        self._bell.set()

    async def _keep_planning(self, tasks: asyncio.TaskGroup) -> None:
        outage = Outage("planning", self._clock, self._metrics.loop.failures)
        while True:
            self._bell.clear()
            try:
                next_at_s = await self._one_pass(tasks)
                outage.over()
            except Exception as error:  # the top of this loop
                self._decider.forget()
                await outage.failed(error)
                continue
            if next_at_s is not None:
                await until(self._clock, next_at_s, self._bell)

    async def _one_pass(self, tasks: asyncio.TaskGroup) -> float | None:
        """Do what is due first; return None if there was something, or else when to look again.

        Raises `StoreUnavailable`.
        """
        timeout_s = self._case.settings.mongodb.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                next_at_s = await self._do_what_is_due(tasks)
        except TimeoutError as error:
            raise StoreUnavailable(f"the store did not answer the planner within {timeout_s} s") from error
        except Conflict:
            self._metrics.loop.conflicts.inc()
            self._decider.forget()
            self._conflicts += 1
            if self._conflicts >= TRIES:
                self._conflicts = 0
                raise StoreUnavailable(
                    f"another process was first {TRIES} times: is a second planner running?"
                ) from None
            return None
        self._conflicts = 0
        return next_at_s

    async def _do_what_is_due(self, tasks: asyncio.TaskGroup) -> float | None:
        standing = await self._decider.standing()
        now_s, epochs = standing.now_s, self._agenda.epochs
        epoch = epochs.at(now_s)
        self._owe(standing, epoch)
        due_at_s = due_at(standing.plan, standing.cluster, now_s, epochs, standing.mode)
        if due_at_s <= now_s:
            await self._plan(standing, epoch)
            return None
        if (talk := next((t for t in self._talks if _epoch(t) <= epoch), None)) is not None:
            await self._decider.take_advice(standing, talk)
            self._talks.remove(talk)
            return None
        if (question := self._next_question(standing, epoch)) is not None and question[0] <= now_s:
            await self._ask(standing, question[1], tasks)
            return None
        later_at_s = [epochs.begins_at_s(_epoch(t)) for t in self._talks]
        if question is not None:
            later_at_s.append(question[0])
        if self._woken and self._rested_at_s() > now_s:
            later_at_s.append(self._rested_at_s())
        return min(due_at_s, *later_at_s, epochs.begins_at_s(epoch + 1))

    async def _plan(self, standing: Standing, epoch: int) -> None:
        """Make a plan for the running epoch, with what a dialogue about it has brought if one has ended."""
        talk = next((t for t in self._talks if _epoch(t) == epoch), None)
        if talk is not None:
            await self._decider.plan_epoch(standing, "answered", talk)
            self._talks.remove(talk)
            return
        llm, owed = self._unanswered(standing, epoch)
        await self._decider.plan_epoch(standing, llm, None)
        self._owed = owed

    def _unanswered(self, standing: Standing, epoch: int) -> tuple[str, tuple[int, float] | None]:
        """Return why a plan has no reply in it, and when the running epoch is to be asked about, if it is."""
        if standing.stance not in ("asked", "busy"):
            return standing.stance, None
        if epoch in self._talking:
            return "asked", None
        at_s = self._agenda.beside_at_s(standing.now_s)
        if not self._agenda.fits(at_s, self._agenda.ahead_at_s(epoch + 1)):
            return "no-time", None
        return standing.stance, (epoch, at_s)

    def _next_question(self, standing: Standing, epoch: int) -> tuple[float, int] | None:
        """Return when to ask about which epoch next; None if that depends on something else first."""
        plan, now_s, agenda = standing.plan, standing.now_s, self._agenda
        next_at_s = agenda.epochs.begins_at_s(epoch + 1)
        if standing.stance != "asked":
            return None
        if plan is not None and plan.source == "operator" and plan.expires_at_s > next_at_s:
            return None
        if self._owed is not None and self._owed[0] == epoch:
            at_s = max(now_s, self._owed[1])
            if agenda.fits(at_s, agenda.ahead_at_s(epoch + 1)):
                return at_s, epoch
        at_s = max(now_s, agenda.ahead_at_s(epoch + 1))
        return (at_s, epoch + 1) if self._asked <= epoch and agenda.fits(at_s, next_at_s) else None

    def _owe(self, standing: Standing, epoch: int) -> None:
        """Ask about the running epoch at once if something has changed; not again so soon, and not during a dialogue.

        What has changed then is asked about once that is over, or with the next question, whatever its epoch.
        """
        if not self._woken or standing.now_s < self._rested_at_s():
            return
        fits = self._agenda.fits(standing.now_s, self._agenda.ahead_at_s(epoch + 1))
        if standing.stance != "asked" or epoch in self._talking or not fits:
            return  # it stays owed
        self._woken = False
        self._early_at_s, self._owed = standing.now_s, (epoch, standing.now_s)

    def _rested_at_s(self) -> float:
        """Return from when on it may be asked early again."""
        cool_down_s = self._case.settings.controller.wake_cool_down_s
        return -math.inf if self._early_at_s is None else self._early_at_s + cool_down_s

    async def _ask(self, standing: Standing, epoch: int, tasks: asyncio.TaskGroup) -> None:
        """Begin a dialogue about an epoch; it knows what has changed before it begins."""
        self._woken = False
        asked = await self._decider.asked(standing, epoch)
        self._asked = max(self._asked, epoch)
        self._owed = None
        self._talking.add(epoch)
        tasks.create_task(self._converse(asked), name=f"planner: dialogue about epoch {epoch}")

    async def _converse(self, asked: EpochInput) -> None:
        """Hold a dialogue about an epoch, and have it looked at once it has ended."""
        deadline_s = self._agenda.deadline_for_s / self._clock.speed
        question = Question(asked, deadline_s, self._agenda.epochs.begins_at_s(asked.epoch + 1))
        try:
            talk = await self._advisor.hold(question, self._case.recall)
            if talk is not None:
                self._talks.append(talk)
        finally:
            self._talking.discard(asked.epoch)
            self._bell.set()


def _epoch(talk: Talk) -> int:
    asked = talk.question.asked
    return asked.epoch if isinstance(asked, EpochInput) else -1
