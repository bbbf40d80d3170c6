"""Case memory in MongoDB: remembered epochs, forgotten beyond their capacity.

Beside its JSON a row has what listings and forgetting ask for, how often it was cited, which is counted there, whether
it is quarantined, which is said there, and in `label` what the twin has said of it since: so neither undoes another.
What it can be judged by again is there too, compressed in `evidence`.
"""

import datetime
import zlib
from collections.abc import Sequence

import pydantic
import structlog
from pymongo import ReturnDocument

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import NEWEST_FIRST, Document, Driver, after_key
from fairlead.adapters.mongo_schema import BY_CHANGE, packed, unpacked
from fairlead.contracts.cases import Case
from fairlead.contracts.errors import Conflict, NotFound, foreign
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.ports import Page

OURS: Document = {"_id": {"$gte": ""}, "at_s": {"$gte": 0}}
"""Rows whose key is a text and a number, as those that Fairlead writes; MongoDB compares within a type alone."""

MARKED: Document = {"objective": {"$gte": 0}, "regime": {"$gte": ""}}
"""Rows that say what forgetting asks for; others of the same cluster neither count nor go."""

READ: Document = {"json": 1, "at_s": 1, "cited": 1, "quarantined": 1, "quarantine": 1, "label": 1}
"""What a case is made of."""

CHANGED_NOW: Document = {"$max": ["$$NOW", {"$add": ["$changed_at", 1]}]}
"""The wall's millisecond, and never that of the change before."""

STAMPS_BATCH = 5_000
"""Of a listing of changes; each takes this process 10 ms, between which it does other things."""

FOREIGN_MOST = 8
"""Ids of other rows that are told at once."""


