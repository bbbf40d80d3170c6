"""A real mongod for a whole test run, and a database of its own for each test."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from fairlead.adapters import bound_child, mongod
from fairlead.adapters.mongo import MongoStore, connect
from fairlead.contracts.settings import MongoSettings

_numbers = itertools.count()


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a mongod until the end of the run."""
    port = mongod.free_port()
    child = subprocess.Popen(
        bound_child.bound(mongod.command(tmp_path_factory.mktemp("mongo"), port)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        asyncio.run(mongod.initiate(mongod.uri_of(port)))
        yield mongod.uri_of(port)
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def mongo_settings(mongo_uri: str) -> MongoSettings:
    """Name a database that no other test uses."""
    return MongoSettings(uri=mongo_uri, database=f"test-{next(_numbers)}")


@pytest.fixture
async def mongo_store(mongo_settings: MongoSettings) -> AsyncIterator[MongoStore]:
    """Connect a store to that database."""
    store = await connect(mongo_settings)
    yield store
    await store.close()
