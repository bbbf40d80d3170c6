"""The evaluator: a case for each epoch seen whole, with what came of it; restarts, outages, changes of the cluster."""

import asyncio
from collections import Counter

import pytest
import structlog

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.decisions import Dialogue, EpochDecision, EpochInput
from fairlead.contracts.dialogue import Answer, Ask, DialogueSettings, Exchange, Sampling
from fairlead.contracts.errors import NotFound, StoreUnavailable
from fairlead.contracts.plans import EpochPlan, Source, Warm
from fairlead.policy.cases import cluster_digest
from fairlead.policy.epoch import neutral
from planner.evaluator import most_in_force
from planner.patience import within
from tests.control_api.dialogue_examples import dialogue
from tests.planner.ledger import DEADLINE_S, EPOCH_S, Ledger, ledger
from tests.policy.remembering import case
from tests.slot_agent.edge import ORIGIN_S, cluster

DIGEST = cluster_digest(cluster())
DUE_S = EPOCH_S + DEADLINE_S + 1.0


async def busy(made: Ledger, until_s: float) -> None:
    """Let a request for m1 arrive every ten seconds, which takes four."""
    while made.world.clock.now_s() + 10.0 <= ORIGIN_S + until_s:
        await made.served("m1", 1, 4.0)
        await made.world.seconds(10)
    await made.until(until_s)


async def test_an_epoch_is_remembered_one_deadline_after_its_end() -> None:
    """With what was seen at its begin, the plan in force and the terms of F of its requests."""
    async with ledger() as made:
        await made.restart()
        await busy(made, EPOCH_S)
        made.starts, made.stops = 2, 1
        await made.report()
        await busy(made, EPOCH_S + DEADLINE_S - 1.0)
        assert await made.cases() == []
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert (one.id, one.epoch) == (f"{DIGEST}-0-1", 0)
        assert (one.began_at_s, one.ended_at_s) == (ORIGIN_S, ORIGIN_S + EPOCH_S)
        assert one.realised.arrived == one.realised.finished == 30
        assert (one.realised.latency_s, one.realised.fairness, one.realised.service) == (4.0, 1.0, 1.0)
        assert one.realised.churn == 0, "the starts were reported after the epoch"
        assert one.realised.objective == pytest.approx(0.5 * 4.0 / 60.0)
        assert [(r.model, r.per_s) for r in one.rates] == [("m1", 0.1), ("m2", 0.0), ("m3", 0.0)]
        plan = await made.store.plans(limit=10, cursor=None)
        assert one.intents == plan.items[-1].intents
        assert (one.plan_generation, one.fallback, one.advantage, one.quarantined) == (1, None, None, False)
        told = one.provenance
        assert (told.cluster, told.source, told.policy) == (DIGEST, "fallback", "marginal-dpp")
        assert (told.llm, told.decision, told.version, told.imported) == ("", "epoch-1", "0.0", False)
        assert made.counted("fairlead_cases_written", source="fallback") == 1.0


async def test_features_are_those_of_the_epochs_begin() -> None:
    """The slots of the epoch before and what had become of its requests by then."""
    async with ledger() as made:
        await made.restart()
        await busy(made, EPOCH_S)
        await made.served("m2", 5, 400.0)
        await busy(made, EPOCH_S + DUE_S)
        first, second = await made.cases()
        assert [m.slowdown for m in first.features.models] == [1.0, 1.0, 1.0]
        assert [m.slowdown for m in second.features.models] == [2.0, 1.0, 1.0]
        assert second.features.models[0].dispersion == pytest.approx(0.0, abs=0.2)
        assert second.features.models[0].log_rate > first.features.models[0].log_rate
        assert [n.node for n in second.features.nodes] == ["n1", "n2", "n3"]
        assert all(n.up for n in second.features.nodes)
        assert "m1" in second.features.nodes[0].awake
        assert second.realised.service < 1.0, "what took 400 s has not finished within its epoch"


async def test_starts_and_stops_are_those_of_the_epoch() -> None:
    """Churn is the growth of the totals from begin to end."""
    async with ledger() as made:
        made.starts, made.stops = 7, 3
        await made.report()
        await made.restart()
        await busy(made, 100.0)
        made.starts, made.stops = 9, 4
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert one.realised.churn == 3


