"""What the database looks like: collections, indexes, lifetimes, and the way here from older versions.

    collection   _id                      beside the message's JSON
    meta         schema | heads | cluster | knowledge | routes | memory/agent
    nodes, models, sites                  revision
    latest       kind/reporter/instance   sequences seen, counters, newest report of each instance
    reports      (time series)            at most one per reporter and wall second
    outcomes     reporter/…/sequence/n    ended_at_s, arrived_at_s, model, status
    choices      reporter/…/sequence/n    the sampled choices
    plans, placements, tables             the generation
    decisions    decision                 agent, made_at_s, summary; the record zlib-compressed in `packed`;
                                          what its plan was worth
    overrides, modes, tokens, wakes
    notes, goals                          what operators said in words, with their revision
    proposals    proposal                 created_at_s, answer; kept as long as reports, the journal has them too
    agents       agent                    what each says of itself
    budget       llm                      minutes in which it was spent, reservations; each change a compare-and-set
    cases        case                     cluster's digest, began_at_s, realised F, regime, how often cited,
                                          quarantine, changed_at; what it is judged by zlib-compressed in
                                          `evidence`
    episodes                              nothing: episodes are files (docs/episodes.md)

JSON is kept as text, not as BSON: it comes back byte for byte, whatever numbers are in it.
"""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bson import Binary
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.errors import DuplicateKeyError, OperationFailure

from fairlead.adapters.mongo_driver import FOLLOWED, Database, Document, Driver
from fairlead.contracts.errors import SchemaTooNew, StoreUnavailable, foreign
from fairlead.contracts.readings import Outcome

VERSION = 4
"""Of what this file declares; older ones are migrated, newer ones refused."""

PACK_LEVEL = 3
"""Of zlib: a record of 7 × 24 shrinks from 22 to 3.7 KB in 0.07 ms, of 100 × 20 from 85 to 12 KB in 0.4 ms; level 6
saves a tenth more in two and a half times that (measured 2026-11)."""

MIGRATION_LIMIT_S = 600.0
"""Wall seconds that a migration may take before another process believes that it died."""

MIGRATION_BATCH = 200
"""Documents that a migration reads and writes at once."""

MIGRATION_OUTCOMES = 2000
"""Outcomes, which are small, likewise: 14 000 to 33 000 a second are migrated (measured 2026-11-21)."""

MIGRATION_LOOK_S = 0.2
"""Wall seconds between looks whether another process has finished a migration."""

NAMESPACE_EXISTS, INDEX_OPTIONS_CONFLICT = 48, 85
"""MongoDB's error codes."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index of a collection."""

    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    expires: bool = False
    """Documents go when this date is older than `report_ttl_s`."""

    @property
    def name(self) -> str:
        """Its name in the database."""
        return "_".join(field for field, _ in self.keys)


NEWEST_FIRST = Index((("at_s", DESCENDING), ("_id", DESCENDING)))
EXPIRES = Index((("kept_at", ASCENDING),), expires=True)

BY_CHANGE = Index((("cluster", ASCENDING), ("at_s", DESCENDING), ("_id", DESCENDING), ("changed_at", ASCENDING)))
"""Of cases: serves listings of one cluster, and says without a look at the rows which of them have changed."""

COLLECTIONS: dict[str, tuple[Index, ...]] = {
    "meta": (),
    "nodes": (),
    "models": (),
    "sites": (),
    "latest": (Index((("kind", ASCENDING), ("reporter", ASCENDING))),),
    "outcomes": (NEWEST_FIRST, EXPIRES),
    "choices": (EXPIRES,),
    "plans": (),
    "placements": (),
    "tables": (),
    "decisions": (NEWEST_FIRST, Index((("agent", ASCENDING), ("at_s", DESCENDING), ("_id", DESCENDING)))),
    "overrides": (),
    "modes": (),
    "tokens": (Index((("sha256", ASCENDING),), unique=True),),
    "wakes": (EXPIRES,),
    "proposals": (Index((("created_at_s", DESCENDING), ("_id", DESCENDING))), EXPIRES),
    "notes": (),
    "goals": (),
    "agents": (),
    "budget": (),
    "cases": (NEWEST_FIRST, BY_CHANGE),
    "episodes": (NEWEST_FIRST,),
}

