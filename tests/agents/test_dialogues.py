"""A dialogue beside a loop, for planner and slot agent alike: who acts by mode, person and time; one line for each."""

import itertools
from dataclasses import dataclass

import pytest
import structlog

from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.dialogue import AgentName, AgentStatus, AnswerCode, Approval, Ask, ModeName, Proposal
from fairlead.contracts.ports import Llm
from fairlead.policy.registry import decide_slot
from fairlead.policy.replay import again
from planner.metrics import PlannerMetrics
from slot_agent.metrics import SlotMetrics
from tests.agents.replies import PacedLlm, good
from tests.agents.world import World, count, world

BOTH = pytest.mark.parametrize("agent", ["planner", "slot-agent"])
DEADLINE_S = 18.0
"""0.6 of a slot, for either."""
BEGINS_S: dict[AgentName, float] = {"planner": 18.0, "slot-agent": 0.0}
"""When the first dialogue begins, seconds after the start at a slot's begin: the slot agent's question goes first."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one dialogue has left behind."""

    record: DecisionRecord
    steps: tuple[str, ...]
    """Of its decision, `name:code`."""
    status: AgentStatus


async def start(w: World, agent: AgentName, llm: Llm, mode: ModeName) -> PlannerMetrics | SlotMetrics:
    """Start an agent, and return its metrics once its first dialogue has begun."""
    await w.switch(agent, mode)
    if agent == "planner":
        planner = PlannerMetrics()
        await w.planner(metrics=planner, llm=llm)
        await w.seconds(BEGINS_S[agent])
        return planner
    slot = SlotMetrics()
    await w.agent(decide_slot, slot, llm)
    return slot


async def told(w: World, agent: AgentName) -> Told:
    """Return the line of the first dialogue, of which there is exactly one."""
    lines = [r for r in await w.journal(agent=agent) if r.dialogue is not None]
    first = lines[0]
    assert first.dialogue is not None
    assert [r.id for r in lines if r.dialogue is not None and r.dialogue.id == first.dialogue.id] == [first.id]
    status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
    return Told(first, tuple(f"{s.name}:{s.code}" for s in first.output.steps), status)


async def answer(w: World, approval: str) -> Proposal:
    """Let a person answer the proposal that waits; return it as it was left."""
    page = await w.store.proposals(limit=10, cursor=None)
    left = page.items[0]
    said = Approval.model_validate({"answer": approval, "by": "ada", "at_s": w.clock.now_s()})
    await w.store.put_proposal(left.model_copy(update={"approval": said}), if_revision=left.revision)
    await w.settle()
    return left


async def check_replays(w: World) -> None:
    """Execute every decision and every dialogue of both journals again from its line alone."""
    agents: tuple[AgentName, ...] = ("planner", "slot-agent")
    records = [r for agent in agents for r in await w.journal(agent=agent)]
    assert records
    for record in records:
        replayed = again(DecisionRecord.from_json(record.to_json()), prompt_texts())
        assert replayed.identical, replayed.difference


FAILURES: tuple[AnswerCode, ...] = ("unreachable", "busy", "server-error", "budget-tokens", "breaker-open")
PASSED = ("call:ok", "parse:ok", "schema:ok", "feasibility:ok", "trust:ok", "twin:no-worse")


@BOTH
@pytest.mark.parametrize(
    ("mode", "source", "last"),
    [("auto", "llm", ("mode:auto",)), ("shadow", "fallback", ("mode:shadow", "fallback:ok"))],
)
async def test_a_valid_reply_acts_by_the_mode(
    agent: AgentName, mode: ModeName, source: str, last: tuple[str, ...]
) -> None:
    """The ladder says so rung by rung, the dialogue stands in the journal in full, all of it replays."""
    async with world() as w:
        metrics = await start(w, agent, PacedLlm(w.clock, 2.0), mode)
        await w.seconds(4)
        found = await told(w, agent)
        assert (found.record.source, found.record.kind, found.steps) == (source, "advice", PASSED + last)
        assert found.record.made_at_s == w.clock.now_s() - 2.0
        assert found.record.dialogue is not None
        assert [e.answer.code for e in found.record.dialogue.exchanges] == ["ok"]
        assert (found.record.dialogue.mode, found.record.dialogue.in_time) == (mode, True)
        assert (found.record.dialogue.unused is not None) == (mode == "shadow")
        outcome = "accepted" if mode == "auto" else "shadow"
        assert count(metrics.registry, "fairlead_llm_dialogues", agent=agent, outcome=outcome) == 1.0
        assert count(metrics.registry, "fairlead_llm_asks", agent=agent, model="memory", code="ok") == 1.0
        assert count(metrics.registry, "fairlead_llm_steps", agent=agent) == len(found.steps)
        status = found.status
        assert (status.acting, status.accepted, status.fallbacks) == (source, 1, int(mode == "shadow"))
        assert status.why == ("" if mode == "auto" else "mode shadow: it is judged and journaled, the fallback acts")
        assert (status.asks, status.dialogues, status.seconds) == (1, 1, 2.0)
        await check_replays(w)


