"""A slot as a whole, by the API and by the command: every question that an operator has of it is answered."""

import json
from typing import Any

import pytest

from fairlead.contracts.decisions import NodeView
from fairlead.contracts.hindsight import SlotAccount
from fairlead_cli.client import locate
from fairlead_cli.explained import tell_troubles
from fairlead_cli.plans import tell_plan
from tests.adapters import store_examples as some
from tests.cli.conftest import System
from tests.cli.test_agents import said
from tests.cli.test_decisions import journaled
from tests.control_api import dialogue_examples as example

SLOT = 33

ITEMS = {
    "who decided": ["slot-7 ", " slot   ", "fallback", "slot-table-8  advice decision of the slot-agent, source llm\n"],
    "under which plan": ["under plan 3, source llm: fairlead decisions show epoch-3\n"],
    "from which prompt": ["dialogue slot-agent-7-1: prompt slot/1, mode auto\n", "question 1 (first, slot/1)"],
    "from which memory": ["case c1 is abc-5-3, similarity 0.83\n"],
    "what each gate said": [
        "ok  call: ok\n",
        "ok  trust: ok rows are at most 0.12 away from the fallback's, 0.30 is trusted\n",
        "ok  twin: no-worse other-1: gain 0.0200 (0.0100 to 0.0300) of F 0.4000\n",
        "* other-1 as forecast: F 0.3800 for the fallback's 0.4000, gain +0.0200 (+0.0100 to +0.0300) on 8 demands",
    ],
    "what the runner-up was": ["other-1 acted, gain +0.0200; next best by the twin: proposal, gain +0.0100\n"],
    "what would have been started next": [
        "the next best start first\n  large-text: 3.25 request-seconds on node-2\n",
        "  text: 1.50 request-seconds on node-1\n  image: 9.00 request-seconds on no node\n",
    ],
    "what it cost": [
        "dialogues with a language model: 1, 1203 tokens in, 48 out, money 0.0125, 3.50 s of answers and judging\n",
        "it cost 1203 tokens in, 48 out, money 0.0125, 3.25 s of answers and 0.25 s of judging\n",
    ],
    "what it turned out to be worth": [
        "from 1970-01-01 00:16:30 to 1970-01-01 00:17:00: 0 requests, no request has ended\n",
        "from 1970-01-01 00:16:39 to 1970-01-01 00:18:30: 0 requests, no request has ended, 9.5 s were expected\n",
    ],
}


def test_every_question_of_a_slot_is_answered_for_people(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """One command; a late word about the slot before is not its own, what was replied is there for the asking."""
    journaled(system, *example.whole_slot())
    words = said(capsys, "decisions", "slot", str(SLOT))
    for item, parts in ITEMS.items():
        for part in parts:
            assert part in words, item
    assert "slot-table-6" not in words
    assert example.REPLY not in words
    assert example.REPLY in said(capsys, "decisions", "slot", str(SLOT), "--reply")
    late = said(capsys, "decisions", "slot", str(SLOT - 1))
    assert "too late for what it was for" in late
    assert "fairlead decisions slot 33\n" in said(capsys, "decisions", "show", "slot-7")


def test_what_nodes_said_of_their_pods_is_told(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """With a decision and with its slot: why a pod was not there. Records of before there was such a word have none."""
    trouble = "text: 4 s ago: deleted by somebody else"
    node = NodeView(node="node-1", up=True, observed_at_s=0.0, speed=1.0, pods=(), troubles=(trouble,))
    for record in example.whole_slot():
        snapshot = record.input.snapshot.model_copy(update={"nodes": (node,)})
        journaled(system, record.model_copy(update={"input": record.input.model_copy(update={"snapshot": snapshot})}))
    for words in (("show", "slot-7"), ("slot", str(SLOT))):
        assert f"\n  node-1 said of {trouble}\n" in said(capsys, "decisions", *words)
    tell_troubles({"snapshot": {"nodes": [{"node": "n1"}]}})
    assert capsys.readouterr().out == ""


def test_every_question_of_a_slot_is_answered_for_programs(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """By the API, and as the command prints it; what the account leaves out its decisions have in full."""
    journaled(system, *example.whole_slot())
    text = locate().get(f"slots/{SLOT}").text
    assert json.loads(said(capsys, "decisions", "slot", str(SLOT), "--json")) == json.loads(text)
    account = SlotAccount.from_json(text)
    assert [(one.id, one.source) for one in account.decisions] == [
        ("slot-7", "fallback"), ("slot-table-8", "llm"), ("slot-8", "llm"),
    ]  # fmt: skip
    assert (account.plan, account.plan_source, account.plan_decision) == (3, "llm", "epoch-3")
    (worth,) = account.dialogues
    assert worth.runner_up is not None
    assert (worth.acted, worth.runner_up.name, worth.predicted_s) == ("other-1", "proposal", 9.5)
    assert (account.prompt_tokens, account.reply_tokens, account.money, account.seconds) == (1203, 48, 0.0125, 3.5)
    assert account.measured.over
    record = locate().get(f"decisions/{worth.id}").json()
    dialogue = record["dialogue"]
    assert (dialogue["prompt"], dialogue["shown"][0]["case"]) == ("slot/1", "abc-5-3")
    assert dialogue["exchanges"][0]["ask"]["system"] == "You route requests."
    assert {step["name"]: step["text"] for step in record["output"]["steps"]}["trust"].startswith("rows are at most")
    assert dialogue["judgements"][0]["trials"][0]["gain"] == 0.02


def test_a_slot_without_decisions_is_not_there(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which slot is running."""
    journaled(system, *example.whole_slot())
    words = said(capsys, "decisions", "slot", "31", status=1)
    assert "nothing was decided in slot 31: slot " in words


def test_a_slot_without_a_plan_or_a_model_says_so(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Who decided and what came is told all the same."""
    record = some.slot_record(7)
    journaled(system, record.model_copy(update={"input": record.input.model_copy(update={"slot": SLOT})}))
    words = said(capsys, "decisions", "slot", str(SLOT))
    assert "  under no plan\n  dialogues with a language model: 0, 0 tokens in" in words


def test_a_plan_is_told_with_all_that_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Starts ahead and expected rates with their times too."""
    plan: dict[str, Any] = {
        "intents": [{"node": "n1", "role": "standby", "prefer": ["m1"], "avoid": [], "bias": 2}],
        "priorities": [{"model": "m1", "priority": 3, "expected": "more"}],
        "warm": [{"model": "m1", "node": "n2", "at_s": 60.0}],
        "rates": [{"model": "m1", "per_s": 0.25}],
        "rates_at_s": 120.0,
    }
    tell_plan(plan)
    words = " ".join(capsys.readouterr().out.split())
    assert "n1 standby m1 - 2" in words
    assert "START AHEAD NODE AT m1 n2 1970-01-01 00:01:00" in words
    assert "EXPECTED A MINUTE FROM m1 15.00 1970-01-01 00:02:00" in words
