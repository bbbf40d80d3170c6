"""What MongoDB alone must hold to for agents: migration, several processes, crashes, rows that somebody else wrote."""

import asyncio
import signal
import sys

import pytest
import structlog

from fairlead.adapters.mongo import MongoStore, connect
from fairlead.contracts.dialogue import BudgetLimits, Exchange
from fairlead.contracts.errors import Conflict
from fairlead.contracts.events import Mode, Wake
from fairlead.contracts.settings import MongoSettings
from tests.adapters import store_examples as some
from tests.adapters.llm_questions import answer, question
from tests.adapters.store_fixture import Heard
from tests.adapters.test_mongo import raw
from tests.adapters.test_store_words import goal

RESERVE = """
import asyncio, os, signal, sys
from fairlead.adapters.mongo import MongoStore
from fairlead.contracts.dialogue import BudgetLimits
from fairlead.contracts.settings import MongoSettings

async def ask():
    store = MongoStore(MongoSettings(uri=sys.argv[1], database=sys.argv[2]))
    limits = BudgetLimits(tokens_per_hour=1000)
    refusals = await asyncio.gather(*(store.reserve(f"{sys.argv[3]}-{n}", 30, 0.0, limits) for n in range(20)))
    print(sum(one is None for one in refusals), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(ask())
"""


async def test_outcomes_of_before_are_tallied_after_a_migration(mongo_settings: MongoSettings) -> None:
    """Version 2 kept their JSON alone; modes stay as they were set, and a collection that holds something stays."""
    client, database = await raw(mongo_settings)
    await database.meta.insert_one({"_id": "schema", "version": 2, "busy": False})
    outcomes = [some.outcome(f"r{n}", 1001.0 + n % 7) for n in range(2300)]
    await database.outcomes.insert_many(
        {"_id": f"gateway/site-1/a/1/{n:06d}", "at_s": one.ended_at_s, "json": one.to_json()}
        for n, one in enumerate(outcomes)
    )
    auto = Mode(agent="planner", mode="auto", by="ann", at_s=5.0, revision=1)
    await database.modes.insert_one({"_id": "planner", "revision": 1, "json": auto.to_json(), "at_s": 5.0})
    await database.actions.insert_one({"_id": "mine"})
    store = await connect(mongo_settings)
    (tally,) = await store.tallies(1000.0, 1300.0)
    assert (tally.model, tally.finished, tally.judged) == ("text", 2300, 2300)
    assert tally.latency_sum_s == sum(one.ended_at_s - one.arrived_at_s for one in outcomes)
    assert (await store.mode("planner"), (await store.mode("slot-agent")).mode) == (auto, "shadow")
    assert await database.actions.count_documents({}) == 1
    await store.close()
    await database.actions.delete_one({"_id": "mine"})
    await database.meta.update_one({"_id": "schema"}, {"$set": {"version": 2}})
    await (await connect(mongo_settings)).close()
    assert "actions" not in await database.list_collection_names()
    await client.close()


async def test_processes_that_are_killed_leave_what_they_set_aside(
    mongo_store: MongoStore, mongo_settings: MongoSettings
) -> None:
    """Three ask at once for sixty times 30 tokens of 1000; what was granted counts, never more than the limit."""
    uri = mongo_settings.uri
    assert uri is not None
    children = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RESERVE, uri, mongo_settings.database, f"p{n}"), stdout=asyncio.subprocess.PIPE
        )
        for n in range(3)
    ]
    said = await asyncio.gather(*(child.communicate() for child in children))
    assert [child.returncode for child in children] == [-signal.SIGKILL] * 3
    assert sum(int(out) for out, _ in said) == 33
    assert (await mongo_store.spent()).tokens_hour == 990
    refusal = await mongo_store.reserve("late", 30, 0.0, BudgetLimits(tokens_per_hour=1000))
    assert refusal is not None
    assert refusal.text == "0 of 1000 tokens an hour are spent, 990 reserved, 30 wanted"


async def test_clients_that_change_the_budget_at_once_lose_nothing(mongo_settings: MongoSettings) -> None:
    """Each reservation and settlement of six clients is there afterwards, however they interleave."""
    stores = [await connect(mongo_settings) for _ in range(6)]

    async def spend(n: int, store: MongoStore) -> None:
        for turn in range(10):
            assert await store.reserve(f"{n}-{turn}", 100, 0.0, BudgetLimits()) is None
            if turn % 2:
                await store.settle(f"{n}-{turn}", 7, 0.001)

    await asyncio.gather(*(spend(n, store) for n, store in enumerate(stores)))
    spent = await stores[0].spent()
    assert (spent.tokens_day, spent.money_day) == (6 * 5 * 107, 0.03)
    for store in stores:
        await store.close()


async def test_the_budget_ages_by_the_database_s_time(mongo_store: MongoStore, mongo_settings: MongoSettings) -> None:
    """Moved back by an hour it is the day's, by a day nobody's."""
    await mongo_store.settle("a1", 50, 0.5)
    assert await mongo_store.reserve("a2", 30, 0.0, BudgetLimits()) is None
    client, database = await raw(mongo_settings)
    for minutes, hour, day in ((0, 80, 80), (70, 0, 80), (1450, 0, 0)):
        row = await database.budget.find_one({"_id": "llm"})
        (spent,), (reserved,) = row["spent"], row["open"]
        moved = {"spent": [[spent[0] - minutes, *spent[1:]]], "open": [[reserved[0], reserved[1] - minutes, 30, 0]]}
        await database.budget.update_one({"_id": "llm"}, {"$set": moved, "$inc": {"revision": 1}})
        totals = await mongo_store.spent()
        assert (totals.tokens_hour, totals.tokens_day) == (hour, day)
        await database.budget.update_one({"_id": "llm"}, {"$set": {"spent": row["spent"], "open": row["open"]}})
    await client.close()


