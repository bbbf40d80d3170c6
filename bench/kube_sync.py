"""kube-sync on a large cluster: 1000 nodes × 100 models, rows of 12 nodes, routes for a gateway.

A real API server, a store in memory. Per slot: calls of the API, CPU of this process, wall seconds until it is written.
Nobody answers for the gateway, whose word would be one call more for each route. No pods: those are in the benchmark
`kubernetes`.
"""

import asyncio
import os
import secrets
import time

import structlog

from fairlead.adapters import process_table
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.containers import Container
from fairlead.contracts.plans import RoutingTable, Row, Share
from fairlead.contracts.settings import KubernetesSettings
from kube_sync.metrics import SyncMetrics
from kube_sync.sync import Sync
from tests.adapters import store_examples as some
from tests.kubernetes.definitions import define
from tests.kubernetes.raising import Missing, raised

NODES, MODELS, NODES_A_ROW = 1000, 100, 12
MOVED = (0, 10, 100)
"""Rows that move in the slots after the first."""

QUIET_S = 5.0
"""Wall seconds without a call after which nothing is left to write; passes are 10 s apart at most."""

PASSES = 5
NAMESPACES = Kind("v1", "namespaces", "Namespace")


def cluster() -> Cluster:
    """Return nodes that hold whatever is asked of them, and models in containers."""
    container = Container(image="small:1")
    models = (some.model(f"model-{at:03}").model_copy(update={"container": container}) for at in range(MODELS))
    return Cluster(nodes=tuple(some.node(f"node-{at:04}") for at in range(NODES)), models=tuple(models), sites=())


def table(generation: int, moved: int) -> RoutingTable:
    """Return a table whose first rows have moved since the one before."""
    rows = []
    for model in range(MODELS):
        turned = generation if model < moved else 0
        parts = [1.0 + (model + at + turned) % 7 for at in range(NODES_A_ROW)]
        nodes = [f"node-{(model * 7 + at * 83) % NODES:04}" for at in range(NODES_A_ROW)]
        shares = [Share(node=n, probability=p / sum(parts)) for n, p in zip(nodes, parts, strict=True)]
        row = Row(
            zone="*",
            model=f"model-{model:03}",
            rule="marginal",
            prior_weight_s=0.0,
            explore=0.0,
            shares=tuple(shares),
        )
        rows.append(row)
    return some.table(generation).model_copy(update={"rows": tuple(rows)})


async def settled(api: KubernetesApi, what: str) -> None:
    """Wait until nothing is written any more, and print what that took."""
    calls, cpu_s, began_s = api.calls, time.process_time(), time.monotonic()
    last, last_s = calls, began_s
    while time.monotonic() - last_s < QUIET_S:
        await asyncio.sleep(0.1)
        if api.calls != last:
            last, last_s = api.calls, time.monotonic()
    print(f"  {what:24} {last - calls:6} calls {time.process_time() - cpu_s:7.2f} CPU s {last_s - began_s:7.1f} s")


async def play(kubeconfig: str) -> None:
    """Run a kube-sync through a few slots."""
    settings = KubernetesSettings(
        kubeconfig=kubeconfig, namespace=f"bench-{secrets.token_hex(3)}", gateway="edge", timeout_s=60.0
    )
    api = KubernetesApi(access_of(settings), timeout_s=60.0)
    await define(api, kubeconfig)
    await api.create(NAMESPACES.path(None), {"kind": "Namespace", "metadata": {"name": settings.namespace}})
    store = MemoryStore()
    await store.replace_cluster(cluster())
    await store.publish_slot(some.placement(1), table(1, 0), some.slot_record(1))
    its = KubernetesApi(access_of(settings), timeout_s=60.0)
    sync = Sync(store, its, ScaledClock(), settings, SyncMetrics())
    running = asyncio.create_task(sync.run())
    try:
        await settled(its, "the first slot")
        for slot, moved in enumerate(MOVED, start=2):
            await store.publish_slot(some.placement(slot), table(slot, moved), some.slot_record(slot))
            await settled(its, f"{moved} of {MODELS} rows moved")
        cpu_s = time.process_time()
        for _ in range(PASSES):
            await sync.once()
        print(f"  a pass without changes: {1000 * (time.process_time() - cpu_s) / PASSES:.0f} ms of CPU")
        print(f"  memory of this process: {(process_table.resident_bytes(os.getpid()) or 0) / 1e6:.0f} MB")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.delete(NAMESPACES.path(None, settings.namespace))
        await its.close()
        await api.close()


def main() -> None:
    """Raise a cluster and play on it."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        with raised() as lab:
            print(f"{NODES} nodes × {MODELS} models, load {os.getloadavg()[0]:.1f}")
            asyncio.run(play(lab.kubeconfig))
    except Missing as missing:
        print(f"not measured: {missing}")


if __name__ == "__main__":
    main()
