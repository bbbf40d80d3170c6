"""`fairlead decisions`: a decision told whole, one or all of them executed again."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.contracts.decisions import DecisionRecord, EpochDecision, SlotInput
from fairlead.contracts.plans import Guide, GuideRow, Intent, PlanDraft, Share
from fairlead.policy.registry import decide_slot
from fairlead_cli import replaying
from fairlead_cli.client import locate
from fairlead_cli.dialogues import tell_worth
from fairlead_cli.main import invoke
from tests.adapters import store_examples as some
from tests.cli.conftest import System
from tests.cli.test_agents import said
from tests.control_api import dialogue_examples as example


def decided(number: int) -> DecisionRecord:
    """Return a line of the journal that really was decided."""
    record = some.slot_record(number)
    assert isinstance(record.input, SlotInput)
    return record.model_copy(update={"output": decide_slot(record.input)})


def journaled(system: System, *records: DecisionRecord) -> None:
    """Put lines into the journal, nothing in force."""
    for record in records:
        system.does(system.store.publish_slot(None, None, record))


def test_a_dialogue_is_told_for_people(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps, what was asked in which size, who answered what after which time for how many tokens."""
    journaled(system, example.advice_record())
    words = said(capsys, "decisions", "show", "slot-table-7")
    for part in (
        "slot-table-7  advice decision of the slot-agent, source fallback\n",
        "  no  feasibility: row-sum row (*, m01) sums to 0.7\n",
        "dialogue slot-agent-7-1: prompt slot/1, mode shadow\n",
        "  http://127.0.0.1:9000, 18.0 s for all answers, temperature 0, at most 700 tokens each\n",
        "  case c1 is abc-5-3, similarity 0.83\n",
        "  question 1 (first, slot/1): 19 characters that stay, 25 that change, schema of SlotReply 17\n",
        "  answer 1: ok after 3.25 s from some-model at http://127.0.0.1:9000/v1 asked as schema; "
        f"tokens 1203 in, 48 out, money 0.0125; {len(example.REPLY)} characters\n",
        "  question 2 (repair, slot/1)",
        "  answer 2: late after 3.25 s",
        "  judged not-judged the twin does not judge yet\n",
        "  in full: --reply and --prompt\n",
    ):
        assert part in words
    assert example.REPLY not in words
    assert "n01 memory 8" not in words


