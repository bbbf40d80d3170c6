"""The loops of a node agent: steer pods by the placement, tell the keeper, tell the control plane.

The runtime's statuses, a new placement and what the keeper says all end in one event; one loop then reconciles. Nothing
waits for the keeper or the control plane before it acts on pods, but for a drain's end, which only the keeper knows.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Never, assert_never
from uuid import uuid4

import structlog

from fairlead.adapters.spool import Outbox
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import FairleadError, PodFault, foreign
from fairlead.contracts.ports import Clock, Control, ImagePort, KeeperControl, PodOrder, Runtime
from fairlead.policy.reconcile import (
    Action,
    Drain,
    Start,
    Stop,
    Undrain,
    Wait,
    newer,
    part,
    reconcile,
    remembered,
    turned,
    used,
    wakes_at_s,
)
from node_agent.books import Books
from node_agent.image_pulls import expected
from node_agent.keeping import keep

POLL_S = 20.0
"""Wall seconds of one long poll: below the 30 to 60 s after which proxies cut idle connections."""

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0
"""Wall seconds between attempts to reach what is away; restarts of the control plane take about a second."""

DRAIN_POLL_S = 0.5
DRAIN_POLL_LEAST_S = 0.025
"""Domain and least wall seconds between two questions whether a drain has ended; a stop itself takes 1 s."""

CLUSTER_S = 10.0
"""Wall seconds between looks at the cluster's definition, which people change."""

STEM_CHARS = 50
"""Of the model's id in a pod's instance, which is a label of Kubernetes, too: 63 at most."""

KEEPER_S = 2.0
"""Wall seconds for the keeper's answer: it stands on the same machine."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All that an agent reaches outside itself."""

    runtime: Runtime
    control: Control
    keeper: KeeperControl
    clock: Clock
    outbox: Outbox
    images: ImagePort | None = None
    """What fetches images ahead of starts; None where there are none."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often an agent speaks, domain seconds but for the grace."""

    report_s: float
    coalesce_s: float
    stop_grace_s: float
    """Wall seconds."""


