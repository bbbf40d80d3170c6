"""What a running system's database has, read and written as its own processes do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fairlead.adapters.mongo import MongoStore, connect
from fairlead.contracts.decisions import DecisionRecord, SlotDecision
from fairlead.contracts.errors import NotFound, StaleGeneration
from fairlead.contracts.plans import RoutingTable, Row, Share
from fairlead.contracts.readings import NodeReport
from fairlead.contracts.settings import Settings

Found = TypeVar("Found")

LASTS_SLOTS = 4
"""A table of ours expires after so many slots."""


def stored(settings: Settings, act: Callable[[MongoStore], Awaitable[Found]]) -> Found:
    """Return what `act` does with the store."""

    async def whole() -> Found:
        store = await connect(settings.mongodb)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def agent_reports(settings: Settings) -> dict[str, NodeReport]:
    """Return the newest report of each node agent."""

    async def read(store: MongoStore) -> dict[str, NodeReport]:
        return {report.node: report for report in await store.latest_node_reports()}

    return stored(settings, read)


def stale_orders(settings: Settings) -> tuple[str, ...]:
    """Give the placement and the table in force again, and ones before them; return those that were taken.

    A refused one leaves no line in the journal: one that did counts as taken.
    """

    async def give(store: MongoStore) -> tuple[str, ...]:
        record = (await store.decisions(agent="slot-agent", limit=1, cursor=None)).items[0]
        placement, table = await store.current_placement(), await store.current_table()
        assert placement is not None
        assert table is not None
        taken = []
        for back in (0, 1):
            older = placement.model_copy(update={"generation": placement.generation - back})
            before = table.model_copy(update={"generation": table.generation - back})
            for name, one, other in (("placement", older, None), ("table", None, before)):
                again = record.model_copy(update={"id": f"slot-again-{name}-{back}"})
                try:
                    await store.publish_slot(one, other, again)
                except StaleGeneration:
                    if not await _journaled(store, again.id):
                        continue
                taken.append(f"{name} {back} before the one in force")
        return tuple(taken)

    return stored(settings, give)


async def _journaled(store: MongoStore, name: str) -> bool:
    try:
        await store.decision(name)
    except NotFound:
        return False
    return True


def publish_row(settings: Settings, model: str, shares: dict[str, float], now_s: float) -> int:
    """Put the table in force again with a strict row of these shares, as a slot agent would; return its generation.

    Raises `StaleGeneration` where the slot agent comes before it.
    """

    async def publish(store: MongoStore) -> int:
        record = (await store.decisions(agent="slot-agent", limit=1, cursor=None)).items[0]
        table, seen = await store.current_table(), await store.generations()
        assert table is not None
        row = Row(
            zone="*", model=model, rule="strict", prior_weight_s=0.0, explore=0.0,
            shares=tuple(Share(node=node, probability=share) for node, share in sorted(shares.items())),
        )  # fmt: skip
        changed = {
            "generation": seen.table + 1,
            "placement_generation": seen.placement,
            "created_at_s": now_s,
            "expires_at_s": now_s + LASTS_SLOTS * settings.controller.slot_s,
            "decision": f"slot-table-{seen.table + 1}",
            "rows": (*(one for one in table.rows if one.model != model), row),
        }
        ours = RoutingTable.from_json(table.model_copy(update=changed).to_json())
        await store.publish_slot(None, ours, _line(record, ours, now_s))
        return ours.generation

    return stored(settings, publish)


def _line(record: DecisionRecord, table: RoutingTable, now_s: float) -> DecisionRecord:
    """Return the journal's line for a table of ours, after that of another decision."""
    assert isinstance(record.output, SlotDecision)
    output = record.output.model_copy(update={"placement": None, "table": table})
    return record.model_copy(update={"id": table.decision, "kind": "event", "made_at_s": now_s, "output": output})
