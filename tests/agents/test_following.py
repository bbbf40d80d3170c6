"""After acceptance: what goes badly is taken back and held back, a twin that is wrong is not believed."""

import json
from collections.abc import Sequence
from typing import cast

import pytest
import structlog

from fairlead.adapters.memory_judging import MemoryJudging
from fairlead.adapters.memory_store import MemoryStore
from fairlead.agents.advice import Recalled
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.dialogue import AgentName, Ask, Judge, Judgement, ModeName, Trial
from fairlead.contracts.errors import StoreUnavailable
from fairlead.contracts.events import Wake
from fairlead.contracts.readings import GatewayReport, Outcome
from planner.metrics import PlannerMetrics
from slot_agent.metrics import SlotMetrics
from tests.adapters.store_fixture import Heard
from tests.agents.replies import PacedLlm, good
from tests.agents.test_dialogues import check_replays, start
from tests.agents.world import World, count, world
from tests.policy.remembering import case as remembered_case

BOTH = pytest.mark.parametrize("agent", ["planner", "slot-agent"])
CASE = remembered_case(1)
SINCE_S: dict[AgentName, float] = {"planner": 30.0, "slot-agent": 0.0}
"""The planner's first dialogue ends a slot later than the slot agent's, seconds after the start."""


def predicting(latency_s: float) -> MemoryJudging:
    """Return a twin that lets everything pass, and predicts this latency for two minutes."""

    def judged(_: Judge) -> Judgement:
        figures = {"believed": False, "scenarios": 8, "objective": 0.3, "fallback": 0.31, "gain": 0.01}
        trial = {"low": 0.0, "high": 0.02, "latency_s": latency_s, "fallback_latency_s": latency_s}
        one = Trial.model_validate({"name": "proposal", **figures, **trial})
        return Judgement(code="no-worse", text="a test says so", trials=(one,), horizon_s=120.0)

    return MemoryJudging(judged)


async def finished(w: World, number: int, latency_s: float) -> None:
    """Report so many requests that arrived so long ago and have finished now."""
    now_s = w.clock.now_s()
    outcomes = tuple(
        Outcome(
            request=f"r-{now_s:.0f}-{k}",
            attempts=1,
            model="m1",
            site="s1",
            node="n1",
            status="finished",
            reason="",
            arrived_at_s=now_s - latency_s,
            ended_at_s=now_s,
            wait_s=0.0,
            service_s=latency_s,
            response_bytes=1,
            table_generation=1,
            propensity=1.0,
        )
        for k in range(number)
    )
    report = GatewayReport(
        gateway="elsewhere",
        instance="a-test",
        sequence=w.steps + 1,
        observed_at_s=now_s,
        site="s1",
        models=(),
        choices=(),
        samples=(),
        outcomes=outcomes,
        keeper=None,
        table_generation=0,
    )
    assert await w.store.append_gateway_report(report)


async def going_badly(w: World, agent: AgentName) -> PlannerMetrics | SlotMetrics:
    """Let a proposal be accepted and then have thirty requests take 20 s where 5 were predicted; before the look."""
    w.judging = predicting(5.0)
    metrics = await start(w, agent, PacedLlm(w.clock, 2.0), "auto")
    await w.seconds(25)
    await finished(w, 30, 20.0)
    await w.seconds(3)
    return metrics


@BOTH
async def test_what_goes_badly_is_taken_back_and_nothing_acts_for_ten_slots(agent: AgentName) -> None:
    """The journal, the status and a metric say why; then proposals act again. All of it replays."""
    async with world() as w:
        metrics = await going_badly(w, agent)
        assert (await w.journal(agent=agent))[-1].source == "llm"
        await w.seconds(4 + SINCE_S[agent])
        reasons = [r for r in await w.journal(agent=agent) if r.output.steps[0].name == "watchdog"]
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert status.watchdog is not None
        assert (status.watchdog.holds, status.watchdog.trips) == (True, 1)
        assert status.watchdog.text == "latency: 30 requests took 20.0 s, 5.0 s were predicted"
        assert (status.acting, status.why) == ("fallback", f"watchdog {status.watchdog.text}")
        assert count(metrics.registry, "fairlead_watchdog_trips", agent=agent, reason="latency") == 1.0
        if agent == "planner":
            assert reasons
            plan = await w.store.current_plan()
            assert plan is not None
            assert plan.source == "fallback"
        await w.seconds(270)
        held = [r for r in await w.journal(agent=agent) if r.dialogue is not None and r.dialogue.held_back]
        assert all(r.source == "fallback" for r in held)
        assert held
        assert all("watchdog:out-of-bounds" in {f"{s.name}:{s.code}" for s in r.output.steps} for r in held)
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="held-back") == len(held)
        await w.seconds(90 if agent == "slot-agent" else 330)
        assert (await w.journal(agent=agent))[-1].source == "llm"
        await check_replays(w)


