"""Labels: which cases the twin judges, and what becomes of them by what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cases import Advantage, Case
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.plans import Warm
from planner.labelling import LOOK_S, Labeller, TwinFailed, hindsight_command, in_a_process
from planner.memory import CaseMemory
from tests.adapters import store_examples as some
from tests.planner.ledger import Ledger, ledger
from tests.planner.test_memory import fill, past
from tests.policy.remembering import realised
from tests.twin.test_hindsight import calls, drained, evidence, plan

WARM = (Warm(model="m2", node="n1", at_s=900_000.0),)


def said(number: int, **more: Any) -> Case:
    """Return a case whose plan says something."""
    return past(number).model_copy(update={"warm": WARM, **more})


def label(low: float, high: float, played: float = 0.25) -> Label:
    """Return what a twin says."""
    gain = Advantage(value=0.5 * (low + high), low=low, high=high, twin="reference 0.0", demands=8)
    return Label(replayed=realised(played), fallback=realised(0.4), advantage=gain)


@dataclass(slots=True)
class Twin:
    """Says what it is told to, and remembers what it was asked about."""

    answer: Callable[[str], Label]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, evidence: Evidence) -> Label:
        """Return the answer."""
        self.asked.append(evidence.case)
        return self.answer(evidence.case)


async def judged(made: Ledger, twin: Twin, *cases: Case) -> Ledger:
    """Remember cases with what they can be judged by, and let a labeller judge them."""
    await fill(made, *cases)
    for one in cases:
        await made.store.put_evidence(evidence(plan(), calls("m1")).model_copy(update={"case": one.id}))
    memory = await made.restart()
    await memory.refresh()
    labelling(made, memory, twin)
    await made.world.settle()
    return made


def labelling(made: Ledger, memory: CaseMemory, twin: Twin) -> None:
    """Start a labeller."""
    labeller = Labeller(made.store, made.world.clock, made.world.settings, memory, made.metrics, twin)
    made.world.tasks.append(asyncio.create_task(labeller.run(), name="labeller"))


async def test_each_plan_that_says_something_is_judged_once_the_newest_first() -> None:
    """Not the neutral ones, not what was imported, not what this version has judged; another version's again."""
    old = Advantage(value=0.2, low=0.1, high=0.3, twin="compiled 0.0")
    imported = said(4)
    imported = imported.model_copy(update={"provenance": imported.provenance.model_copy(update={"imported": True})})
    twin = Twin(lambda _: label(0.02, 0.04))
    async with ledger() as made:
        new = old.model_copy(update={"twin": "compiled 9.0"})
        cases = (past(1), said(2), said(3, advantage=old), imported, said(5, advantage=new), said(6))
        await judged(made, twin, *cases)
        assert twin.asked == [said(n).id for n in (6, 5, 2)]
        found = await made.store.case(said(2).id)
        assert found == said(2, replayed=realised(0.25), fallback=realised(0.4), advantage=label(0.02, 0.04).advantage)
        await made.world.seconds(70)
        assert len(twin.asked) == 3, "also after the cases were read anew"
        assert made.counted("fairlead_case_labels", outcome="better") == 3.0
        assert made.registry.get_sample_value("fairlead_case_twin_error_sum") == pytest.approx(0.15)


async def test_what_is_no_better_and_no_worse_is_forgotten() -> None:
    """What is surely worse stays: it is shown as such. What either was worth stands beside the plan's decision."""
    cases = said(1, plan_generation=11), said(2, plan_generation=12)
    labels = label(-0.01, 0.05), label(-0.05, -0.01)
    answers = {case.id: one for case, one in zip(cases, labels, strict=True)}
    async with ledger() as made:
        for case in cases:
            await made.store.publish_epoch(None, some.epoch_record(case.plan_generation))
        await judged(made, Twin(answers.__getitem__), *cases)
        assert [one.id for one in await made.cases()] == [cases[1].id]
        for case, one in zip(cases, labels, strict=True):
            kept = await made.store.plan_worth(f"epoch-{case.plan_generation}")
            assert kept is not None
            assert (kept.case, kept.realised, kept.advantage) == (case.id, case.realised, one.advantage)
        assert made.counted("fairlead_case_labels", outcome="insignificant") == 1.0
        assert made.counted("fairlead_case_labels", outcome="worse") == 1.0
        assert made.registry.get_sample_value("fairlead_cases_kept") == 1.0


@pytest.mark.parametrize(("played", "believed"), [(0.16, True), (0.59, True), (0.14, False), (0.61, False)])
async def test_a_twin_that_is_far_from_what_was_measured_is_not_believed(played: float, *, believed: bool) -> None:
    """More than twice F, or less than half of it: the case stays as it is, whatever it would have been worth."""
    one = said(1)
    assert one.realised.objective == 0.3
    async with ledger() as made:
        with structlog.testing.capture_logs() as logs:
            await judged(made, Twin(lambda _: label(0.1, 0.2, played)), one)
        (kept,) = await made.cases()
        assert (kept.advantage is not None) is believed
        assert believed or kept == one
        assert made.counted("fairlead_case_labels", outcome="wrong") == (0.0 if believed else 1.0)
        assert made.registry.get_sample_value("fairlead_case_twin_error_count") == 1.0
        why = [entry["why"] for entry in logs if entry["event"] == "a case is not judged"]
        assert why == ([] if believed else [f"the twin plays F {played:.3f} where 0.300 was measured"])


