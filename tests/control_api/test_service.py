"""The control API as a process has it: a real server, a real database, both started and lost in any order."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from control_api import service
from control_api.service import listening
from fairlead.adapters import mongod
from fairlead.adapters.mongo import connect
from fairlead.adapters.mongo_driver import Driver
from fairlead.contracts.errors import ConfigError, SchemaTooNew
from fairlead.contracts.settings import ControlSettings, MongoSettings, Settings
from tests.adapters import store_examples as some
from tests.control_api.conftest import DEADLINE_S

ROOT = "/api/v1"


@asynccontextmanager
async def serving(uri: str, database: str = "fairlead") -> AsyncIterator[httpx.AsyncClient]:
    """Run the service without tokens on a free port."""
    port = mongod.free_port()
    settings = Settings(
        cluster=some.cluster(),
        control=ControlSettings(port=port, auth=False),
        mongodb=MongoSettings(uri=uri, database=database, timeout_s=2.0),
    )
    running = asyncio.create_task(service.serve(settings))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
        try:
            await answered(client, "/healthz", 200, running)
            yield client
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def answered(
    client: httpx.AsyncClient, path: str, status: int, running: "asyncio.Task[None] | None" = None
) -> None:
    """Return once the path answers with this status."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if running is not None and running.done():
                running.result()
            try:
                if (await client.get(path)).status_code == status:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)


async def test_it_answers_before_there_is_a_database_and_goes_on_when_it_is_lost(tmp_path: Path) -> None:
    """Static stability: the table in force is served and awaited while MongoDB is gone, and the next one after."""
    port = mongod.free_port()
    # the second database outlives the service: the driver, closed while it connects again, leaves its socket open
    async with AsyncExitStack() as outer, serving(mongod.uri_of(port)) as client:
        await answered(client, "/readyz", 503)
        assert (await client.get(f"{ROOT}/nodes")).status_code == 503
        async with mongod.embedded(tmp_path, port) as first:
            await answered(client, "/readyz", 200)
            assert (await client.get(f"{ROOT}/cluster")).text == some.cluster().to_json()
            store = await connect(MongoSettings(uri=first.uri))
            await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
            assert (await client.get(f"{ROOT}/tables/current?newer_than=0&wait_s=20")).text == some.table(1).to_json()
            poll = asyncio.create_task(client.get(f"{ROOT}/tables/current?newer_than=1&wait_s=60"))
            os.kill(first.pid, signal.SIGKILL)
            await answered(client, "/readyz", 503)
            assert (await client.get(f"{ROOT}/tables/current")).text == some.table(1).to_json()
            assert (await client.get("/healthz")).status_code == 200
        await outer.enter_async_context(mongod.embedded(tmp_path, port))
        await answered(client, "/readyz", 200)
        await store.publish_slot(some.placement(2), some.table(2), some.slot_record(2))
        async with asyncio.timeout(DEADLINE_S):
            assert (await poll).text == some.table(2).to_json()
        await store.close()


async def test_a_database_of_a_newer_schema_ends_the_service(mongo_settings: MongoSettings) -> None:
    """It is refused at the start; nothing in it is touched."""
    store = await connect(mongo_settings)
    await store.close()
    driver = Driver(mongo_settings)
    await driver.collection("meta").update_one({"_id": "schema"}, {"$set": {"version": 99}})
    await driver.close()
    settings = Settings(control=ControlSettings(port=0, auth=False), mongodb=mongo_settings)
    with pytest.raises(SchemaTooNew, match="schema 99"):
        async with asyncio.timeout(DEADLINE_S):
            await service.serve(settings)


async def test_a_port_in_use_ends_the_service(mongo_settings: MongoSettings) -> None:
    """With an error that names it."""
    with listening(ControlSettings(port=0)) as taken:
        taken.listen()
        settings = Settings(control=ControlSettings(port=taken.getsockname()[1]), mongodb=mongo_settings)
        with pytest.raises(ConfigError, match=r"control\.port"):
            async with asyncio.timeout(DEADLINE_S):
                await service.serve(settings)
