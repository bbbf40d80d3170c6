"""A large cluster on the runtime `kubernetes`: what decides in 1000 node agents × 100 models, in this one process.

A real API server, whose nodes and pods KWOK plays; one client and one watch for all. Per slot: calls of the API,
CPU of this process, wall seconds until every pod is as placed. `FAIRLEAD_BENCH_NODES` is how many nodes (100 without).
"""

import asyncio
import os
import secrets
import time
from dataclasses import dataclass, replace

from fairlead.adapters import process_table
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec
from fairlead.contracts.containers import Container
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.ports import PodOrder
from fairlead.contracts.settings import KubernetesSettings
from fairlead.policy.reconcile import Drain, Limits, Start, Stop, Wait, reconcile, turned
from node_agent.books import Books
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import feed_of
from node_agent.pod_objects import Place
from tests.kubernetes.raising import Missing, raised

MODELS = 100
PODS_A_NODE = 2
SWAP_ONE_IN = 20
"""Nodes, of which one swaps a model for another in a slot."""

SLOTS = 3
LIMIT_S = 600.0
"""Wall seconds within which a slot must have come true; a busy machine makes pods by a hundred a second."""

NAMESPACES = Kind("v1", "namespaces", "Namespace")
ACCOUNTS = Kind("v1", "serviceaccounts", "ServiceAccount")


@dataclass
class Decider:
    """What of a node agent decides about pods: books, reconciliation and runtime; its keeper's pods are always free."""

    books: Books
    runtime: KubernetesRuntime
    limits: Limits
    mine: NodePlacement | None = None

    async def run(self) -> None:
        """Take what the runtime says, and act, until cancelled."""
        await self.runtime.adopt()
        async for status in self.runtime.watch():
            if self.books.seen(status, time.time()):
                await self.act()

    async def act(self) -> None:
        """Act until nothing is left to do now."""
        books = self.books
        while True:
            now_s = time.time()
            actions = reconcile(self.mine, True, books.pods, books.models, books.node.memory_bytes, now_s, self.limits)
            for action in actions:
                if isinstance(action, Drain):
                    books.put(replace(turned(books.pods[action.model], "draining", now_s), waiting=0, running=0))
                elif isinstance(action, Stop):
                    books.put(turned(books.pods[action.model], "stopping", now_s))
                    await self.runtime.stop(action.model, grace_s=1.0)
                elif isinstance(action, Start):
                    instance = f"{action.model}-{secrets.token_hex(6)}"
                    books.begin(books.models[action.model], instance, now_s)
                    await self.runtime.start(PodOrder(books.node.id, books.models[action.model], instance))
            if all(isinstance(action, Wait) for action in actions):
                return

    @property
    def is_done(self) -> bool:
        """Tell whether the node is as placed."""
        awake = () if self.mine is None else self.mine.awake
        return {m: p.phase for m, p in self.books.pods.items()} == dict.fromkeys(awake, "ready")


async def reach(api: KubernetesApi, deciders: list[Decider], placement: tuple[NodePlacement, ...], what: str) -> None:
    """Put a placement in force, wait until it is true, and print what that took."""
    calls, cpu_s, began_s = api.calls, time.process_time(), time.monotonic()
    for decider, mine in zip(deciders, placement, strict=True):
        decider.mine = mine
        await decider.act()
    while wrong := sum(not one.is_done for one in deciders):
        if time.monotonic() - began_s > LIMIT_S:
            raise TimeoutError(f"{what}: {wrong} nodes are not as placed after {LIMIT_S:.0f} s")
        await asyncio.sleep(0.2)
    took_s = time.monotonic() - began_s
    print(
        f"  {what:34} {api.calls - calls:6} calls {time.process_time() - cpu_s:7.2f} CPU s {took_s:7.1f} s", flush=True
    )


