"""Goals in words read by the planner's language model, beside its dialogues; a person approves what was read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import structlog

from fairlead.adapters.outage import Outage
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.status import Tally
from fairlead.agents.waiting import until
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.dialogue import Exchange, PromptText, Sampling
from fairlead.contracts.errors import Conflict
from fairlead.contracts.events import Event
from fairlead.contracts.notes import Goal, GoalReading
from fairlead.contracts.ports import Clock, Llm, Store
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.goal_reply import heard
from fairlead.policy.goals import aimed, reread, view
from fairlead.policy.parsing import Fault
from fairlead.policy.questions import goal_question, repair_question

ANSWER_RATIO = 0.8
"""Share of the time left that an answer may take; the rest is for keeping what came of it, own choice."""

LOOK_S = 5.0
"""Wall seconds between looks for a goal that no event has told of: a stream of changes begins a moment after it was
asked for, and ends at times."""


@dataclass(frozen=True, slots=True)
class GoalCounsel:
    """Whom a goal reader asks, and how."""

    llm: Llm
    prompt: PromptText
    sampling: Sampling
    settings: PolicySettings
    """As configured: levels are relative to these weights."""


class GoalReader:
    """Reads each goal that waits for it, in the time that it was given; the rule's reading stays where that fails.

    So it does where the planner's mode is `off`: nothing is asked then.
    """

    def __init__(
        self, counsel: GoalCounsel, store: Store, clock: Clock, tally: Tally, metrics: DialogueMetrics
    ) -> None:
        """`tally` and `metrics` count questions and answers."""
        self._counsel = counsel
        self._store = store
        self._clock = clock
        self._tally = tally
        self._metrics = metrics
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_watching(), name="goals: changes")
            tasks.create_task(self._keep_reading(), name="goals: reading")

    async def _keep_watching(self) -> None:
        outage = Outage("the stream of goals", self._clock, self._metrics.failures("goal"))
        while True:
            try:
                changes = cast(AsyncGenerator[Event, None], self._store.changes(("goal",)))
                async with aclosing(changes):
                    async for _ in changes:
                        outage.over()
                        self._bell.set()
            except Exception as error:  # the top of this loop
                await outage.failed(error)

    async def _keep_reading(self) -> None:
        outage = Outage("reading goals", self._clock, self._metrics.failures("goal"))
        while True:
            self._bell.clear()
            try:
                await self._read_what_waits()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            await until(self._clock, self._clock.now_s() + LOOK_S * self._clock.speed, self._bell)

    async def _read_what_waits(self) -> None:
        for goal in await self._store.lasting_goals(self._clock.now_s()):
            if goal.approval is None and self._left_s(goal) > 0.0:
                await self._read(goal)

    def _left_s(self, goal: Goal) -> float:
        """Return the wall seconds in which a reading is of use."""
        until_s = goal.asked_until_s
        return 0.0 if until_s is None else (until_s - self._clock.now_s()) / self._clock.speed

    async def _read(self, goal: Goal) -> None:
        """Have a goal read, and put the reading in the place of the rule's unless its time is over by then."""
        reading, why, exchanges = await self._asked(goal)
        if self._left_s(goal) <= 0.0:
            return
        now_s = self._clock.now_s()
        now = view(await self._store.lasting_goals(now_s), self._counsel.settings, now_s)
        read = aimed(goal, reread(goal, reading, why), now, self._counsel.settings.weights)
        by_rule = None if reading is None else goal.reading
        read = read.model_copy(update={"by_rule": by_rule, "exchanges": exchanges, "asked_until_s": None})
        try:
            await self._store.put_goal(read, if_revision=goal.revision)
        except Conflict:
            return  # somebody else has read it
        structlog.get_logger("audit").info("goal read", goal=goal.id, by=read.reading.read_by, why=read.reading.why)

    async def _asked(self, goal: Goal) -> tuple[GoalReading | None, str, tuple[Exchange, ...]]:
        """Return a model's reading unless the mode forbids to ask, or why there is none, and what was said."""
        if (await self._store.mode("planner")).mode == "off":
            return None, "mode off", ()
        return await self._answered(goal, await self._store.cluster())

    async def _answered(self, goal: Goal, cluster: Cluster) -> tuple[GoalReading | None, str, tuple[Exchange, ...]]:
        """Return a model's reading, or why there is none, and what was said; a reply may be mended once."""
        counsel, exchanges = self._counsel, list[Exchange]()
        question = goal_question(goal.text, cluster, counsel.settings, counsel.prompt, counsel.sampling)
        ask, why = question.ask, ""
        for turn in (1, 2):
            name, left_s = f"{goal.id}.{turn}", max(0.0, ANSWER_RATIO * self._left_s(goal))
            answer = await counsel.llm.ask(ask, id=name, deadline_s=left_s)
            exchanges.append(Exchange(id=name, ask=ask, answer=answer))
            self._metrics.answered(exchanges[-1])
            self._tally.answered(exchanges[-1])
            if answer.code != "ok":
                return None, f"{answer.code} {answer.detail}".strip(), tuple(exchanges)
            found = heard(answer, question.aliases)
            if not isinstance(found, Fault):
                return found, "", tuple(exchanges)
            why = f"{found.code}: {found.text}"
            if answer.took_s > left_s - answer.took_s:
                break
            ask = repair_question(question, counsel.prompt, answer.text or "", found.said).ask
        return None, why, tuple(exchanges)
