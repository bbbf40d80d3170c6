"""A run in a database that has seen one before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.adapters.clock import ScaledClock, VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.readings import NodeReport
from fairlead.contracts.settings import Settings
from fairlead.twin.scenarios import scenario
from testbed.layout import Layout, Order, lay_out
from testbed.resuming import GAP_S, resumed

NOW_S = 1_000_000.0


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """Yield a layout of city7 at speed 30 whose ports are given back."""
    order = Order(
        Settings(speed=30.0),
        scenario("city7-rotating"),
        0.8,
        None,
        None,
        tmp_path,
        None,
        local_llm=False,
        mode=None,
        record=None,
    )
    one = lay_out(order, NOW_S)
    yield one
    one.remove()


async def store_of(cluster: Cluster, observed_at_s: float) -> MemoryStore:
    """Return a store whose last word is a report of that instant."""
    store = MemoryStore(VirtualClock(observed_at_s))
    await store.replace_cluster(cluster)
    await store.append_node_report(
        NodeReport(
            node=cluster.nodes[0].id,
            instance="i",
            sequence=1,
            observed_at_s=observed_at_s,
            memory_bytes=1,
            memory_used_bytes=0,
            placement_generation=0,
            pods=(),
            starts=0,
            stops=0,
            overruns=0,
            forced_losses=0,
        )
    )
    return store


async def test_time_goes_on_where_the_earlier_run_ended(layout: Layout) -> None:
    """At the instant of resuming, domain time stands a gap after the last word, and runs on at the same speed."""
    last_s = NOW_S + 1700.0
    one = await resumed(layout, await store_of(layout.cluster, last_s), NOW_S)
    origin_s, speed = one.settings.clock_origin_s, one.settings.speed
    assert origin_s + (NOW_S - origin_s) * speed == pytest.approx(last_s + GAP_S)
    assert ScaledClock(speed, origin_s).speed == 30.0


async def test_an_old_run_does_not_move_the_clock(layout: Layout) -> None:
    """What ended long enough ago is of the past anyway."""
    one = await resumed(layout, await store_of(layout.cluster, NOW_S - 1000.0), NOW_S)
    assert one.settings.clock_origin_s == NOW_S


async def test_at_speed_1_the_future_cannot_be_caught_up_with(layout: Layout) -> None:
    """The clock of a run at the wall's own speed cannot be ahead of it."""
    slow = replace(layout, settings=layout.settings.model_copy(update={"speed": 1.0}))
    with pytest.raises(ConfigError, match="1820 s ahead"):
        await resumed(slow, await store_of(layout.cluster, NOW_S + 1700.0), NOW_S)


async def test_the_database_of_another_cluster_is_left_alone(layout: Layout) -> None:
    """Nodes of another name are somebody else's."""
    document = layout.cluster.to_document()
    document["nodes"][0]["id"], document["sites"] = "attic", []
    theirs = Cluster.model_validate(document)
    with pytest.raises(ConfigError, match="another cluster"):
        await resumed(layout, await store_of(theirs, NOW_S), NOW_S)
