"""A world whose requests are counted and have outcomes, with an evaluator and a case memory in it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.readings import GatewayReport, ModelCount, NodeReport, Outcome, Status
from fairlead.contracts.settings import LlmSettings
from fairlead.policy.registry import decide_slot
from planner.case_metrics import CaseMetrics
from planner.evaluator import Evaluator
from planner.memory import CaseMemory
from tests.agents.world import World, count, world
from tests.slot_agent.edge import GB, ORIGIN_S

EPOCH_S = 300.0
DEADLINE_S = 60.0


@dataclass(slots=True)
class Ledger:
    """What a test holds: the world, and what its ingress and its agents have counted."""

    world: World
    planner: asyncio.Task[None]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    metrics: CaseMetrics = field(default_factory=lambda: CaseMetrics(CollectorRegistry()))
    """Of the newest evaluator."""
    arrived: dict[str, int] = field(default_factory=dict)
    ended: list[Outcome] = field(default_factory=list)
    starts: int = 0
    stops: int = 0
    sequence: int = 0

    @property
    def store(self) -> MemoryStore:
        """Where everything is kept."""
        return self.world.store

    async def restart(self) -> CaseMemory:
        """Start an evaluator beside whatever runs, as a process that begins now; return its memory."""
        w = self.world
        self.registry = CollectorRegistry()
        metrics = self.metrics = CaseMetrics(self.registry)
        memory = CaseMemory(w.store, w.clock, w.settings, "0.0", metrics)
        evaluator = Evaluator(w.store, w.clock, w.settings, "0.0", memory, metrics)
        w.tasks.append(asyncio.create_task(evaluator.run(), name="evaluator"))
        await w.settle()
        return memory

    async def stop(self) -> None:
        """Kill the evaluators; the planner and the slot agent go on."""
        killed = [t for t in self.world.tasks if t.get_name() == "evaluator"]
        for task in killed:
            task.cancel()
        await asyncio.gather(*killed, return_exceptions=True)

    async def until(self, at_s: float) -> None:
        """Let time pass until so long after the origin."""
        await self.world.seconds(ORIGIN_S + at_s - self.world.clock.now_s())

    async def served(
        self, model: str, requests: int, latency_s: float, status: Status = "finished", *, told: bool = True
    ) -> None:
        """Let requests arrive now that end after `latency_s`; untold, their outcomes never come."""
        self.arrived[model] = self.arrived.get(model, 0) + requests
        now_s = self.world.clock.now_s()
        outcomes = tuple(self._outcome(model, now_s, latency_s, status) for _ in range(requests)) if told else ()
        self.ended += outcomes
        await self.report(outcomes)

    def _outcome(self, model: str, now_s: float, latency_s: float, status: Status) -> Outcome:
        self.sequence += 1
        return Outcome(
            request=f"r{self.sequence}",
            attempts=1,
            model=model,
            site="s1",
            node="n1",
            status=status,
            reason="" if status == "finished" else "a-test",
            arrived_at_s=now_s,
            ended_at_s=now_s + latency_s,
            wait_s=0.0,
            service_s=latency_s,
            response_bytes=1,
            table_generation=1,
            propensity=1.0,
        )

    async def report(self, outcomes: tuple[Outcome, ...] = ()) -> None:
        """Let the ingress and a node agent report what they have counted."""
        self.sequence += 1
        now_s = self.world.clock.now_s()
        counts = tuple(
            ModelCount(model=m, arrived=n, held=0, oldest_held_s=0.0, asked_at_s=now_s) for m, n in self.arrived.items()
        )
        gateway = GatewayReport(
            gateway="s1",
            instance="ledger",
            sequence=self.sequence,
            observed_at_s=now_s,
            site="s1",
            models=counts,
            choices=(),
            samples=(),
            outcomes=outcomes,
            keeper=None,
            table_generation=0,
        )
        node = NodeReport(
            node="elsewhere",
            instance="ledger",
            sequence=self.sequence,
            observed_at_s=now_s,
            memory_bytes=GB,
            memory_used_bytes=0,
            placement_generation=0,
            pods=(),
            starts=self.starts,
            stops=self.stops,
            overruns=0,
            forced_losses=0,
        )
        await self.store.append_gateway_report(gateway)
        await self.store.append_node_report(node)

    async def cases(self) -> list[Case]:
        """Return all cases, oldest first."""
        return list(reversed((await self.store.cases(cluster=None, limit=1000, cursor=None)).items))

    def counted(self, name: str, **labels: str) -> float:
        """Return a counter of the newest evaluator."""
        return count(self.registry, name, **labels)

    async def given(self) -> EpochInput:
        """Return what the planner knew at its newest decision, as of now."""
        newest = (await self.world.journal(agent="planner"))[-1].input
        assert isinstance(newest, EpochInput)
        return newest.model_copy(update={"now_s": self.world.clock.now_s()})


@asynccontextmanager
async def ledger(
    *, capacity: int = 2000, deciding: bool = True, store_type: Callable[[VirtualClock], MemoryStore] = MemoryStore
) -> AsyncIterator[Ledger]:
    """Give a world of three nodes and three models, its deciders at work, no evaluator yet."""
    async with world(store_type=store_type) as w:
        llm = LlmSettings(case_capacity=capacity)
        w = replace(w, settings=w.settings.model_copy(update={"llm": llm}))
        if deciding:
            await w.agent(decide_slot)
        yield Ledger(w, await w.planner())
