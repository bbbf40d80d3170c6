"""The store port's fake and MongoDB, each empty, and a reader of changes."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.mongo import connect
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.ports import Store
from fairlead.contracts.settings import MongoSettings
from tests.adapters import store_examples as some
from tests.waiting import until


@pytest.fixture(params=["memory", "mongo"])
def database(request: pytest.FixtureRequest) -> MongoSettings | None:
    """Say where the store keeps what it is given; None in memory."""
    if request.param == "memory":
        return None
    settings: MongoSettings = request.getfixturevalue("mongo_settings")
    return settings


@pytest.fixture
async def store(database: MongoSettings | None) -> AsyncIterator[Store]:
    """Give an empty store."""
    if database is None:
        yield MemoryStore()
        return
    mongo = await connect(database)
    yield mongo
    await mongo.close()


class Heard:
    """A reader of changes that is known to listen."""

    def __init__(self, store: Store, kinds: Sequence[EventKind]) -> None:
        self.events: list[Event] = []
        self._store = store
        self._kinds = (*kinds, "override") if "override" not in kinds else tuple(kinds)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Heard":
        self._task = asyncio.create_task(self._read())
        await until(self._knocked)
        return self

    async def _read(self) -> None:
        async for event in self._store.changes(self._kinds):
            self.events.append(event)

    async def _knocked(self) -> bool:
        await self._store.put_override(some.override("knock"), if_revision=None)
        await self._store.delete_override("knock")
        await asyncio.sleep(0.01)
        return any(event.id == "knock" for event in self.events)

    def news(self) -> list[tuple[str, str, str]]:
        """Return kind, id and text of what was heard since."""
        return [(e.kind, e.id, e.text) for e in self.events if e.id != "knock"]

    async def hears(self, *news: tuple[str, str, str]) -> None:
        """Wait until as much was heard, and check that it is this."""

        async def all_there() -> bool:
            return len(self.news()) >= len(news)

        await until(all_there)
        assert self.news() == list(news)

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
