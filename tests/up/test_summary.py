"""Every figure of the summary is counted, and a run whose figures do not add up fails."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.contracts.decisions import DecisionSummary, Step
from fairlead.contracts.dialogue import Answer, AnswerCode
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.readings import Outcome
from fairlead.contracts.settings import Settings
from fairlead.policy.measuring import Window
from fairlead.twin.clusters import cluster
from testbed.client_log import ClientLog, ClientRecord
from testbed.client_stats import Counts
from testbed.llm_use import LlmUse
from testbed.summary import (
    Facts,
    Pods,
    Slots,
    assemble,
    check_sum,
    count_decisions,
    count_slots,
    in_words,
    last_progress,
    open_without_outcome,
)

ORIGIN_S = 1_000.0
SETTINGS = Settings(speed=30.0, seed=7, clock_origin_s=ORIGIN_S)


def decided(slot: int, at_s: float, *, took_s: float = 0.1, kind: str = "slot") -> DecisionSummary:
    """Return a decision of the slot agent on its fallback."""
    steps = [{"name": "absent", "ok": False, "code": "no-llm", "text": ""}]
    steps.append({"name": "fallback", "ok": True, "code": "ok", "text": ""})
    return DecisionSummary(
        id=f"{kind}-{slot}-{at_s:g}",
        agent="slot-agent",
        kind=kind,  # type: ignore[arg-type]
        number=slot,
        made_at_s=at_s,
        took_s=took_s,
        source="fallback",
        version="0",
        plan=1,
        placement=1,
        table=1,
        steps=tuple(Step.model_validate(step) for step in steps),
    )


def record(name: str, *, sent_at_s: float, ended_at_s: float | None, end: str | None) -> ClientRecord:
    """Return what a client knows of a request for small-text."""
    return ClientRecord(name, "small-text", "site-1", sent_at_s, sent_at_s, None, ended_at_s, end, "", 1)  # type: ignore[arg-type]


def outcome(name: str, status: str) -> str:
    """Return a line of a gateway's log."""
    return Outcome(
        request=name,
        attempts=1,
        model="small-text",
        site="site-1",
        node="node-1",
        status=status,  # type: ignore[arg-type]
        reason="",
        arrived_at_s=ORIGIN_S,
        ended_at_s=ORIGIN_S + 5,
        wait_s=1.0,
        service_s=None,
        response_bytes=0,
        table_generation=1,
        propensity=None,
    ).to_json()


def run_of(tmp_path: Path, records: tuple[ClientRecord, ...], outcomes: tuple[str, ...], sent: int | None) -> Facts:
    """Return the facts of a run of 600 domain seconds with these requests."""
    log = ClientLog(tmp_path / "client.jsonl")
    for one in records:
        log.sent(one)
        if one.end is not None:
            log.ended(one)
    log.close()
    (tmp_path / "outcomes").mkdir()
    (tmp_path / "outcomes" / "node-1.jsonl").write_text("".join(f"{line}\n" for line in outcomes))
    return Facts(
        settings=SETTINGS,
        cluster=cluster("city7", lambda _: 1),
        scenario="city7-rotating",
        load=0.8,
        trace=None,
        version="0",
        window=Window(ORIGIN_S, ORIGIN_S + 600.0),
        wall_s=20.0,
        ready_after_s=3.0,
        client_log=tmp_path / "client.jsonl",
        outcomes=tmp_path / "outcomes",
        sent=sent,
        generator={"late_mean_s": 0.001},
        pods=Pods(1, 1, 15),
        decisions=(decided(0, ORIGIN_S), decided(1, ORIGIN_S + 30.0)),
        llm=LlmUse("none", (("planner", "shadow"), ("slot-agent", "shadow")), 0, 0, ()),
        restarts=0,
    )


REQUESTS = (
    record("finished", sent_at_s=ORIGIN_S, ended_at_s=ORIGIN_S + 10, end="finished"),
    record("failed", sent_at_s=ORIGIN_S + 500, ended_at_s=ORIGIN_S + 501, end="failed"),
    record("open", sent_at_s=ORIGIN_S + 590, ended_at_s=None, end="open"),
    record("lost", sent_at_s=ORIGIN_S + 580, ended_at_s=None, end="open"),
)


def test_each_request_is_counted_by_its_own_fate(tmp_path: Path) -> None:
    """A request that neither the client nor any gateway saw end is lost; one that the client left is open."""
    summary = assemble(run_of(tmp_path, REQUESTS, (outcome("open", "cancelled"),), sent=4))
    assert summary["requests"] == {"arrived": 4, "finished": 1, "failed": 1, "open": 1, "lost": 1}
    assert sum(summary["failures"].values()) == 1
    assert summary["latency_s"]["mean"] == pytest.approx((10 + 100 + 10 + 20) / 4)
    assert summary["pods"] == {"starts": 1, "stops": 1, "initial": 15}
    assert (summary["speed"], summary["seed"], summary["version"]) == (30.0, 7, "0")
    assert json.loads(json.dumps(summary)) == summary
    assert "1 lost" in in_words(summary)


