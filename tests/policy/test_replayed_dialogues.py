"""Replay of decisions that a language model was asked for: the dialogue is held again from its record alone."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fairlead.contracts.decisions import DecisionRecord, Dialogue, SlotInput, Step
from fairlead.contracts.dialogue import AgentName, PromptText
from fairlead.contracts.errors import Diverged
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.registry import decide_slot
from fairlead.policy.replay import again
from tests.hash_seeds import run_under
from tests.policy.dialogues import PROMPTS, codes, epoch_asked, opening, planner_reply, slot_asked, slot_reply, text_of
from tests.policy.held_dialogues import journal, record

HELD = "tests.policy.held_dialogues"

GOOD = text_of(slot_reply(opening(slot_asked()), 0.2))
LINES = tuple(journal())


def with_dialogue(line: DecisionRecord, **changes: Any) -> DecisionRecord:
    """Return a record whose dialogue says something else."""
    assert line.dialogue is not None
    return line.model_copy(update={"dialogue": line.dialogue.model_copy(update=changes)})


def dialogue_of(line: DecisionRecord) -> Dialogue:
    """Return the dialogue of a record; there is one."""
    assert line.dialogue is not None
    return line.dialogue


def other_prompts(**changes: str) -> Mapping[AgentName, PromptText]:
    """Return prompts of which the slot agent's is another one."""
    return {**PROMPTS, "slot-agent": PROMPTS["slot-agent"].model_copy(update=changes)}


def test_the_journal_has_dialogues_of_all_sorts() -> None:
    """Accepted, rejected, repaired, failed, late, in every mode."""
    ladders = [codes(line.output.steps)[-1] for line in LINES]
    assert set(ladders) == {"mode:auto", "approval:approved", "fallback:ok"}
    assert {line.source for line in LINES} == {"llm", "fallback"}
    steps = {code for line in LINES for code in codes(line.output.steps)}
    assert {"repair:asked", "repair:no-time", "call:late", "call:busy", "mode:shadow", "mode:slot-over"} <= steps


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.kind}:{codes(line.output.steps)[-2]}")
def test_invariant_07_a_decision_after_a_dialogue_is_identical_at_replay(line: DecisionRecord) -> None:
    """From its record alone, which has been through JSON."""
    replayed = again(DecisionRecord.from_json(line.to_json()), PROMPTS)
    assert replayed.identical, replayed.difference


def test_invariant_07_dialogues_give_the_same_bytes_under_two_hash_seeds() -> None:
    """And the journal of the one is identical when replayed under another."""
    first, second = run_under("1", "-m", HELD, "record"), run_under("2", "-m", HELD, "record")
    assert first.count(b"\n") == len(LINES)
    assert first == second
    assert run_under("3", "-m", HELD, "replay", stdin=first) == b"identical\n" * len(LINES)


def test_another_prompt_of_today_diverges_with_the_first_line_that_differs() -> None:
    """Recorded and today's stand beside each other; of a long line what is around the difference."""
    line = LINES[0]
    system = PROMPTS["slot-agent"].system
    first = system.split("\n")[0]
    with pytest.raises(Diverged) as raised:
        again(line, other_prompts(system=system.replace(first, first + " Be brave.")))
    head, old, new = str(raised.value).splitlines()
    assert head.startswith("dialogue slot-agent-8-1, first question: line ")
    assert head.endswith("(system)")
    assert "Be brave." in new
    assert "Be brave." not in old
    assert max(len(old), len(new)) <= 220


def test_another_version_diverges_even_where_the_text_is_the_same() -> None:
    """It is part of the question."""
    changed = {**PROMPTS, "slot-agent": PROMPTS["slot-agent"].model_copy(update={"version": 99})}
    with pytest.raises(Diverged, match='recorded: "prompt": "slot/1",\nreplayed: "prompt": "slot/99"'):
        again(LINES[0], changed)


def test_another_repair_text_diverges_at_the_second_question() -> None:
    """Dialogues that needed no repair are as they were."""
    changed = other_prompts(repair=PROMPTS["slot-agent"].repair + "\nPlease.")
    assert again(LINES[0], changed).identical
    with pytest.raises(Diverged, match="repair question: line"):
        again(LINES[4], changed)


def test_a_schema_that_would_be_another_one_diverges_at_its_item() -> None:
    """Not with ten thousand characters of it."""
    exchange = dialogue_of(LINES[0]).exchanges[0]
    ask = exchange.ask.model_copy(update={"reply_schema": exchange.ask.reply_schema.replace("0.05", "0.07", 1)})
    changed = with_dialogue(LINES[0], exchanges=(exchange.model_copy(update={"ask": ask}),))
    with pytest.raises(Diverged, match=r'\(reply_schema\)\nrecorded: "0.07,",?\nreplayed: "0.05,",?'):
        again(changed, PROMPTS)