async def test_what_never_ends_counts_with_its_age() -> None:
    """Requests without an outcome are no fewer than those with one."""
    async with ledger() as made:
        await made.restart()
        await made.served("m1", 10, 4.0)
        await made.served("m2", 10, 4.0, told=False)
        await made.served("m3", 3, 1.0, "cancelled")
        await made.until(DUE_S)
        (one,) = await made.cases()
        assert (one.realised.arrived, one.realised.finished) == (20, 10)
        assert one.realised.latency_s == pytest.approx((10 * 4.0 + 10 * 150.0) / 20)
        assert (one.realised.service, one.realised.fairness) == (0.5, 0.0)


async def test_an_epoch_that_was_running_is_not_written() -> None:
    """Its begin was not seen; the next one is whole."""
    async with ledger() as made:
        await busy(made, 50.0)
        await made.restart()
        await busy(made, EPOCH_S + DUE_S)
        assert [c.epoch for c in await made.cases()] == [1]
        assert made.counted("fairlead_cases_skipped", reason="unseen") == 1.0


@pytest.mark.parametrize(("killed_s", "back_s", "epochs"), [(450.0, 500.0, [0, 2]), (310.0, 312.0, [1, 2])])
async def test_after_a_restart_no_epoch_is_written_twice_and_none_that_was_not_seen(
    killed_s: float, back_s: float, epochs: list[int]
) -> None:
    """In mid-epoch that one is missing; between an epoch's end and its judgement, the one that had ended."""
    async with ledger() as made:
        await made.restart()
        await busy(made, killed_s)
        await made.stop()
        await busy(made, back_s)
        await made.restart()
        await busy(made, 2 * EPOCH_S + DUE_S)
        assert [c.epoch for c in await made.cases()] == epochs


async def test_two_evaluators_write_one_case_an_epoch() -> None:
    """Both give it the same id, and who comes second finds it in the store."""
    async with ledger() as made:
        await made.restart()
        first = made.registry
        await made.restart()
        await busy(made, EPOCH_S + DUE_S)
        assert [c.epoch for c in await made.cases()] == [0, 1]
        assert made.registry is not first


async def test_an_epoch_that_has_a_case_gets_no_other() -> None:
    """A clock that was set back, or another plan for most of it by another's account: what was written stays."""
    async with ledger() as made:
        other = remembered_by_another(0)
        await made.store.add_case(other, capacity=10)
        await made.restart()
        await busy(made, DUE_S)
        assert await made.cases() == [other]
        assert made.counted("fairlead_cases_skipped", reason="known") == 1.0


def remembered_by_another(epoch: int) -> Case:
    """Return a case of this cluster's epoch under another plan's generation."""
    made = case(epoch)
    began_s = ORIGIN_S + epoch * EPOCH_S
    return made.model_copy(
        update={
            "id": f"{DIGEST}-{epoch}-99",
            "began_at_s": began_s,
            "ended_at_s": began_s + EPOCH_S,
            "provenance": made.provenance.model_copy(update={"cluster": DIGEST}),
        }
    )


async def test_a_store_away_at_an_epochs_begin_costs_its_cases_and_no_plan() -> None:
    """The epoch before and the one that began are not seen whole; the planner goes on."""
    async with ledger() as made:
        await made.restart()
        await busy(made, 290.0)
        made.store.unavailable = True
        with structlog.testing.capture_logs():
            await made.until(330.0)
            made.store.unavailable = False
            await busy(made, 2 * EPOCH_S + DUE_S)
        assert [c.epoch for c in await made.cases()] == [2]
        assert made.counted("fairlead_cases_skipped", reason="unseen") == 2.0
        assert made.counted("fairlead_case_failures") > 0.0
        assert len((await made.store.plans(limit=10, cursor=None)).items) == 4


