"""What became of requests, counted by the database: one aggregation over the outcomes."""

from typing import Any

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.contracts.cases import ModelTally
from fairlead.contracts.cluster import Cluster


async def tallies(driver: Driver, cluster: Cluster, since_at_s: float, until_at_s: float) -> tuple[ModelTally, ...]:
    """Return per model what became of the requests that arrived from `since_at_s` until before `until_at_s`."""
    async with driver.asking("count outcomes"):
        found = await driver.collection("outcomes").aggregate(_pipeline(cluster, since_at_s, until_at_s))
        rows = await found.to_list()
    return tuple(
        ModelTally(
            model=row["_id"],
            finished=row["finished"],
            timely=row["timely"],
            judged=row["judged"],
            ended=row["ended"],
            latency_sum_s=float(row["latency_sum_s"]),
            counted=row["counted"],
            cancelled=row["cancelled"],
        )
        for row in rows
    )


def _pipeline(cluster: Cluster, since_at_s: float, until_at_s: float) -> list[Document]:
    """Return what the database does; what arrived in the window ended after its begin, which the index is by."""
    arrived, ended = "$arrived_at_s", "$at_s"
    due = {"$add": [arrived, _deadline(cluster)]}
    kept = {"$ne": ["$status", "cancelled"]}
    full = {"$eq": ["$status", "finished"]}
    before_end = {"$lte": [ended, until_at_s]}
    judged = {"$and": [kept, {"$lte": [due, until_at_s]}]}
    finished = {"$and": [full, before_end]}
    latency = {"$subtract": [{"$cond": [finished, ended, until_at_s]}, arrived]}
    return [
        {"$match": {"at_s": {"$gte": since_at_s}, "arrived_at_s": {"$gte": since_at_s, "$lt": until_at_s}}},
        {
            "$group": {
                "_id": "$model",
                "finished": _count(finished),
                "timely": _count({"$and": [judged, full, {"$lte": [ended, due]}]}),
                "judged": _count(judged),
                "ended": _count({"$and": [kept, before_end]}),
                "latency_sum_s": {"$sum": {"$cond": [kept, latency, 0.0]}},
                "counted": _count(kept),
                "cancelled": _count({"$not": [kept]}),
            }
        },
        {"$sort": {"_id": 1}},
    ]


def _count(condition: Document) -> Document:
    return {"$sum": {"$cond": [condition, 1, 0]}}


def _deadline(cluster: Cluster) -> Any:
    """Return the expression of a row's deadline: most models share one, so it is looked up by its value."""
    by_deadline: dict[float, list[str]] = {}
    for model, deadline_s in rules.deadlines(cluster).items():
        if deadline_s != rules.DEADLINE_S:
            by_deadline.setdefault(deadline_s, []).append(model)
    branches = [{"case": {"$in": ["$model", models]}, "then": at_s} for at_s, models in sorted(by_deadline.items())]
    return {"$switch": {"branches": branches, "default": rules.DEADLINE_S}} if branches else rules.DEADLINE_S
