"""Case memory of the planner: what is recalled, what others write and delete meanwhile, a store that is away."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import structlog

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.errors import StoreUnavailable
from fairlead.contracts.plans import Rate
from fairlead.contracts.ports import Page
from fairlead.policy.cases import cluster_digest
from planner.memory import PAGE, REFRESH_S
from planner.tape import Tape
from tests.planner.ledger import EPOCH_S, Ledger, ledger
from tests.policy.remembering import case, node, situation
from tests.slot_agent.edge import ORIGIN_S, cluster

DIGEST = cluster_digest(cluster())
NODES = (node("n1", "m1"), node("n2", "m1"), node("n3"))


def past(number: int, objective: float = 0.3, rate: float = -2.0, cluster_of: str = DIGEST) -> Case:
    """Return a case of this cluster from before the clock's origin; larger numbers began later."""
    made = case(number, objective, situation(rate, -6.9, -6.9, nodes=NODES))
    began_s = ORIGIN_S - 100_000.0 + number * EPOCH_S
    return made.model_copy(
        update={
            "id": f"{cluster_of}-{number}-1",
            "began_at_s": began_s,
            "ended_at_s": began_s + EPOCH_S,
            "provenance": made.provenance.model_copy(update={"cluster": cluster_of}),
        }
    )


async def fill(made: Ledger, *cases: Case) -> None:
    """Put cases into the store."""
    for one in cases:
        await made.store.add_case(one, capacity=10_000)


def numbers(found: tuple[tuple[Case, ...], tuple[float, ...]]) -> list[int]:
    """Return the epochs of what was recalled."""
    return [c.epoch for c in found[0]]


async def test_what_is_recalled_is_like_what_the_planner_knows() -> None:
    """The similar first, with how similar each is, the bad one last; in full, as the store has them."""
    async with ledger() as made:
        await fill(made, past(1), past(2, rate=1.0), past(3, 0.9, rate=3.0), *(past(n, rate=5.0) for n in range(4, 9)))
        memory = await made.restart()
        for _ in range(10):
            await made.served("m1", 4, 4.0)
            await made.world.seconds(30)
        cases, similarities = await memory.recalled(await made.given())
        assert len(cases) == 4
        assert (cases[0].epoch, cases[-1].epoch) == (1, 3)
        assert similarities[0] > similarities[-1]
        assert cases[0] == await made.store.case(cases[0].id)


async def test_what_is_recalled_is_read_by_one_question() -> None:
    """However many there are, and nothing else of the memory is read again."""
    async with ledger(store_type=Counting) as made:
        assert isinstance(made.store, Counting)
        await fill(made, *(past(n) for n in range(2 * PAGE)))
        memory = await made.restart()
        given = await made.given()
        made.store.cases_read.clear()
        made.store.questions = 0
        found, _ = await memory.recalled(given)
        assert made.store.questions == 1
        assert made.store.cases_read == {one.id: 1 for one in found}
        assert len(found) == 4


async def test_nothing_is_recalled_where_nothing_is_remembered() -> None:
    """And that is no failure."""
    async with ledger() as made:
        memory = await made.restart()
        assert await memory.recalled(await made.given()) == ((), ())
        assert made.counted("fairlead_case_failures") == 0.0


async def test_what_was_written_is_recalled_at_once() -> None:
    """The evaluator's case of the epoch before the last, for the next plan."""
    async with ledger() as made:
        memory = await made.restart()
        for _ in range(67):
            await made.served("m1", 1, 4.0)
            await made.world.seconds(10)
        (steady, quiet), similarities = await memory.recalled(await made.given())
        assert (steady.epoch, quiet.epoch) == (1, 0)
        assert similarities[0] > 0.8
        assert similarities[1] < 0.1


async def test_memory_survives_a_restart() -> None:
    """All pages of it."""
    async with ledger() as made:
        await fill(made, *(past(n) for n in range(2 * PAGE + 1)))
        memory = await made.restart()
        assert memory.has_one_of(past(0).began_at_s, past(0).began_at_s + 1.0)
        assert memory.has_one_of(past(2 * PAGE).began_at_s, past(2 * PAGE).began_at_s + 1.0)
        assert len(numbers(await memory.recalled(await made.given()))) == 4


async def test_a_case_that_was_deleted_meanwhile_gives_its_place_to_another() -> None:
    """What a prompt shows is there."""
    async with ledger() as made:
        await fill(made, *(past(n) for n in range(6)))
        memory = await made.restart()
        given = await made.given()
        first = numbers(await memory.recalled(given))
        for number in first[:2]:
            await made.store.delete_case(past(number).id)
        again = numbers(await memory.recalled(given))
        assert len(again) == 4
        assert not set(first[:2]) & set(again)