def test_what_the_twin_said_and_what_came_are_told(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Each candidate with its numbers, the one that was chosen marked; what it cost, who was next, what came."""
    journaled(system, example.advice_record(example.dialogue(judgements=(example.judgement(),))))
    words = said(capsys, "decisions", "show", "slot-table-7")
    for part in (
        "  judged no-worse other-1: it surely gains\n",
        "    120 s ahead, in 0.25 s by compiled 0.1.0; F is less where it is better, a gain positive\n",
        "    * other-1 as forecast: F 0.3800 for the fallback's 0.4000, gain +0.0200 (+0.0100 to +0.0300) on 8 "
        "demands, mean latency 9.5 s for 11.0 s\n",
        "    * other-1 if it comes true: F 0.3400 ",
        "      proposal as forecast: F 0.3900 for the fallback's 0.4000, gain +0.0100 (+0.0000 to +0.0200) on 8 "
        "demands\n",
        "\nin hindsight\n  it cost 2406 tokens in, ",
        " s of answers and 0.25 s of judging\n",
        "  the fallback acted; next best by the twin: other-1, gain +0.0200\n",
        ": 0 requests, no request has ended, 11.0 s were expected\n",
    ):
        assert part in words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"advantage": {"value": 0.01, "low": -0.02, "high": 0.04, "twin": "reference 0.1.0"}, "source": "llm"},
            "+0.0100 (-0.0200 to +0.0400) by reference 0.1.0\n",
        ),
        ({"source": "llm"}, "not known\n"),
        (
            {"advantage": {"value": 0.01, "low": -0.02, "high": 0.04, "twin": "reference 0.1.0"}, "source": "fallback"},
            "the plan that did not act: +0.0100 (-0.0200 to +0.0400) by reference 0.1.0\n",
        ),
        ({}, "nothing: it is the fallback's own\n"),
    ],
)
def test_a_plan_is_told_with_the_case_that_it_became(
    capsys: pytest.CaptureFixture[str], more: dict[str, object], words: str
) -> None:
    """With what came of its epoch, and what it was worth against the fallback, where that is known."""
    worth = {
        "source": "fallback",
        "questions": 0,
        "chosen": None,
        "measured": {
            "from_s": 0.0, "until_s": 300.0, "over": False, "requests": 3, "latency_s": 7.25, "judged": 3, "timely": 2,
        },
        "predicted_s": None,
        "case": "abc-5-3",
        "realised": {"objective": 0.25},
        "advantage": None,
        **more,
    }  # fmt: skip
    tell_worth(worth)
    out = capsys.readouterr().out
    assert " so far: 3 requests, mean latency 7.2 s; 2 of 3 timely\n" in out
    assert "  its epoch is case abc-5-3: F 0.2500\n    worth over the fallback on the same demand: " + words in out


def test_what_passed_and_does_not_act_is_told(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of a slot, or what a plan says."""
    row = GuideRow(zone="*", model="text", shares=(Share(node="node-1", probability=1.0),))
    guide = Guide(slot=7, rows=(row,), why="node-1 is idle")
    intent = Intent(node="node-1", role="standby", prefer=(), avoid=("image",), bias=2)
    draft = PlanDraft(intents=(intent,), priorities=(), warm=(), why="it rests")
    for name, unused in (("slot-table-7", guide), ("slot-table-8", draft)):
        held = example.dialogue(unused=unused)
        journaled(system, example.advice_record(held).model_copy(update={"id": name}))
    words = said(capsys, "decisions", "show", "slot-table-7")
    assert "  passed and does not act: node-1 is idle\n  * text: node-1 1.00\n" in words
    words = " ".join(said(capsys, "decisions", "show", "slot-table-8").split())
    assert "passed and does not act: it rests NODE ROLE PREFER AVOID BIAS node-1 standby - image 2" in words


def test_replies_and_prompts_are_shown_in_full(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """As they came, but for what would move the terminal's cursor."""
    nasty = example.answer("one\nt\x1b[2Jwo\u202e")
    late = example.answer(None, endpoint="", style=None, model="", attempts=3, detail="no\x07 answer")
    turns = (example.exchange(1, nasty), example.exchange(2, late))
    approval = {"answer": "approved", "by": "token t-1", "at_s": 1000.0}
    held = example.dialogue(*turns, in_time=False)
    held = type(held).model_validate(held.to_document() | {"approval": approval})
    journaled(system, example.advice_record(held))
    words = said(capsys, "decisions", "show", "slot-table-7", "--reply", "--prompt")
    for part in (
        "    --- reply, as it came\n    one\n    t\\x1b[2Jwo\\u202e\n    ---\n",
        "    --- system\n    You route requests.\n",
        "    --- user\n    n01 memory 8\n    m01 rate 0.4\n",
        "from nobody, 3 attempts; ",
        "; no reply\n    no\\x07 answer\n",
        "mode shadow, too late for what it was for\n",
        "  approved by token t-1 at 1970-01-01 00:16:40\n",
    ):
        assert part in words
    assert "in full" not in words
    assert "\x1b" not in words


def test_a_decision_without_a_dialogue_says_so_when_asked(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Else it is shown as ever; the table of a decision that moved no pod is told."""
    record = some.slot_record(1)
    table = record.model_copy(
        update={"id": "slot-table-1", "output": record.output.model_copy(update={"placement": None})}
    )
    journaled(system, record, table, some.epoch_record(1))
    assert "no language model was asked for this decision" in said(capsys, "decisions", "show", "slot-1", "--reply")
    assert "dialogue" not in said(capsys, "decisions", "show", "slot-1")
    assert "table 1 for placement 1, fallback\n  * text: node-1 1.00\n" in said(
        capsys, "decisions", "show", "slot-table-1"
    )
    assert said(capsys, "decisions", "show", "epoch-1").endswith("plan 1 for epoch 1, source fallback\n  neutral\n")
    planned = some.epoch_record(2)
    assert isinstance(planned.output, EpochDecision)
    plan = some.plan(2).model_copy(update={"source": "llm"})
    journaled(system, planned.model_copy(update={"output": planned.output.model_copy(update={"plan": plan})}))
    assert "plan 2 for epoch 2, source llm\n  neutral\n\nno intents\n" in said(capsys, "decisions", "show", "epoch-2")


def test_listings_count_questions(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """None where nobody was asked."""
    journaled(system, some.slot_record(1), example.advice_record())
    rows = [line.split() for line in said(capsys, "decisions", "list").splitlines()]
    asks = rows[0].index("ASKS")
    assert {row[0]: row[asks] for row in rows[1:]} == {"slot-1": "-", "slot-table-7": "2"}
    assert "did you mean 'planner'?" in said(capsys, "decisions", "list", "--agent", "planer", status=2)


def test_all_decisions_are_executed_again(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 only if there were any and all are identical; the first that is not is named with its line."""
    assert "nothing to execute again" in said(capsys, "decisions", "replay", "--all", status=1)
    journaled(system, *(decided(number) for number in (1, 2, 3)))
    assert said(capsys, "decisions", "replay", "--all") == (
        "3 decisions executed again: 3 identical, 0 different, 0 diverged\n"
    )
    journaled(system, some.slot_record(5), some.slot_record(4))
    words = said(capsys, "decisions", "replay", "--all", "--agent", "slot-agent", status=1)
    assert words.startswith("5 decisions executed again: 3 identical, 2 different, 0 diverged\nfirst: slot-4 different")
    assert "recorded:" in words
    told = json.loads(said(capsys, "decisions", "replay", "--all", "--json", status=1))
    assert told["first"]["outcome"] == "different"
    assert (told["replayed"], told["identical"], told["different"], told["diverged"]) == (5, 3, 2, 0)
    nothing = json.loads(said(capsys, "decisions", "replay", "--all", "--agent", "planner", "--json", status=1))
    assert nothing == {"replayed": 0, "identical": 0, "different": 0, "diverged": 0, "first": None}


def test_a_dialogue_is_held_again_from_its_record(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Identical while the question is the recorded one; diverged, with the line, where it is another one today."""
    record = system.does(example.held_record("no JSON at all", '{"routes": 1}'))
    assert [step.name for step in record.output.steps].count("call") == 2
    journaled(system, record)
    assert said(capsys, "decisions", "replay", record.id) == "identical\n"
    journaled(system, example.asked_otherwise(record))
    one = said(capsys, "decisions", "replay", "slot-table-8", status=1)
    assert one.startswith("diverged: ")
    assert "recorded: " in one
    assert "asked otherwise" in one
    told = json.loads(said(capsys, "decisions", "replay", "--all", "--json", status=1))
    assert (told["identical"], told["diverged"]) == (1, 1)
    assert (told["first"]["id"], told["first"]["outcome"]) == ("slot-table-8", "diverged")


def test_a_person_sees_how_far_it_is(system: System) -> None:
    """On a terminal alone, and never among the results."""
    journaled(system, *(decided(number) for number in (1, 2)), some.slot_record(3))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "fairlead_cli", "decisions", "replay", "--all"],
        stdout=subprocess.PIPE, stderr=theirs, cwd=Path(__file__).parents[2], text=True,
        env=os.environ | {"TERM": "xterm"},
    ) as command:  # fmt: skip
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the end of a terminal that nobody holds any more
            while part := os.read(ours, 65_536):
                seen += part
        result = command.stdout.read() if command.stdout is not None else ""
    os.close(ours)
    assert result.startswith("3 decisions executed again: 2 identical, 1 different, 0 diverged\n")
    assert "3/3" in seen.decode()
    assert "replay, 1 not identical" in seen.decode()


def test_all_means_more_than_a_page(system: System) -> None:
    """Listings are followed to their end."""
    records = [some.slot_record(number, published=False) for number in range(1, replaying.PAGE + 3)]
    journaled(system, *records)
    listed = [one["id"] for one in replaying._listed(locate(), None)]
    assert listed == [record.id for record in reversed(records)]


def test_one_decision_is_executed_again(system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """From the control API or from a file, for people and for programs."""
    journaled(system, decided(1), some.slot_record(2))
    assert said(capsys, "decisions", "replay", "slot-1") == "identical\n"
    assert said(capsys, "decisions", "replay", "slot-2", status=1).startswith("different: line ")
    told = json.loads(said(capsys, "decisions", "replay", "slot-2", "--json", status=1))
    assert (told["id"], told["outcome"]) == ("slot-2", "different")
    file = tmp_path / "record.json"
    file.write_text(said(capsys, "decisions", "show", "slot-1", "--json"))
    assert said(capsys, "decisions", "replay", "--file", str(file)) == "identical\n"
    file.write_text("{}")
    assert f"{file} is no record of a decision" in said(capsys, "decisions", "replay", "--file", str(file), status=2)
    assert "no decision 'slot-9'" in said(capsys, "decisions", "replay", "slot-9", status=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--all", "slot-1"), "name one of these"),
        (("--all", "--file", "x"), "name one of these"),
        (("slot-1", "--agent", "planner"), "--agent goes with --all"),
        (("--all", "--agent", "slotagent"), "did you mean 'slot-agent'?"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    """Before anybody is asked."""
    assert invoke(["decisions", "replay", *arguments]) == 2
    assert words in capsys.readouterr().err