class HalfAwayStore(MemoryStore):
    """Is away for whoever quarantines cases or wakes an agent because something has changed, so many times."""

    away = 0

    async def quarantine_cases(self, cases: Sequence[str], why: str) -> None:
        self._fail()
        await super().quarantine_cases(cases, why)

    async def wake(self, wake: Wake) -> None:
        if wake.reason == "changed":
            self._fail()
        await super().wake(wake)

    def _fail(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise StoreUnavailable("a test says so")


async def citing(w: World) -> None:
    """Start a planner whose plans cite the one case that there is."""

    async def recall(_: EpochInput) -> Recalled:
        return (CASE,), (0.75,)

    def cites(ask: Ask) -> str:
        return json.dumps(json.loads(good(ask)) | {"cases_cited": ["c1"]})

    await w.planner(llm=PacedLlm(w.clock, 2.0, cites), recall=recall)


async def cited_badly(w: World) -> None:
    """Let a plan that cites a case be accepted and do badly; before the look."""
    await w.store.add_case(CASE, capacity=10)
    await w.switch("planner", "auto")
    w.judging = predicting(5.0)
    await citing(w)
    await w.seconds(55)
    assert not (await w.store.case(CASE.id)).quarantined
    await finished(w, 30, 20.0)


async def test_the_cases_that_a_plan_cites_are_quarantined() -> None:
    """With the watchdog's reason, for good."""
    async with world() as w:
        await cited_badly(w)
        await w.seconds(10)
        case = await w.store.case(CASE.id)
        assert case.quarantined
        assert case.quarantine == "watchdog: 30 requests took 20.0 s, 5.0 s were predicted"
        assert (await kept(w, "planner")).watch.pending == ()


@pytest.mark.parametrize("restarted", [False, True])
async def test_cases_that_could_not_be_quarantined_are_so_at_a_later_look(restarted: bool) -> None:
    """In mode shadow too, and by the planner's successor; the trip counts once."""
    async with world(store_type=HalfAwayStore) as w:
        cast(HalfAwayStore, w.store).away = 2
        await cited_badly(w)
        with structlog.testing.capture_logs() as logs:
            await w.seconds(10)
            assert not (await w.store.case(CASE.id)).quarantined
            watch = (await kept(w, "planner")).watch
            assert [trip.cited for trip in watch.pending] == [(CASE.id,)]
            await w.switch("planner", "shadow")
            if restarted:
                await lose(w)
                await citing(w)
            await w.seconds(60)
        assert (await w.store.case(CASE.id)).quarantined
        watch = (await kept(w, "planner")).watch
        assert (watch.pending, watch.trips) == ((), 1)
        assert [line["log_level"] for line in logs if line["event"].startswith("following the planner failed")]


@BOTH
async def test_a_twin_that_was_wrong_too_often_is_not_believed(agent: AgentName) -> None:
    """In mode shadow its predictions are measured too; once they are known to be off the answer is the fallback.

    The planner is woken by that, once, also where the store is away when that is noticed.
    """
    async with world(store_type=HalfAwayStore) as w:
        cast(HalfAwayStore, w.store).away = 2
        w.judging = predicting(1.0)
        await start(w, agent, PacedLlm(w.clock, 2.0), "shadow")
        async with Heard(w.store, ["wake"]) as heard:
            for _ in range(75 if agent == "planner" else 14):
                await w.seconds(30)
                await finished(w, 40, 10.0)
        assert [e.text for e in heard.events if e.text == "changed"] == ["changed"]
        codes = [j.code for r in await w.journal(agent=agent) if r.dialogue is not None for j in r.dialogue.judgements]
        assert codes[:6] == ["no-worse"] * 6
        assert codes[-1] == "wrong"
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert status.gate is not None
        assert status.gate.error is not None
        assert status.gate.error > 1.0


@BOTH
async def test_a_restart_forgets_nothing_of_what_follows_a_dialogue(agent: AgentName) -> None:
    """The agent is lost while its proposal acts; the one after it finds that this goes badly, as it would have.

    Lost again, the one after that still lets nothing act, counts the trip, and adds to what dialogues were worth.
    """
    async with world() as w:
        metrics = await going_badly(w, agent)
        before = await kept(w, agent)
        assert before.watch.accepted is not None
        assert before.gains.dialogues >= 1
        assert before.predictions.open
        await again(w, agent)
        await w.seconds(4 + SINCE_S[agent])
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert status.watchdog is not None
        assert (status.watchdog.holds, status.watchdog.trips) == (True, 1)
        assert status.watchdog.text == "latency: 30 requests took 20.0 s, 5.0 s were predicted"
        assert count(metrics.registry, "fairlead_watchdog_trips") == 0.0  # the one that was lost had not looked
        await again(w, agent)
        await w.seconds(240)
        journal = await w.journal(agent=agent)
        held = [r for r in journal if r.dialogue is not None and r.dialogue.held_back]
        assert held
        assert all(r.source == "fallback" for r in held)
        status = next(s for s in await w.store.agent_statuses() if s.agent == agent)
        assert status.worth is not None
        assert status.worth.dialogues == sum(r.dialogue is not None for r in journal) > status.dialogues
        await check_replays(w)


@BOTH
@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_what_was_taken_back_by_the_mode_is_not_watched_any_more(agent: AgentName, mode: ModeName) -> None:
    """Nor is what was before it: by the time that proposals act again, that is long ago."""
    async with world() as w:
        await going_badly(w, agent)
        assert (await kept(w, agent)).watch.accepted is not None
        await w.switch(agent, mode)
        await w.seconds(32)
        watch = (await kept(w, agent)).watch
        assert (watch.accepted, watch.calm, watch.trips) == (None, None, 0)


async def lose(w: World) -> None:
    """End the agent without a word."""
    lost = w.tasks.pop()
    lost.cancel()
    await w.settle()
    assert lost.cancelled()


async def again(w: World, agent: AgentName) -> None:
    """End the agent without a word, and start another one."""
    await lose(w)
    await start(w, agent, PacedLlm(w.clock, 2.0), "auto")


async def kept(w: World, agent: AgentName) -> AgentMemory:
    """Return what the store has of the agent."""
    found = await w.store.agent_memory(agent)
    assert found is not None
    return found


class StrangeStore(MemoryStore):
    """Holds an agent's memory that another Fairlead has written, with a field of its own, until there is a new one."""

    broken = False

    async def agent_memory(self, agent: str) -> AgentMemory | None:
        """Return the memory; raises `ValidationError` for one that cannot be read."""
        if self.broken:
            raise RuntimeError("a test says so")
        written = {"agent": agent, "at_s": 1.0, "llm": "a model", "prompt": "planner/1", "version": "9.0", "new": 1}
        return await super().agent_memory(agent) or AgentMemory.from_json(json.dumps(written))


@BOTH
async def test_an_agent_whose_memory_cannot_be_read_begins_anew(agent: AgentName) -> None:
    """With a warning; what it keeps then takes the place of what was there."""
    async with world(store_type=StrangeStore) as w:
        with structlog.testing.capture_logs() as logs:
            await start(w, agent, PacedLlm(w.clock, 2.0), "auto")
            await w.seconds(31)
        (line,) = (line for line in logs if line["event"] == "an agent's memory cannot be read: it begins anew")
        assert (line["log_level"], line["agent"]) == ("warning", agent)
        assert "new" in line["error"]
        assert (await kept(w, agent)).gains.dialogues >= 1


async def test_a_memory_that_is_not_got_for_another_reason_is_no_new_beginning() -> None:
    """It would take the place of what was there."""
    async with world(store_type=StrangeStore) as w:
        cast(StrangeStore, w.store).broken = True
        with pytest.raises(RuntimeError, match="a test says so"):
            await start(w, "slot-agent", PacedLlm(w.clock, 2.0), "auto")


async def test_a_twin_that_was_wrong_is_not_believed_after_a_restart_either() -> None:
    """Its error is known from the first question on, and nobody is woken for it once more."""
    async with world() as w:
        w.judging = predicting(1.0)
        await start(w, "slot-agent", PacedLlm(w.clock, 2.0), "shadow")
        for _ in range(14):
            await w.seconds(30)
            await finished(w, 40, 10.0)
        async with Heard(w.store, ["wake"]) as heard:
            await again(w, "slot-agent")
            await w.seconds(40)
        assert not [e for e in heard.events if e.text == "changed"]
        asked = [r.dialogue for r in await w.journal() if r.dialogue is not None]
        assert [j.code for d in asked[-2:] for j in d.judgements] == ["wrong", "wrong"]


async def test_an_agent_that_surely_gains_in_shadow_is_suggested_for_promotion() -> None:
    """After thirty dialogues, of each of which the twin says that it would have gained; what they cost stands beside.

    Promoted, it acts, and there is nothing more to suggest.
    """
    async with world() as w:
        w.judging = predicting(5.0)
        await start(w, "slot-agent", PacedLlm(w.clock, 2.0), "shadow")
        await w.seconds(29 * 30)
        assert await advice(w) == ("none", "29 of 30 dialogues that an interval takes")
        await w.seconds(30)
        assert await advice(w) == ("promote", "it surely gains, and does not act by itself: mode auto would let it")
        (status,) = await w.store.agent_statuses()
        assert status.worth is not None
        assert status.worth.dialogues == 30
        assert status.worth.gain == pytest.approx(0.01)
        assert status.worth.tokens == (status.prompt_tokens + status.reply_tokens) / status.dialogues > 0.0
        assert {r.source for r in await w.journal()} == {"fallback"}
        await w.switch("slot-agent", "auto")
        await w.seconds(30)
        assert await advice(w) == ("none", "nothing is to be changed")
        assert "llm" in {r.source for r in await w.journal()}


async def advice(w: World) -> tuple[str, str]:
    """Return what the only agent's worth suggests, and why."""
    (status,) = await w.store.agent_statuses()
    assert status.worth is not None
    return status.worth.advice, status.worth.text
