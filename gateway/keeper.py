"""The keeper: the queues of one node's pods (DESIGN §3). Its ingresses offer tickets, its node agent declares pods."""

import asyncio
import itertools
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
    PodEndpoint,
    PodSet,
    PodUse,
    PodUses,
    Queued,
    Refused,
    Returned,
    Update,
    Withdrawal,
)
from fairlead.policy.backlog import Backlog, SpeedRule
from fairlead.policy.choice import NodeLoad, PodQueue
from gateway.queues import Entry, KeeperCounts, Queue, TicketKey

REMEMBERED = 4096
"""Tickets whose fate is remembered after they left, so that a late withdrawal is answered truly: more than a node
serves in the two seconds after which a withdrawal times out."""

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
    speed_rule: SpeedRule


class Keeper:
    """The ports `KeeperPort` and `KeeperControl` in this process."""

    def __init__(self, node: str, instance: str, clock: Clock, pods: PodPort, limits: KeeperLimits) -> None:
        """Begin without pods: the node agent declares them."""
        self.node = node
        self.counts = KeeperCounts()
        self.on_pods: Callable[[], None] = lambda: None
        """Called after pods came, went or changed their phase."""
        self.table_generation: Callable[[], int] = lambda: 0
        """What the ingress of this process steers by; told to the node agent."""
        self.limits = limits
        self._instance = instance
        self._clock = clock
        self._ask = pods.ask
        self._backlog: Backlog | None = None
        self._pods: dict[str, Queue] = {}
        self._entries: dict[int, Entry] = {}
        self._tickets: dict[TicketKey, Entry] = {}
        """The newest entry of each ticket, for withdrawals."""
        self._fates: dict[TicketKey, bool] = {}
        """Whether a ticket that left had been started."""
        self._numbers = itertools.count(1)
        self._sequence = 0
        self._version = 0
        self._watchers: asyncio.Future[None] | None = None
        self._agent: tuple[str, int] = ("", 0)
        self._former_agents: set[str] = set()
        self._closed = False

    # --- what an ingress asks

    async def offer(self, offer: Offer, body: bytes | Awaitable[bytes]) -> AsyncGenerator[Update | bytes, None]:
        """Yield what becomes of an offer; closing the iterator gives the ticket up."""
        entry = self._admit(offer)
        if not isinstance(entry, Entry):
            yield entry
            return
        ended: str = "dropped"
        try:
            if entry.verdict is not None:
                pod = entry.pod
                yield Queued(ahead=len(pod.running) + len(pod.waiting) - 1)
                returned = await entry.verdict
                if returned is not None:
                    ended = "returned"
                    yield returned
                    return
            began_at_s = self._clock.now_s()
            yield Granted(waited_s=max(0.0, began_at_s - entry.queued_at_s))
            received = 0
            async for piece in self._served(entry, body):
                if type(piece) is bytes:
                    received += len(piece)
                elif type(piece) is Failed or type(piece) is Returned:
                    ended = "failed" if type(piece) is Failed else "returned"
                    yield piece
                    return
                yield piece
            ended = "done"
            done = Done(service_s=max(0.0, self._clock.now_s() - began_at_s), response_bytes=received)
            self._leave(entry, ended)
            yield done
        finally:
            self._leave(entry, ended)

    async def withdraw(self, offer: Offer) -> Withdrawal:
        """Take a waiting ticket back; one that never came is refused if it comes later."""
        key = _key(offer)
        entry = self._tickets.get(key)
        if entry is None:
            started = self._fates.get(key)
            if started is None:
                self._remember(key, False)
            return Withdrawal(state="started" if started else "withdrawn")
        if entry.began_at_s is not None:
            return Withdrawal(state="started")
        self._give_back(entry, Returned(reason="withdrawn"))
        return Withdrawal(state="withdrawn")

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
        if self._backlog is None:
            self._backlog = Backlog(pods.speed, self._clock.now_s(), self.limits.speed_rule)
        if self._reconcile(pods.pods, spare=new_agent):
            self._touch()
            self.on_pods()
        return self.uses()

    def uses(self) -> PodUses:
        """Return how far each pod is from being free of requests."""
        return PodUses(
            node=self.node,
            pods=tuple(
                PodUse(
                    model=model,
                    instance=pod.endpoint.instance,
                    waiting=len(pod.waiting),
                    running=len(pod.running),
                    used_at_s=pod.used_at_s,
                )
                for model, pod in sorted(self._pods.items())
            ),
            table_generation=self.table_generation(),
        )

    # --- what it tells of itself

    @property
    def speed(self) -> float | None:
        """Return v; None before the node agent declared one."""
        return None if self._backlog is None else self._backlog.speed

    @property
    def waiting(self) -> int:
        """Return how many tickets wait."""
        return sum(1 for e in self._entries.values() if e.began_at_s is None)

    @property
    def running(self) -> int:
        """Return how many tickets the pods have."""
        return len(self._entries) - self.waiting

    def loads(self, now_s: float) -> tuple[PodLoad, ...]:
        """Return the load of each pod that takes offers or drains, sorted by model."""
        backlog = self._backlog
        if backlog is None:
            return ()
        found = []
        for model, pod in sorted(self._pods.items()):
            if pod.suspect or pod.phase == "off":
                continue
            account = backlog.account(pod.endpoint.instance, now_s)
            found.append(
                PodLoad(
                    model=model,
                    phase=pod.phase,
                    ready_in_s=pod.ready_in_s(now_s, self.limits.start_delay_s.get(model, 0.0)),
                    work_s=account.work_s,
                    count=account.count,
                    running=account.running,
                    used_at_s=pod.used_at_s,
                )
            )
        return tuple(found)

    def load(self, now_s: float) -> NodeLoad | None:
        """Return the same as an ingress of this process prices it; None before the node agent declared any."""
        backlog = self._backlog
        if backlog is None:
            return None
        found = []
        for model, pod in self._pods.items():
            if pod.suspect:
                continue
            account = backlog.account(pod.endpoint.instance, now_s)
            ready_in_s = pod.ready_in_s(now_s, self.limits.start_delay_s.get(model, 0.0))
            found.append(PodQueue(model, pod.phase, ready_in_s, account.work_s, account.count))
        return NodeLoad(backlog.speed, now_s, tuple(found))

    def state(self) -> KeeperState | None:
        """Return the state as it is pushed; None before the node agent declared any."""
        speed = self.speed
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
            pods=self.loads(now_s),
        )

    async def states(self) -> AsyncGenerator[KeeperState, None]:
        """Yield the state now, on each change (at most every `coalesce_s`) and after `heartbeat_s` without one."""
        seen = -1
        while not self._closed:
            if seen == self._version:
                if self._watchers is None:
                    self._watchers = asyncio.get_running_loop().create_future()
                await asyncio.wait((self._watchers,), timeout=self.limits.heartbeat_s)
            seen = self._version
            state = self.state()
            if state is not None:
                yield state
            await self._clock.sleep_for(self.limits.coalesce_s)

    def sweep(self) -> None:
        """Give back the tickets whose deadline has passed."""
        now_s = self._clock.now_s()
        for entry in [e for e in self._entries.values() if e.began_at_s is None and e.offer.deadline_at_s <= now_s]:
            self._give_back(entry, Returned(reason="deadline"))

    def check(self) -> None:
        """Raise `AssertionError` unless every ticket is accounted for exactly once (DESIGN §8, invariant 1)."""
        inside = len(self._entries)
        if self.counts.offered != self.counts.over + inside:
            raise AssertionError(f"keeper {self.node}: {self.counts} and {inside} inside do not add up")
        queues = {id(e.pod): e.pod for e in self._entries.values()}
        queues.update((id(p), p) for p in self._pods.values())
        held = sum(len(p.waiting) + len(p.running) for p in queues.values())
        if held != inside:
            raise AssertionError(f"keeper {self.node}: {inside} tickets, {held} of them in queues")
        crowded = [p for p in queues.values() if len(p.running) > p.endpoint.concurrency]
        if crowded:
            raise AssertionError(f"keeper {self.node}: {crowded[0].endpoint.model} runs more than its concurrency")

    def close(self) -> None:
        """Refuse offers from now on and give all waiting tickets back."""
        self._closed = True
        for entry in [e for e in self._entries.values() if e.began_at_s is None]:
            self._give_back(entry, Returned(reason="draining"))
        self._touch()

    # --- inside

    def _admit(self, offer: Offer) -> Entry | Refused | Returned:
        self.counts.offered += 1
        key = _key(offer)
        if self._fates.get(key) is False:
            self.counts.returned += 1
            return Returned(reason="withdrawn")
        pod = self._pods.get(offer.model)
        if self._closed or pod is None or not pod.is_open:
            self.counts.refused += 1
            draining = pod is not None and pod.phase in ("draining", "stopping")
            return Refused(reason="stopped" if self._closed else "draining" if draining else "no-pod")
        entry = Entry(next(self._numbers), offer, self._clock.now_s(), pod)
        self._entries[entry.number] = self._tickets[key] = entry
        if pod.has_place and not pod.waiting:
            self._begin(entry)
        else:
            entry.verdict = asyncio.get_running_loop().create_future()
            pod.waiting[entry.number] = entry
            self._account.enqueue(pod.endpoint.instance)
        self._touch()
        return entry

    async def _served(
        self, entry: Entry, body: bytes | Awaitable[bytes]
    ) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        pod = entry.pod
        if not isinstance(body, bytes):
            try:
                body = await asyncio.wait_for(body, BODY_TIMEOUT_S)
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
                    self._suspect(pod)
                yield piece
        finally:
            await answer.aclose()

    @property
    def _account(self) -> Backlog:
        if self._backlog is None:
            raise AssertionError("a pod was declared without a speed")
        return self._backlog

    def _begin(self, entry: Entry) -> None:
        now_s = self._clock.now_s()
        pod = entry.pod
        pod.running[entry.number] = entry
        pod.used_at_s = entry.began_at_s = now_s
        self._account.start(pod.endpoint.instance, entry.number, now_s)

    def _leave(self, entry: Entry, ended: str) -> None:
        """Take an entry out for good; a second call does nothing."""
        pod, number = entry.pod, entry.number
        if self._entries.pop(number, None) is None:
            return
        key = _key(entry.offer)
        if self._tickets.get(key) is entry:
            del self._tickets[key]
        self._remember(key, entry.began_at_s is not None)
        setattr(self.counts, ended, getattr(self.counts, ended) + 1)
        now_s = self._clock.now_s()
        if pod.waiting.pop(number, None) is not None:
            self._account.leave(pod.endpoint.instance)
        elif pod.running.pop(number, None) is not None:
            pod.used_at_s = now_s
            self._account.end(pod.endpoint.instance, number, now_s, finished=ended == "done")
        if pod.gone and not pod.running and not pod.waiting:
            self._account.drop(pod.endpoint.instance, now_s)
        self._pump(pod)
        self._touch()

    def _pump(self, pod: Queue) -> None:
        """Grant the places that are free, first come first served."""
        now_s = self._clock.now_s()
        while pod.waiting and pod.has_place:
            number = next(iter(pod.waiting))
            entry = pod.waiting[number]
            if entry.offer.deadline_at_s <= now_s:
                self._give_back(entry, Returned(reason="deadline"))
                continue
            del pod.waiting[number]
            self._account.leave(pod.endpoint.instance)
            self._begin(entry)
            if entry.verdict is not None and not entry.verdict.done():
                entry.verdict.set_result(None)

    def _give_back(self, entry: Entry, returned: Returned) -> None:
        """End the wait of a ticket that never started; its iterator yields `returned`."""
        self._leave(entry, "returned")
        if entry.verdict is not None and not entry.verdict.done():
            entry.verdict.set_result(returned)

    def _suspect(self, pod: Queue) -> None:
        """Take no offers for a pod that broke an exchange, and give its tickets back, until it is declared again."""
        if not pod.suspect:
            pod.suspect = True
            self._return_all(pod, Returned(reason="pod-lost"))
            self._touch()
            self.on_pods()

    def _return_all(self, pod: Queue, returned: Returned) -> None:
        for entry in list(pod.waiting.values()):
            self._give_back(entry, returned)

    def _lose(self, pod: Queue) -> None:
        """Give back who waits for a pod that the node no longer has, break off who runs."""
        pod.gone = True
        self._return_all(pod, Returned(reason="pod-lost"))
        for entry in list(pod.running.values()):
            if entry.exchange is not None:
                entry.exchange.abort()
        if not pod.running:
            self._account.drop(pod.endpoint.instance, self._clock.now_s())

    def _reconcile(self, declared: tuple[PodEndpoint, ...], *, spare: bool) -> bool:
        """Bring the queues in line with what was declared; `spare`: a new agent may not have found all pods yet."""
        changed = False
        wanted = {e.model: e for e in declared if e.phase != "off"}
        for model in [m for m in self._pods if m not in wanted]:
            pod = self._pods[model]
            if spare and pod.running:
                pod.endpoint = pod.endpoint.model_copy(update={"phase": "draining"})
                self._return_all(pod, Returned(reason="draining"))
            else:
                del self._pods[model]
                self._lose(pod)
            changed = True
        for model, endpoint in wanted.items():
            before = self._pods.get(model)
            if before is not None and before.endpoint.instance != endpoint.instance:
                self._lose(before)
                before = None
            if before is None:
                before = self._pods[model] = Queue(endpoint)
                changed = True
            changed |= before.endpoint != endpoint or before.suspect
            before.endpoint, before.suspect = endpoint, False
            self._account.declare(endpoint.instance, endpoint.work_s)
            if endpoint.phase in ("draining", "stopping", "sleeping"):
                self._return_all(before, Returned(reason="draining"))
            self._pump(before)
        return changed

    def _remember(self, key: TicketKey, started: bool) -> None:
        self._fates[key] = started
        if len(self._fates) > REMEMBERED:
            del self._fates[next(iter(self._fates))]

    def _touch(self) -> None:
        self._version += 1
        watchers, self._watchers = self._watchers, None
        if watchers is not None and not watchers.done():
            watchers.set_result(None)


def _key(offer: Offer) -> TicketKey:
    return (offer.site, offer.ticket.request, offer.ticket.attempt)
