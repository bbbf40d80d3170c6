"""Planners and slot agents on a virtual clock, a store in memory and a scripted edge, with a model or without."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from prometheus_client import CollectorRegistry

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_judging import MemoryJudging
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.agents.absent import Unadvised
from fairlead.agents.advice import Advising, Recall, nothing
from fairlead.agents.advisor import Advisor, Counsel, sampling
from fairlead.agents.following import Follower, Sight, remembered
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.status import StatusKeeper
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.dialogue import AgentName, ModeName
from fairlead.contracts.events import Mode, Wake
from fairlead.contracts.ports import Judging, Llm
from fairlead.contracts.settings import Settings
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.epoch import decide_epoch
from planner.decider import Case as PlannerCase
from planner.decider import DecideEpoch
from planner.loop import Planner
from planner.metrics import PlannerMetrics
from slot_agent.decider import DecideSlot
from slot_agent.loop import SlotAgent
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Case as SlotCase
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
    judging: Judging = field(default_factory=MemoryJudging)
    """The twin of all agents."""
    steps: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def agent(
        self, decide: DecideSlot, metrics: SlotMetrics | None = None, llm: Llm | None = None
    ) -> asyncio.Task[None]:
        """Start a slot agent; it has decided what was due when this returns."""
        counted = metrics or SlotMetrics()
        advisor = await self._advisor("slot-agent", counted.dialogues, llm)
        case = SlotCase(self.settings, (), "0.0")
        return await self._started(SlotAgent(self.store, self.clock, case, decide, advisor, counted).run())

    async def planner(
        self,
        decide: DecideEpoch = decide_epoch,
        metrics: PlannerMetrics | None = None,
        llm: Llm | None = None,
        recall: Recall = nothing,
    ) -> asyncio.Task[None]:
        """Start a planner; it has planned what was due when this returns."""
        counted = metrics or PlannerMetrics()
        advisor = await self._advisor("planner", counted.dialogues, llm)
        case = PlannerCase(self.settings, "0.0", recall)
        return await self._started(Planner(self.store, self.clock, case, decide, advisor, counted).run())

    async def _advisor(self, agent: AgentName, metrics: DialogueMetrics, llm: Llm | None) -> Advising:
        timeout_s = self.settings.mongodb.timeout_s
        status = StatusKeeper(agent, self.store, self.clock, metrics, timeout_s=timeout_s)
        if llm is None:
            return Unadvised("no-llm", status)
        prompt = prompt_texts()[agent]
        chosen = sampling(self.settings.llm, agent)
        sight = Sight(agent, self.store, self.clock, self.settings, metrics)
        name = f"{prompt.id}/{prompt.version}"
        fresh = AgentMemory(agent=agent, at_s=self.clock.now_s(), llm="a test", prompt=name, version="0.0")
        follower = Follower(sight, await remembered(sight, fresh))
        counsel = Counsel(
            agent, llm, prompt, chosen, "a test", self.settings.clock_origin_s, self.judging, 9.0, follower
        )
        return Advisor(counsel, self.store, self.clock, replace(status, llm=llm), metrics)

    async def _started(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run)
        self.tasks.append(task)
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

    async def switch(self, agent: AgentName, mode: ModeName) -> None:
        """Let a person switch an agent's mode; what follows from it has happened when this returns."""
        found = await self.store.mode(agent)
        new = Mode(agent=agent, mode=mode, by="somebody", at_s=self.clock.now_s())
        await self.store.put_mode(new, if_revision=found.revision)
        await self.settle()

    async def journal(self, kind: str | None = None, agent: AgentName = "slot-agent") -> list[DecisionRecord]:
        """Return an agent's decisions, oldest first."""
        page = await self.store.decisions(agent=agent, limit=10_000, cursor=None)
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
        for task in made.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*made.tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


def count(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return the sum of a counter over its labels, or over those series that have these."""
    return sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"{name}_total" and labels.items() <= sample.labels.items()
    )