@BOTH
async def test_switched_off_nothing_is_asked(agent: AgentName) -> None:
    """The decisions say why."""
    async with world() as w:
        llm = MemoryLlm(good)
        metrics = await start(w, agent, llm, "off")
        await w.seconds(70)
        assert llm.asked == []
        assert {r.input.llm for r in await w.journal(agent=agent)} == {"off"}
        assert count(metrics.registry, "fairlead_llm_dialogues") == 0.0
        status = (await w.store.agent_statuses())[0]
        assert (status.acting, status.why, status.mode) == ("fallback", "mode off", "off")


@BOTH
@pytest.mark.parametrize(("said", "source"), [("approved", "llm"), ("declined", "fallback")])
async def test_in_assist_a_person_decides(agent: AgentName, said: str, source: str) -> None:
    """The proposal lies in the store with what it would change; until it is answered the fallback acts."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 2.0), "assist")
        await w.seconds(7)
        assert [r for r in await w.journal(agent=agent) if r.dialogue is not None] == []
        left = await answer(w, said)
        assert left.changes
        assert left.expires_at_s == left.created_at_s - BEGINS_S[agent] - 2.0 + (300.0 if agent == "planner" else 30.0)
        found = await told(w, agent)
        assert (found.record.source, found.record.made_at_s) == (source, w.clock.now_s())
        assert f"approval:{said}" in found.steps
        assert found.record.dialogue is not None
        assert found.record.dialogue.approval is not None
        assert found.record.dialogue.approval.by == "ada"
        assert left.id == found.record.dialogue.id
        await check_replays(w)


@BOTH
async def test_a_proposal_that_nobody_answers_expires_with_its_slot_or_epoch(agent: AgentName) -> None:
    """It is marked as expired, its line says so, and the next question is asked all the same."""
    async with world() as w:
        llm = PacedLlm(w.clock, 2.0)
        metrics = await start(w, agent, llm, "assist")
        await w.seconds(330.0 if agent == "planner" else 35.0)
        found = await told(w, agent)
        assert found.steps[-2:] == ("approval:expired", "fallback:ok")
        assert found.record.source == "fallback"
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="expired") == 1.0
        assert len(llm.inner.asked) == 2
        proposals = (await w.store.proposals(limit=10, cursor=None)).items
        assert [p.approval.answer if p.approval else None for p in proposals] == [None, "expired"]
        await check_replays(w)


@BOTH
@pytest.mark.parametrize(("before", "after", "source"), [("shadow", "auto", "llm"), ("auto", "shadow", "fallback")])
async def test_a_mode_that_is_switched_in_flight_holds_for_that_dialogue(
    agent: AgentName, before: ModeName, after: ModeName, source: str
) -> None:
    """It is read when the proposal is ready."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 5.0), before)
        await w.seconds(2)
        await w.switch(agent, after)
        await w.seconds(4)
        found = await told(w, agent)
        assert (found.record.source, f"mode:{after}" in found.steps) == (source, True)
        await check_replays(w)


@BOTH
@pytest.mark.parametrize(("after", "source"), [("auto", "llm"), ("shadow", "fallback"), ("off", "fallback")])
async def test_a_mode_that_is_switched_while_a_person_is_waited_for_holds_too(
    agent: AgentName, after: ModeName, source: str
) -> None:
    """Nobody waits any longer, and the proposal is marked as expired."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 1.0), "assist")
        await w.seconds(3)
        await w.switch(agent, after)
        found = await told(w, agent)
        assert (found.record.source, f"mode:{after}" in found.steps) == (source, True)
        proposals = (await w.store.proposals(limit=10, cursor=None)).items
        assert [p.approval.answer for p in proposals if p.approval] == ["expired"]
        await check_replays(w)


@BOTH
@pytest.mark.parametrize("after", ["shadow", "off"])
async def test_what_was_accepted_is_taken_back_when_the_mode_says_so(agent: AgentName, after: ModeName) -> None:
    """At once, by a decision that follows no dialogue."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 1.0), "auto")
        await w.seconds(3)
        assert (await told(w, agent)).record.source == "llm"
        await w.switch(agent, after)
        newest = (await w.journal(agent=agent))[-1]
        assert (newest.source, newest.made_at_s, newest.dialogue) == ("fallback", w.clock.now_s(), None)
        plan, table = await w.store.current_plan(), await w.store.current_table()
        assert {one.source for one in (plan, table) if one is not None} == {"fallback"}
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert (status.acting, status.why) == ("fallback", f"mode {after}")
        await check_replays(w)


@BOTH
@pytest.mark.parametrize("code", FAILURES)
async def test_a_question_that_fails_ends_on_the_fallback(agent: AgentName, code: AnswerCode) -> None:
    """With its reason in the ladder and in the status."""
    async with world() as w:
        metrics = await start(w, agent, MemoryLlm([Saying(code=code)]), "auto")
        await w.seconds(2)
        found = await told(w, agent)
        assert found.steps == (f"call:{code}", "fallback:ok")
        assert found.record.source == "fallback"
        assert found.status.why.startswith(f"call {code}")
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="unanswered") == 1.0
        await check_replays(w)


