"""A slot agent, or two, on a virtual clock, a store in memory and a scripted edge."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.events import Wake
from fairlead.contracts.settings import Settings
from fairlead.contracts.tuning import PolicyName
from slot_agent.decider import Case, DecideSlot
from slot_agent.loop import SlotAgent
from slot_agent.metrics import SlotMetrics
from tests.slot_agent.edge import ORIGIN_S, Edge, cluster

TURNS = 100
"""Turns of the event loop after each movement of the clock: a decision on a store in memory takes about thirty."""


@dataclass(slots=True)
class World:
    """What a test holds; `seconds` moves all of it on."""

    clock: VirtualClock
    store: MemoryStore
    edge: Edge
    settings: Settings
    steps: int = 0
    agents: list[asyncio.Task[None]] = field(default_factory=list)

    async def agent(self, decide: DecideSlot, metrics: SlotMetrics | None = None) -> asyncio.Task[None]:
        """Start a slot agent; it has decided what was due when this returns."""
        case = Case(self.settings, (), "0.0")
        agent = SlotAgent(self.store, self.clock, case, decide, metrics or SlotMetrics())
        task = asyncio.create_task(agent.run())
        self.agents.append(task)
        await self.settle()
        return task

    async def seconds(self, count: float) -> None:
        """Let so many seconds pass, one at a time; reports come every fifth."""
        for _ in range(round(count)):
            await self.clock.advance(1.0, TURNS)
            self.steps += 1
            self.edge.pass_time(self.clock.now_s())
            if not self.store.unavailable:
                self.edge.obey(await self.store.current_placement())
            if self.steps % 5 == 0:
                await self.report()

    async def report(self) -> None:
        """Let every node and gateway report, unless the store is away."""
        if self.store.unavailable:
            return
        for node in self.edge.node_reports():
            await self.store.append_node_report(node)
        for gateway in self.edge.gateway_reports():
            await self.store.append_gateway_report(gateway)

    async def miss(self, *models: str) -> None:
        """Let a gateway ask for models that have no pod, and say so; no time passes."""
        for model in models:
            self.edge.ask(model)
            wake = Wake(model=model, reason="missing", site="s1", wait_s=0.0, at_s=self.clock.now_s())
            await self.store.wake(wake)

    async def settle(self) -> None:
        """Let what is under way finish without that time passes."""
        await self.clock.advance(0.0, TURNS)

    async def journal(self, kind: str | None = None) -> list[DecisionRecord]:
        """Return the slot agents' decisions, oldest first."""
        page = await self.store.decisions(agent="slot-agent", limit=10_000, cursor=None)
        return [r for r in reversed(page.items) if kind is None or r.kind == kind]


@asynccontextmanager
async def world(
    nodes: int = 3,
    models: int = 3,
    *,
    policy: PolicyName = "marginal-dpp",
    awake: Iterable[tuple[str, str]] = (("n1", "m1"), ("n2", "m1")),
    seed: int = 0,
    store_type: Callable[[VirtualClock], MemoryStore] = MemoryStore,
) -> AsyncIterator[World]:
    """Give a world whose reports have come once; ends its agents."""
    clock = VirtualClock(ORIGIN_S)
    store = store_type(clock)
    spec = cluster(nodes, models)
    await store.replace_cluster(spec)
    settings = Settings(clock_origin_s=ORIGIN_S, policy=policy, seed=seed)
    made = World(clock, store, Edge(spec, ORIGIN_S), settings)
    for node, model in awake:
        made.edge.awake(node, model)
    await made.report()
    try:
        yield made
    finally:
        for agent in made.agents:
            agent.cancel()
        for outcome in await asyncio.gather(*made.agents, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
