"""`fairlead agents`, `fairlead proposals` and `fairlead mode`, as people and programs meet them."""

import json

import pytest

from fairlead.contracts.dialogue import BudgetLimits, GateStatus, Proposal, WatchdogStatus, Worth
from fairlead_cli import agents
from fairlead_cli.main import invoke
from tests.cli.conftest import System
from tests.control_api import dialogue_examples as example


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Return what a command prints that must end so: its result, or its error, never both."""
    assert invoke(list(arguments)) == status
    out, err = capsys.readouterr()
    assert "" in (out, err)
    return out or err


def test_the_status_says_who_acts_and_why(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """For people in words, for programs as the control API gives it."""
    status = example.status(at_s=system.now_s, why="budget-tokens: 9800 of 10000 tokens an hour are spent")
    system.does(system.store.put_agent_status(status))
    system.does(system.store.reserve("a.1", 500, 0.0, BudgetLimits()))
    words = said(capsys, "agents", "status")
    rows = {line.split()[0]: line for line in words.splitlines() if line}
    assert "shadow  fallback" in rows["slot-agent"]
    assert "4 of 10, 40%  10 of 10, 100%  32.5" in rows["slot-agent"]
    for part in (
        "planner: the fallback acts: no language model is configured",
        "slot-agent: the fallback acts: budget-tokens: 9800 of 10000 tokens an hour are spent",
        "http://127.0.0.1:9000/v1  model some-model, asked as schema, breaker closed, last answer ok",
        "no budget is set; spent in the last hour 500 tokens",
    ):
        assert part in words
    document = json.loads(said(capsys, "agents", "status", "--json"))
    assert document["items"][1]["status"] == status.to_document()
    assert document["budget"]["spent"]["tokens_hour"] == 500


def test_the_twin_the_worth_and_the_watchdog_are_told(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """With what a suggestion comes to as a command."""
    gate = GateStatus(
        state="ready", twin="compiled 0.1.0", no_worse=6, worse=3, unjudged=1, seconds=2.5, memory_bytes=212_000_000,
        starts=1, error=0.18,
    )  # fmt: skip
    worth = Worth(
        dialogues=40, gain=0.012, low=0.004, high=0.02, tokens=1250.0, money=0.01, advice="promote", text="it gains"
    )
    watchdog = WatchdogStatus(holds=True, until_s=1300.0, text="backlog: too much waits", trips=2)
    told = example.status(at_s=system.now_s, gate=gate, worth=worth, watchdog=watchdog)
    system.does(system.store.put_agent_status(told))
    away = gate.model_copy(update={"state": "away", "text": "it ended", "twin": "", "memory_bytes": 0, "error": None})
    none = GateStatus.model_validate(away.to_document() | {"no_worse": 0, "worse": 0, "unjudged": 0})
    few = Worth(dialogues=2, gain=0.0, text="2 of 30 dialogues that an interval takes")
    other = example.status("planner", at_s=system.now_s, gate=none, worth=few, watchdog=WatchdogStatus(holds=False))
    system.does(system.store.put_agent_status(other))
    words = said(capsys, "agents", "status")
    for part in (
        "  twin: ready, compiled 0.1.0, 212 MB\n    6 no worse, 3 worse, 1 not judged, 0.25 s each\n",
        "    its predictions of the mean latency were off by 18% on average\n",
        "  worth: gain +0.0120 of F a dialogue (+0.0040 to +0.0200) by the twin, over 40; 1250 tokens, "
        "money 0.0100 each\n    it gains: fairlead mode slot-agent auto\n",
        "  watchdog: 2 times out of bounds, nothing acts until 1970-01-01 00:21:40; last backlog: too much waits\n",
        "  twin: away: it ended\n    0 no worse, 0 worse, 0 not judged\n",
        "  worth: gain +0.0000 of F a dialogue by the twin, over 2; ",
        "    2 of 30 dialogues that an interval takes\n",
    ):
        assert part in words


def test_the_budget_is_told_by_what_is_limited(capsys: pytest.CaptureFixture[str]) -> None:
    """Spent, limit and left, in tokens and in money."""
    agents._budget(
        {
            "limits": {
                "tokens_per_hour": 1000, "tokens_per_day": None, "money_per_hour": None, "money_per_day": 2.5,
            },
            "spent": {"tokens_hour": 990, "tokens_day": 990, "money_hour": 0.5, "money_day": 0.5},
            "left": {"tokens_hour": 10, "tokens_day": None, "money_hour": None, "money_day": 2.0},
        }
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "  tokens, last hour: 990 of 1000 spent or reserved, 10 left",
        "  money, last day: 0.5000 of 2.5000 spent or reserved, 2.0000 left",
    ]


def proposed(system: System, number: int, for_s: float = 600.0) -> Proposal:
    """Leave a proposal that ends so long after the system began."""
    made = example.proposal(number, created_at_s=system.now_s + number, expires_at_s=system.now_s + for_s)
    return system.does(system.store.put_proposal(made, if_revision=None))


def test_a_proposal_is_found_read_and_approved(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """In the words that the commands print; a second answer is refused with whose the first was."""
    assert "they are made in mode assist" in said(capsys, "proposals", "list")
    name = proposed(system, 1).id
    gone = proposed(system, 2, for_s=0.0).id
    listed = said(capsys, "proposals", "list").splitlines()
    assert [line.split()[0] for line in listed] == ["ID", gone, name]
    assert "open, " in listed[2]
    assert "expired" in listed[1]
    shown = said(capsys, "proposals", "show", name)
    assert "it would change\n  text: node-1 0.60 → 1.00\n" in shown
    assert f"proposal {name} is approved by token t-" in said(capsys, "proposals", "approve", name)
    again = said(capsys, "proposals", "decline", name, status=1)
    assert "approved already, by token t-" in again
    assert "expired" in said(capsys, "proposals", "approve", gone, status=1)
    assert "approved by token t-" in said(capsys, "proposals", "list")
    audited = [line for line in system.log if line["event"] == "proposal answered"]
    assert [(line["proposal"], line["answer"]) for line in audited] == [(name, "approved")]


def test_a_proposal_is_declined_as_json(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command answers programs too."""
    name = proposed(system, 1).id
    made = json.loads(said(capsys, "proposals", "decline", name, "--json"))
    assert made["approval"]["answer"] == "declined"
    assert json.loads(said(capsys, "proposals", "show", name, "--json")) == made
    assert json.loads(said(capsys, "proposals", "list", "--json")) == {"items": [made], "cursor": None}
    assert "declined by token t-" in said(capsys, "proposals", "show", name)