def test_what_was_known_then_is_part_of_the_question() -> None:
    """Another snapshot makes another question."""
    asked = dialogue_of(LINES[0]).asked
    assert isinstance(asked, SlotInput)
    busy = asked.snapshot.model_copy(
        update={"models": tuple(m.model_copy(update={"held": 7}) for m in asked.snapshot.models)}
    )
    with pytest.raises(Diverged, match="recorded: "):
        again(with_dialogue(LINES[0], asked=asked.model_copy(update={"snapshot": busy})), PROMPTS)


def test_a_dialogue_of_another_length_diverges() -> None:
    """One question more, one fewer, one judgement less."""
    repaired = LINES[4]
    exchanges = dialogue_of(repaired).exchanges
    with pytest.raises(Diverged, match="one question more is asked than was then"):
        again(with_dialogue(repaired, exchanges=exchanges[:1]), PROMPTS)
    with pytest.raises(Diverged, match="1 questions and 0 judgements fewer"):
        again(with_dialogue(repaired, exchanges=(*exchanges, exchanges[0])), PROMPTS)
    with pytest.raises(Diverged, match="a proposal passes the gates that was not judged then"):
        again(with_dialogue(repaired, judgements=()), PROMPTS)
    with pytest.raises(Diverged, match="0 questions and 1 judgements fewer"):
        again(with_dialogue(LINES[6], judgements=dialogue_of(repaired).judgements), PROMPTS)


def test_a_dialogue_that_brings_something_else_than_was_decided_on_differs() -> None:
    """Another mode, another proposal in the input: reported, not raised."""
    shadow = again(with_dialogue(LINES[0], mode="shadow"), PROMPTS)
    assert not shadow.identical
    assert shadow.difference.startswith("the dialogue before it brings something else: line ")
    assert "(guide" in shadow.difference
    line = LINES[0]
    assert isinstance(line.input, SlotInput)
    without = line.input.model_copy(update={"guide": None})
    forged = line.model_copy(update={"input": without, "output": decide_slot(without)})
    assert "brings something else" in again(forged, PROMPTS).difference
    raw = record(slot_asked(), ["no", "no"])
    text = dialogue_of(raw).exchanges[1].answer.model_copy(update={"text": GOOD})
    second = dialogue_of(raw).exchanges[1].model_copy(update={"answer": text})
    changed = with_dialogue(raw, exchanges=(dialogue_of(raw).exchanges[0], second))
    with pytest.raises(Diverged):
        again(changed, PROMPTS)


def test_a_dialogue_under_an_operators_plan_is_identical_too() -> None:
    """The proposal does not act, and the ladder says why."""
    asked = epoch_asked(publish=False)
    line = record(asked, [text_of(planner_reply(opening(asked)))])
    step = Step(name="operator", ok=False, code="in-force", text="an operator's plan is in force")
    given = line.input.model_copy(update={"draft": None, "ladder": (*line.input.ladder, step)})
    assert not isinstance(given, SlotInput)
    made = line.model_copy(update={"input": given, "output": decide_epoch(given)})
    assert again(made, PROMPTS).identical
    assert made.output.steps[-1] == step


def test_a_record_of_before_language_models_is_identical() -> None:
    """Without any of the fields that came with them."""
    line = LINES[0]
    given = slot_asked(llm="no-llm")
    old = line.model_copy(update={"input": given, "output": decide_slot(given), "dialogue": None})
    document = json.loads(old.to_json())
    for name in ("guide", "ladder", "llm"):
        del document["input"][name]
    del document["dialogue"]
    read = DecisionRecord.from_json(json.dumps(document))
    assert codes(read.output.steps) == ["absent:no-llm", "fallback:ok"]
    assert again(read, PROMPTS).identical
    epoch = epoch_asked(llm="no-llm", rates=(), begins_at_s=None)
    plan = json.loads(
        line.model_copy(update={"input": epoch, "output": decide_epoch(epoch), "dialogue": None}).to_json()
    )
    for name in ("rates", "prices", "draft", "ladder", "llm", "publish", "begins_at_s"):
        del plan["input"][name]
    del plan["output"]["plan"]["rates"]
    assert again(DecisionRecord.from_json(json.dumps(plan)), PROMPTS).identical
