"""An agent on fakes at a hundred times the wall's speed, and what surrounds it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.adapters.memory_runtime import Machine, MemoryRuntime
from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import Placement
from fairlead.contracts.ports import ImagePort, Runtime
from fairlead.contracts.readings import NodeReport
from fairlead.policy.reconcile import Limits
from node_agent.agent import NodeAgent, Ports, Rhythm
from node_agent.books import Books
from node_agent.keeping import kept
from tests.node_agent.pods import model, node, placement
from tests.waiting import until

SPEED = 100.0
MODELS = (model("a", start_s=10.0, gb=1), model("b", start_s=20.0, gb=2), model("c", start_s=10.0, gb=3))
CLUSTER = Cluster(nodes=(node(gb=4),), models=MODELS, sites=())


@dataclass
class World:
    """What surrounds an agent, and the agent."""

    directory: Path
    clock: ScaledClock
    machine: Machine
    control: MemoryControl
    keeper: MemoryKeeperControl
    runtime: MemoryRuntime
    books: Books
    agent: NodeAgent
    running: asyncio.Task[None]

    def phases(self) -> dict[str, str]:
        """Return the phase of each pod."""
        return {p.model: p.phase for p in self.books.pods.values()}

    async def phase(self, name: str, phase: str | None) -> None:
        """Wait until a pod is in a phase, or there is none."""
        await until(lambda: self.phases().get(name) == phase, f"{name} is {phase}")

    @property
    def last(self) -> NodeReport:
        """Return the newest report that arrived."""
        return self.control.node_reports[-1]


def begun(
    directory: Path,
    machine: Machine,
    control: MemoryControl,
    keeper: MemoryKeeperControl,
    spool: Spool,
    instance: str,
    images: ImagePort | None = None,
    port: Callable[[MemoryRuntime], Runtime] = lambda runtime: runtime,
) -> World:
    """Start an agent on a machine, whose runtime it reaches by `port`."""
    clock = ScaledClock(SPEED, time.time())
    runtime = MemoryRuntime(machine, clock)
    books = Books(node(gb=4), {m.id: m for m in MODELS}, instance, Limits(600.0, 5.0, 300.0), told_for_s=60.0)
    books.placement = kept(directory / "placement.json", Placement)

    async def deliver(message: str) -> None:
        await control.report_node(NodeReport.from_json(message))

    ports = Ports(port(runtime), control, keeper, clock, Outbox(spool, deliver, 1), images)
    agent = NodeAgent(books, ports, Rhythm(5.0, 0.1, 0.1), directory, "1/n1")
    running: asyncio.Task[None] = asyncio.create_task(agent.run())
    return World(directory, clock, machine, control, keeper, runtime, books, agent, running)


async def ended(world: World) -> None:
    """Cancel the agent; its pods stay."""
    world.running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await world.running
    await world.runtime.close()
    assert world.books.overruns == 0
    assert world.agent.faults.keys() <= {"keeper", "placement", "cluster"}


def lasting(generation: int, *awake: str, **more: tuple[str, ...]) -> Placement:
    """Return a placement that does not expire in a test."""
    return placement(generation, *awake, expires_at_s=1e12, **more)