def test_an_unknown_proposal_is_told_with_the_nearest(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 1."""
    name = proposed(system, 1).id
    error = said(capsys, "proposals", "approve", f"{name}2", status=1)
    assert error.endswith(f"there is no proposal '{name}2': did you mean '{name}'?\n")


def test_listings_go_on_where_a_page_ended(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """With the words to paste."""
    names = [proposed(system, number).id for number in (1, 2)]
    first = said(capsys, "proposals", "list", "--limit", "1").splitlines()
    assert first[-1].startswith("more: --cursor ")
    rest = said(capsys, "proposals", "list", "--limit", "1", "--cursor", first[-1].removeprefix("more: --cursor "))
    assert (first[1].split()[0], rest.splitlines()[1].split()[0]) == (names[1], names[0])


def test_a_mode_is_changed_and_told_with_who_and_when(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Shadow until somebody changes it."""
    before = [line.split() for line in said(capsys, "mode").splitlines()[1:]]
    assert before == [["planner", "shadow", "default", "-"], ["slot-agent", "shadow", "default", "-"]]
    changed = said(capsys, "mode", "slot-agent", "assist")
    assert "slot-agent  assist  ann, token t-" in changed
    assert json.loads(said(capsys, "mode", "slot-agent", "--json"))["items"][0]["by"].startswith("ann, token t-")
    assert "mode assist since" in said(capsys, "agents", "status")
    audited = [line for line in system.log if line["event"] == "mode changed"]
    assert [(line["agent"], line["before"], line["mode"]) for line in audited] == [("slot-agent", "shadow", "assist")]
    assert audited[0]["by"].startswith("ann, token t-")


def test_what_others_wrote_cannot_move_the_terminals_cursor(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes of a model's words are shown, not obeyed."""
    made = example.proposal(1, created_at_s=system.now_s, expires_at_s=system.now_s + 600.0)
    made = made.model_copy(update={"why": "ok\x1b[2J\u202e", "changes": ("\x07",)})
    system.does(system.store.put_proposal(made, if_revision=None))
    for words in (said(capsys, "proposals", "list"), said(capsys, "proposals", "show", made.id)):
        assert "ok\\x1b[2J\\u202e" in words
        assert "\x1b" not in words