async def test_a_case_that_was_quarantined_meanwhile_is_not_shown() -> None:
    """Nor another time."""
    async with ledger() as made:
        await fill(made, past(1), past(2, rate=-2.1))
        memory = await made.restart()
        given = await made.given()
        assert sorted(numbers(await memory.recalled(given))) == [1, 2]
        await fill(made, past(1).model_copy(update={"quarantined": True}))
        assert numbers(await memory.recalled(given)) == [2]
        assert numbers(await memory.recalled(given)) == [2]


async def test_a_case_with_rates_that_nobody_could_measure_is_not_shown() -> None:
    """Somebody has poisoned it: a plan that expected them would flood the twin."""
    async with ledger() as made:
        poison = past(1).model_copy(update={"rates": (Rate(model="m1", per_s=1e9),)})
        await fill(made, poison, past(2))
        memory = await made.restart()
        assert numbers(await memory.recalled(await made.given())) == [2]


class Fleeting(MemoryStore):
    """A store whose cases are gone, once it is told to, whenever some are to be read in full."""

    fleeting = False

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        for name in cases if self.fleeting else ():
            await self.delete_case(name)
        return await super().some_cases(cases)


async def test_where_everything_goes_while_it_is_chosen_nothing_is_recalled() -> None:
    """After a few choices it is left at that."""
    async with ledger(store_type=Fleeting) as made:
        await fill(made, *(past(n) for n in range(20)))
        memory = await made.restart()
        assert isinstance(made.store, Fleeting)
        made.store.fleeting = True
        assert await memory.recalled(await made.given()) == ((), ())
        assert len(await made.cases()) == 20 - 3 * 4


async def test_what_others_write_and_delete_is_noticed() -> None:
    """Within a minute of the wall."""
    async with ledger() as made:
        await fill(made, past(1))
        memory = await made.restart()
        await fill(made, past(2))
        await made.store.delete_case(past(1).id)
        assert numbers(await memory.recalled(await made.given())) == []
        await made.world.seconds(REFRESH_S + 1.0)
        assert numbers(await memory.recalled(await made.given())) == [2]


async def test_another_cluster_has_a_memory_of_its_own() -> None:
    """A node more, and cases of the nodes there were are not compared any more."""
    async with ledger() as made:
        await fill(made, past(1), past(2, cluster_of="another"))
        memory = await made.restart()
        given = await made.given()
        assert numbers(await memory.recalled(given)) == [1]
        larger = cluster(nodes=4)
        assert numbers(await memory.recalled(given.model_copy(update={"cluster": larger}))) == []
        memory.note(past(3))
        memory.forget(past(3).id)
        assert numbers(await memory.recalled(given)) == [1]


async def test_while_the_store_is_away_nothing_is_recalled_and_nothing_raised() -> None:
    """It is counted and said; afterwards all is as before."""
    async with ledger() as made:
        await fill(made, past(1))
        memory = await made.restart()
        given = await made.given()
        made.store.unavailable = True
        with structlog.testing.capture_logs() as logs:
            assert await memory.recalled(given) == ((), ())
        assert [entry["event"] for entry in logs] == ["no case is recalled: the store does not answer"]
        made.store.unavailable = False
        assert numbers(await memory.recalled(given)) == [1]
        assert made.counted("fairlead_case_failures") == 1.0


async def test_a_store_that_is_away_at_the_start_is_read_once_it_is_back() -> None:
    """Neither the process nor the evaluator ends."""
    async with ledger() as made:
        await fill(made, past(1))
        made.store.unavailable = True
        with structlog.testing.capture_logs() as logs:
            memory = await made.restart()
            await made.world.seconds(2)
            made.store.unavailable = False
            await made.world.seconds(3)
        assert memory.has_one_of(past(1).began_at_s, ORIGIN_S)
        assert "reading cases works again" in [entry["event"] for entry in logs]


