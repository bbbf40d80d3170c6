"""What a database has kept of a stretch of domain time, in order, some at a time: what episodes are recorded from."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.adapters.mongo_schema import REPORTS, unpacked
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.readings import Choice, GatewayReport, NodeReport, Outcome
from fairlead.contracts.settings import MongoSettings

Kept = TypeVar("Kept")

BATCH = 200
"""Documents that are read at once; of decisions, of which each can be a megabyte, a tenth."""


class MongoHistory:
    """Readings and decisions of a database; each method yields those from one instant until before another."""

    def __init__(self, settings: MongoSettings) -> None:
        self._driver = Driver(settings)

    async def arrivals(self) -> tuple[float, float] | None:
        """Return the first and the last arrival of which the outcome is kept; None without any."""
        found = []
        for order in (1, -1):
            async with self._driver.asking("find the first and the last outcome"):
                cursor = self._driver.collection("outcomes").find({}, {"arrived_at_s": 1})
                found += await cursor.sort([("arrived_at_s", order)]).limit(1).to_list()
        return (found[0]["arrived_at_s"], found[1]["arrived_at_s"]) if found else None

    def arrived(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by when their requests arrived."""
        return self._read("outcomes", "arrived_at_s", since_s, until_s, _outcome)

    def outcomes(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by when they ended."""
        return self._read("outcomes", "at_s", since_s, until_s, _outcome)

    def choices(self, since_s: float, until_s: float) -> AsyncIterator[Choice]:
        """Yield the sampled choices by when they were made."""
        return self._read("choices", "at_s", since_s, until_s, lambda row: Choice.from_json(row["json"]))

    def reports(self, since_s: float, until_s: float) -> AsyncIterator[NodeReport | GatewayReport]:
        """Yield reports by when they were observed: of each reporter the last of each wall second."""
        return self._read(REPORTS, "at_s", since_s, until_s, _report)

    def decisions(self, since_s: float, until_s: float) -> AsyncIterator[DecisionRecord]:
        """Yield lines of the journal by when they were made."""
        return self._read("decisions", "at_s", since_s, until_s, _record, BATCH // 10)

    async def _read(
        self,
        collection: str,
        field: str,
        since_s: float,
        until_s: float,
        kept: Callable[[Document], Kept],
        batch: int = BATCH,
    ) -> AsyncIterator[Kept]:
        """Yield what is kept in a collection in order of an instant, holding one batch at a time."""
        found = self._driver.collection(collection).find({field: {"$gte": since_s, "$lt": until_s}})
        cursor = found.sort([(field, 1), ("_id", 1)]).batch_size(batch)
        try:
            while True:
                rows: Sequence[Document]
                async with self._driver.asking(f"read {collection} of a stretch of time"):
                    rows = await cursor.to_list(batch)
                for row in rows:
                    yield kept(row)
                if len(rows) < batch:
                    return
        finally:
            await cursor.close()

    async def aclose(self) -> None:
        """Let go of the database."""
        await self._driver.close()


def _outcome(row: Document) -> Outcome:
    return Outcome.from_json(row["json"])


def _record(row: Document) -> DecisionRecord:
    return DecisionRecord.from_json(unpacked(row["packed"]))


def _report(row: Document) -> NodeReport | GatewayReport:
    kind = NodeReport if row["reporter"]["kind"] == "node" else GatewayReport
    return kind.from_json(row["json"])