@BOTH
async def test_an_answer_that_is_late_is_not_waited_for(agent: AgentName) -> None:
    """The fallback has acted long before; the line says late."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 25.0), "auto")
        await w.seconds(DEADLINE_S + 1.0)
        found = await told(w, agent)
        assert found.steps == ("call:late", "fallback:ok")
        assert found.record.made_at_s == w.clock.now_s() - 1.0
        await check_replays(w)


@BOTH
async def test_a_model_that_hangs_heedless_of_its_deadline_is_given_up(agent: AgentName) -> None:
    """A tenth past the deadline; the next question is asked as if nothing had been."""
    async with world() as w:
        llm = PacedLlm(w.clock, 1e6, heedless=True)
        await start(w, agent, llm, "auto")
        await w.seconds(DEADLINE_S * 1.1 + 2.0)
        found = await told(w, agent)
        assert found.steps == ("call:late", "fallback:ok")
        llm.after_s = 1.0
        await w.seconds(300.0 if agent == "planner" else 20.0)
        lines = [r for r in await w.journal(agent=agent) if r.dialogue is not None]
        assert [r.source for r in lines] == ["fallback", "llm"]
        await check_replays(w)


@BOTH
async def test_a_model_that_raises_does_no_harm(agent: AgentName) -> None:
    """It is counted and logged; the loop goes on."""

    def raising(ask: Ask) -> str:
        raise RuntimeError("no such thing")

    async with world() as w:
        with structlog.testing.capture_logs() as logs:
            metrics = await start(w, agent, MemoryLlm(raising), "auto")
            await w.seconds(3)
        assert count(metrics.registry, "fairlead_llm_failures", agent=agent, place="dialogue") == 1.0
        assert [entry["event"] for entry in logs] == ["a dialogue failed: the fallback acts"]
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert "no such thing" in status.why
        assert count(metrics.registry, f"fairlead_{'epoch' if agent == 'planner' else 'slot'}_failures") == 0.0


@BOTH
async def test_an_agent_that_is_ended_leaves_no_question_open(agent: AgentName) -> None:
    """The task of the dialogue ends with it."""
    async with world() as w:
        llm = MemoryLlm(lambda ask: Saying(waits=True))
        await start(w, agent, llm, "auto")
        assert llm.open == 1
        for task in w.tasks:
            task.cancel()
        await w.settle()
        assert llm.open == 0
        assert all(task.done() for task in w.tasks)


@BOTH
async def test_while_the_store_is_away_a_dialogue_waits_to_be_decided(agent: AgentName) -> None:
    """Its proposal is too late by then, and its line says so."""
    async with world() as w:
        await start(w, agent, PacedLlm(w.clock, 5.0), "auto")
        w.store.unavailable = True
        with structlog.testing.capture_logs():
            await w.seconds(310.0 if agent == "planner" else 40.0)
            w.store.unavailable = False
            await w.seconds(15)
        found = await told(w, agent)
        assert found.steps == (*PASSED, f"mode:{'epoch' if agent == 'planner' else 'slot'}-over", "fallback:ok")
        assert found.record.source == "fallback"
        assert found.record.dialogue is not None
        assert not found.record.dialogue.in_time
        await check_replays(w)


@BOTH
async def test_each_dialogue_of_a_long_run_has_one_line_and_all_of_it_replays(agent: AgentName) -> None:
    """Good and bad replies in turn, with an outage of the store and switches of the mode between."""
    bad = ("", "no", "{}", Saying(code="reset"), '{"routes": {"*": {"m01": {"n01": 2}}}}')
    turns = itertools.cycle([*bad, None, None, None])

    def say(ask: Ask) -> str | Saying:
        said = next(turns)
        return good(ask) if said is None else said

    async with world() as w:
        llm = MemoryLlm(say)
        metrics = await start(w, agent, llm, "auto")
        rounds = 8 if agent == "planner" else 3
        modes: list[ModeName] = ["auto", "shadow", "auto", "off", "auto", "auto", "shadow", "auto"]
        with structlog.testing.capture_logs():
            for k in range(rounds * 2):
                w.edge.ask("m1", 3)
                await w.switch(agent, modes[k % len(modes)])
                await w.seconds(150.0 if agent == "planner" else 60.0)
                w.store.unavailable = k == 3
                await w.seconds(7.0)
                w.store.unavailable = False
        records = [r for r in await w.journal(agent=agent) if r.dialogue is not None]
        names = [r.dialogue.id for r in records if r.dialogue is not None]
        assert len(names) == len(set(names)) >= 6
        exchanges = [e.id for r in records if r.dialogue is not None for e in r.dialogue.exchanges]
        assert exchanges == [name for name, _ in llm.asked]
        calls = sum(s.name == "call" for r in records for s in r.output.steps)
        assert calls == len(exchanges)
        assert count(metrics.registry, "fairlead_llm_dialogues") == len(names)
        assert count(metrics.registry, "fairlead_llm_asks") == len(exchanges)
        assert {r.source for r in records} == {"llm", "fallback"}
        await check_replays(w)
