"""When the planner asks, and what a proposal does to its plans: ahead of an epoch, or beside one that has begun."""

import json
from typing import cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_llm import MemoryLlm
from fairlead.adapters.memory_store import MemoryStore
from fairlead.agents.advice import Recalled
from fairlead.contracts.decisions import DecisionRecord, EpochDecision, EpochInput
from fairlead.contracts.dialogue import Ask
from fairlead.contracts.errors import Conflict, StoreUnavailable
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.settings import LlmSettings, Settings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.planning import agenda
from fairlead.policy.registry import decide_slot
from planner.metrics import PlannerMetrics
from tests.agents.replies import PacedLlm, Say, good
from tests.agents.test_dialogues import answer, check_replays
from tests.agents.world import World, count, world
from tests.planner.test_planner import operators_plan
from tests.policy.remembering import case as remembered_case
from tests.slot_agent.edge import ORIGIN_S

Line = tuple[str, float, str, str]
"""Kind, seconds since the origin, source of the plan or `none`, why no reply is in it."""


async def lines(w: World) -> list[Line]:
    """Return what the planner has journaled, oldest first."""
    return [line(r) for r in await w.journal(agent="planner")]


def line(record: DecisionRecord) -> Line:
    """Return a line of the journal in short."""
    plan = record.output.plan if isinstance(record.output, EpochDecision) else None
    source = plan.source if plan is not None else "none"
    return record.kind, record.made_at_s - ORIGIN_S, source, record.input.llm


def steps(record: DecisionRecord) -> list[str]:
    """Return its ladder."""
    return [f"{s.name}:{s.code}" for s in record.output.steps]


async def current(w: World) -> EpochPlan:
    """Return the plan in force."""
    plan = await w.store.current_plan()
    assert plan is not None
    return plan


async def test_the_running_epoch_is_asked_about_beside_and_the_next_ahead() -> None:
    """First a neutral plan at once and a better one later; from then on one plan an epoch, at its begin."""
    async with world() as w:
        await w.switch("planner", "auto")
        llm = PacedLlm(w.clock, 2.0)
        await w.planner(llm=llm)
        await w.seconds(601)
        assert await lines(w) == [
            ("epoch", 0.0, "fallback", "asked"),
            ("advice", 20.0, "llm", "answered"),
            ("epoch", 300.0, "llm", "answered"),
            ("epoch", 600.0, "llm", "answered"),
        ]
        records = await w.journal(agent="planner")
        asked = [r.dialogue.asked for r in records if r.dialogue is not None]
        assert [(a.epoch, a.now_s - ORIGIN_S) for a in asked if isinstance(a, EpochInput)] == [
            (0, 18.0),
            (1, 258.0),
            (2, 558.0),
        ]
        assert [r.id for r in records] == ["epoch-1", "epoch-2", "epoch-3", "epoch-4"]
        plan = await current(w)
        assert [(p.model, p.priority) for p in plan.priorities] == [("m1", 3), ("m2", 2), ("m3", 2)]
        await check_replays(w)


async def test_a_reply_that_is_rejected_beside_leaves_the_plan_alone() -> None:
    """Its line has no plan, and a name of its own."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=MemoryLlm(["no", "no"]))
        await w.seconds(20)
        record = (await w.journal(agent="planner"))[-1]
        assert line(record) == ("advice", 18.0, "none", "answered")
        assert record.dialogue is not None
        assert record.id == f"epoch-advice-{record.dialogue.id}"
        assert (await current(w)).generation == 1
        await check_replays(w)


async def test_a_plan_never_waits_for_a_model() -> None:
    """A question ahead that is late or rejected ends in the neutral plan, at the epoch's begin."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 100.0))
        await w.seconds(301)
        record = (await w.journal(agent="planner"))[-1]
        assert line(record) == ("epoch", 300.0, "fallback", "answered")
        assert steps(record) == ["call:late", "fallback:ok"]
        await check_replays(w)


