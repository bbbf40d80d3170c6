"""Readings in MongoDB: reports are taken once each, in batches; what counts is summed over restarts of reporters.

A report costs one update of its reporter's document, shared with whatever else arrived within a few milliseconds,
and an insert for its outcomes. History (`reports`) is written each second and may lose its last one at a crash.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import FOLLOWED, NEWEST_FIRST, Document, Driver, after_key, page_of, wall_now
from fairlead.adapters.mongo_schema import outcome_fields
from fairlead.contracts.errors import StoreUnavailable
from fairlead.contracts.ports import Page
from fairlead.contracts.readings import Choice, GatewayReport, NodeReport, Outcome

LINGER_S = 0.03
"""Wall seconds that a report waits for others to share its write; 85 reports a second then share 24 writes."""

HISTORY_EVERY_S = 1.0
"""Wall seconds between writes of history, which keeps the last report of each reporter in between."""

TRIES = 4
"""Times that a batch is tried when another process has written the same reporters meanwhile."""

DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class _Entry:
    """A report that waits to be written."""

    kind: str
    reporter: str
    instance: str
    sequence: int
    at_s: float
    report: str
    counters: str
    outcomes: tuple[Outcome, ...]
    samples: tuple[Choice, ...]
    kept: asyncio.Future[bool]

    @property
    def key(self) -> str:
        """Id of the document of this instance of the reporter."""
        return f"{self.kind}/{self.reporter}/{self.instance}"


class Readings:
    """Reports, outcomes and what is summed from them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._latest = driver.collection("latest")
        self._outcomes = driver.collection("outcomes", FOLLOWED)
        self._choices = driver.collection("choices", FOLLOWED)
        self._history = driver.collection("reports", FOLLOWED)
        self._seen: dict[str, rules.Seen | None] = {}
        self._pending: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None
        self._recent: dict[str, Document] = {}
        self._history_at = time.monotonic()
        self._log = structlog.get_logger("mongo")

    async def append_node_report(self, report: NodeReport) -> bool:
        """Keep a report; False if it was kept before."""
        counters = json.dumps([report.starts, report.stops])
        return await self._append("node", report.node, report, counters, (), ())

    async def append_gateway_report(self, report: GatewayReport) -> bool:
        """Keep a report and its outcomes; False if it was kept before."""
        counters = json.dumps({count.model: count.arrived for count in report.models})
        return await self._append("gateway", report.gateway, report, counters, report.outcomes, report.samples)

    async def _append(
        self,
        kind: str,
        reporter: str,
        report: NodeReport | GatewayReport,
        counters: str,
        outcomes: tuple[Outcome, ...],
        samples: tuple[Choice, ...],
    ) -> bool:
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append(
            _Entry(
                kind,
                reporter,
                report.instance,
                report.sequence,
                report.observed_at_s,
                report.to_json(),
                counters,
                outcomes,
                samples,
                kept,
            )
        )
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_pending())
        return await kept

    async def _write_pending(self) -> None:
        """Write until nothing waits; whatever goes wrong goes to those who wait."""
        while self._pending:
            await asyncio.sleep(LINGER_S)
            batch, self._pending = self._pending, []
            try:
                kept = await self._write(batch)
            except asyncio.CancelledError:
                for entry in batch:
                    entry.kept.cancel()
                raise
            except Exception as error:
                for entry in batch:
                    self._seen.pop(entry.key, None)
                    if not entry.kept.done():
                        entry.kept.set_exception(error)
            else:
                for entry, answer in zip(batch, kept, strict=True):
                    if not entry.kept.done():
                        entry.kept.set_result(answer)
            await self._write_history()

    async def _write(self, batch: Sequence[_Entry]) -> list[bool]:
        """Write a batch; return for each report whether it is a new one."""
        async with self._driver.asking("keep reports"):
            for attempt in range(TRIES):
                await self._recall(batch)
                before = {entry.key: self._seen[entry.key] for entry in batch}
                after, kept = _taken(batch, before)
                fresh = [entry for entry, new in zip(batch, kept, strict=True) if new]
                await self._keep_events(fresh)
                if await self._update(fresh, before, after):
                    self._seen.update(after)
                    self._remember(fresh)
                    return kept if attempt == 0 else [True] * len(batch)
                for key in before:
                    self._seen.pop(key, None)
        raise StoreUnavailable(f"others kept writing the same {len(batch)} reporters in {TRIES} tries: send again")

    async def _recall(self, batch: Sequence[_Entry]) -> None:
        """Read which sequences have been seen, where this process does not know."""
        unknown = sorted({entry.key for entry in batch} - self._seen.keys())
        if not unknown:
            return
        self._seen.update(dict.fromkeys(unknown))
        async for row in self._latest.find({"_id": {"$in": unknown}}, {"seen": 1}):
            high, gaps = json.loads(row["seen"])
            self._seen[row["_id"]] = rules.Seen(high, tuple((first, last) for first, last in gaps))

    async def _keep_events(self, fresh: Sequence[_Entry]) -> None:
        """Keep outcomes and sampled choices before their report counts as seen; once each, however often sent."""
        now = wall_now()
        outcomes: list[Document] = []
        choices: list[Document] = []
        for entry in fresh:
            name = f"{entry.key}/{entry.sequence:012d}"
            outcomes.extend(
                {"_id": f"{name}/{n:06d}", "kept_at": now, "json": o.to_json(), **outcome_fields(o)}
                for n, o in enumerate(entry.outcomes)
            )
            choices.extend(
                {"_id": f"{name}/{n:06d}", "at_s": c.at_s, "kept_at": now, "json": c.to_json()}
                for n, c in enumerate(entry.samples)
            )
        for collection, rows in ((self._outcomes, outcomes), (self._choices, choices)):
            if rows:
                try:
                    await collection.insert_many(rows, ordered=False)
                except BulkWriteError as error:
                    if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
                        raise

    async def _update(
        self, fresh: Sequence[_Entry], before: dict[str, rules.Seen | None], after: dict[str, rules.Seen]
    ) -> bool:
        """Write the reporters' documents unless another process has meanwhile; return whether all were written."""
        newest: dict[str, _Entry] = {}
        for entry in fresh:
            if entry.sequence == after[entry.key].high:
                newest[entry.key] = entry
        writes = []
        for key in sorted({entry.key for entry in fresh}):
            was = before[key]
            found: Document = {"_id": key, "seen": {"$exists": False} if was is None else _text(was)}
            change: Document = {"seen": _text(after[key])}
            if key in newest:
                change |= _fields(newest[key])
            writes.append(UpdateOne(found, {"$set": change}, upsert=was is None))
        if not writes:
            return True
        try:
            result = await self._latest.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            if all(one["code"] == DUPLICATE_KEY for one in error.details["writeErrors"]):
                return False
            raise
        for entry in (entry for key, entry in newest.items() if before[key] is None):
            await self._retire_older(entry)
        return result.matched_count + result.upserted_count == len(writes)

    async def _retire_older(self, entry: _Entry) -> None:
        """Drop the reports of the reporter's former instances; their counters stay."""
        await self._latest.update_many(
            {"kind": entry.kind, "reporter": entry.reporter, "_id": {"$ne": entry.key}, "at_s": {"$lt": entry.at_s}},
            {"$unset": {"report": ""}},
        )

    def _remember(self, fresh: Sequence[_Entry]) -> None:
        now = wall_now()
        for entry in fresh:
            self._recent[entry.key] = {
                "kept_at": now,
                "reporter": {"kind": entry.kind, "id": entry.reporter},
                "at_s": entry.at_s,
                "json": entry.report,
            }

    async def _write_history(self, *, now: bool = False) -> None:
        if not self._recent or (not now and time.monotonic() < self._history_at + HISTORY_EVERY_S):
            return
        rows, self._recent = list(self._recent.values()), {}
        self._history_at = time.monotonic()
        try:
            async with self._driver.asking("keep history"):
                await self._history.insert_many(rows, ordered=False)
        except StoreUnavailable as error:
            self._log.warning("history lost", reports=len(rows), error=str(error))

    async def latest_node_reports(self) -> tuple[NodeReport, ...]:
        """Return the newest report of each node, sorted."""
        return tuple(NodeReport.from_json(text) for text in await self._newest("node"))

    async def latest_gateway_reports(self) -> tuple[GatewayReport, ...]:
        """Return the newest report of each gateway, sorted."""
        return tuple(GatewayReport.from_json(text) for text in await self._newest("gateway"))

    async def _newest(self, kind: str) -> list[str]:
        async with self._driver.asking("read the latest reports"):
            rows = await self._latest.find(
                {"kind": kind, "report": {"$exists": True}}, {"reporter": 1, "at_s": 1, "instance": 1, "report": 1}
            ).to_list()
        newest = {row["reporter"]: row for row in sorted(rows, key=lambda row: (row["at_s"], row["instance"]))}
        return [newest[reporter]["report"] for reporter in sorted(newest)]

    async def _counters(self, kind: str) -> list[Any]:
        async with self._driver.asking("read the counters"):
            rows = await self._latest.find({"kind": kind}, {"counters": 1}).to_list()
        return [json.loads(row["counters"]) for row in rows]

    async def arrived(self) -> dict[str, int]:
        """Return per model all requests that ever arrived."""
        total: dict[str, int] = {}
        for counters in await self._counters("gateway"):
            for model, count in counters.items():
                total[model] = total.get(model, 0) + count
        return dict(sorted(total.items()))

    async def pod_totals(self) -> tuple[int, int]:
        """Return all pods ever started and stopped."""
        rows = await self._counters("node")
        return sum(row[0] for row in rows), sum(row[1] for row in rows)

    async def outcomes(self, *, limit: int, cursor: str | None) -> Page[Outcome]:
        """Return outcomes, those that ended last first."""
        after = {} if cursor is None else after_key(rules.key_of(cursor, float, str))
        async with self._driver.asking("list outcomes"):
            found = self._outcomes.find(after, {"json": 1, "at_s": 1}).sort(NEWEST_FIRST)
            rows = await found.limit(limit + 1).to_list()
        return page_of(rows, limit, lambda row: Outcome.from_json(row["json"]), "at_s", "_id")

    async def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        await self._write_history(now=True)


def _taken(batch: Sequence[_Entry], before: dict[str, rules.Seen | None]) -> tuple[dict[str, rules.Seen], list[bool]]:
    """Return what each reporter's instance has been seen of after the batch, and which reports are new."""
    after = {key: rules.Seen() if seen is None else seen for key, seen in before.items()}
    kept = []
    for entry in batch:
        taken = after[entry.key].take(entry.sequence)
        kept.append(taken is not None)
        after[entry.key] = taken or after[entry.key]
    return after, kept


def _text(seen: rules.Seen) -> str:
    return json.dumps([seen.high, seen.gaps], separators=(",", ":"))


def _fields(entry: _Entry) -> Document:
    """Return what the document of an instance says once this is its newest report."""
    return {
        "kind": entry.kind,
        "reporter": entry.reporter,
        "instance": entry.instance,
        "at_s": entry.at_s,
        "counters": entry.counters,
        "report": entry.report,
        "kept_at": wall_now(),
    }
