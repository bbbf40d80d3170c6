"""What people say in words, in a store: notes and goals; the fake and MongoDB hold to the same."""

import pytest

from fairlead.contracts.dialogue import Exchange
from fairlead.contracts.errors import Conflict, InputError, NotFound, RevisionMismatch
from fairlead.contracts.notes import Aims, Goal, GoalReading, Note
from fairlead.contracts.ports import Store
from fairlead.contracts.tuning import Weights
from tests.adapters import store_examples as some
from tests.adapters.llm_questions import answer, question
from tests.adapters.store_fixture import Heard


def note(name: str = "n1", from_s: float = 2000.0) -> Note:
    """Return what Ann says of an hour."""
    return Note(id=name, text="vision triples", from_s=from_s, until_s=from_s + 3600.0, by="ann", created_at_s=1000.0)


def goal(name: str = "g1", at_s: float = 1000.0) -> Goal:
    """Return a goal that nobody has answered."""
    return Goal(
        id=name,
        text="fair first",
        from_s=at_s,
        until_s=None,
        by="ann",
        created_at_s=at_s,
        reading=GoalReading(aims=Aims(fairness=4), priorities=(), read_by="rule"),
        weights=Weights(fairness=2.0),
        changes=("fairness 0.5 → 2",),
    )


async def test_notes_are_kept_changed_and_forgotten(store: Store) -> None:
    """Those that begin first first; a change names the revision that it replaces."""
    assert await store.notes() == ()
    await store.put_note(note("n2", 5000.0), if_revision=None)
    assert await store.put_note(note(), if_revision=None) == note()
    with pytest.raises(Conflict, match="exists already"):
        await store.put_note(note(), if_revision=None)
    changed = await store.put_note(note().model_copy(update={"text": "vision doubles"}), if_revision=0)
    assert (changed.revision, changed.text) == (1, "vision doubles")
    with pytest.raises(RevisionMismatch):
        await store.put_note(note(), if_revision=0)
    assert await store.notes() == (changed, note("n2", 5000.0))
    await store.delete_note("n1")
    with pytest.raises(NotFound, match="no note 'n1'"):
        await store.delete_note("n1")
    assert await store.notes() == (note("n2", 5000.0),)


async def test_a_goal_is_answered_once(store: Store) -> None:
    """It comes back as it was set, the newest first; nothing of it changes but the answer."""
    for name, at_s in (("g2", 1001.0), ("g1", 1000.0)):
        await store.put_goal(goal(name, at_s), if_revision=None)
    done = await store.put_goal(goal().model_copy(update={"approval": some.approval()}), if_revision=0)
    assert await store.goals() == (goal("g2", 1001.0), done)
    for revision in (0, 1):
        with pytest.raises(Conflict, match="was approved already, by ann"):
            await store.put_goal(done, if_revision=revision)
    other = goal("g2", 1001.0).model_copy(update={"weights": Weights(), "approval": some.approval()})
    with pytest.raises(Conflict, match="does not change but by an approval"):
        await store.put_goal(other, if_revision=0)
    with pytest.raises(InputError, match="before anybody could read it"):
        await store.put_goal(goal("g3").model_copy(update={"approval": some.approval()}), if_revision=None)
    with pytest.raises(NotFound, match="g9"):
        await store.put_goal(goal("g9").model_copy(update={"approval": some.approval()}), if_revision=0)


async def test_a_goal_is_read_by_a_model_before_it_is_answered(store: Store) -> None:
    """Once, and nothing but what was read; no answer comes before that, or before its time is over."""
    asked = goal().model_copy(update={"asked_until_s": 1020.0})
    await store.put_goal(asked, if_revision=None)
    early, late = some.approval(at_s=1019.0), some.approval(at_s=1020.0)
    with pytest.raises(Conflict, match="is being read by a language model"):
        await store.put_goal(asked.model_copy(update={"approval": early}), if_revision=0)
    reading = GoalReading(aims=Aims(churn=3), priorities=(), read_by="llm")
    read = asked.model_copy(update={"reading": reading, "changes": ("churn",), "asked_until_s": None})
    for other in ({"text": "be fair"}, {"approval": late}):
        with pytest.raises(Conflict, match="does not change but by"):
            await store.put_goal(read.model_copy(update=other), if_revision=0)
    read = await store.put_goal(read, if_revision=0)
    assert (read.revision, read.reading) == (1, reading)
    with pytest.raises(Conflict, match="does not change but by"):
        await store.put_goal(asked, if_revision=1)
    done = await store.put_goal(read.model_copy(update={"approval": early}), if_revision=1)
    assert await store.goals() == (done,)
    await store.put_goal(goal("g2").model_copy(update={"asked_until_s": 1020.0}), if_revision=None)
    unread = goal("g2").model_copy(update={"asked_until_s": 1020.0, "approval": late})
    assert (await store.put_goal(unread, if_revision=0)).approval == late


async def test_goals_that_last_come_without_what_a_model_was_asked(store: Store) -> None:
    """Those that are declined or over do not; one by its id, and all of them, come in full."""
    exchange = Exchange(id="g1.1", ask=question(), answer=answer())
    for name, at_s, until_s in (
        ("g1", 1000.0, None),
        ("g2", 1001.0, 1500.0),
        ("g3", 1002.0, 1600.0),
        ("g4", 1003.0, None),
    ):
        asked = goal(name, at_s).model_copy(update={"asked_until_s": 1010.0, "until_s": until_s})
        await store.put_goal(asked, if_revision=None)
        read = asked.model_copy(update={"asked_until_s": None, "exchanges": (exchange,)})
        await store.put_goal(read, if_revision=0)
    every = {one.id: one for one in await store.goals()}
    for name, said in (("g1", "approved"), ("g2", "approved"), ("g4", "declined")):
        answered = every[name].model_copy(update={"approval": some.approval(said)})
        every[name] = await store.put_goal(answered, if_revision=1)
    assert [one.exchanges for one in await store.goals()] == [(exchange,)] * 4
    assert await store.goal("g1") == every["g1"]
    with pytest.raises(NotFound, match="no goal 'g9'"):
        await store.goal("g9")
    for now_s, names in ((1499.0, ("g3", "g2", "g1")), (1500.0, ("g3", "g1")), (1600.0, ("g1",))):
        lasting = tuple(every[name].model_copy(update={"exchanges": ()}) for name in names)
        assert await store.lasting_goals(now_s) == lasting


async def test_changes_tell_of_notes_and_goals(store: Store) -> None:
    """What was created, deleted, set and answered."""
    async with Heard(store, ["note", "goal"]) as heard:
        await store.put_note(note(), if_revision=None)
        await store.put_goal(goal(), if_revision=None)
        await store.put_goal(goal().model_copy(update={"approval": some.approval()}), if_revision=0)
        await store.delete_note("n1")
        await heard.hears(
            ("note", "n1", "created"), ("goal", "g1", "pending"), ("goal", "g1", "approved"), ("note", "n1", "deleted")
        )
