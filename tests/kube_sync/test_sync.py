"""kube-sync on an API as small as can be: one part that fails keeps no other from its turn."""

import asyncio

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.settings import KubernetesSettings
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import CURRENT
from kube_sync.sync import Sync
from tests.adapters import store_examples as some
from tests.kube_sync.picky_api import picky
from tests.waiting import until


async def test_plan_and_rows_are_mirrored_though_a_declaration_cannot_be_read() -> None:
    """It has no spec, which no schema would let through; the pass counts as failed and is tried again."""
    store, metrics = MemoryStore(), SyncMetrics()
    await store.replace_cluster(some.cluster())
    await store.publish_plan(some.plan(1))
    await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    async with picky() as (server, api):
        server.listed["edgemodels"] = [{"metadata": {"name": "odd", "uid": "u"}, "spec": None}]
        running = asyncio.create_task(Sync(store, api, ScaledClock(), KubernetesSettings(), metrics).run())
        await until(lambda: {CURRENT, "text"} <= set(server.objects), "plan and rows are mirrored")
        await until(lambda: metrics.failures._value.get() > 0, "the pass counts as failed")
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