async def test_a_store_away_when_an_epoch_is_due_makes_its_case_late() -> None:
    """Not lost: the looks at begin and end are kept."""
    async with ledger() as made:
        await made.restart()
        await busy(made, EPOCH_S + 30.0)
        made.store.unavailable = True
        with structlog.testing.capture_logs() as logs:
            await made.until(DUE_S + 20.0)
            assert made.store.unavailable
            made.store.unavailable = False
            await made.until(DUE_S + 30.0)
        assert [c.epoch for c in await made.cases()] == [0]
        said = [entry["event"] for entry in logs if "evaluating" in entry["event"]]
        assert said == [
            "evaluating an epoch failed: going on with the last good state",
            "evaluating an epoch works again",
        ]


async def test_an_epoch_in_which_the_cluster_changed_is_not_written() -> None:
    """Neither figures nor features would be of one cluster; the epoch after it is."""
    async with ledger() as made:
        await made.restart()
        await busy(made, 100.0)
        extra = cluster().nodes[0].model_copy(update={"id": "n9"})
        await made.store.put_node(extra, if_revision=None)
        await busy(made, EPOCH_S + DUE_S)
        (one,) = await made.cases()
        assert one.epoch == 1
        assert one.provenance.cluster != DIGEST
        assert made.counted("fairlead_cases_skipped", reason="cluster-changed") == 1.0


async def test_an_epoch_without_demand_is_not_written() -> None:
    """Nothing was done well where nothing was to be done."""
    async with ledger() as made:
        await made.restart()
        await made.until(DUE_S)
        assert await made.cases() == []
        assert made.counted("fairlead_cases_skipped", reason="no-demand") == 1.0


async def test_totals_that_fell_are_no_figures() -> None:
    """Counters of a node agent that lost its memory."""
    async with ledger() as made:
        made.starts = 5
        await made.report()
        await made.restart()
        await busy(made, 100.0)
        made.starts = 1
        await busy(made, DUE_S)
        assert await made.cases() == []
        assert made.counted("fairlead_cases_skipped", reason="counters-lost") == 1.0


async def test_an_epoch_whose_first_slot_was_not_decided_is_not_written() -> None:
    """What was seen at its begin is not known."""
    async with ledger(deciding=False) as made:
        await made.restart()
        await busy(made, DUE_S)
        assert made.counted("fairlead_cases_skipped", reason="no-slot") == 1.0


async def test_an_epoch_without_a_plan_is_not_written() -> None:
    """Without a planner the last plan is in force for a slot of the next epoch, and then there is no decision."""
    async with ledger() as made:
        await made.restart()
        made.planner.cancel()
        await busy(made, 2 * EPOCH_S + DUE_S)
        assert [c.id for c in await made.cases()] == [f"{DIGEST}-0-1", f"{DIGEST}-1-1"]
        assert made.counted("fairlead_cases_skipped", reason="no-plan") == 1.0


async def test_a_plan_that_is_not_in_the_journal_is_named_itself() -> None:
    """As an operator's is."""
    async with ledger() as made:
        await made.restart()
        await busy(made, 5.0)
        now = await made.store.current_plan()
        assert now is not None
        await made.store.publish_plan(
            now.model_copy(update={"generation": 2, "parent": 1, "created_at_s": made.world.clock.now_s()})
        )
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert (one.provenance.source, one.provenance.decision) == ("fallback", "plan-2")


async def test_an_operators_plan_that_was_in_force_for_most_of_it_is_the_decision() -> None:
    """Its case names the plan itself: no line of the journal made it."""
    async with ledger() as made:
        await made.restart()
        await busy(made, 100.0)
        now = await made.store.current_plan()
        assert now is not None
        plan = now.model_copy(
            update={
                "generation": 2,
                "parent": 1,
                "source": "operator",
                "created_at_s": made.world.clock.now_s(),
                "expires_at_s": ORIGIN_S + EPOCH_S,
                "why": "by hand",
            }
        )
        await made.store.publish_plan(plan)
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert (one.id, one.provenance.source, one.provenance.decision) == (f"{DIGEST}-0-2", "operator", "plan-2")


async def test_a_plan_of_a_language_model_says_which_one() -> None:
    """The model that answered last in the plan's dialogue."""
    async with ledger() as made:
        await made.restart()
        await busy(made, 5.0)
        made.planner.cancel()  # this one has no model, and would take back what one has proposed
        await publish_models_plan(made)
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert (one.provenance.source, one.provenance.llm, one.provenance.decision) == ("llm", "tiny", "epoch-2")
        assert made.counted("fairlead_cases_written", source="llm") == 1.0


