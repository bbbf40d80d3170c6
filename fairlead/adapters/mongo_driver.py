"""How all of the store's parts speak to MongoDB: bounded in time, foreign errors mapped here alone."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import pymongo
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidURI, PyMongoError

from fairlead.adapters import store_rules as rules
from fairlead.contracts.errors import ConfigError, StoreUnavailable, foreign
from fairlead.contracts.ports import Page
from fairlead.contracts.settings import MongoSettings

Result = TypeVar("Result")
Item = TypeVar("Item")

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]
Session: TypeAlias = AsyncClientSession

MAJORITY = WriteConcern("majority")
"""Durable, and seen by change streams at once: they read what a majority has in its journal."""

FOLLOWED = WriteConcern(w=1)
"""For writes that a majority write follows before anybody is told: the journal is in order, so that one makes both
durable, and it takes less than half (0.5 against 1.2 ms CPU a command, measured 2026-11)."""

SELECT_RATIO = 0.4
"""Share of an operation's time-out that may go by until a server is found; leaves time for one retry."""


def open_client(settings: MongoSettings) -> Client:
    """Return a client, not yet connected; raises `ConfigError` if the URI is none."""
    if settings.uri is None:
        raise ConfigError("mongodb.uri is not set: set FAIRLEAD_MONGODB_URI, or run `fairlead up`, which starts one")
    timeout_ms = int(settings.timeout_s * 1000)
    try:
        return AsyncMongoClient(
            settings.uri,
            appname="fairlead",
            tz_aware=True,
            serverSelectionTimeoutMS=int(timeout_ms * SELECT_RATIO),
            connectTimeoutMS=int(timeout_ms * SELECT_RATIO),
            socketTimeoutMS=timeout_ms,
            maxPoolSize=16,
            serverMonitoringMode="poll",  # one connection less for each process; a lost server is seen by what is asked
        )
    except (InvalidURI, DriverConfigurationError, ValueError) as error:
        raise ConfigError(f"mongodb.uri cannot be used: {foreign(error)}") from error


def wall_now() -> datetime.datetime:
    """Return the wall's time now, by which MongoDB expires what it keeps for a while."""
    return datetime.datetime.now(datetime.UTC)


class Cancellation:
    """Notices a cancellation that the driver has swallowed.

    Its network calls go through `asyncio.wait_for`, which in Python 3.11 returns the answer, and drops the
    cancellation, where both come at once (github.com/python/cpython/issues/86296): 13 of 150 cancelled readers of a
    change stream went on for ever (measured 2026-11-21).
    """

    def __init__(self) -> None:
        self._asked = _cancellations()

    def heed(self) -> None:
        """Raise `CancelledError` if the task was asked to end since this was made."""
        if _cancellations() > self._asked:
            raise asyncio.CancelledError


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class Driver:
    """A client, its database, and the one way of asking them."""

    def __init__(self, settings: MongoSettings) -> None:
        self.client = open_client(settings)
        self.database: Database = self.client.get_database(settings.database, write_concern=MAJORITY)
        self.timeout_s = settings.timeout_s

    def collection(self, name: str, write_concern: WriteConcern = MAJORITY) -> Collection:
        """Return a collection whose writes are durable as said."""
        return self.database.get_collection(name, write_concern=write_concern)

    @asynccontextmanager
    async def asking(self, what: str) -> AsyncIterator[None]:
        """Bound what is asked inside by the time-out; raises `StoreUnavailable` for whatever the driver raises.

        The driver keeps the time itself: cancelled while it connects it would leave a socket open. Twice the time ends
        what it forgets.
        """
        cancellation = Cancellation()
        try:
            with pymongo.timeout(self.timeout_s):
                async with asyncio.timeout(2 * self.timeout_s):
                    yield
        except PyMongoError as error:
            raise StoreUnavailable(f"MongoDB could not {what}: {foreign(error)}") from error
        except TimeoutError as error:
            raise StoreUnavailable(f"MongoDB did not {what} within {2 * self.timeout_s:g} s") from error
        finally:
            cancellation.heed()  # also where a `Conflict` is on its way, after which others try again

    async def atomically(self, what: str, work: Callable[[Session], Awaitable[Result]]) -> Result:
        """Return what `work` returns, all of whose writes happen or none; run again where it met another writer."""
        async with self.asking(what), self.client.start_session() as session:
            return await session.with_transaction(work, write_concern=MAJORITY)

    async def close(self) -> None:
        """Let go of all connections."""
        await self.client.close()


def newest_first(field: str) -> list[tuple[str, int]]:
    """Return the order of a listing by the instant in `field`; the cursor of a page is the key of its last row."""
    return [(field, -1), ("_id", -1)]


NEWEST_FIRST = newest_first("at_s")


def after_key(key: Sequence[object], field: str = "at_s") -> Document:
    """Return the query for rows that come after this key, instant and id, in that order."""
    at_s, name = key
    return {"$or": [{field: {"$lt": at_s}}, {field: at_s, "_id": {"$lt": name}}]}


def page_of(rows: Sequence[Document], limit: int, item: Callable[[Document], Item], *key: str) -> Page[Item]:
    """Return the page that `limit` + 1 rows make; `key` names the fields of its cursor."""
    taken = rows[:limit]
    more = len(rows) > limit
    cursor = rules.cursor_of(*(taken[-1][field] for field in key)) if more else None
    return Page(tuple(item(row) for row in taken), cursor)
