"""Plans, placements, tables and the journal in MongoDB: what belongs together is published in one transaction."""

from collections.abc import Sequence
from typing import TypeVar

from pymongo.errors import DuplicateKeyError

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import NEWEST_FIRST, Document, Driver, Session, after_key, page_of
from fairlead.adapters.mongo_schema import packed, unpacked
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, GenerationSeen
from fairlead.contracts.errors import Conflict, NotFound, foreign
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.plans import EpochPlan, Placement, RoutingTable
from fairlead.contracts.ports import Page

Generated = TypeVar("Generated", EpochPlan, Placement, RoutingTable)

HEADS = "heads"
"""The document of `meta` with the generations in force; each publication is a compare-and-set on it."""


class Published:
    """What is in force and what was, newest first."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._meta = driver.collection("meta")
        self._decisions = driver.collection("decisions")

    async def generations(self) -> GenerationSeen:
        """Return the generations in force."""
        async with self._driver.asking("read the generations"):
            return await self._heads(None)

    async def _heads(self, session: Session | None) -> GenerationSeen:
        row = await self._meta.find_one({"_id": HEADS}, session=session) or {}
        return GenerationSeen(plan=row.get("plan", 0), placement=row.get("placement", 0), table=row.get("table", 0))

    async def publish_epoch(self, plan: EpochPlan | None, record: DecisionRecord | None) -> None:
        """Put a plan in force, if there is one, and journal the decision, if one of ours made it."""

        async def write(session: Session) -> None:
            if plan is not None:
                rules.check_plan(plan, await self._heads(session))
            await self._put(session, "plans", [(plan, plan.source)] if plan else [], record)
            await self._advance(session, {"plan": plan.generation} if plan else {})

        what = f"plan {plan.generation}" if plan is not None else "a decision without a plan"
        await self._driver.atomically(f"publish {what}", write)

    async def publish_slot(
        self, placement: Placement | None, table: RoutingTable | None, record: DecisionRecord
    ) -> None:
        """Put both in force and journal the decision."""

        async def write(session: Session) -> None:
            rules.check_slot(placement, table, await self._heads(session))
            await self._put(session, "placements", [(placement, record.id)] if placement else [], record)
            await self._put(session, "tables", [(table, record.id)] if table else [], None)
            heads = {"placement": placement.generation} if placement else {}
            await self._advance(session, heads | ({"table": table.generation} if table else {}))

        await self._driver.atomically(f"publish decision {record.id}", write)

    async def _put(
        self,
        session: Session,
        collection: str,
        messages: Sequence[tuple[EpochPlan | Placement | RoutingTable, str]],
        record: DecisionRecord | None,
    ) -> None:
        if record is not None:
            await self._journal(session, record)
        for message, text in messages:
            row = {
                "_id": message.generation,
                "json": message.to_json(),
                "at_s": message.created_at_s,
                "text": text,
            }
            await self._driver.collection(collection).insert_one(row, session=session)

    async def _advance(self, session: Session, heads: dict[str, int]) -> None:
        if heads:
            await self._meta.update_one({"_id": HEADS}, {"$set": heads}, upsert=True, session=session)

    async def _journal(self, session: Session, record: DecisionRecord) -> None:
        row = {
            "_id": record.id,
            "agent": record.agent,
            "at_s": record.made_at_s,
            "text": record.source,
            "summary": rules.summary_of(record).to_json(),
            "packed": packed(record.to_json()),
        }
        try:
            await self._decisions.insert_one(row, session=session)
        except DuplicateKeyError as error:
            raise Conflict(f"decision {record.id!r} is journaled already") from error

    async def current(self, collection: str, message: type[Generated]) -> Generated | None:
        """Return the newest message of a collection."""
        async with self._driver.asking(f"read the newest of {collection}"):
            row = await self._driver.collection(collection).find_one({}, {"json": 1}, sort=[("_id", -1)])
        return None if row is None else message.from_json(row["json"])

    async def listed(
        self, collection: str, message: type[Generated], *, limit: int, cursor: str | None
    ) -> Page[Generated]:
        """Return messages of a collection, newest first."""
        after: Document = {} if cursor is None else {"_id": {"$lt": rules.key_of(cursor, int)[0]}}
        async with self._driver.asking(f"list {collection}"):
            found = self._driver.collection(collection).find(after, {"json": 1}).sort("_id", -1)
            rows = await found.limit(limit + 1).to_list()
        return page_of(rows, limit, lambda row: message.from_json(row["json"]), "_id")

    async def decision(self, decision: str) -> DecisionRecord:
        """Return a line of the journal."""
        async with self._driver.asking("read the journal"):
            row = await self._decisions.find_one({"_id": decision}, {"packed": 1})
        if row is None:
            raise NotFound(f"there is no decision {foreign(decision)!r}")
        return DecisionRecord.from_json(unpacked(row["packed"]))

    async def put_worth(self, worth: PlanWorth) -> None:
        """Keep what a plan turned out to be worth in the row of its decision, if there is one."""
        async with self._driver.asking("keep what a plan was worth"):
            await self._decisions.update_one({"_id": worth.decision}, {"$set": {"worth": worth.to_json()}})

    async def worth(self, decision: str) -> PlanWorth | None:
        """Return what the plan of a decision turned out to be worth."""
        async with self._driver.asking("read what a plan was worth"):
            row = await self._decisions.find_one({"_id": decision, "worth": {"$exists": True}}, {"worth": 1})
        return None if row is None else PlanWorth.from_json(row["worth"])

    async def decisions(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionRecord]:
        """Return lines of the journal, newest first."""
        rows = await self._lines("packed", agent, limit, cursor)
        return page_of(rows, limit, lambda row: DecisionRecord.from_json(unpacked(row["packed"])), "at_s", "_id")

    async def decision_summaries(self, *, agent: str | None, limit: int, cursor: str | None) -> Page[DecisionSummary]:
        """Return what a listing shows, newest first, without reading the records."""
        rows = await self._lines("summary", agent, limit, cursor)
        return page_of(rows, limit, lambda row: DecisionSummary.from_json(row["summary"]), "at_s", "_id")

    async def _lines(self, field: str, agent: str | None, limit: int, cursor: str | None) -> list[Document]:
        query: Document = {} if cursor is None else after_key(rules.key_of(cursor, float, str))
        if agent is not None:
            query["agent"] = agent
        async with self._driver.asking("list the journal"):
            found = self._decisions.find(query, {field: 1, "at_s": 1}).sort(NEWEST_FIRST)
            return await found.limit(limit + 1).to_list()