async def test_a_plan_that_says_something_can_be_judged_by_the_twin() -> None:
    """What its first slot's decision knew, and what arrived, also what has not ended; nothing that was cancelled."""
    async with ledger() as made:
        await made.restart()
        made.planner.cancel()  # as above
        warm = (Warm(model="m2", node="n1", at_s=ORIGIN_S + 30.0),)
        await publish_models_plan(made, warm=warm)
        await made.served("m1", 2, 4.0)
        await made.until(45.0)
        await made.served("m2", 3, 4.0, told=False)
        await made.served("m3", 1, 1.0, "cancelled")
        await busy(made, DUE_S)
        (one,) = await made.cases()
        evidence = await made.store.evidence(one.id)
        assert (evidence.case, evidence.ended_at_s, evidence.plan.warm) == (one.id, one.ended_at_s, warm)
        assert (evidence.begin.slot, evidence.begin.trigger) == (one.epoch * 10, "slot")
        arrived = Counter(call.model for call in evidence.calls)
        assert arrived == {"m1": one.realised.arrived - 3, "m2": 3}
        assert [call.at_s - ORIGIN_S for call in evidence.calls if call.model == "m2"] == [35.0, 45.0, 55.0]
        assert all(call.at_s < one.ended_at_s for call in evidence.calls)


async def test_a_neutral_plan_has_nothing_to_be_judged() -> None:
    """It is the fallback."""
    async with ledger() as made:
        await made.restart()
        await busy(made, DUE_S)
        (one,) = await made.cases()
        with pytest.raises(NotFound, match="nothing is kept"):
            await made.store.evidence(one.id)


@pytest.mark.parametrize("says", [True, False])
async def test_a_plan_that_passed_and_did_not_act_can_be_judged_beside_the_fallback_s_case(says: bool) -> None:
    """Under the decision that it was; one that says nothing is the fallback, and there is nothing to judge."""
    async with ledger() as made:
        memory = await made.restart()
        (planned,) = await made.world.journal(agent="planner")
        assert isinstance(planned.input, EpochInput)
        warm = (Warm(model="m2", node="n1", at_s=ORIGIN_S + 30.0),) if says else ()
        unused = neutral(planned.input.cluster).model_copy(update={"warm": warm})
        held = dialogue(asked=planned.input, unused=unused)
        line = planned.model_copy(update={"id": "epoch-advice-1", "kind": "advice", "dialogue": held})
        await made.store.publish_epoch(None, line)
        await busy(made, DUE_S)
        (one,) = await made.cases()
        assert one.provenance.source == "fallback"
        if not says:
            assert memory.owed() is None
            return
        evidence = await made.store.evidence(one.id)
        assert (evidence.case, evidence.decision, evidence.plan.warm) == (one.id, "epoch-advice-1", warm)
        assert (evidence.plan.source, evidence.plan.created_at_s) == ("llm", planned.input.now_s)
        assert memory.owed() == one.id


async def publish_models_plan(made: Ledger, warm: tuple[Warm, ...] = ()) -> None:
    """Put a plan in force that a model called tiny has proposed."""
    (before,) = await made.world.journal(agent="planner")
    given, decided = before.input, before.output
    assert isinstance(given, EpochInput)
    assert isinstance(decided, EpochDecision)
    assert decided.plan is not None
    sampling = Sampling()
    ask = Ask(
        agent="planner",
        prompt="planner/1",
        turn="first",
        system="",
        user="",
        reply="PlannerReply",
        reply_schema="{}",
        sampling=sampling,
    )
    answer = Answer(
        code="ok",
        text="{}",
        endpoint="http://127.0.0.1:1",
        model="tiny",
        style="schema",
        attempts=1,
        took_s=1.0,
        prompt_tokens=1,
        reply_tokens=1,
        money=0.0,
    )
    dialogue = Dialogue(
        id="planner-0-1",
        asked=given,
        settings=DialogueSettings(deadline_s=1.0, sampling=sampling),
        prompt="planner/1",
        cases=(),
        shown=(),
        exchanges=(Exchange(id="planner-0-1.1", ask=ask, answer=answer),),
        judgements=(),
        mode="auto",
        approval=None,
        in_time=True,
    )
    plan = decided.plan.model_copy(
        update={"generation": 2, "parent": 1, "source": "llm", "warm": warm, "created_at_s": made.world.clock.now_s()}
    )
    record = before.model_copy(
        update={
            "id": "epoch-2",
            "source": "llm",
            "output": decided.model_copy(update={"plan": plan}),
            "dialogue": dialogue,
        }
    )
    await made.store.publish_epoch(plan, record)