def test_what_a_language_model_took_is_summed_up(tmp_path: Path) -> None:
    """Codes, tokens, money and seconds over all questions; a line for people where one was configured."""
    facts = run_of(tmp_path, REQUESTS, (), sent=4)
    assert assemble(facts)["llm"]["endpoint"] == "none"
    assert "llm " not in in_words(assemble(facts))
    use = LlmUse("http://h/v1", (("planner", "auto"), ("slot-agent", "off")), 2, 1, (answer("ok"), answer("late")))
    summary = assemble(replace(facts, llm=use))
    assert summary["llm"] == {
        "endpoint": "http://h/v1",
        "mode": {"planner": "auto", "slot-agent": "off"},
        "dialogues": 2,
        "asks": 2,
        "by_code": {"late": 1, "ok": 1},
        "accepted": 1,
        "prompt_tokens": 200,
        "reply_tokens": 14,
        "money": 0.5,
        "seconds": 3.0,
    }
    assert summary["decisions"]["since_at_s"] == ORIGIN_S
    assert "2 dialogues, 1 accepted; 2 questions: 1 late, 1 ok; 200 tokens in, 14 out, 0.5 in money" in in_words(
        summary
    )


def answer(code: AnswerCode) -> Answer:
    """Return an answer that took something."""
    return Answer(
        code=code, text="{}" if code == "ok" else None, endpoint="", model="", style=None, attempts=1, took_s=1.5,
        prompt_tokens=100, reply_tokens=7, money=0.25, detail="",
    )  # fmt: skip


def test_a_run_whose_figures_do_not_add_up_fails(tmp_path: Path) -> None:
    """The load generator's own counter must agree with its log."""
    with pytest.raises(FairleadError, match="sent 5, arrived 4"):
        assemble(run_of(tmp_path, REQUESTS, (), sent=5))
    with pytest.raises(FairleadError, match="do not add up"):
        check_sum(Counts(arrived=4, finished=1, failed=1, open=1, lost=0), 4)


def test_what_the_client_left_is_waited_for(tmp_path: Path) -> None:
    """Requests left open count as unsettled until a gateway has written them down."""
    facts = run_of(tmp_path, REQUESTS, (), sent=4)
    assert open_without_outcome(facts.client_log, facts.outcomes) == 2
    (facts.outcomes / "node-2.jsonl").write_text(outcome("open", "cancelled") + "\n")
    assert open_without_outcome(facts.client_log, facts.outcomes) == 1


def test_a_slot_is_late_without_a_decision_of_its_own_before_its_end() -> None:
    """Only slots wholly inside the demand count; events and decisions after the end do not help."""
    window = Window(ORIGIN_S + 10.0, ORIGIN_S + 160.0)
    decisions = (
        decided(1, ORIGIN_S + 31.0),
        decided(2, ORIGIN_S + 61.0, kind="event"),
        decided(3, ORIGIN_S + 119.0, took_s=0.5),  # half a wall second: published in the slot after
        decided(4, ORIGIN_S + 121.0),
    )
    assert count_slots(decisions, SETTINGS, window) == Slots(total=4, late=2)
    assert count_slots((), SETTINGS, Window(ORIGIN_S + 1, ORIGIN_S + 2)) == Slots(total=0, late=0)


def test_decisions_are_counted_by_source_and_by_rung() -> None:
    """Each rung of the ladder is counted with how it went; sources that never decided show as 0."""
    counted = count_decisions((decided(1, ORIGIN_S), decided(2, ORIGIN_S, kind="event")))
    assert counted["by_source"] == {"llm": 0, "fallback": 2, "operator": 0}
    assert counted["by_step"] == {"absent:no-llm": 2, "fallback:ok": 2}
    assert counted["by_kind"] == {"event": 1, "slot": 1}


def test_the_load_generators_last_word_counts_only_when_it_ended(tmp_path: Path) -> None:
    """A generator that was killed has no count of its own."""
    log = tmp_path / "load-generator.log"
    assert last_progress(log) is None
    log.write_text('{"progress": {"sent": 3}, "done": false}\n')
    assert last_progress(log) is None
    log.write_text('{"progress": {"sent": 3}, "done": false}\n{"progress": {"sent": 4}, "done": true}\n')
    assert last_progress(log) == {"sent": 4}