async def test_a_person_may_approve_an_epochs_plan_before_and_after_it_has_begun() -> None:
    """Before, it is the plan of the begin; after, a further one."""
    async with world() as w:
        await w.switch("planner", "assist")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(30)
        await answer(w, "declined")
        await w.seconds(240)
        await answer(w, "approved")
        await w.seconds(310)
        assert (await lines(w))[2:] == [("epoch", 300.0, "llm", "answered")]
        await w.seconds(40)
        assert (await lines(w))[3:] == [("epoch", 600.0, "fallback", "asked")]
        await answer(w, "approved")
        assert (await lines(w))[4:] == [("advice", 620.0, "llm", "answered")]
        await check_replays(w)


async def test_nodes_that_change_give_a_neutral_plan_at_once_and_a_new_question() -> None:
    """What was proposed was about other nodes."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.planner(llm=PacedLlm(w.clock, 2.0))
        await w.seconds(100)
        await w.store.put_node(w.edge.cluster.nodes[0].model_copy(update={"id": "n9"}), if_revision=None)
        await w.settle()
        assert (await lines(w))[2:] == [("epoch", 100.0, "fallback", "asked")]
        await w.seconds(30)
        assert (await lines(w))[3:] == [("advice", 110.0, "llm", "answered")]
        assert len((await current(w)).intents) == 4


async def test_under_an_operators_plan_nothing_is_asked_until_it_is_about_to_expire() -> None:
    """Over the begin of an epoch; afterwards the running epoch is asked about."""
    async with world() as w:
        await w.switch("planner", "auto")
        llm = PacedLlm(w.clock, 2.0)
        await w.planner(llm=llm)
        await w.seconds(100)
        await operators_plan(w, 350.0)
        await w.seconds(349)
        assert len(llm.inner.asked) == 1
        await w.seconds(60)
        assert (await lines(w))[2:] == [("epoch", 450.0, "fallback", "asked"), ("advice", 470.0, "llm", "answered")]
        await check_replays(w)


async def test_an_operators_plan_that_comes_meanwhile_stands_above_a_proposal() -> None:
    """The dialogue is journaled without a plan, beside and at an epoch's begin."""
    async with world() as w:
        await w.switch("planner", "auto")
        metrics = PlannerMetrics()
        await w.planner(llm=PacedLlm(w.clock, 5.0), metrics=metrics)
        await w.seconds(20)
        await operators_plan(w, 100.0)
        await w.seconds(240)
        await operators_plan(w, 100.0)
        await w.seconds(45)
        assert (await lines(w))[1:] == [
            ("advice", 23.0, "none", "answered"),
            ("epoch", 120.0, "fallback", "asked"),
            ("advice", 143.0, "llm", "answered"),
            ("advice", 300.0, "none", "answered"),
        ]
        last = (await w.journal(agent="planner"))[-1]
        assert steps(last)[-2:] == ["mode:auto", "operator:in-force"]
        unused = [r.dialogue.unused for r in await w.journal(agent="planner") if r.dialogue is not None]
        assert [proposal is not None for proposal in unused] == [True, False, True]
        assert (await current(w)).source == "operator"
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="operator") == 2.0
        await check_replays(w)


async def test_too_late_in_an_epoch_only_the_next_is_asked_about() -> None:
    """The decision says that there was no time."""
    async with world() as w:
        await w.switch("planner", "auto")
        await w.seconds(245)
        llm = PacedLlm(w.clock, 2.0)
        await w.planner(llm=llm)
        await w.seconds(60)
        assert await lines(w) == [("epoch", 245.0, "fallback", "no-time"), ("epoch", 300.0, "llm", "answered")]
        assert len(llm.inner.asked) == 1


