"""The keeper: the queues of one node's pods behind the protocol of DESIGN §3.

Its ingresses offer and withdraw tickets, its node agent declares the pods, both hear how it stands.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from fairlead.contracts.errors import InputError, StaleGeneration
from fairlead.contracts.ports import Clock, PodPort
from fairlead.contracts.readings import KeeperState, PodLoad
from fairlead.contracts.tickets import (
    Done,
    Failed,
    Granted,
    Head,
    Offer,
    PodSet,
    PodUses,
    Queued,
    Returned,
    Update,
    Withdrawal,
)
from fairlead.policy.backlog import SpeedRule
from fairlead.policy.choice import NodeLoad
from gateway.queues import Ended, Entry, KeeperCounts, Queues

DRAINED_LOOK_S = 0.05
"""Wall seconds between two looks whether a pod that somebody else stops is free; a stop itself takes 1 s."""

BODY_TIMEOUT_S = 30.0
"""Wall seconds for a body that follows its grant: 20 MB at 1 MB/s and a margin."""


@dataclass(frozen=True, slots=True)
class KeeperLimits:
    """What a keeper is told of its surroundings."""

    coalesce_s: float
    """Domain seconds between two pushes of state."""
    heartbeat_s: float
    """Wall seconds after which unchanged state is pushed again."""
    start_delay_s: Mapping[str, float]
    """Per model, for pods that start without an estimate."""
    deadline_s: Mapping[str, float]
    """Per model, within which a request is timely."""
    yields_of_s: float | None
    """Hold timeout of requests of which late ones yield to those who can be on time; None: first come first served."""
    speed_rule: SpeedRule


class Keeper:
    """The ports `KeeperPort` and `KeeperControl` in this process."""

    def __init__(self, node: str, instance: str, clock: Clock, pods: PodPort, limits: KeeperLimits) -> None:
        """Begin without pods: the node agent declares them."""
        self.node = node
        self.table_generation: Callable[[], int] = lambda: 0
        """What the ingress of this process steers by; told to the node agent."""
        self._limits = limits
        self._instance = instance
        self._clock = clock
        self._ask = pods.ask
        self._queues = Queues(clock, limits.speed_rule, limits.start_delay_s)
        self._queues.deadline_s, self._queues.yields_of_s = limits.deadline_s, limits.yields_of_s
        self._queues.on_change = self._touch
        self._sequence = 0
        self._version = 0
        self._watchers: asyncio.Future[None] | None = None
        self._agent: tuple[str, int] = ("", 0)
        self._former_agents: set[str] = set()

    # --- what an ingress asks

    async def offer(self, offer: Offer, body: bytes | Awaitable[bytes]) -> AsyncGenerator[Update | bytes, None]:
        """Yield what becomes of an offer; closing the iterator gives the ticket up."""
        queues, clock = self._queues, self._clock
        entry = queues.admit(offer)
        if not isinstance(entry, Entry):
            yield entry
            return
        ended: Ended = "dropped"
        try:
            if entry.verdict is not None:
                pod = entry.pod
                yield Queued(ahead=len(pod.running) + len(pod.waiting) - 1)
                returned = await entry.verdict
                if returned is not None:
                    yield returned
                    return
            began_at_s = clock.now_s()
            yield Granted(waited_s=max(0.0, began_at_s - entry.queued_at_s))
            received = 0
            async for piece in self._served(entry, body):
                if type(piece) is bytes:
                    received += len(piece)
                elif type(piece) is Failed or type(piece) is Returned:
                    queues.leave(entry, "failed" if type(piece) is Failed else "returned")
                    yield piece
                    return
                yield piece
            ended = "done"
            queues.leave(entry, ended)
            yield Done(service_s=max(0.0, clock.now_s() - began_at_s), response_bytes=received)
        finally:
            queues.leave(entry, ended)

    async def withdraw(self, offer: Offer) -> Withdrawal:
        """Take a waiting ticket back; one that never came is given back if it comes later."""
        return Withdrawal(state="withdrawn" if self._queues.withdraw(offer) else "started")

    # --- what the node agent asks

    async def declare(self, pods: PodSet) -> PodUses:
        """Take all pods of the node; raises `StaleGeneration` for an older set, `InputError` for another node's."""
        if pods.node != self.node:
            raise InputError(f"pods of node {pods.node!r} were declared to the keeper of node {self.node!r}")
        instance, sequence = self._agent
        if pods.instance in self._former_agents or (pods.instance == instance and pods.sequence <= sequence):
            raise StaleGeneration(
                f"pods of node {self.node!r} with sequence {pods.sequence} of agent {pods.instance!r} are older than "
                f"{sequence} of {instance!r}, which is in force"
            )
        new_agent = pods.instance != instance
        if new_agent and instance:
            self._former_agents.add(instance)
        self._agent = (pods.instance, pods.sequence)
        self._queues.reconcile(pods.pods, pods.speed, spare=new_agent)
        return self.uses()

    def uses(self) -> PodUses:
        """Return how far each pod is from being free of requests."""
        return PodUses(node=self.node, pods=self._queues.uses(), table_generation=self.table_generation())

    async def drained(self, model: str) -> None:
        """Return once a model's pod has no request and gets none any more."""
        while not self._queues.closed and not self._queues.is_free(model):
            await asyncio.sleep(DRAINED_LOOK_S)

    # --- what it tells of itself

    @property
    def counts(self) -> KeeperCounts:
        """Return what became of all tickets."""
        return self._queues.counts

    @property
    def speed(self) -> float | None:
        """Return v; None before the node agent declared one."""
        return self._queues.speed

    @property
    def waiting(self) -> int:
        """Return how many tickets wait."""
        return self._queues.waiting

    @property
    def running(self) -> int:
        """Return how many tickets the pods have."""
        return self._queues.running

    def load(self, now_s: float) -> NodeLoad | None:
        """Return the load as an ingress of this process prices it; None before the node agent declared any."""
        return self._queues.load(now_s)

    def loads(self, now_s: float) -> tuple[PodLoad, ...]:
        """Return the load of each pod that can be offered to or drains, sorted by model."""
        return self._queues.loads(now_s)

    def state(self) -> KeeperState | None:
        """Return the state as it is pushed; None before the node agent declared any."""
        speed = self._queues.speed
        if speed is None:
            return None
        self._sequence += 1
        now_s = self._clock.now_s()
        return KeeperState(
            node=self.node,
            instance=self._instance,
            sequence=self._sequence,
            observed_at_s=now_s,
            speed=speed,
            pods=self._queues.loads(now_s),
        )

    async def states(self) -> AsyncGenerator[KeeperState, None]:
        """Yield the state now, on each change (at most every `coalesce_s`) and after `heartbeat_s` without one."""
        seen = -1
        while not self._queues.closed:
            if seen == self._version:
                if self._watchers is None:
                    self._watchers = asyncio.get_running_loop().create_future()
                await asyncio.wait((self._watchers,), timeout=self._limits.heartbeat_s)
            seen = self._version
            state = self.state()
            if state is not None:
                yield state
            await self._clock.sleep_for(self._limits.coalesce_s)

    def tell_pods_to(self, listener: Callable[[], None]) -> None:
        """Call `listener` after pods came, went or changed their phase."""
        self._queues.on_pods = listener

    def learn(self, start_delay_s: Mapping[str, float], deadline_s: Mapping[str, float]) -> None:
        """Take the models' start delays and deadlines from a changed cluster."""
        self._queues.start_delay_s, self._queues.deadline_s = start_delay_s, deadline_s

    def sweep(self) -> None:
        """Give back the tickets whose deadline has passed."""
        self._queues.sweep()

    def check(self) -> None:
        """Raise `AssertionError` unless every ticket is accounted for exactly once (DESIGN §8, invariant 1)."""
        self._queues.check()

    def close(self) -> None:
        """Refuse offers from now on and give all waiting tickets back."""
        self._queues.close()

    async def _served(
        self, entry: Entry, body: bytes | Awaitable[bytes]
    ) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        pod = entry.pod
        if not isinstance(body, bytes):
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await body
            except TimeoutError:
                yield Failed(phase="connect", reason=f"its body did not follow within {BODY_TIMEOUT_S:g} s")
                return
        url = pod.endpoint.url
        if url is None or pod.gone:
            yield Returned(reason="pod-lost")
            return
        entry.exchange = self._ask(url, entry.offer.path, body, entry.offer.ticket.request)
        answer = entry.exchange.answer()
        try:
            async for piece in answer:
                if type(piece) is Failed or type(piece) is Returned:
                    self._queues.suspect(pod)
                yield piece
        finally:
            await answer.aclose()

    def _touch(self) -> None:
        self._version += 1
        watchers, self._watchers = self._watchers, None
        if watchers is not None and not watchers.done():
            watchers.set_result(None)
