"""Goals in words as the planner's language model reads them: in time, once, and never after a person has answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_llm import Saying
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.prompt_files import goal_prompt
from fairlead.agents.bounded import Bounded
from fairlead.agents.goal_reading import GoalCounsel, GoalReader
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.status import Tally
from fairlead.contracts.dialogue import Approval, Ask, Sampling
from fairlead.contracts.events import Event, EventKind, Mode
from fairlead.contracts.notes import Aims, Goal, GoalReading
from fairlead.contracts.tuning import PolicySettings, Weights
from fairlead.policy.goals import in_force
from tests.agents.replies import PacedLlm
from tests.agents.world import TURNS, count
from tests.slot_agent.edge import ORIGIN_S, cluster

ASKED_FOR_S = 18.0
"""Domain seconds that a model has for a goal: 0.6 of a slot."""

GOOD = json.dumps(
    {
        "latency": 2,
        "fairness": 2,
        "churn": 3,
        "service": 2,
        "models": [{"model": "m02", "priority": 4}],
        "why": "as said",
    }
)


def goal(name: str = "g1", asked_for_s: float | None = ASKED_FOR_S) -> Goal:
    """Return a goal of which the rule has understood nothing."""
    return Goal(
        id=name,
        text="the second one matters",
        from_s=ORIGIN_S,
        until_s=None,
        by="ann",
        created_at_s=ORIGIN_S,
        reading=GoalReading(aims=Aims(), priorities=(), read_by="rule", why="the rule understands nothing of it"),
        weights=Weights(),
        changes=(),
        asked_until_s=None if asked_for_s is None else ORIGIN_S + asked_for_s,
    )


@dataclass(slots=True)
class Desk:
    """A reader at work, and what it works on."""

    clock: VirtualClock
    store: MemoryStore
    llm: PacedLlm
    tally: Tally = field(default_factory=Tally)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def seconds(self, seconds: float) -> None:
        """Let so much time pass, and all that follows from it."""
        for _ in range(round(seconds)):
            await self.clock.advance(1.0, TURNS)

    async def goal(self, name: str = "g1") -> Goal:
        """Return a goal as it stands."""
        return next(one for one in await self.store.goals() if one.id == name)


@asynccontextmanager
async def reading(
    after_s: float, *said: str | Saying, store_type: Callable[[VirtualClock], MemoryStore] = MemoryStore
) -> AsyncIterator[Desk]:
    """Give a reader whose model says these, one after the other, each after so many seconds."""
    left = list(said)
    say: Callable[[Ask], str | Saying] = lambda _: left.pop(0)
    clock = VirtualClock(ORIGIN_S)
    desk = Desk(clock, store_type(clock), PacedLlm(clock, after_s, say))
    await desk.store.replace_cluster(cluster())
    counsel = GoalCounsel(Bounded(desk.llm, clock), goal_prompt(), Sampling(), PolicySettings())
    metrics = DialogueMetrics(desk.registry, "planner")
    run = asyncio.create_task(GoalReader(counsel, desk.store, clock, desk.tally, metrics).run())
    await clock.advance(0.0, TURNS)
    try:
        yield desk
    finally:
        run.cancel()
        (outcome,) = await asyncio.gather(run, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def test_a_goal_is_read_and_waits_for_a_person() -> None:
    """With its weights, the diff, and what was asked and answered; a decision carries the goal without the latter."""
    async with reading(2.0, GOOD) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(1)
        assert await desk.goal() == goal()
        await desk.seconds(2)
        read = await desk.goal()
        assert (read.reading.read_by, read.reading.why, read.asked_until_s) == ("llm", "as said", None)
        assert read.by_rule == goal().reading
        assert read.changes[-1] == "priority of m2: 2 → 4"
        assert read.weights.churn > 0.09
        (said,) = read.exchanges
        assert (said.id, said.ask.prompt, said.answer.text) == ("g1.1", "goal/1", GOOD)
        assert (desk.tally.asks, desk.tally.reply_tokens) == (1, said.answer.reply_tokens)
        assert count(desk.registry, "fairlead_llm_asks", agent="planner") == 1.0
        approval = Approval(answer="approved", by="ann", at_s=desk.clock.now_s())
        await desk.store.put_goal(read.model_copy(update={"approval": approval}), if_revision=1)
        await desk.seconds(1)
        now = in_force(await desk.store.goals(), desk.clock.now_s())
        assert now is not None
        assert (now.weights, now.exchanges) == (read.weights, ())


async def test_a_reply_is_mended_once() -> None:
    """The fault is told in our words; what comes then is read, or the rule's reading stays and says why."""
    async with reading(2.0, "the second!", GOOD, "no", GOOD.replace("m02", "m77")) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(5)
        read = await desk.goal()
        assert [one.ask.turn for one in read.exchanges] == ["first", "repair"]
        assert "the reply holds no JSON object" in read.exchanges[1].ask.user
        assert read.reading.read_by == "llm"
        await desk.store.put_goal(goal("g2"), if_revision=None)
        await desk.seconds(5)
        left = await desk.goal("g2")
        assert (left.reading.read_by, left.by_rule, left.asked_until_s, left.changes) == ("rule", None, None, ())
        assert left.reading.why == (
            "no language model's reading: unknown-model: there is no m77; the rule understands nothing of it"
        )