class Cases:
    """Remembered epochs by id."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._rows = driver.collection("cases")
        self._log = structlog.get_logger("mongo")

    async def add(self, case: Case, capacity: int) -> None:
        """Keep a case, in place of one of its id, and forget what is beyond `capacity` for its cluster."""
        mark = rules.mark_of(case)
        fields = {
            "cluster": case.provenance.cluster,
            "at_s": case.began_at_s,
            "objective": mark.objective,
            "regime": mark.regime,
            "json": {"$literal": case.to_json()},
            "cited": {"$max": ["$cited", case.cited]},
            "quarantined": case.quarantined,
            "quarantine": {"$literal": case.quarantine},
            "changed_at": CHANGED_NOW,
        }
        async with self._driver.asking("keep a case"):
            await self._rows.update_one({"_id": case.id}, [{"$set": fields}, {"$unset": "label"}], upsert=True)
            ours: Document = {**OURS, "cluster": case.provenance.cluster}
            if await self._rows.count_documents(ours, limit=capacity + 1) > capacity:
                await self._forget({**ours, **MARKED}, capacity)

    async def _forget(self, ours: Document, capacity: int) -> None:
        """Delete what is beyond `capacity`."""
        rows = await self._rows.find(ours, {"at_s": 1, "objective": 1, "regime": 1}).to_list()
        forgotten = rules.forgettable([_mark(row) for row in rows], capacity)
        if forgotten:
            await self._rows.delete_many({"_id": {"$in": list(forgotten)}})

    async def one(self, case: str) -> Case:
        """Return a case; raises `NotFound`, and `Conflict` where its row is none of ours."""
        async with self._driver.asking("read a case"):
            row = await self._rows.find_one({"_id": case}, READ)
        return self._held(case, row)

    def _held(self, case: str, row: Document | None) -> Case:
        if row is None:
            raise NotFound(f"there is no case {foreign(case)!r}")
        found = _case(row)
        if isinstance(found, Case):
            return found
        raise Conflict(f"case {foreign(case)!r} cannot be read: {found}; something else wrote it, delete it")

    async def listed(self, cluster: str | None, limit: int, cursor: str | None) -> Page[Case]:
        """Return cases, those that began last first; a row that cannot be read is left out and logged."""
        query: Document = {"$and": [OURS, {} if cluster is None else {"cluster": cluster}]}
        if cursor is not None:
            query["$and"].append(after_key(rules.key_of(cursor, float, str)))
        async with self._driver.asking("list cases"):
            if cluster is None and cursor is None:
                await self._tell_of_others()
            rows = await self._rows.find(query, READ).sort(NEWEST_FIRST).limit(limit + 1).to_list()
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(
            self._read(rows[:limit]), None if last is None else rules.cursor_of(float(last["at_s"]), last["_id"])
        )

    async def some(self, cases: Sequence[str]) -> tuple[Case, ...]:
        """Return those of these that are there, in this order; a row that cannot be read is left out and logged."""
        async with self._driver.asking("read cases"):
            rows = await self._rows.find({"_id": {"$in": sorted(set(cases))}}, READ).to_list()
        at = {name: place for place, name in enumerate(cases)}
        return self._read(sorted(rows, key=lambda row: at[row["_id"]]))

    async def stamps(self, cluster: str) -> dict[str, float]:
        """Return the ids of a cluster's cases, those that began last first, each with the instant of its last change.

        Rows from before changes were noted have 0. Reads the index alone.
        """
        async with self._driver.asking("list changes of cases"):
            found = self._rows.find({**OURS, "cluster": cluster}, {"changed_at": 1}).sort(NEWEST_FIRST)
            rows = await found.hint(BY_CHANGE.name).batch_size(STAMPS_BATCH).to_list()
        return {row["_id"]: _instant(row.get("changed_at")) for row in rows}

    def _read(self, rows: Sequence[Document]) -> tuple[Case, ...]:
        """Return the cases of these rows; one that cannot be read is left out and logged."""
        items = []
        for row in rows:
            found = _case(row)
            if isinstance(found, Case):
                items.append(found)
            else:
                self._log.warning("case cannot be read", case=foreign(row["_id"]), error=found)
        return tuple(items)

    async def _tell_of_others(self) -> None:
        """Log rows that no listing reaches for want of a key; reads the index alone."""
        index = "_".join(field for field, _ in NEWEST_FIRST)
        others = await self._rows.find({"$nor": [OURS]}, {"_id": 1}).hint(index).limit(FOREIGN_MOST).to_list()
        if others:
            self._log.warning("rows that are no cases", cases=[foreign(row["_id"]) for row in others])

    async def delete(self, case: str) -> None:
        """Forget a case; raises `NotFound`."""
        async with self._driver.asking("delete a case"):
            result = await self._rows.delete_one({"_id": case})
        if result.deleted_count == 0:
            raise NotFound(f"there is no case {foreign(case)!r}")

    async def cite(self, cases: Sequence[str]) -> None:
        """Count that a reply has cited these."""
        async with self._driver.asking("count citations"):
            await self._rows.update_many({"_id": {"$in": sorted(set(cases))}}, {"$inc": {"cited": 1}})

    async def quarantine(self, cases: Sequence[str], why: str) -> None:
        """Have no model shown these, for a reason; an empty one releases them."""
        said = {"quarantined": bool(why), "quarantine": {"$literal": why}, "changed_at": CHANGED_NOW}
        async with self._driver.asking("quarantine cases"):
            await self._rows.update_many({"_id": {"$in": sorted(set(cases))}}, [{"$set": said}])

    async def label(self, case: str, label: Label) -> Case:
        """Keep what the twin says of a case, and return it; raises `NotFound`, and `Conflict` as `one` does."""
        said = {"label": {"$literal": label.to_json()}, "changed_at": CHANGED_NOW}
        async with self._driver.asking("keep a label"):
            row = await self._rows.find_one_and_update(
                {"_id": case}, [{"$set": said}], READ, return_document=ReturnDocument.AFTER
            )
        return self._held(case, row)

    async def put_evidence(self, evidence: Evidence) -> None:
        """Keep what a case can be judged by again; raises `NotFound`."""
        async with self._driver.asking("keep what a case can be judged by"):
            done = await self._rows.update_one(
                {"_id": evidence.case}, {"$set": {"evidence": packed(evidence.to_json())}}
            )
        if done.matched_count == 0:
            raise NotFound(f"there is no case {foreign(evidence.case)!r}")

    async def evidence(self, case: str) -> Evidence:
        """Return what a case can be judged by; raises `NotFound`, and `Conflict` where that is none of ours."""
        async with self._driver.asking("read what a case can be judged by"):
            row = await self._rows.find_one({"_id": case}, {"evidence": 1})
        if row is None:
            raise NotFound(f"there is no case {foreign(case)!r}")
        if "evidence" not in row:
            raise NotFound(f"nothing is kept by which case {foreign(case)!r} could be judged again")
        try:
            return Evidence.from_json(unpacked(row["evidence"]))
        except (TypeError, ValueError, zlib.error) as error:
            raise Conflict(
                f"what case {foreign(case)!r} could be judged by cannot be read: {foreign(error)}"
            ) from error


def _case(row: Document) -> Case | str:
    """Return a row's case, or in words why it has none."""
    try:
        case = Case.from_json(row["json"])
        if "label" in row:
            case = rules.labelled(case, Label.from_json(row["label"]))
        why = str(row.get("quarantine", case.quarantine))
        said = {"quarantined": bool(row.get("quarantined", case.quarantined)), "quarantine": why}
        return case.model_copy(update={"cited": int(row["cited"]), **said})
    except KeyError as error:
        return f"it has no field {error}"
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return foreign(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    except (TypeError, ValueError) as error:
        return foreign(error)


def _instant(found: object) -> float:
    """Return the wall second in a row; 0 where it has none, or something else wrote it."""
    return found.timestamp() if isinstance(found, datetime.datetime) else 0.0


def _mark(row: Document) -> rules.CaseMark:
    return rules.CaseMark(row["_id"], float(row["at_s"]), float(row["objective"]), row["regime"])