async def test_a_memory_outlives_its_process(mongo_settings: MongoSettings) -> None:
    """Cases, proposals, statuses and the budget are there for the next one."""
    first = await connect(mongo_settings)
    await first.add_case(some.case(), capacity=8)
    await first.cite_cases(["c1"])
    await first.put_proposal(some.proposal(), if_revision=None)
    await first.put_agent_status(some.status())
    await first.settle("a1", 50, 0.5)
    await first.close()
    second = await connect(mongo_settings)
    assert (await second.cases(cluster="d1", limit=9, cursor=None)).items == (some.case(cited=1),)
    assert (await second.proposals(limit=9, cursor=None)).items == (some.proposal(),)
    assert (await second.agent_statuses(), (await second.spent()).tokens_day) == ((some.status(),), 50)
    await second.close()


async def test_goals_of_before_come_without_what_a_model_was_asked_too(mongo_settings: MongoSettings) -> None:
    """Their rows said neither until when they are nor what they are without that."""
    client, database = await raw(mongo_settings)
    store = await connect(mongo_settings)
    exchange = Exchange(id="g1.1", ask=question(), answer=answer())
    for name, until_s in (("g1", None), ("g2", 1500.0)):
        await store.put_goal(
            goal(name).model_copy(update={"exchanges": (exchange,), "until_s": until_s}), if_revision=None
        )
    await database.goals.update_many({}, {"$unset": {"brief": "", "until_s": ""}})
    assert await store.lasting_goals(1500.0) == (goal("g1"),)
    await store.close()
    await client.close()


async def test_rows_that_are_no_cases_are_said_and_passed_over(mongo_settings: MongoSettings) -> None:
    """A listing goes on behind them, page by page; one that is asked for says why it cannot be had."""
    client, database = await raw(mongo_settings)
    with structlog.testing.capture_logs() as logs:
        store = await connect(mongo_settings)
        for n in range(1, 5):
            await store.add_case(some.case(f"c{n}", 1000.0 + n), capacity=8)
        await database.cases.update_one({"_id": "c2"}, {"$set": {"json": '{"id":"c2"}'}})
        await database.cases.update_one({"_id": "c3"}, {"$unset": {"json": ""}})
        await database.cases.insert_many([{"hello": 1}, {"_id": "text", "at_s": "noon"}, {"at_s": 5.0}])
        await database.cases.insert_one({"_id": "odd", "cluster": "d1", "at_s": 2000, "json": 5, "cited": 0})
        pages, cursor = [], None
        while True:
            page = await store.cases(cluster=None, limit=2, cursor=cursor)
            pages.append([one.id for one in page.items])
            cursor = page.cursor
            if cursor is None:
                break
        assert pages == [["c4"], [], ["c1"]]
        assert [one.id for one in (await store.cases(cluster="d1", limit=9, cursor=None)).items] == ["c4", "c1"]
    said = [(log["event"], log.get("case")) for log in logs]
    assert said[0][0] == "rows that are no cases"
    assert len(logs[0]["cases"]) == 3
    assert said[1:4] == [("case cannot be read", name) for name in ("odd", "c3", "c2")]
    await database.cases.update_one({"_id": "c1"}, {"$set": {"cited": "many"}})
    reasons = {"c1": "'many'", "c2": "epoch: Field required", "c3": "no field 'json'", "odd": "should be"}
    for name, why in reasons.items():
        with pytest.raises(Conflict, match=f"case '{name}' cannot be read: .*{why}"):
            await store.case(name)
    assert (await store.case_stamps("d1")).keys() == {"odd", "c4", "c3", "c2", "c1"}
    assert (await store.case_stamps("d1"))["odd"] == 0.0
    assert await store.some_cases(["c2", "c4", "odd"]) == (some.case("c4", 1004.0),)
    for garbage in (b"no zlib", 5):
        await database.cases.update_one({"_id": "c4"}, {"$set": {"evidence": garbage}})
        with pytest.raises(Conflict, match="what case 'c4' could be judged by cannot be read"):
            await store.evidence("c4")
    for n in range(5, 20):
        await store.add_case(some.case(f"c{n}", 1000.0 + n), capacity=8)
    assert await database.cases.count_documents({"cluster": "d1"}) == 9
    await store.delete_case("odd")
    await store.close()
    await client.close()


async def test_what_goes_by_its_age_is_no_news(mongo_store: MongoStore, mongo_settings: MongoSettings) -> None:
    """A wake or a proposal that the database drops later wakes nobody."""
    client, database = await raw(mongo_settings)
    async with Heard(mongo_store, ["wake", "proposal"]) as heard:
        await mongo_store.wake(Wake(model="text", reason="wait", site=None, wait_s=1.0, at_s=1.0))
        await mongo_store.put_proposal(some.proposal(), if_revision=None)
        await database.wakes.delete_many({})
        await database.proposals.delete_many({})
        await mongo_store.put_proposal(some.proposal("p2"), if_revision=None)
        await heard.hears(("wake", "text", "wait"), ("proposal", "p1", "pending"), ("proposal", "p2", "pending"))
    await client.close()
