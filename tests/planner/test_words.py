"""What operators say reaches the planner: notes of an epoch's time, and the goal in force."""

from typing import Any, cast

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.dialogue import Approval, Exchange
from fairlead.contracts.notes import Aims, Goal, GoalReading, ModelLevel, Note
from fairlead.contracts.tuning import Weights
from fairlead.policy.registry import decide_slot
from tests.adapters.llm_questions import answer, question
from tests.agents.replies import PacedLlm
from tests.agents.test_dialogues import check_replays
from tests.agents.world import World, world
from tests.planner.test_advice import current, lines
from tests.planner.test_planner import inputs
from tests.slot_agent.edge import ORIGIN_S


def note(from_s: float, until_s: float, name: str = "note-1") -> Note:
    """Return what Ann says will be, seconds since the origin."""
    begins_s, ends_s = ORIGIN_S + from_s, ORIGIN_S + until_s
    return Note(id=name, text="m1 doubles", from_s=begins_s, until_s=ends_s, by="ann", created_at_s=ORIGIN_S)


async def test_the_planner_is_told_the_notes_of_the_epochs_time() -> None:
    """In its input and in its prompt, with rates that the code reads in them; not before and not after."""
    async with world() as w:
        await w.store.put_note(note(350.0, 500.0), if_revision=None)
        await w.store.put_note(note(700.0, 800.0, "note-2"), if_revision=None)
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(901)
        asked = [r.dialogue.asked for r in await w.journal(agent="planner") if r.dialogue is not None]
        told = [(one.epoch, [n.id for n in one.notes]) for one in asked if isinstance(one, EpochInput)]
        assert told == [(0, []), (1, ["note-1"]), (2, ["note-2"]), (3, [])]
        records = await w.journal(agent="planner")
        prompts = [r.dialogue.exchanges[0].ask.user for r in records if r.dialogue is not None]
        assert ['"m01 doubles"' in one for one in prompts] == [False, True, True, False]
        await check_replays(w)


async def test_a_note_wakes_the_planner() -> None:
    """The running epoch is asked about once more."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(100)
        assert [one[:2] for one in await lines(w)] == [("epoch", 0.0), ("advice", 20.0)]
        await w.store.put_note(note(150.0, 500.0), if_revision=None)
        await w.settle()
        await w.seconds(30)
        assert [one[:2] for one in await lines(w)][2:] == [("advice", 102.0)]


async def asked_at(w: World) -> list[float]:
    """Return when the planner has asked, seconds since the origin."""
    asked = [r.dialogue.asked for r in await w.journal(agent="planner") if r.dialogue is not None]
    return [one.now_s - ORIGIN_S for one in asked]


async def test_a_note_soon_after_another_waits_for_the_cool_down() -> None:
    """Two minutes after the question that the first has made; none is asked after that for the same."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(50)
        await w.store.put_note(note(150.0, 500.0), if_revision=None)
        await w.settle()
        await w.seconds(100)
        await w.store.put_note(note(160.0, 500.0, "note-2"), if_revision=None)
        await w.seconds(100)
        assert await asked_at(w) == [18.0, 50.0, 170.0]
        last = (await w.journal(agent="planner"))[-1].dialogue
        assert last is not None
        assert isinstance(last.asked, EpochInput)
        assert [one.id for one in last.asked.notes] == ["note-1", "note-2"]


async def test_a_note_during_a_dialogue_waits_for_its_end() -> None:
    """What was asked before does not know it; what a question ahead knows is not asked about once more."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 10.0))
        await w.seconds(20)
        await w.store.put_note(note(150.0, 500.0), if_revision=None)
        await w.seconds(220)
        await w.store.put_note(note(160.0, 500.0, "note-2"), if_revision=None)
        await w.seconds(160)
        assert await asked_at(w) == [18.0, 28.0, 258.0]


async def test_a_note_too_late_in_an_epoch_is_asked_about_in_the_next() -> None:
    """The question ahead did not know it."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(265)
        await w.store.put_note(note(400.0, 500.0), if_revision=None)
        await w.seconds(100)
        assert await asked_at(w) == [18.0, 258.0, 300.0]


def goal(**more: Any) -> Goal:
    """Return a goal that the rule has read."""
    reading = GoalReading(aims=Aims(fairness=4), priorities=(ModelLevel(model="m3", priority=4),), read_by="rule")
    return Goal(
        id="goal-1",
        text="fair first, protect m3",
        from_s=ORIGIN_S,
        until_s=None,
        by="ann",
        created_at_s=ORIGIN_S,
        reading=reading,
        weights=Weights(fairness=1.0),
        changes=(),
    ).model_copy(update=more)


class Frugal(MemoryStore):
    """A store that keeps in mind which goals were read of it, and how often all that were ever set."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.whole = 0
        self.read: list[Goal] = []

    async def goals(self) -> tuple[Goal, ...]:
        """Return all goals."""
        self.whole += 1
        return await super().goals()

    async def lasting_goals(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that last."""
        found = await super().lasting_goals(now_s)
        self.read += found
        return found


async def test_no_decider_reads_what_a_model_was_asked_about_a_goal() -> None:
    """Both know the goal in force, and neither its exchanges nor goals that are over or were declined."""
    async with world(store_type=Frugal) as w:
        store = cast(Frugal, w.store)
        exchange = Exchange(id="goal-1.1", ask=question(), answer=answer())
        for one, said in ((goal(), "approved"), (goal(id="goal-2"), "declined")):
            asked = await store.put_goal(one.model_copy(update={"asked_until_s": ORIGIN_S}), if_revision=None)
            read = asked.model_copy(update={"asked_until_s": None, "exchanges": (exchange,)})
            await store.put_goal(read, if_revision=0)
            approval = Approval.model_validate({"answer": said, "by": "ann", "at_s": ORIGIN_S})
            await store.put_goal(read.model_copy(update={"approval": approval}), if_revision=1)
        await w.planner()
        await w.agent(decide_slot)
        await w.seconds(35)
        made = [*await w.journal(agent="planner"), *await w.journal("slot")]
        assert {one.agent for one in made} == {"planner", "slot-agent"}
        assert {one.input.settings.weights.fairness for one in made} == {1.0}
        assert {(one.id, one.exchanges) for one in store.read} == {("goal-1", ())}
        assert store.whole == 0


async def test_a_goal_in_force_has_its_weights_and_priorities() -> None:
    """From the next plan on; the prompt says in whose words."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(100)
        await w.store.put_goal(goal(), if_revision=None)
        await w.seconds(250)
        approval = Approval(answer="approved", by="ann", at_s=w.clock.now_s())
        await w.store.put_goal(goal(approval=approval), if_revision=0)
        await w.seconds(260)
        made = await inputs(w)
        assert [one.settings.weights.fairness for one in made if one.publish] == [0.5, 0.5, 1.0]
        assert {p.model: p.priority for p in (await current(w)).priorities}["m3"] == 4
        prompt = (await w.journal(agent="planner"))[-1].dialogue
        assert prompt is not None
        weights = prompt.exchanges[0].ask.user.splitlines()[0]
        assert weights.endswith('unfairness 1, churn 0.05, loss 0.5; as an operator put it: "fair first, protect m03".')
        await check_replays(w)
