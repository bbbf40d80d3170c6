"""Changes in MongoDB as events: a change stream on the database, taken up where it broke off."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from fairlead.adapters.mongo_driver import Cancellation, Document, Driver
from fairlead.contracts.errors import StoreUnavailable, foreign
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.ports import Clock

KIND_OF: dict[str, EventKind] = {
    "latest": "report",
    "plans": "plan",
    "placements": "placement",
    "tables": "table",
    "decisions": "decision",
    "wakes": "wake",
    "overrides": "override",
    "modes": "mode",
    "nodes": "node",
    "models": "model",
    "sites": "site",
    "proposals": "proposal",
    "notes": "note",
    "goals": "goal",
}
"""Kind of the event when a document of the collection changes."""

EXPIRING = ("wakes", "proposals")
"""Collections whose documents go by their age, which is no news."""

BROKEN_FOR_S = 30.0
"""Wall seconds for which a broken stream is taken up again before its reader is told."""

BACKOFF_S = (0.05, 2.0)
"""Wall seconds to the next attempt: the first, and the most; doubled and spread by half."""

AWAIT_S = 1.0
"""Wall seconds that the server holds a question for changes; MongoDB's own default."""

HISTORY_LOST = (136, 260, 280, 286)
"""MongoDB's codes for a stream that cannot be taken up: capped position lost, bad token, fatal, history lost."""


def _pipeline(kinds: Sequence[EventKind]) -> list[Document]:
    """Return what the server filters and what it sends: ids and times, not the documents."""
    collections = [name for name, kind in KIND_OF.items() if kind in kinds]
    return [
        {
            "$match": {
                "ns.coll": {"$in": collections},
                "operationType": {"$in": ["insert", "update", "replace", "delete"]},
                # a former instance's report that is dropped is no news
                "updateDescription.removedFields": {"$in": [None, []]},
                "$or": [{"operationType": {"$ne": "delete"}}, {"ns.coll": {"$nin": EXPIRING}}],
            }
        },
        {
            "$project": {
                "ns.coll": 1,
                "operationType": 1,
                "documentKey": 1,
                "fullDocument.at_s": 1,
                "fullDocument.text": 1,
                "fullDocument.model": 1,
                "updateDescription.updatedFields.at_s": 1,
            }
        },
    ]


async def changes(driver: Driver, clock: Clock, kinds: Sequence[EventKind]) -> AsyncIterator[Event]:
    """Yield what changes from the first time that this is waited for, in order.

    Raises `StoreUnavailable` when the stream has been broken for `BROKEN_FOR_S`, or cannot be taken up without a gap.
    """
    token: Any = None
    sequence = 0
    broken_at_s: float | None = None
    wait_s = BACKOFF_S[0]
    cancellation = Cancellation()
    while True:
        try:
            async with await driver.database.watch(
                _pipeline(kinds), resume_after=token, max_await_time_ms=int(AWAIT_S * 1000)
            ) as stream:
                while stream.alive:
                    change = await stream.try_next()
                    cancellation.heed()
                    token = stream.resume_token or token
                    broken_at_s, wait_s = None, BACKOFF_S[0]
                    if change is not None:
                        sequence += 1
                        yield _event(change, sequence, clock)
            raise StoreUnavailable("MongoDB ended the change stream: its database was dropped")
        except PyMongoError as error:
            cancellation.heed()
            broken_at_s = clock.wall_s() if broken_at_s is None else broken_at_s
            lost = isinstance(error, OperationFailure) and error.code in HISTORY_LOST
            if lost or clock.wall_s() - broken_at_s > BROKEN_FOR_S:
                raise StoreUnavailable(f"MongoDB's change stream broke: {foreign(error)}") from error
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(wait_s * 2, BACKOFF_S[1])


def _event(change: Document, sequence: int, clock: Clock) -> Event:
    kind = KIND_OF[change["ns"]["coll"]]
    name = str(change["documentKey"]["_id"])
    document = change.get("fullDocument") or change.get("updateDescription", {}).get("updatedFields") or {}
    text = "deleted" if change["operationType"] == "delete" else document.get("text", "")
    match kind:
        case "report":
            text, name, _ = name.split("/", 2)
        case "wake":
            name = document.get("model", name)
    return Event(sequence=sequence, kind=kind, id=name, at_s=document.get("at_s", clock.now_s()), text=text)