REPORTS = "reports"
REPORTS_OPTIONS = {"timeField": "kept_at", "metaField": "reporter", "granularity": "seconds"}


async def prepare(driver: Driver, ttl_s: float) -> None:
    """Bring the database to what this file declares; several processes may do so at once.

    Raises `SchemaTooNew`, `StoreUnavailable`.
    """
    async with driver.asking("tell whether it is a replica set"):
        hello = await driver.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StoreUnavailable(
            "MongoDB is not a replica set: change streams and transactions need one (start it with --replSet and run "
            "rs.initiate() once; a single member suffices)"
        )
    await _schema(driver)
    await _create(driver, max(1, int(ttl_s)))
    await _migrate(driver)


async def _create(driver: Driver, ttl_s: int) -> None:
    async with driver.asking("list its collections"):
        there = set(await driver.database.list_collection_names())
    for name, indexes in COLLECTIONS.items():
        async with driver.asking(f"create collection {name} and its indexes"):
            if name not in there:
                await _make(driver.database, name)
            for index in indexes:
                await _index(driver.database, name, index, ttl_s)
    async with driver.asking(f"create collection {REPORTS}"):
        if REPORTS not in there:
            await _make(driver.database, REPORTS, REPORTS_OPTIONS)
        await driver.database.command("collMod", REPORTS, expireAfterSeconds=ttl_s)


async def _index(database: Database, name: str, index: Index, ttl_s: int) -> None:
    """Make an index, or give the one that is there the lifetime now set."""
    expires = {"expireAfterSeconds": ttl_s} if index.expires else {}
    try:
        await database[name].create_indexes(
            [IndexModel(list(index.keys), name=index.name, unique=index.unique, **expires)]
        )
    except OperationFailure as error:
        if error.code != INDEX_OPTIONS_CONFLICT or not index.expires:
            raise
        await database.command("collMod", name, index={"name": index.name, **expires})


async def _make(database: Database, name: str, timeseries: dict[str, str] | None = None) -> None:
    try:
        await database.create_collection(name, check_exists=False, timeseries=timeseries)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:  # another process was faster
            raise


async def _schema(driver: Driver) -> tuple[int, bool]:
    """Return the schema's version, and whether somebody migrates it; a new database gets ours."""
    meta = driver.collection("meta")
    async with driver.asking("read its schema version"):
        with contextlib.suppress(DuplicateKeyError):
            await meta.insert_one({"_id": "schema", "version": VERSION, "busy": False})
        found = await meta.find_one({"_id": "schema"}) or {}
    version = found.get("version")
    if not isinstance(version, int) or not min(MIGRATIONS) <= version <= VERSION:
        raise SchemaTooNew(
            f"database {driver.database.name!r} has schema {foreign(version)}, this one knows {min(MIGRATIONS)} to "
            f"{VERSION}: install the Fairlead that wrote it or a later one, or name another database"
        )
    return version, bool(found.get("busy"))


async def _migrate(driver: Driver) -> None:
    """Take the database to `VERSION`, one step at a time, each by one process while the others wait."""
    waited_s = 0.0
    while True:
        version, busy = await _schema(driver)
        if version == VERSION:
            return
        if busy and waited_s < MIGRATION_LIMIT_S:
            waited_s += MIGRATION_LOOK_S
            await asyncio.sleep(MIGRATION_LOOK_S)
        else:
            await _step(driver, version, busy=busy)