async def test_what_did_not_act_is_judged_beside_a_case_that_stays_as_it_is() -> None:
    """What it would have been worth stands beside its decision; the twin is believed by what it says of the fallback.

    That alone has come: where it plays the fallback to another end than was measured, nothing is kept.
    """
    cases = past(1), past(2)
    right, wrong = (label(-0.01, 0.05).model_copy(update={"replayed": realised(9.0)}), label(0.02, 0.05))
    right = right.model_copy(update={"fallback": realised(0.25)})
    wrong = wrong.model_copy(update={"fallback": realised(9.0)})
    answers = {case.id: one for case, one in zip(cases, (right, wrong), strict=True)}
    async with ledger() as made:
        await fill(made, *cases)
        for case, decision in zip(cases, ("epoch-11", "epoch-12"), strict=True):
            await made.store.publish_epoch(None, some.epoch_record(int(decision.removeprefix("epoch-"))))
            found = evidence(plan(), calls("m1")).model_copy(update={"case": case.id, "decision": decision})
            await made.store.put_evidence(found)
        memory = await made.restart()
        for case in cases:
            memory.owe(case)
        twin = Twin(answers.__getitem__)
        labelling(made, memory, twin)
        await made.world.settle()
        assert sorted(twin.asked) == [one.id for one in cases]
        kept = await made.store.plan_worth("epoch-11")
        assert kept is not None
        assert (kept.case, kept.realised, kept.advantage) == (cases[0].id, cases[0].realised, right.advantage)
        assert await made.store.plan_worth("epoch-12") is None
        assert [one.advantage for one in await made.cases()] == [None, None]
        assert made.counted("fairlead_case_labels", outcome="unused") == 1.0
        assert made.counted("fairlead_case_labels", outcome="wrong") == 1.0


async def test_what_cannot_be_judged_stays_unjudged() -> None:
    """Nothing to judge it by, or a twin that fails: it is said and counted, and not tried for ever."""

    def failing(_: str) -> Label:
        raise TwinFailed("a test said so")

    async with ledger() as made:
        twin = Twin(failing)
        with structlog.testing.capture_logs() as logs:
            await judged(made, twin, said(1))
            await fill(made, said(2))
            await made.world.seconds(70)
        assert twin.asked == [said(1).id]
        assert [one.advantage for one in await made.cases()] == [None, None]
        assert made.counted("fairlead_case_labels", outcome="failed") == 2.0
        told = [entry["why"] for entry in logs if entry["event"] == "a case is not judged"]
        assert "a test said so" in told[0]
        assert "nothing is kept" in told[1]


async def test_what_was_forgotten_while_the_twin_played_stays_forgotten() -> None:
    """Its label comes too late."""
    async with ledger() as made:

        def late(name: str) -> Label:
            asyncio.get_running_loop().create_task(made.store.delete_case(name))
            return label(0.1, 0.2)

        class Slow(Twin):
            async def __call__(self, evidence: Evidence) -> Label:
                found = await super().__call__(evidence)
                await asyncio.sleep(0)
                return found

        await judged(made, Slow(late), said(1))
        await made.world.seconds(LOOK_S + 1.0)
        assert await made.cases() == []
        assert made.registry.get_sample_value("fairlead_cases_kept") == 0.0


class Meddled(MemoryStore):
    """A store on which somebody else does something to a case between the labeller's reading and its writing."""

    meddle: Callable[[str], Awaitable[None]] | None = None

    async def case(self, case: str) -> Case:
        """Return a case."""
        found = await super().case(case)
        if self.meddle is not None:
            await self.meddle(case)
        return found


async def test_a_quarantine_while_a_label_is_kept_stands() -> None:
    """The label is kept beside it, and memory does not show the case either."""
    async with ledger(store_type=Meddled) as made:
        store = cast(Meddled, made.store)
        store.meddle = lambda name: store.quarantine_cases([name], "it went wrong")
        await judged(made, Twin(lambda _: label(0.1, 0.2)), said(1))
        (kept,) = await made.cases()
        assert (kept.quarantined, kept.quarantine) == (True, "it went wrong")
        assert kept.advantage == label(0.1, 0.2).advantage


async def test_a_case_that_is_deleted_while_a_label_is_kept_stays_deleted() -> None:
    """Its label goes nowhere, and it is not counted as judged."""
    async with ledger(store_type=Meddled) as made:
        store = cast(Meddled, made.store)
        store.meddle = store.delete_case
        await judged(made, Twin(lambda _: label(0.1, 0.2)), said(1))
        assert await made.cases() == []
        assert made.registry.get_sample_value("fairlead_cases_kept") == 0.0
        assert made.counted("fairlead_case_labels", outcome="better") == 0.0


async def test_a_store_that_is_away_is_waited_for() -> None:
    """What was owed is judged once it is back."""
    async with ledger() as made:
        twin = Twin(lambda _: label(0.1, 0.2))
        await judged(made, twin, said(1))
        made.store.unavailable = True
        with structlog.testing.capture_logs():
            await made.world.seconds(2)
            made.store.unavailable = False
            await fill(made, said(2))
            await made.store.put_evidence(evidence(plan(), calls("m1")).model_copy(update={"case": said(2).id}))
            await made.world.seconds(70)
        assert twin.asked == [said(1).id, said(2).id]


async def test_the_twin_plays_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The real one; it says which engine of which version it is."""
    made = evidence(plan(**drained("n2", "n3")), calls("m1", "m2", every_s=4.0))
    found = await in_a_process(hindsight_command(str(tmp_path), "reference"), made)
    assert found.advantage.high < 0.0
    assert found.advantage.twin.startswith("reference ")


async def test_a_process_that_says_nothing_has_failed() -> None:
    """Its status is told."""
    with pytest.raises(TwinFailed, match="ended with status 1 and no label"):
        await in_a_process(("/bin/false",), evidence(plan(), ()))
