"""Rows that people change in MongoDB: each has a revision, and a change names the one that it replaces."""

from typing import TypeVar

from pymongo.errors import DuplicateKeyError

from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.contracts.dialogue import Proposal
from fairlead.contracts.errors import Conflict, RevisionMismatch
from fairlead.contracts.events import Mode
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import Override

Row = Override | Mode | Proposal | Note | Goal
Kept = TypeVar("Kept", Override, Mode, Proposal, Note, Goal)


def row_of(name: str, new: Row, text: str, at_s: float) -> Document:
    """Return the row of a message; `text` and `at_s` are what an event says of it."""
    return {"_id": name, "revision": new.revision, "json": new.to_json(), "at_s": at_s, "text": text}


class RevisedRows:
    """Reads and replaces such rows."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def one(self, collection: str, name: str, message: type[Kept]) -> Kept | None:
        """Return the message of that id, or None."""
        async with self._driver.asking(f"read from {collection}"):
            row = await self._driver.collection(collection).find_one({"_id": name}, {"json": 1})
        return None if row is None else message.from_json(row["json"])

    async def replace(self, collection: str, found: Row | None, row: Document) -> None:
        """Write `row` in place of `found`'s; raises `Conflict` if somebody else was faster."""
        name = row["_id"]
        async with self._driver.asking(f"write to {collection}"):
            rows = self._driver.collection(collection)
            if found is not None:
                result = await rows.replace_one({"_id": name, "revision": found.revision}, row)
                if result.matched_count == 1:
                    return
                raise RevisionMismatch(f"{name!r} in {collection} was changed meanwhile: read it again, then change it")
            try:
                await rows.insert_one(row)
            except DuplicateKeyError as error:
                raise Conflict(f"{name!r} in {collection} was created meanwhile: read it, then change it") from error