async def test_after_a_kill_an_epoch_is_not_asked_about_twice() -> None:
    """And arrivals are counted on from the plan of the epoch's begin, not from advice."""
    async with world() as w:
        await w.switch("planner", "auto")
        llm = PacedLlm(w.clock, 2.0)
        task = await w.planner(llm=llm)
        w.edge.ask("m1", 10)
        await w.seconds(40)
        task.cancel()
        w.edge.ask("m1", 5)
        await w.planner(llm=llm)
        await w.seconds(261)
        assert [source for _, _, source, _ in await lines(w)] == ["fallback", "llm", "llm"]
        assert len(llm.inner.asked) == 2
        last = (await w.journal(agent="planner"))[-1]
        assert last.input.snapshot.models[0].arrived == 15


async def test_the_slot_agents_question_of_a_slot_goes_first() -> None:
    """Both ask the same model; the planner's begins when the slot's deadline has passed."""
    async with world() as w:
        await w.switch("planner", "shadow")
        await w.switch("slot-agent", "shadow")
        llm = MemoryLlm(good)
        await w.agent(decide_slot, llm=llm)
        await w.planner(llm=llm)
        await w.seconds(31)
        assert [ask.agent for _, ask in llm.asked] == ["slot-agent", "planner", "slot-agent"]


async def test_a_plan_is_told_what_the_slot_agent_has_learned() -> None:
    """Rates and shadow prices of its newest decision of a slot."""
    async with world() as w:
        await w.agent(decide_slot)
        await w.planner()
        for _ in range(10):
            w.edge.ask("m1", 5)
            await w.miss("m3")
            await w.seconds(31)
        given = (await w.journal(agent="planner"))[-1].input
        assert isinstance(given, EpochInput)
        slots = [r.output for r in await w.journal("slot") if r.made_at_s <= given.now_s]
        assert given.rates
        assert given.rates in [slot.state.rates for slot in slots[-2:] if not isinstance(slot, EpochDecision)]
        assert {p.model for p in given.prices} == {"m1", "m2", "m3"}


async def test_without_its_memory_a_planner_asks_without_cases() -> None:
    """A recall that fails is counted, and said."""

    async def away(_: EpochInput) -> Recalled:
        raise StoreUnavailable("no cases now")

    async with world() as w:
        await w.switch("planner", "auto")
        metrics = PlannerMetrics()
        with structlog.testing.capture_logs() as logs:
            await w.planner(metrics=metrics, llm=MemoryLlm(good), recall=away)
            await w.seconds(19)
        assert (await lines(w))[-1] == ("advice", 18.0, "llm", "answered")
        assert count(metrics.registry, "fairlead_llm_failures", place="store") == 1.0
        assert [entry["event"] for entry in logs] == ["no case was recalled: asking without"]


