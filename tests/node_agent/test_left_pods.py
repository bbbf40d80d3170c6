"""Pods that an agent finds when it begins."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.adapters.memory_runtime import Machine, MemoryRuntime
from fairlead.adapters.spool import Spool
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.ports import PodOrder, PodStatus
from tests.node_agent.world import CLUSTER, MODELS, begun, ended, lasting
from tests.waiting import until


async def a_left_pod(directory: Path, machine: Machine) -> None:
    """Have an agent leave a ready pod of model a, and no placement."""
    spool = Spool(directory / "reports", 1_000_000)
    first = begun(directory, machine, MemoryControl(CLUSTER), MemoryKeeperControl("n1"), spool, "n1-first")
    first.control.publish(lasting(1, "a"))
    await first.phase("a", "ready")
    await ended(first)
    spool.close()
    (directory / "placement.json").unlink()


@dataclass(frozen=True, slots=True)
class Fleeting:
    """The port of a runtime whose pod of model a ends as soon as it has been adopted."""

    runtime: MemoryRuntime

    async def adopt(self) -> tuple[PodStatus, ...]:
        found = await self.runtime.adopt()
        asyncio.get_running_loop().call_soon(self.runtime.crash, "a")
        return found

    async def start(self, order: PodOrder) -> None:
        await self.runtime.start(order)

    async def stop(self, model: str, *, grace_s: float) -> None:
        await self.runtime.stop(model, grace_s=grace_s)

    def watch(self) -> AsyncIterator[PodStatus]:
        return self.runtime.watch()

    async def close(self) -> None:
        await self.runtime.close()


async def test_a_left_pod_that_ends_as_it_is_adopted_is_gone(tmp_path: Path) -> None:
    """It is no pod that the keeper could send requests to."""
    machine, control, keeper = Machine.empty(), MemoryControl(CLUSTER), MemoryKeeperControl("n1")
    await a_left_pod(tmp_path, machine)
    spool = Spool(tmp_path / "reports", 1_000_000)
    second = begun(tmp_path, machine, control, keeper, spool, "n1-second", port=Fleeting)
    await until(lambda: second.phases() == {"a": "off"}, "it is known to be gone")
    await until(lambda: keeper.phases() == {}, "the keeper is told")
    await ended(second)
    spool.close()


async def test_a_left_pod_of_no_known_model_is_stopped(tmp_path: Path) -> None:
    """Once the control API has said that there is no such model."""
    machine = Machine.empty()
    await a_left_pod(tmp_path, machine)
    spool = Spool(tmp_path / "reports", 1_000_000)
    without = MemoryControl(Cluster(nodes=CLUSTER.nodes, models=MODELS[1:], sites=()))
    second = begun(tmp_path, machine, without, MemoryKeeperControl("n1"), spool, "n1-second")
    second.books.models.pop("a")
    await until(lambda: not machine.pods, "it is gone")
    await ended(second)
    spool.close()


async def test_without_control_plane_a_left_pod_of_no_known_model_serves_on(tmp_path: Path) -> None:
    """Neither is it stopped nor is the keeper told that it is gone; afterwards it is what it was."""
    machine = Machine.empty()
    await a_left_pod(tmp_path, machine)
    spool = Spool(tmp_path / "reports", 1_000_000)
    control, keeper = MemoryControl(CLUSTER), MemoryKeeperControl("n1")
    control.away = True
    second = begun(tmp_path, machine, control, keeper, spool, "n1-second")
    second.books.models.clear()
    await until(lambda: second.agent.faults.get("cluster", 0) >= 3, "the cluster is asked for again and again")
    assert second.phases() == {"a": "ready"}
    assert list(machine.pods) == ["a"]
    assert keeper.declared == []
    control.away = False
    await until(lambda: keeper.phases() == {"a": "ready"}, "the keeper is told")
    assert (second.books.stops, second.books.starts) == (0, 0)
    assert {p.phase for said in keeper.declared for p in said.pods} == {"ready"}
    assert all(said.pods for said in keeper.declared)
    await ended(second)
    spool.close()
