"""`fairlead notes` and `fairlead goal`, as operators meet them."""

import asyncio
import datetime
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from fairlead.contracts.dialogue import Exchange
from fairlead.contracts.events import Event
from fairlead.contracts.notes import Aims, Goal, GoalReading, Note
from fairlead.contracts.tuning import Weights
from fairlead_cli.main import invoke
from tests.adapters import store_examples as some
from tests.adapters.llm_questions import answer, question
from tests.cli.conftest import System
from tests.cli.test_agents import said


def test_a_note_is_added_with_the_time_of_its_words(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Listed, shown with what the code reads in it, and forgotten."""
    assert "nobody has said anything" in said(capsys, "notes", "list")
    made = said(capsys, "notes", "add", "stadium event for 90 min, images at site 1 triple")
    name = made.split(":")[0]
    assert made.splitlines()[1] == "read as: image at site-1 × 3"
    (note,) = system.does(system.store.notes())
    assert (note.id, note.until_s - note.from_s) == (name, 5400.0)
    assert abs(note.from_s - system.now_s) < 60.0
    assert note.by.endswith(")") or "token t-" in note.by
    assert name in said(capsys, "notes", "list")
    shown = said(capsys, "notes", "show", name)
    assert "stadium event for 90 min" in shown
    assert json.loads(said(capsys, "notes", "show", name, "--json")) == note.to_document()
    assert len(json.loads(said(capsys, "notes", "list", "--json"))["items"]) == 1
    assert said(capsys, "notes", "delete", name) == f"note {name} is gone\n"
    assert f"no note '{name}'" in said(capsys, "notes", "delete", name, status=1)


def test_options_win_over_words(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """A day that is named counts, a time alone is of today or of tomorrow; nonsense is refused in words."""
    tomorrow = datetime.datetime.fromtimestamp(system.now_s + 86_400.0)
    day = f"{tomorrow:%Y-%m-%d}"
    text = "mayor comes 20:00-22:00"
    made = json.loads(said(capsys, "notes", "add", text, "--from", f"{day}T08:30", "--until", "9:00", "--json"))
    assert made["until_s"] - made["from_s"] == 1800.0
    assert datetime.datetime.fromtimestamp(made["from_s"]).isoformat() == f"{day}T08:30:00"
    assert said(capsys, "notes", "add", text, "--until", f"{day}T23:30").splitlines()[1].startswith("read as: nothing")
    strange = said(capsys, "notes", "add", "images at site 9 triple for 5 min")
    assert strange.endswith("reads the words themselves; there is no site 9, sites are site-1\n")
    for arguments, words in (
        (("the mayor comes",), "no time to come is found in these words"),
        ((text, "--from", "soon"), "--from 'soon' is no time"),
        ((text, "--from", f"{day}T09:00", "--until", f"{day}T08:00"), "is over, or no time at all"),
    ):
        assert words in said(capsys, "notes", "add", *arguments, status=2)


def test_a_goal_is_shown_as_a_diff_approved_and_undone(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing changes before; without an id the one that waits is meant."""
    assert "no goal was ever set" in said(capsys, "goal", "list")
    assert "no goal is in force" in said(capsys, "goal", "show")
    assert "no goal waits" in said(capsys, "goal", "approve", status=1)
    assert "no goal is in force: there is nothing to undo" in said(capsys, "goal", "undo", status=2)
    asked = said(capsys, "goal", "set", "protect images, energy second for 3 h")
    assert "  priority of image: 2 → 4\n" in asked
    assert "  weight of churn: 0.05 → " in asked
    assert "nothing has changed yet: fairlead goal approve goal-" in asked
    assert "waits for approval:" in said(capsys, "goal", "show")
    assert "is approved by token t-" in said(capsys, "goal", "approve")
    shown = said(capsys, "goal", "show")
    assert "protect images, energy second" in shown
    assert "priority of image: 4" in shown
    seen = json.loads(said(capsys, "goal", "show", "--json"))
    assert seen["in_force"]["until_s"] - seen["in_force"]["from_s"] == 10_800.0
    assert "  priority of image: 4 → 2\n" in said(capsys, "goal", "undo")
    assert "is declined by" in said(capsys, "goal", "reject")
    made = json.loads(said(capsys, "goal", "set", "fairness first", "--yes", "--json"))
    assert next(one.id for one in system.does(system.store.goals()) if one.approval) == made["id"]
    assert [line.split()[1] for line in said(capsys, "goal", "list").splitlines()[1:]] == [
        "approved",
        "declined",
        "approved",
    ]
    assert len(json.loads(said(capsys, "goal", "list", "--json"))["items"]) == 3
    assert "names no model and no term" in said(capsys, "goal", "set", "be nice", status=2)
    assert "is over" in said(capsys, "goal", "set", "fairness first", "--until", "2020-01-01T00:00", status=2)


def test_a_goal_is_shown_once_the_planners_model_has_read_it(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever sets it waits for that, and sees who has read it."""
    status = some.status().model_copy(update={"llm": "small at http://llm"})
    system.does(system.store.put_agent_status(status))
    reading = GoalReading(aims=Aims(service=4), priorities=(), read_by="llm", why="nice is: none is lost")

    async def read() -> None:
        changes = cast(AsyncGenerator[Event, None], system.store.changes(("goal",)))
        async with aclosing(changes):
            name = (await anext(changes)).id
        (goal,) = [one for one in await system.store.goals() if one.id == name]
        exchange = Exchange(id=f"{name}.1", ask=question(), answer=answer())
        update = {
            "reading": reading,
            "by_rule": goal.reading,
            "changes": ("weight of service",),
            "exchanges": (exchange,),
            "asked_until_s": None,
        }
        await system.store.put_goal(goal.model_copy(update=update), if_revision=0)

    reader = asyncio.run_coroutine_threadsafe(read(), system.loop)
    asked = said(capsys, "goal", "set", "images first")
    reader.result(20.0)
    assert "  the rule read it otherwise (goal set --rule): image 4\n" in asked
    assert ", read by llm small at http://127.0.0.1:1/v1\n  weight of service\n  nice is: none is lost\n" in asked
    assert "is approved by" in said(capsys, "goal", "approve")
    alone = said(capsys, "goal", "set", "images first", "--rule")
    assert ", read by rule\n  priority of image: 2 → 4\n" in alone
    assert "names no model and no term" in said(capsys, "goal", "set", "be nice", "--rule", status=2)


def test_a_goal_that_no_model_has_read_is_shown_as_the_rule_has_it(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it may still be read that is said, and nobody can approve it."""
    goal: Goal = Goal(
        id="goal-1",
        text="be nice",
        from_s=system.now_s,
        until_s=None,
        by="ann",
        created_at_s=system.now_s,
        reading=GoalReading(aims=Aims(), priorities=(), read_by="rule"),
        weights=Weights(),
        changes=(),
        asked_until_s=system.now_s + 600.0,
    )
    system.does(system.store.put_goal(goal, if_revision=None))
    shown = said(capsys, "goal", "show")
    assert "read by rule; the planner's language model has not answered yet\n  it changes nothing\n" in shown
    assert "is being read by a language model" in said(capsys, "goal", "approve", status=1)


def test_a_decision_shows_what_operators_had_said(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Notes and goal of its input, by whom."""
    note = Note(id="note-1", text="vision triples", from_s=1.0, until_s=2.0, by="ann", created_at_s=0.0)
    invoke(["goal", "set", "fairness first", "--yes"])
    capsys.readouterr()
    goal: Goal = system.does(system.store.goals())[0]
    record = some.epoch_record(1)
    given = record.input.model_copy(update={"notes": (note,), "goal": goal})
    system.does(system.store.publish_epoch(None, record.model_copy(update={"input": given})))
    shown = said(capsys, "decisions", "show", record.id)
    assert "  note note-1 by ann, " in shown
    assert ": vision triples\n" in shown
    assert f"  goal {goal.id} by " in shown