class LossyStore(MemoryStore):
    """A store on which another planner is first, or an answer is lost, for lines with a dialogue."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.meddles = 0
        self.losses = 0

    async def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord) -> None:
        """Put a plan in force."""
        if record.dialogue is not None and self.meddles:
            self.meddles -= 1
            raise Conflict("another was first")
        await super().publish_epoch(plan, record)
        if record.dialogue is not None and self.losses:
            self.losses -= 1
            raise StoreUnavailable("the answer was lost")


@pytest.mark.parametrize(("meddles", "failures"), [(4, 0.0), (7, 1.0)])
async def test_another_plan_that_comes_first_is_no_harm(meddles: int, failures: float) -> None:
    """It is decided again on what is in force then; five times in a row are said once."""
    async with world(store_type=LossyStore) as w:
        cast(LossyStore, w.store).meddles = meddles
        await w.switch("planner", "auto")
        metrics = PlannerMetrics()
        with structlog.testing.capture_logs():
            await w.planner(llm=PacedLlm(w.clock, 2.0), metrics=metrics)
            await w.seconds(25)
        assert [source for _, _, source, _ in await lines(w)] == ["fallback", "llm"]
        assert count(metrics.registry, "fairlead_epoch_conflicts") == meddles
        assert count(metrics.registry, "fairlead_epoch_failures") == failures
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="accepted") == 1.0


@pytest.mark.parametrize("reply", [good, lambda _: "no"], ids=["a plan", "no plan"])
async def test_a_line_whose_writing_was_not_confirmed_is_not_written_twice(reply: Say) -> None:
    """The journal is read again before the second try."""
    async with world(store_type=LossyStore) as w:
        cast(LossyStore, w.store).losses = 1
        await w.switch("planner", "auto")
        metrics = PlannerMetrics()
        with structlog.testing.capture_logs():
            await w.planner(llm=PacedLlm(w.clock, 2.0, reply), metrics=metrics)
            await w.seconds(25)
        assert len(await w.journal("advice", "planner")) == 1
        assert count(metrics.registry, "fairlead_llm_dialogues") == 1.0


async def test_a_plan_whose_nodes_have_changed_meanwhile_is_not_put_in_force() -> None:
    """The neutral one is, and the ladder says why."""
    async with world() as w:
        await w.switch("planner", "auto")
        metrics = PlannerMetrics()
        await w.planner(llm=PacedLlm(w.clock, 2.0), metrics=metrics)
        await w.seconds(265)
        await w.store.put_node(w.edge.cluster.nodes[0].model_copy(update={"id": "n9"}), if_revision=None)
        await w.seconds(36)
        record = (await w.journal(agent="planner"))[-1]
        assert line(record) == ("epoch", 300.0, "fallback", "answered")
        assert steps(record)[-3:] == ["mode:auto", "feasibility:node-once", "fallback:ok"]
        assert count(metrics.registry, "fairlead_llm_dialogues", outcome="outdated") == 1.0
        assert count(metrics.registry, "fairlead_llm_steps", step="feasibility", code="node-once") == 1.0
        status = (await w.store.agent_statuses())[0]
        assert (status.acting, status.accepted, status.fallbacks) == ("fallback", 2, 1)
        assert status.why.startswith("feasibility node-once")
        await check_replays(w)


async def test_cases_that_a_reply_rests_on_are_counted() -> None:
    """The prompt showed them, the journal has them in full."""
    one = remembered_case(1)

    async def recall(_: EpochInput) -> Recalled:
        return (one,), (0.75,)

    def citing(ask: Ask) -> str:
        reply = json.loads(good(ask)) | {"cases_cited": ["c1"]}
        return json.dumps(reply)

    async with world() as w:
        await w.switch("planner", "auto")
        await w.store.add_case(one, capacity=10)
        await w.planner(llm=MemoryLlm(citing), recall=recall)
        await w.seconds(19)
        record = (await w.journal(agent="planner"))[-1]
        assert record.dialogue is not None
        assert record.dialogue.cases == (one,)
        assert [(s.alias, s.case, s.similarity) for s in record.dialogue.shown] == [("c1", one.id, 0.75)]
        assert (await w.store.case(one.id)).cited == 1
        await check_replays(w)


@given(
    epoch_slots=st.integers(1, 30),
    slot_s=st.floats(1.0, 120.0),
    share=st.floats(0.05, 0.9),
    deadline=st.floats(0.05, 9.0),
    gate=st.floats(0.05, 9.0),
    epoch=st.integers(1, 10_000),
)
def test_a_question_ahead_is_judged_before_its_epoch_begins_and_begins_behind_a_slots_question(
    epoch_slots: int, slot_s: float, share: float, deadline: float, gate: float, epoch: int
) -> None:
    """As late as both allow."""
    settings = Settings(
        clock_origin_s=ORIGIN_S,
        controller=PolicySettings(slot_s=slot_s, epoch_slots=epoch_slots),
        llm=LlmSettings(slot_deadline_ratio=share, planner_deadline_slots=deadline, gate_deadline_slots=gate),
    )
    times = agenda(settings)
    begin_s = times.epochs.begins_at_s(epoch)
    at_s = times.ahead_at_s(epoch)
    assert times.deadline_for_s <= 0.9 * epoch_slots * slot_s + 1e-6
    judged_s = at_s + times.deadline_for_s + gate * slot_s
    assert begin_s - slot_s - 1e-6 < judged_s <= begin_s + 1e-6
    assert (at_s - ORIGIN_S) / slot_s % 1.0 == pytest.approx(share, abs=1e-6)
