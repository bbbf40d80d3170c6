"""The parts of an advisor: who is one, a deadline that is kept for others, a person's last moment, sums and words."""

import asyncio

import pytest
import structlog
from prometheus_client import CollectorRegistry

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_llm import MemoryLlm
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.outage import Outage
from fairlead.agents.advice import Question, nothing
from fairlead.agents.approving import Desk
from fairlead.agents.bounded import Bounded
from fairlead.agents.metrics import MODELS_MOST, DialogueMetrics
from fairlead.agents.outcome import budget_words
from fairlead.agents.service import advised, stored
from fairlead.agents.status import StatusKeeper
from fairlead.agents.waiting import Insisting
from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.dialogue import Answer, Approval, BudgetLimits, BudgetSpent, Exchange, Proposal
from fairlead.contracts.errors import ConfigError, StoreUnavailable
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, Settings
from fairlead.policy.registry import decide_slot
from planner.metrics import PlannerMetrics
from slot_agent.metrics import SlotMetrics
from tests.adapters.llm_questions import question
from tests.agents.world import TURNS, count, world
from tests.slot_agent.edge import ORIGIN_S

ENDPOINT = LlmEndpoint(url="http://127.0.0.1:9/v1?key=secret", slot_agent_model="small", key_variable=None)


async def advisors(settings: Settings) -> tuple[str, str, str]:
    """Return what the slot agent's advisor would do, what it calls its model, and why the fallback acts."""
    clock = VirtualClock(ORIGIN_S)
    store = MemoryStore(clock)
    metrics = DialogueMetrics(CollectorRegistry(), "slot-agent")
    async with advised(settings, "slot-agent", store, clock, metrics) as advisor:
        run = asyncio.create_task(advisor.run())
        await clock.advance(0.0, TURNS)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        status = (await store.agent_statuses())[0]
        return await advisor.stance(), status.llm, status.why


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (Settings(), ("no-llm", "none", "no-llm: no language model is configured")),
        (
            Settings(policy="lru", llm=LlmSettings(endpoints=(ENDPOINT,))),
            (
                "baseline",
                "small at http://127.0.0.1:9/v1",
                "baseline: models are asked with the policy marginal-dpp, not with lru",
            ),
        ),
        (
            Settings(llm=LlmSettings(endpoints=(ENDPOINT, ENDPOINT.model_copy(update={"slot_agent_model": None})))),
            (
                "asked",
                "small at http://127.0.0.1:9/v1, then its first model at http://127.0.0.1:9/v1",
                "no dialogue has ended yet",
            ),
        ),
    ],
    ids=["none", "baseline", "two endpoints"],
)
async def test_whether_anybody_is_asked_is_a_matter_of_settings(
    settings: Settings, found: tuple[str, str, str]
) -> None:
    """Without credentials in what is said of it."""
    assert await advisors(settings) == found


async def test_an_advisor_that_is_none_talks_to_nobody() -> None:
    """And takes back what another has left."""
    async with world() as w:
        given = await a_question(w.clock)
        metrics = DialogueMetrics(CollectorRegistry(), "slot-agent")
        async with advised(Settings(), "slot-agent", w.store, w.clock, metrics) as advisor:
            assert await advisor.hold(given, nothing) is None
            assert await advisor.mode() == "off"


async def a_question(clock: VirtualClock) -> Question:
    """Return a question about a slot of a short run."""
    async with world() as w:
        await w.agent(decide_slot)
        asked = (await w.journal())[0].input
        assert isinstance(asked, SlotInput)
        return Question(asked, 18.0, clock.now_s() + 30.0)