async def _step(driver: Driver, version: int, *, busy: bool) -> None:
    """Run the migration from `version` if no other process claims it first."""
    meta = driver.collection("meta")
    async with driver.asking("claim a migration"):
        claimed = await meta.update_one(
            {"_id": "schema", "version": version, "busy": True if busy else {"$ne": True}}, {"$set": {"busy": True}}
        )
    if claimed.matched_count == 0:
        await asyncio.sleep(MIGRATION_LOOK_S)
        return
    try:
        await MIGRATIONS[version](driver)
    except BaseException:
        async with driver.asking("give a migration back"):
            await meta.update_one({"_id": "schema", "version": version}, {"$set": {"busy": False}})
        raise
    async with driver.asking("finish a migration"):
        await meta.update_one({"_id": "schema"}, {"$set": {"version": version + 1, "busy": False}})


async def _pack_decisions(driver: Driver) -> None:
    """1 → 2: the journal's records, text in `record` before, are compressed in `packed`."""
    decisions = driver.collection("decisions")
    while True:
        async with driver.asking("migrate the journal"):
            found = decisions.find({"record": {"$exists": True}}, {"record": 1}).limit(MIGRATION_BATCH)
            rows = await found.to_list()
            if not rows:
                return
            await decisions.bulk_write(
                [
                    UpdateOne(
                        {"_id": row["_id"]}, {"$set": {"packed": packed(row["record"])}, "$unset": {"record": ""}}
                    )
                    for row in rows
                ]
            )


async def _spread_outcomes(driver: Driver) -> None:
    """2 → 3: outcomes say beside their JSON what is counted; the collection that nobody wrote is dropped."""
    outcomes = driver.collection("outcomes", FOLLOWED)
    after = ""
    while True:
        async with driver.asking("migrate the outcomes"):
            found = outcomes.find({"_id": {"$gt": after}}, {"json": 1}).sort("_id", 1).limit(MIGRATION_OUTCOMES)
            rows = await found.to_list()
            if not rows:
                break
            await outcomes.bulk_write(
                [
                    UpdateOne({"_id": row["_id"]}, {"$set": outcome_fields(Outcome.from_json(row["json"]))})
                    for row in rows
                ],
                ordered=False,
            )
            after = rows[-1]["_id"]
    async with driver.asking("drop a collection that nobody wrote"):
        if await driver.collection("actions").find_one() is None:
            await driver.collection("actions").drop()


async def _without_candidates(driver: Driver) -> None:
    """3 → 4: a setting that steered nothing has left the vocabulary, so it leaves the records that name it."""
    decisions = driver.collection("decisions")
    after = ""
    while True:
        async with driver.asking("migrate the journal"):
            found = decisions.find({"_id": {"$gt": after}}, {"packed": 1}).sort("_id", 1).limit(MIGRATION_BATCH)
            rows = await found.to_list()
            if not rows:
                return
            texts = [(row["_id"], unpacked(row["packed"]).decode()) for row in rows]
            changes = [
                UpdateOne({"_id": name}, {"$set": {"packed": packed(CANDIDATES.sub("", text))}})
                for name, text in texts
                if CANDIDATES.search(text)
            ]
            if changes:
                await decisions.bulk_write(changes, ordered=False)
            after = rows[-1]["_id"]


CANDIDATES = re.compile(r'"candidates":\d+,(?="speed_gain")')
"""As schema 3 wrote it, in the middle of the controller's settings; the gate's setting of that name is another one."""


def outcome_fields(outcome: Outcome) -> Document:
    """Return what an outcome's row says beside its JSON; `at_s` is when it ended."""
    return {
        "at_s": outcome.ended_at_s,
        "arrived_at_s": outcome.arrived_at_s,
        "model": outcome.model,
        "status": outcome.status,
    }


MIGRATIONS: dict[int, Callable[[Driver], Awaitable[None]]] = {
    1: _pack_decisions,
    2: _spread_outcomes,
    3: _without_candidates,
}
"""By the version that each starts from; each may be run again after it was cut off in the middle."""


def packed(text: str) -> Binary:
    """Return a text as it is kept where it may be large."""
    return Binary(zlib.compress(text.encode(), PACK_LEVEL))


def unpacked(data: bytes) -> bytes:
    """Return the text that `packed` made this of, as UTF-8."""
    return zlib.decompress(data)