class Interrupting(MemoryStore):
    """A store that says while a page of cases is on its way what else happens."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.meanwhile: list[Callable[[], None]] = []

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        found = await super().some_cases(cases)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return found


async def test_what_is_written_and_forgotten_during_a_reading_is_not_undone() -> None:
    """The page that is on its way says otherwise."""
    async with ledger(store_type=Interrupting) as made:
        assert isinstance(made.store, Interrupting)
        memory = await made.restart()
        await fill(made, *(past(n) for n in range(PAGE + 1)))
        gone, poor = past(PAGE), past(0)
        worse = poor.model_copy(update={"quarantined": True})
        made.store.meanwhile = [lambda: memory.forget(gone.id), lambda: memory.note(worse)]
        await memory.refresh()
        assert made.store.meanwhile == []
        assert not memory.has_one_of(gone.began_at_s, gone.began_at_s + 1.0)
        assert memory.beyond(PAGE - 1) == (poor.id,), "in quarantine, as was noted"


async def test_only_what_has_changed_is_read_again() -> None:
    """Not what was only cited; what another process has written, quarantined or deleted."""
    async with ledger(store_type=Counting) as made:
        assert isinstance(made.store, Counting)
        await fill(made, *(past(n) for n in range(2 * PAGE)))
        memory = await made.restart()
        assert sum(made.store.cases_read.values()) == 2 * PAGE
        made.store.cases_read.clear()
        await made.store.cite_cases([past(1).id])
        await memory.refresh()
        assert not made.store.cases_read
        await made.store.quarantine_cases([past(2).id], "a test says so")
        await made.store.delete_case(past(3).id)
        await fill(made, past(4, 0.9), past(900))
        await memory.refresh()
        assert made.store.cases_read == {past(n).id: 1 for n in (2, 4, 900)}
        assert made.registry.get_sample_value("fairlead_cases_kept") == 2 * PAGE
        assert memory.beyond(2 * PAGE - 1) == (past(2).id,)


async def test_a_store_that_goes_away_while_cases_are_read_is_asked_for_the_rest_again() -> None:
    """What it has given stays, and nothing counts as read that was not."""
    async with ledger(store_type=Interrupting) as made:
        assert isinstance(made.store, Interrupting)
        memory = await made.restart()
        await fill(made, *(past(n) for n in range(2 * PAGE)))
        away = made.store
        away.meanwhile = [lambda: setattr(away, "unavailable", True)]
        with pytest.raises(StoreUnavailable):
            await memory.refresh()
        assert made.registry.get_sample_value("fairlead_cases_kept") == PAGE
        made.store.unavailable = False
        await memory.refresh()
        assert made.registry.get_sample_value("fairlead_cases_kept") == 2 * PAGE


class Counting(MemoryStore):
    """A store that counts which lines of the journal and which cases are read in full, and may fail at a line."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.read: Counter[str] = Counter()
        self.cases_read: Counter[str] = Counter()
        self.questions = 0
        """About cases."""
        self.fails_at = ""

    async def cases(self, *, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        self.questions += 1
        return await super().cases(cluster=cluster, limit=limit, cursor=cursor)

    async def case_stamps(self, cluster: str) -> dict[str, float]:
        self.questions += 1
        return await super().case_stamps(cluster)

    async def some_cases(self, cases: Sequence[str]) -> tuple[Case, ...]:
        self.questions += 1
        self.cases_read.update(cases)
        return await super().some_cases(cases)

    async def decision(self, decision: str) -> DecisionRecord:
        if decision == self.fails_at:
            self.fails_at = ""
            raise StoreUnavailable("a test took it away")
        self.read[decision] += 1
        return await super().decision(decision)


def tape(made: Ledger) -> Tape:
    """Return a tape as a planner has it."""
    return Tape(made.store, 10, EPOCH_S)


async def test_the_tape_reads_each_slot_decision_once() -> None:
    """Those of slots alone; what is asked for again, or less far back, comes from memory."""
    async with ledger(store_type=Counting) as made:
        assert isinstance(made.store, Counting)
        await made.served("m2", 1, 4.0)
        await made.until(400.0)
        made.store.read.clear()
        one = tape(made)
        recent = await one.read(ORIGIN_S + 350.0)
        assert [f.seen.slot for f in recent] == [12, 13]
        older = await one.read(ORIGIN_S)
        assert [f.seen.slot for f in older] == list(range(14))
        assert [f.seen.slot for f in older if f.begin is not None] == [0, 10]
        assert await one.read(ORIGIN_S + 350.0) == recent
        assert set(made.store.read.values()) == {1}
        assert len(made.store.read) == 14
        await made.until(2000.0)
        assert [f.seen.slot for f in await one.read(ORIGIN_S + 1900.0)] == [64, 65, 66]
        assert (await one.read(ORIGIN_S))[0].seen.slot == 26, "four epochs are kept"


async def test_a_tape_that_was_interrupted_misses_nothing() -> None:
    """What was read before it broke off stands at the old end."""
    async with ledger(store_type=Counting) as made:
        assert isinstance(made.store, Counting)
        await made.until(200.0)
        one = tape(made)
        lines = (await made.store.decision_summaries(agent="slot-agent", limit=100, cursor=None)).items
        made.store.fails_at = next(line.id for line in lines if line.number == 3 and line.kind == "slot")
        try:
            await one.read(ORIGIN_S)
        except StoreUnavailable:
            assert made.store.fails_at == ""
        assert [f.seen.slot for f in await one.read(ORIGIN_S)] == list(range(7))