async def test_beyond_the_capacity_the_policy_chooses_whom_to_forget() -> None:
    """The oldest that is neither best nor worst of the commonest regime, not simply the oldest."""
    async with ledger(capacity=8) as made:
        for epoch, value in enumerate((0.1, 0.9, *(0.5,) * 6), start=100):
            old = remembered_by_another(epoch)
            realised = old.realised.model_copy(update={"objective": value})
            await made.store.add_case(old.model_copy(update={"realised": realised}), capacity=100)
        known = [c.epoch for c in await made.cases()]
        await made.restart()
        await busy(made, DUE_S)
        assert sorted(c.epoch for c in await made.cases()) == sorted({0, *known} - {102})
        assert made.counted("fairlead_cases_forgotten") == 1.0


class Stumbling(MemoryStore):
    """A store that fails once in a way that nobody foresaw, when an epoch is judged."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.falls = 1

    async def tallies(self, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
        if since_at_s == ORIGIN_S and self._clock.now_s() > until_at_s + DEADLINE_S - 1.0 and self.falls:
            self.falls -= 1
            raise KeyError("m1")
        return await super().tallies(since_at_s, until_at_s)


async def test_an_epoch_that_cannot_be_judged_is_given_up() -> None:
    """Whatever goes wrong inside, the loop goes on, and does not try the same for ever."""
    async with ledger(store_type=Stumbling) as made:
        await made.restart()
        with structlog.testing.capture_logs() as logs:
            await busy(made, EPOCH_S + DUE_S)
        assert [c.epoch for c in await made.cases()] == [1]
        assert made.counted("fairlead_cases_skipped", reason="failed") == 1.0
        assert "evaluating an epoch failed: going on with the last good state" in [entry["event"] for entry in logs]


async def test_what_takes_too_long_is_an_unavailable_store() -> None:
    """A read that hangs ends by our time-out, and says what it was."""
    with pytest.raises(StoreUnavailable, match=r"^counting outcomes: .* within 0\.01 s$"):
        async with within(0.01, "counting outcomes"):
            await asyncio.Event().wait()


def plan(generation: int, source: Source, created_s: float, expires_s: float) -> EpochPlan:
    """Return a plan without intents."""
    return EpochPlan(
        generation=generation,
        parent=generation - 1,
        epoch=0,
        created_at_s=created_s,
        expires_at_s=expires_s,
        source=source,
        intents=(),
        priorities=(),
        warm=(),
        why="",
    )


@pytest.mark.parametrize(
    ("spans", "generation"),
    [
        ([(0.0, 330.0)], 1),
        ([(0.0, 330.0), (160.0, 490.0)], 1),
        ([(0.0, 330.0), (150.0, 480.0)], 2),
        ([(0.0, 101.0), (200.0, 500.0)], 1),
        ([(-300.0, 30.0), (20.0, 350.0), (299.0, 600.0)], 2),
        ([(-600.0, -300.0), (300.0, 600.0)], None),
        ([], None),
    ],
)
def test_the_plan_in_force_for_most_of_an_epoch(spans: list[tuple[float, float]], generation: int | None) -> None:
    """Each until it expires or the next is made; of equal ones the newer."""
    plans = [plan(n, "fallback", 600.0 + a, 600.0 + b) for n, (a, b) in enumerate(spans, start=1)]
    found = most_in_force(plans[::-1], 600.0, 900.0)
    assert (found.generation if found is not None else None) == generation