async def test_a_recorded_file_takes_the_place_of_endpoints(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is not named: its path is nobody's business but the process's."""
    file = tmp_path_factory.mktemp("llm") / "replies.jsonl"
    file.write_text("")
    settings = Settings(llm=LlmSettings(replay=str(file)))
    assert (await advisors(settings))[:2] == ("asked", "a recorded file")


async def test_a_process_without_a_database_says_what_to_set() -> None:
    """It cannot work without."""
    with pytest.raises(ConfigError, match=r"the planner needs a database: set mongodb.uri or FAIRLEAD_MONGODB_URI"):
        async with stored(Settings(), "planner", VirtualClock(), PlannerMetrics().loop):
            pass


async def test_an_answer_in_time_passes_as_it_is() -> None:
    """Also what the model says of its endpoints, and its end."""
    clock = VirtualClock()
    inner = MemoryLlm(["yes"])
    llm = Bounded(inner, clock)
    answer = await llm.ask(question(), id="q.1", deadline_s=5.0)
    assert (answer.code, answer.text) == ("ok", "yes")
    assert llm.statuses() == inner.statuses()
    await llm.close()
    assert (await llm.ask(question(), id="q.2", deadline_s=5.0)).code == "no-endpoint"


async def test_a_model_that_is_deaf_to_its_cancellation_is_left_alone() -> None:
    """What it says later, or raises, troubles nobody."""
    clock = VirtualClock()
    released = asyncio.Event()

    class Deaf(MemoryLlm):
        async def ask(self, ask: object, *, id: str, deadline_s: float) -> Answer:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            raise RuntimeError("much later")

    asking = asyncio.create_task(Bounded(Deaf([]), clock).ask(question(), id="q.1", deadline_s=10.0))
    await clock.advance(0.0)
    await clock.advance(11.0)
    assert not asking.done()
    await clock.advance(0.1)
    answer = await asking
    assert answer.code == "late"
    assert answer.took_s == pytest.approx(11.05, abs=0.06)
    released.set()
    await clock.advance(0.0)


def proposal(clock: VirtualClock) -> Proposal:
    """Return one that expires in ten seconds."""
    now_s = clock.now_s()
    return Proposal(
        id="p-1", agent="planner", created_at_s=now_s, expires_at_s=now_s + 10.0, content="{}", why="", changes=()
    )


class LastMomentStore(MemoryStore):
    """A store in which a person answers just before a proposal is marked as expired, and writing is not confirmed."""

    losses = 1

    async def put_proposal(self, proposal: Proposal, *, if_revision: int | None) -> Proposal:
        """Keep a proposal."""
        if proposal.approval is not None and proposal.approval.answer == "expired":
            said = Approval(answer="approved", by="ada", at_s=proposal.expires_at_s - 0.001)
            await super().put_proposal(proposal.model_copy(update={"approval": said}), if_revision=if_revision)
        new = await super().put_proposal(proposal, if_revision=if_revision)
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("the answer was lost")
        return new


async def test_what_a_person_says_in_the_last_moment_counts() -> None:
    """Also where a proposal had to be left twice, because the first time was not confirmed."""
    clock = VirtualClock()
    store = LastMomentStore(clock)
    await store.put_mode((await store.mode("planner")).model_copy(update={"mode": "assist"}), if_revision=0)
    counter = DialogueMetrics(CollectorRegistry(), "planner").failures("store")
    desk = Desk(store, clock, Insisting(Outage("asking the store", clock, counter), 5.0))
    with structlog.testing.capture_logs():
        waiting = asyncio.create_task(desk.answered(proposal(clock), asyncio.Event()))
        await clock.advance(1.0)
        await clock.advance(11.0)
        mode, approval = await waiting
    assert (mode, approval) == ("assist", Approval(answer="approved", by="ada", at_s=clock.now_s() - 2.001))


async def test_a_store_that_does_not_answer_in_time_is_asked_again() -> None:
    """The time-out is of the wall."""
    clock = VirtualClock()
    tries = 0

    async def slow() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.sleep(60.0)
        return tries

    counter = DialogueMetrics(CollectorRegistry(), "planner").failures("store")
    asking = asyncio.create_task(Insisting(Outage("asking the store", clock, counter), 0.01).got(slow))
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(10.0):
            while not logs:
                await asyncio.sleep(0.005)
        await clock.advance(1.0)
        assert await asking == 2


async def test_the_status_says_what_is_spent_and_left() -> None:
    """Beside why the fallback acts; the gauge has what is left of each limit."""
    async with world() as w:
        limits = BudgetLimits(tokens_per_hour=10_000, tokens_per_day=50_000, money_per_day=2.0)
        assert await w.store.reserve("q.1", 9_800, 0.5, limits) is None
        registry = CollectorRegistry()
        status = StatusKeeper("planner", w.store, w.clock, DialogueMetrics(registry, "planner"), 5.0, limits=limits)
        status.tally.why = "call budget-tokens"
        run = asyncio.create_task(status.run())
        await w.settle()
        run.cancel()
        found = (await w.store.agent_statuses())[0]
        assert found.why == (
            "call budget-tokens; spent: 9800 of 10000 tokens an hour, 9800 of 50000 tokens a day, 0.5 of 2 a day"
        )
        left = {s.labels["window"]: s.value for f in registry.collect() for s in f.samples if "budget" in s.name}
        assert left == {"hour": 200.0, "day": 40_200.0}


async def test_while_the_store_is_away_the_status_waits() -> None:
    """It is counted, and written afterwards."""
    async with world() as w:
        metrics = SlotMetrics()
        w.store.unavailable = True
        with structlog.testing.capture_logs():
            await w.agent(decide_slot, metrics)
            await w.seconds(5)
            w.store.unavailable = False
            await w.seconds(2)
        assert count(metrics.registry, "fairlead_llm_failures", place="status") >= 2.0
        assert [s.agent for s in await w.store.agent_statuses()] == ["slot-agent"]


def test_words_of_a_budget_name_each_limit() -> None:
    """Those that there are."""
    spent = BudgetSpent(tokens_hour=1, tokens_day=2, money_hour=0.25, money_day=0.5)
    assert budget_words(spent, BudgetLimits()) == ""
    assert budget_words(spent, BudgetLimits(money_per_hour=1.0)) == "0.25 of 1 an hour"


def test_models_beyond_the_first_are_counted_together() -> None:
    """A server may call itself anew each time."""
    registry = CollectorRegistry()
    metrics = DialogueMetrics(registry, "planner")
    answer = Answer.model_validate(
        {
            "code": "ok",
            "text": "",
            "endpoint": "",
            "model": "",
            "style": None,
            "attempts": 1,
            "took_s": 1.0,
            "prompt_tokens": 5,
            "reply_tokens": 2,
            "money": 0.25,
        }
    )
    names = ["", *(f"model-{k}" for k in range(MODELS_MOST + 3))]
    for name in names:
        one = answer.model_copy(update={"model": name})
        metrics.answered(Exchange(id="q.1", ask=question(), answer=one))
    assert count(registry, "fairlead_llm_asks", model="none") == 1.0
    assert count(registry, "fairlead_llm_asks", model="other") == 3.0
    assert count(registry, "fairlead_llm_asks") == len(names)
    assert count(registry, "fairlead_llm_prompt_tokens") == 5.0 * len(names)
    assert count(registry, "fairlead_llm_reply_tokens") == 2.0 * len(names)
    assert count(registry, "fairlead_llm_money") == 0.25 * len(names)