class NodeAgent:
    """One node's agent."""

    def __init__(self, books: Books, ports: Ports, rhythm: Rhythm, directory: Path, seed: str) -> None:
        self.faults: dict[str, int] = {}
        """Failures that a loop outlived, per loop."""
        self._books = books
        self._ports = ports
        self._rhythm = rhythm
        self._directory = directory
        self._jitter = random.Random(seed)
        self._steer = asyncio.Event()
        self._tell_keeper = asyncio.Event()
        self._tell_control = asyncio.Event()
        self._ask_cluster = asyncio.Event()
        self._learnt = asyncio.Event()
        """The control API has told the cluster's definition to this process."""
        self._plan_generation = 0
        self._log = structlog.get_logger().bind(node=books.node.id)

    async def run(self) -> Never:
        """Adopt what is there, then keep it as the placement wants until cancelled; pods are left as they are."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._steadily("watch", self._watch))  # from before: one that goes at once is not missed
            for status in await self._ports.runtime.adopt():
                self._books.seen(status, self._ports.clock.now_s())
            if self._books.strays():
                self._ask_cluster.set()
            tasks.create_task(self._steadily("steer", self._reconcile))
            tasks.create_task(self._steadily("placement", self._follow))
            tasks.create_task(self._steadily("keeper", self._declare))
            tasks.create_task(self._steadily("report", self._report))
            tasks.create_task(self._steadily("cluster", self._learn))
            tasks.create_task(self._ports.outbox.run())
            if self._ports.images is not None:
                tasks.create_task(self._steadily("images", partial(self._expect, self._ports.images)))
        raise AssertionError("loops end only by cancellation")

    async def _steadily(self, name: str, step: Callable[[], Awaitable[None]]) -> Never:
        """Repeat a step for ever; failures are counted, logged once in a row, and waited out with jitter."""
        failures = 0
        while True:
            try:
                await step()
                if failures:
                    self._log.info("works again", loop=name, failures=failures)
                failures = 0
            except Exception as error:
                self.faults[name] = self.faults.get(name, 0) + 1
                if not failures:
                    expected = isinstance(error, FairleadError)
                    self._log.warning("goes on without", loop=name, error=foreign(error), exc_info=not expected)
                ceiling_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(failures, 30))
                failures += 1
                await asyncio.sleep(ceiling_s * (0.5 + 0.5 * self._jitter.random()))

    # --- pods

    async def _watch(self) -> None:
        async for status in self._ports.runtime.watch():
            if self._books.seen(status, self._ports.clock.now_s()):
                if status.state == "gone" and status.reason:
                    self._log.warning("a pod is gone", model=status.model, reason=status.reason)
                self._changed()

    async def _reconcile(self) -> None:
        """Act once on what is known, then wait for news or for the next instant that matters."""
        books, now_s = self._books, self._ports.clock.now_s()
        books.pods = remembered(books.pods, now_s, books.limits)
        in_force = books.placement is not None and now_s < books.placement.expires_at_s
        mine = part(books.placement, books.node.id)
        actions = reconcile(mine, in_force, books.pods, books.models, books.node.memory_bytes, now_s, books.limits)
        self._steer.clear()
        for action in actions:
            await self._apply(action)
        if any(not isinstance(a, Wait) for a in actions):
            self._changed()
        wake_s = wakes_at_s(books.placement, books.node.id, books.pods, now_s, books.limits)
        await self._until(self._steer, wake_s)

    async def _apply(self, action: Action) -> None:
        books, now_s = self._books, self._ports.clock.now_s()
        match action:
            case Drain(model):
                books.put(turned(books.pods[model], "draining", now_s))
            case Undrain(model):
                books.undrained(model, now_s)
            case Stop(model, forced, lost):
                if forced:
                    self._log.warning("a stop is forced", model=model, lost=lost, reason=self._why_forced(model))
                    books.forced_losses += lost
                books.put(turned(books.pods[model], "stopping", now_s))
                books.stops += 1
                await self._ports.runtime.stop(model, grace_s=self._rhythm.stop_grace_s)
            case Start(model):
                await self._start(model, now_s)
            case Wait(model, reason):
                if reason == "unknown-model":
                    self._ask_cluster.set()
            case _:
                assert_never(action)

    def _why_forced(self, model: str) -> str:
        mine = part(self._books.placement, self._books.node.id)
        return "operator" if mine is not None and model in mine.forced else "drain limit"

    async def _start(self, model: str, now_s: float) -> None:
        books = self._books
        order = PodOrder(books.node.id, books.models[model], f"{model[:STEM_CHARS]}-{uuid4().hex[:12]}")
        books.begin(order.model, order.instance, now_s)
        try:
            await self._ports.runtime.start(order)
        except PodFault as fault:
            self._log.warning("a pod could not be started", model=model, reason=foreign(fault))
            books.faulted(model, foreign(fault), self._ports.clock.now_s())

    # --- what it hears and says

    async def _follow(self) -> None:
        """Take the next placement."""
        known = self._books.placement
        placement = await self._ports.control.placement(
            newer_than=0 if known is None else known.generation, wait_s=POLL_S
        )
        if placement is not None and newer(known, placement) is placement:
            self._books.placement = placement
            keep(self._directory / "placement.json", placement)
            self._steer.set()

    async def _expect(self, images: ImagePort) -> None:
        """Take the next plan, and have the images be here that it may start pods of."""
        plan = await self._ports.control.plan(newer_than=self._plan_generation, wait_s=POLL_S)
        if plan is not None:
            named = expected(plan, self._books.node.id)
            await images.expect(tuple(self._books.models[model] for model in named if model in self._books.models))
            self._plan_generation = plan.generation  # what failed is asked for again

    async def _declare(self) -> None:
        """Tell the keeper once, hear how far the drains are, then wait for news or the next turn."""
        if self._books.strays():
            await self._learnt.wait()  # it would be told that pods are gone which serve
        self._tell_keeper.clear()
        declared = dict(self._books.pods)
        async with asyncio.timeout(KEEPER_S):
            uses = await self._ports.keeper.declare(self._books.pod_set())
        after = used(self._books.pods, declared, uses)
        if after != self._books.pods:
            self._books.pods = after
            self._steer.set()
        speed = self._ports.clock.speed
        drains = any(p.phase == "draining" for p in after.values())
        pause_s = max(DRAIN_POLL_S, DRAIN_POLL_LEAST_S * speed) if drains else self._rhythm.report_s
        await self._until(self._tell_keeper, self._ports.clock.now_s() + pause_s)

    async def _report(self) -> None:
        """Report once, then wait for news or the next turn."""
        self._tell_control.clear()
        self._ports.outbox.put(self._books.report(self._ports.clock.now_s()).to_json())
        next_at_s = self._ports.clock.now_s() + self._rhythm.report_s
        await self._ports.clock.sleep_for(self._rhythm.coalesce_s)
        await self._until(self._tell_control, next_at_s)

    async def _learn(self) -> None:
        """Wait for a reason to look, then take the cluster's definition."""
        clock = self._ports.clock
        await self._until(self._ask_cluster, clock.now_s() + CLUSTER_S * clock.speed)
        cluster: Cluster = await self._ports.control.cluster()
        self._ask_cluster.clear()
        keep(self._directory / "cluster.json", cluster)
        self._books.learn(cluster)
        self._learnt.set()
        for pod in self._books.strays():
            self._log.warning("a pod is of no known model and is stopped", model=pod.model)
            self._books.put(turned(pod, "stopping", clock.now_s()))
            await self._ports.runtime.stop(pod.model, grace_s=self._rhythm.stop_grace_s)
        self._changed()

    def _changed(self) -> None:
        self._steer.set()
        self._tell_keeper.set()
        self._tell_control.set()

    async def _until(self, event: asyncio.Event, at_s: float | None) -> None:
        """Wait for an event, but no longer than to an instant of the domain."""
        if event.is_set():
            return
        waiting: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait())]
        if at_s is not None:
            waiting.append(asyncio.create_task(_slept(self._ports.clock, at_s)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


async def _slept(clock: Clock, at_s: float) -> None:
    await clock.sleep_until(at_s)
