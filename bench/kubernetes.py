"""A large cluster on the runtime `kubernetes`: all node agents of 1000 nodes × 100 models in this one process.

A real API server, whose nodes and pods KWOK plays; one client and one watch for all agents. Per slot: calls of the API,
CPU of this process, wall seconds until every pod is as placed. `FAIRLEAD_BENCH_NODES` is how many nodes (100 without).
"""

import asyncio
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fairlead.adapters import process_table
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec
from fairlead.contracts.containers import Container
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.readings import NodeReport
from fairlead.contracts.settings import KubernetesSettings, Settings
from fairlead.policy.reconcile import Limits
from node_agent.agent import NodeAgent, Ports, Rhythm
from node_agent.books import Books
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import PodFeed, feed_of
from node_agent.pod_objects import Place
from tests.kubernetes.raising import Missing, raised

MODELS = 100
PODS_A_NODE = 2
CHANGED_SHARE = 0.05
"""Nodes that swap one model for another in a slot; a churn budget of one in six pods is the most there is."""

SLOTS = 3
LIMIT_S = 600.0
"""Wall seconds within which a slot must have come true; a busy machine makes pods by a hundred a second."""

NAMESPACES = Kind("v1", "namespaces", "Namespace")
ACCOUNTS = Kind("v1", "serviceaccounts", "ServiceAccount")


@dataclass
class Fleet:
    """Every agent, and what they share."""

    api: KubernetesApi
    control: MemoryControl
    books: list[Books]
    runtimes: list[KubernetesRuntime]
    tasks: list["asyncio.Task[None]"]

    def wrong(self, placement: Placement) -> int:
        """Return how many nodes are not as placed."""
        count = 0
        for books, node in zip(self.books, placement.nodes, strict=True):
            count += {m: p.phase for m, p in books.pods.items()} != dict.fromkeys(node.awake, "ready")
        return count

    async def reach(self, placement: Placement, what: str) -> None:
        """Put a placement in force, wait until it is true, and print what that took."""
        calls, cpu_s, began_s = self.api.calls, time.process_time(), time.monotonic()
        self.control.publish(placement)
        while wrong := self.wrong(placement):
            if time.monotonic() - began_s > LIMIT_S:
                raise TimeoutError(f"{what}: {wrong} nodes are not as placed after {LIMIT_S:.0f} s")
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - began_s
        print(f"  {what:34} {self.api.calls - calls:6} calls {time.process_time() - cpu_s:7.2f} CPU s {took_s:7.1f} s")

    async def rest(self, for_s: float) -> None:
        """Change nothing for a while, and print what that took."""
        calls, cpu_s = self.api.calls, time.process_time()
        await asyncio.sleep(for_s)
        print(
            f"  {'a slot without changes':34} {self.api.calls - calls:6} calls {time.process_time() - cpu_s:7.2f} CPU s"
        )


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


def placed(cluster: Cluster, generation: int) -> Placement:
    """Return two models a node; with each generation some nodes get another second one."""
    nodes = []
    for at, node in enumerate(cluster.nodes):
        swaps = int(at % round(1 / CHANGED_SHARE) == 0) * (generation - 1)
        first, second, before = (at % MODELS, (at + 7 + swaps) % MODELS, (at + 6 + swaps) % MODELS)
        awake = tuple(sorted(cluster.models[one].id for one in {first, second}))
        gone = () if cluster.models[before].id in awake else (cluster.models[before].id,)
        nodes.append(NodePlacement(node=node.id, awake=awake, stoppable=gone))
    return Placement(
        generation=generation,
        plan_generation=0,
        slot=generation,
        created_at_s=time.time(),
        expires_at_s=time.time() + 3600.0,
        decision=f"slot-{generation}",
        nodes=tuple(nodes),
    )


def agent(cluster: Cluster, node: NodeSpec, fleet: Fleet, feed: PodFeed, directory: Path, namespace: str) -> NodeAgent:
    """Return a node's agent, known to the fleet."""
    settings, clock = Settings(), ScaledClock()
    mine = settings.node_agent
    limits = Limits(mine.drain_limit_s, mine.backoff_first_s, mine.backoff_most_s)
    books = Books(node, {m.id: m for m in cluster.models}, f"{node.id}-bench", limits)
    runtime = KubernetesRuntime(Place(namespace, node, None), fleet.api, feed, clock, settings.kubernetes.stuck_s)
    fleet.books.append(books)
    fleet.runtimes.append(runtime)

    async def deliver(message: str) -> None:
        await fleet.control.report_node(NodeReport.from_json(message))

    outbox = Outbox(Spool(directory / node.id / "reports", mine.spool_bytes), deliver, 1)
    ports = Ports(runtime, fleet.control, MemoryKeeperControl(node.id), clock, outbox)
    rhythm = Rhythm(settings.controller.report_s, settings.controller.coalesce_s, mine.stop_grace_s)
    return NodeAgent(books, ports, rhythm, directory / node.id, node.id)


async def play(kubeconfig: str, nodes: int, directory: Path) -> None:
    """Run all agents through a few slots."""
    settings = KubernetesSettings(kubeconfig=kubeconfig, namespace=f"bench-{secrets.token_hex(3)}")
    api = KubernetesApi(access_of(settings), timeout_s=60.0)
    await api.create(NAMESPACES.path(None), {"kind": "Namespace", "metadata": {"name": settings.namespace}})
    while not (await api.items(ACCOUNTS.path(settings.namespace)))[0]:
        await asyncio.sleep(0.1)
    cluster = shape(nodes)
    fleet = Fleet(api, MemoryControl(cluster), [], [], [])
    feed = feed_of(api, settings, None, "bench")
    for node in cluster.nodes:
        one = agent(cluster, node, fleet, feed, directory, settings.namespace)
        fleet.tasks.append(asyncio.create_task(one.run()))
    try:
        await fleet.reach(placed(cluster, 1), f"the first {nodes * PODS_A_NODE} starts")
        for slot in range(2, 2 + SLOTS):
            swaps = len(range(0, nodes, round(1 / CHANGED_SHARE)))
            await fleet.reach(placed(cluster, slot), f"{swaps} nodes swap a model")
        await fleet.rest(30.0)
        resident = process_table.resident_bytes(os.getpid()) or 0
        print(f"  memory of this process, all {nodes} agents: {resident / 1e6:.0f} MB")
    finally:
        for task in fleet.tasks:
            task.cancel()
        await asyncio.gather(*fleet.tasks, return_exceptions=True)
        for runtime in fleet.runtimes:
            await runtime.close()
        await api.delete(NAMESPACES.path(None, settings.namespace))
        await api.close()


def main() -> None:
    """Raise a cluster of so many nodes and play on it."""
    nodes = int(os.environ.get("FAIRLEAD_BENCH_NODES", "100"))
    try:
        with raised() as lab, tempfile.TemporaryDirectory() as directory:
            lab.run("up.sh", "--nodes", str(nodes))
            print(f"{nodes} nodes × {MODELS} models, load {os.getloadavg()[0]:.1f}")
            asyncio.run(play(lab.kubeconfig, nodes, Path(directory)))
    except Missing as missing:
        print(f"not measured: {missing}")


if __name__ == "__main__":
    main()
