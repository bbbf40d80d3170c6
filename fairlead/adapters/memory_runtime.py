"""A runtime in memory: the fake of the port `Runtime`, whose pods start and stop by the clock it is given."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from fairlead.adapters.pod_statuses import PodStatuses
from fairlead.contracts.errors import PodFault
from fairlead.contracts.ports import Clock, PodOrder, PodStatus

STOP_S = 1.0
"""Domain seconds that a stop takes (CONTROL §4)."""


@dataclass(slots=True)
class Machine:
    """Where pods live: it outlasts a runtime, as a machine outlasts an agent."""

    pods: dict[str, PodStatus]
    ready_at_s: dict[str, float]

    @classmethod
    def empty(cls) -> "Machine":
        """Return a machine without pods."""
        return cls({}, {})


class MemoryRuntime:
    """Pods that are nothing but statuses on a `Machine`."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self.broken: set[str] = set()
        """Models whose start fails at once."""
        self.forgetful = False
        """Pods that are told to stop do not, until the grace has passed."""
        self._machine = machine
        self._clock = clock
        self._statuses = PodStatuses(lambda: self._machine.pods.values())
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def adopt(self) -> tuple[PodStatus, ...]:
        """Return the pods that are on the machine."""
        for model, status in self._machine.pods.items():
            if status.state == "starting":
                self._later(model, self._machine.ready_at_s[model], "ready")
        return tuple(self._machine.pods.values())

    async def start(self, order: PodOrder) -> None:
        """Begin a pod that is ready its start delay later."""
        model = order.model
        if model.id in self._machine.pods:
            raise PodFault(f"{model.id} has a pod on {order.node} already: stop it first")
        if model.id in self.broken:
            raise PodFault(f"{model.id} was told not to start")
        now_s = self._clock.now_s()
        status = PodStatus(model.id, order.instance, "starting", "spawn", None, now_s, model.memory_bytes, "")
        self._put(status)
        self._put(replace(status, stage="load", url="http://127.0.0.1:1"))
        self._machine.ready_at_s[model.id] = now_s + model.start_delay_s
        self._later(model.id, now_s + model.start_delay_s, "ready")

    async def stop(self, model: str, *, grace_s: float) -> None:
        """Let a pod go a stop's time later, a forgetful one after its grace."""
        status = self._machine.pods.get(model)
        if status is None or status.state == "stopping":
            return
        now_s = self._clock.now_s()
        self._put(replace(status, state="stopping", stage="", since_at_s=now_s))
        self._later(model, now_s + (grace_s * self._clock.speed if self.forgetful else STOP_S), "gone")

    def watch(self) -> AsyncIterator[PodStatus]:
        """Yield the present status of each pod, then each change."""
        return self._statuses.watch()

    async def close(self) -> None:
        """Let go of the pods without stopping them."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    def crash(self, model: str) -> None:
        """End a pod that nobody ordered to end."""
        task = self._tasks.pop(model, None)
        if task is not None:
            task.cancel()
        self._go(model, "ended by itself")

    def _later(self, model: str, at_s: float, state: str) -> None:
        before = self._tasks.get(model)
        if before is not None:
            before.cancel()
        self._tasks[model] = asyncio.get_running_loop().create_task(self._turn(model, at_s, state))

    async def _turn(self, model: str, at_s: float, state: str) -> None:
        await self._clock.sleep_until(at_s)
        if state == "gone":
            self._go(model, "")
        else:
            self._put(replace(self._machine.pods[model], state=state, stage="", since_at_s=self._clock.now_s()))

    def _go(self, model: str, reason: str) -> None:
        status = self._machine.pods.pop(model)
        self._say(
            replace(status, state="gone", stage="", since_at_s=self._clock.now_s(), memory_bytes=0, reason=reason)
        )

    def _put(self, status: PodStatus) -> None:
        self._machine.pods[status.model] = status
        self._say(status)

    def _say(self, status: PodStatus) -> None:
        self._statuses.say(status)
