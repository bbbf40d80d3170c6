"""What a database has kept is read in order, a stretch at a time, however much there is."""

import contextlib

from fairlead.adapters.mongo import MongoStore
from fairlead.adapters.mongo_history import BATCH, MongoHistory
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.settings import MongoSettings
from tests.adapters import store_examples as some


async def test_everything_of_a_stretch_is_read_in_order(mongo_store: MongoStore, mongo_settings: MongoSettings) -> None:
    """More than one batch of each; from the first instant until before the last."""
    count = 2 * BATCH + 7
    # arrivals go the other way round than ends
    outcomes = tuple(some.outcome(f"r{n}", 3000.0 + n, arrived_at_s=2000.0 - n) for n in range(count))
    report = some.gateway_report(outcomes=outcomes, observed_at_s=1500.0)
    await mongo_store.append_gateway_report(report)
    await mongo_store.append_node_report(some.node_report(observed_at_s=1400.0))
    records: list[DecisionRecord] = []
    for number in range(1, 31):
        records.append(some.slot_record(number))
        await mongo_store.publish_slot(some.placement(number), some.table(number), records[-1])
    await mongo_store.close()
    async with contextlib.aclosing(MongoHistory(mongo_settings)) as history:
        assert await history.arrivals() == (2000.0 - (count - 1), 2000.0)
        assert [one async for one in history.outcomes(0.0, 9e9)] == list(outcomes)
        assert [one async for one in history.arrived(0.0, 9e9)] == list(reversed(outcomes))
        assert [one async for one in history.outcomes(3001.0, 3003.0)] == list(outcomes[1:3])
        assert [one async for one in history.choices(0.0, 9e9)] == list(report.samples)
        assert [one.observed_at_s async for one in history.reports(0.0, 9e9)] == [1400.0, 1500.0]
        assert [one.to_json() async for one in history.decisions(0.0, 9e9)] == [one.to_json() for one in records]
        assert [one.id async for one in history.decisions(1003.0, 1005.0)] == ["slot-3", "slot-4"]


async def test_an_empty_database_has_nothing(mongo_store: MongoStore, mongo_settings: MongoSettings) -> None:
    """No arrivals, no lines."""
    async with contextlib.aclosing(MongoHistory(mongo_settings)) as history:
        assert await history.arrivals() is None
        assert [one async for one in history.decisions(0.0, 9e9)] == []
