"""Budgets of models on a real API server: the last ready pod stays, whatever people do, also after an upgrade."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import BUDGETS, PODS, KubernetesApi, Object
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import KubernetesUnavailable
from fairlead.contracts.ports import PodOrder
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import budget_object, name_of
from kube_sync.sync import Sync
from node_agent.pod_objects import pod_name
from tests.adapters import store_examples as some
from tests.kubernetes.lab import Playground, runtime_of
from tests.node_agent.pods import contained
from tests.waiting import until

CONTROL = "control"
"""A model of a name that the chart has for a budget of its own, `fairlead-control`."""

CORE = {"app.kubernetes.io/component": "control", "app.kubernetes.io/managed-by": "fairlead"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Budgets that a kube-sync keeps."""

    ground: Playground
    store: MemoryStore
    metrics: SyncMetrics

    def path(self, name: str) -> str:
        """Return where a budget lies."""
        return BUDGETS.path(self.ground.namespace, name)

    async def found(self) -> dict[str, Object]:
        """Return all budgets by name."""
        items, _ = await self.ground.api.items(BUDGETS.path(self.ground.namespace))
        return {one["metadata"]["name"]: one for one in items}

    async def become(self, *names: str) -> None:
        """Wait until there are these budgets and no others."""

        async def so() -> bool:
            return set(await self.found()) == set(names)

        await until(so, f"the budgets are {names}")

    async def healed(self, count: int) -> None:
        """Wait until the budget of model `control` is whole again, and so many were put right."""
        wanted = budget_object(CONTROL, self.ground.namespace)
        spec = {field: value for field, value in wanted["spec"].items() if value is not None}

        async def so() -> bool:
            one = (await self.found()).get(name_of(CONTROL))
            if one is None or self.metrics.healed.labels("PodDisruptionBudget")._value.get() < count:
                return False
            return bool(one["spec"] == spec and one["metadata"]["labels"] == wanted["metadata"]["labels"])

        await until(so, f"the budget is as it was, {count} times by now")


def former(model: str, namespace: str) -> Object:
    """Return a budget as node agents put it before kube-sync did."""
    made = budget_object(model, namespace)
    made["metadata"]["name"] = f"fairlead-{model}"
    return made


def cluster(*models: str) -> Cluster:
    """Return a cluster with these models."""
    return some.cluster().model_copy(update={"models": tuple(contained(model) for model in models)})


@contextlib.asynccontextmanager
async def synced(ground: Playground, *models: str) -> AsyncIterator[Scene]:
    """Run a kube-sync on a store with these models."""
    scene = Scene(ground, MemoryStore(), SyncMetrics())
    await scene.store.replace_cluster(cluster(*models))
    sync = Sync(scene.store, ground.api, ScaledClock(), ground.settings, scene.metrics, look_every_s=1.0)
    running = asyncio.create_task(sync.run())
    try:
        yield scene
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_budget_that_somebody_deletes_or_edits_is_put_right(playground: Playground, defined: str) -> None:
    """Within a second or two, counted, by one process; it goes with its model, the chart's own of that name stays."""
    core = budget_object("any", playground.namespace)
    core["metadata"] = {"name": "fairlead-control", "labels": CORE}
    await playground.api.create(BUDGETS.path(playground.namespace), core)
    async with synced(playground, CONTROL) as scene:
        name = name_of(CONTROL)
        await scene.become(name, "fairlead-control")
        await scene.ground.api.delete(scene.path(name))
        await scene.healed(1)
        edits: tuple[Object, ...] = (
            {"spec": {"minAvailable": None, "maxUnavailable": 1}},
            {"spec": {"selector": {"matchLabels": {"fairlead.dev/node": "n1"}}}},
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        )
        for count, edit in enumerate(edits, start=2):
            await scene.ground.api.merge(scene.path(name), edit)
            await scene.healed(count)
        await scene.store.replace_cluster(cluster())
        await scene.become("fairlead-control")


async def test_the_last_ready_pod_is_not_evicted_and_an_upgrade_leaves_one_budget(
    playground: Playground, defined: str
) -> None:
    """One of a former version goes: with two nothing could be evicted. Without any a pod is, and it is told as that."""
    await playground.api.create(BUDGETS.path(playground.namespace), former("a", playground.namespace))
    runtime = runtime_of(playground)
    await runtime.adopt()
    statuses = runtime.watch()
    await runtime.start(PodOrder("n1", contained("a"), "a-1"))
    while (await anext(statuses)).state != "ready":
        pass
    async with synced(playground, "a") as scene:
        await scene.become(name_of("a"))
        with pytest.raises(KubernetesUnavailable, match="asks to be spared"):  # 429: the budget holds it
            await evicted(playground)
    await playground.api.delete(scene.path(name_of("a")))
    await evicted(playground)
    told = await anext(statuses)
    assert (told.state, "Evict" in told.reason) == ("stopping", True)
    while (await anext(statuses)).state != "gone":
        pass
    await runtime.close()


async def evicted(ground: Playground) -> None:
    """Ask for the eviction of the pod of model a, until the budgets' controller has looked at it."""
    name = pod_name("a", "n1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    api = KubernetesApi(access_of(ground.settings), timeout_s=0.5)
    try:
        await api.create(PODS.path(ground.namespace, name, "eviction"), eviction)
    finally:
        await api.close()