async def rest(api: KubernetesApi, for_s: float) -> None:
    """Change nothing for a while, and print what that took."""
    calls, cpu_s = api.calls, time.process_time()
    await asyncio.sleep(for_s)
    print(f"  {'a slot without changes':34} {api.calls - calls:6} calls {time.process_time() - cpu_s:7.2f} CPU s")


def shape(nodes: int) -> Cluster:
    """Return nodes that hold two pods, and models."""
    ids = sorted(f"node-{at}" for at in range(1, nodes + 1))
    return Cluster(
        nodes=tuple(NodeSpec(id=i, memory_bytes=PODS_A_NODE, speed=1.0, keeper_url="http://127.0.0.1:1") for i in ids),
        models=tuple(
            ModelSpec(
                id=f"model-{at:03}",
                kind="text",
                memory_bytes=1,
                work_s=1.0,
                start_delay_s=1.0,
                container=Container(image="small:1"),
            )
            for at in range(MODELS)
        ),
        sites=(),
    )


def placed(cluster: Cluster, turn: int) -> tuple[NodePlacement, ...]:
    """Return two models a node; with each turn some nodes get another second one."""
    nodes = []
    for at, node in enumerate(cluster.nodes):
        swaps = turn if at % SWAP_ONE_IN == 0 else 0
        first, second, before = (at % MODELS, (at + 7 + swaps) % MODELS, (at + 6 + swaps) % MODELS)
        awake = tuple(sorted({cluster.models[first].id, cluster.models[second].id}))
        gone = () if cluster.models[before].id in awake else (cluster.models[before].id,)
        nodes.append(NodePlacement(node=node.id, awake=awake, stoppable=gone))
    return tuple(nodes)


async def play(kubeconfig: str, nodes: int) -> None:
    """Run all deciders through a few slots."""
    settings = KubernetesSettings(kubeconfig=kubeconfig, namespace=f"bench-{secrets.token_hex(3)}")
    api = KubernetesApi(access_of(settings), timeout_s=60.0)
    await api.create(NAMESPACES.path(None), {"kind": "Namespace", "metadata": {"name": settings.namespace}})
    while not (await api.items(ACCOUNTS.path(settings.namespace)))[0]:
        await asyncio.sleep(0.1)
    cluster, clock = shape(nodes), ScaledClock()
    feed, limits = feed_of(api, settings, None, "bench"), Limits(600.0, 5.0, 300.0)
    models = {m.id: m for m in cluster.models}
    deciders = []
    for node in cluster.nodes:
        runtime = KubernetesRuntime(Place(settings.namespace, node, None), api, feed, clock, settings.stuck_s)
        deciders.append(Decider(Books(node, models, f"{node.id}-bench", limits, told_for_s=60.0), runtime, limits))
    tasks = [asyncio.create_task(one.run()) for one in deciders]
    try:
        await reach(api, deciders, placed(cluster, 0), f"the first {nodes * PODS_A_NODE} starts")
        for turn in range(1, 1 + SLOTS):
            await reach(api, deciders, placed(cluster, turn), f"{len(range(0, nodes, SWAP_ONE_IN))} nodes swap a model")
        await rest(api, 30.0)
        resident = process_table.resident_bytes(os.getpid()) or 0
        print(f"  memory of this process: {resident / 1e6:.0f} MB")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in deciders:
            await one.runtime.close()
        await api.delete(NAMESPACES.path(None, settings.namespace))
        await api.close()


def main() -> None:
    """Raise a cluster of so many nodes and play on it."""
    nodes = int(os.environ.get("FAIRLEAD_BENCH_NODES", "100"))
    try:
        with raised() as lab:
            lab.run("up.sh", "--nodes", str(nodes))
            print(f"{nodes} nodes × {MODELS} models, load {os.getloadavg()[0]:.1f}")
            asyncio.run(play(lab.kubeconfig, nodes))
    except Missing as missing:
        print(f"not measured: {missing}")


if __name__ == "__main__":
    main()