async def test_without_an_answer_in_time_the_rules_reading_stays() -> None:
    """A model that refuses, one without time for a second try, one that is late; what came of it is kept in time."""
    async with reading(2.0, Saying(code="refused")) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(3)
        left = await desk.goal()
        assert (left.reading.why.split(";")[0], left.asked_until_s) == ("no language model's reading: refused", None)
    async with reading(10.0, "no") as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(11)
        assert (await desk.goal()).reading.why.startswith("no language model's reading: not-json: ")
    async with reading(60.0) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(17)
        left = await desk.goal()
        assert (left.reading.why.split(";")[0], left.asked_until_s) == ("no language model's reading: late", None)


async def test_what_comes_too_late_is_not_kept() -> None:
    """Where all its time has passed: a person may have answered by then."""
    async with reading(2.0, GOOD) as desk:
        await desk.store.put_goal(goal(asked_for_s=1.0), if_revision=None)
        await desk.seconds(5)
        assert await desk.goal() == goal(asked_for_s=1.0)


async def test_switched_off_nothing_is_asked() -> None:
    """The rule's reading stays and says why, and can be answered at once; in any other mode a model is asked."""
    async with reading(2.0, GOOD) as desk:
        off = Mode(agent="planner", mode="off", by="ann", at_s=ORIGIN_S)
        await desk.store.put_mode(off, if_revision=None)
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(1)
        left = await desk.goal()
        why = "no language model's reading: mode off; the rule understands nothing of it"
        assert (left.reading.read_by, left.reading.why, left.asked_until_s, left.exchanges) == ("rule", why, None, ())
        assert (desk.llm.inner.asked, desk.tally.asks) == ([], 0)
        await desk.store.put_mode(off.model_copy(update={"mode": "shadow"}), if_revision=0)
        await desk.store.put_goal(goal("g2"), if_revision=None)
        await desk.seconds(3)
        assert (await desk.goal("g2")).reading.read_by == "llm"


async def test_what_does_not_wait_for_a_model_is_left_alone() -> None:
    """A goal that nobody wants read, and one that somebody else has read meanwhile."""
    async with reading(2.0, GOOD) as desk:
        await desk.store.put_goal(goal(asked_for_s=None), if_revision=None)
        await desk.seconds(5)
        assert desk.llm.inner.asked == []
        await desk.store.put_goal(goal("g2"), if_revision=None)
        await desk.seconds(1)
        other = goal("g2").model_copy(update={"changes": ("read elsewhere",), "asked_until_s": None})
        other = await desk.store.put_goal(other, if_revision=0)
        await desk.seconds(3)
        assert await desk.goal("g2") == other


class LateStore(MemoryStore):
    """A store whose stream of changes begins a while after it was first waited for, as MongoDB's may."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self._begins_at_s = clock.now_s() + 3.0

    async def changes(self, kinds: Sequence[EventKind]) -> AsyncIterator[Event]:
        """Yield what changes from then on."""
        await self._clock.sleep_until(self._begins_at_s)
        async for event in super().changes(kinds):
            yield event


async def test_a_goal_is_read_that_no_event_has_told_of() -> None:
    """One that was set before the stream began, within seconds, and one that was set while another was being read."""
    async with reading(4.0, GOOD, GOOD, store_type=LateStore) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(12)
        assert (await desk.goal()).reading.read_by == "llm"
    async with reading(4.0, GOOD, GOOD) as desk:
        await desk.store.put_goal(goal(), if_revision=None)
        await desk.seconds(2)
        await desk.store.put_goal(goal("g2"), if_revision=None)
        await desk.seconds(7)
        assert [(await desk.goal(name)).reading.read_by for name in ("g1", "g2")] == ["llm", "llm"]


async def test_a_store_that_was_away_is_asked_again() -> None:
    """The goal that was set before is read then; the failure is counted."""
    async with reading(1.0, GOOD) as desk:
        await desk.store.put_goal(goal(asked_for_s=600.0), if_revision=None)
        desk.store.unavailable = True
        await desk.seconds(5)
        assert count(desk.registry, "fairlead_llm_failures", place="goal") >= 1.0
        desk.store.unavailable = False
        await desk.seconds(60)
        assert (await desk.goal()).reading.read_by == "llm"
