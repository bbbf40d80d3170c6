"""The queues of one node's pods: who waits, who runs, what the node agent last said. Nothing here waits for anything.

The keeper (`gateway/keeper.py`) brings the events: an offer, the end of an exchange, a withdrawal, a set of pods. What
follows for those who wait is put into their verdicts.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fairlead.contracts.ports import Clock, PodExchange
from fairlead.contracts.readings import Phase, PodLoad
from fairlead.contracts.tickets import Offer, PodEndpoint, PodUse, Refused, Returned
from fairlead.policy.backlog import Backlog, SpeedRule
from fairlead.policy.choice import NodeLoad, PodQueue
from fairlead.policy.yielding import PATIENCE_SHARE, next_up

REMEMBERED = 4096
"""Tickets whose fate is remembered after they left, so that a late withdrawal is answered truly: more than a node
serves in the two seconds after which a withdrawal times out."""

OVERDUE_RATIO = 0.1
"""A pod past its expected readiness counts as this share of its start delay away, as running work does (CONTROL §2)."""

TicketKey = tuple[str, str, int]
"""Site, request, attempt."""


@dataclass(slots=True, eq=False)
class Entry:
    """One ticket at a keeper."""

    number: int
    """Order of arrival."""
    offer: Offer
    queued_at_s: float
    pod: "Queue"
    verdict: "asyncio.Future[Returned | None] | None" = None
    """Where it waits: None means granted."""
    exchange: PodExchange | None = None
    """Where it runs and the pod has been asked."""
    began_at_s: float | None = None


@dataclass(slots=True, eq=False)
class Queue:
    """One start of a model's pod: first come, first served, at most its concurrency inside."""

    endpoint: PodEndpoint
    waiting: dict[int, Entry] = field(default_factory=dict)
    running: dict[int, Entry] = field(default_factory=dict)
    used_at_s: float | None = None
    suspect: bool = False
    """It did not answer; no offers until the node agent declares it again."""
    gone: bool = False
    """The node agent no longer has it."""

    @property
    def phase(self) -> Phase:
        """Return what the node agent last said."""
        return self.endpoint.phase

    @property
    def is_open(self) -> bool:
        """Return whether it takes offers."""
        return self.endpoint.phase in ("ready", "starting") and not self.suspect and not self.gone

    @property
    def has_place(self) -> bool:
        """Return whether the next ticket would be granted at once."""
        end = self.endpoint
        return end.phase == "ready" and end.url is not None and self.is_open and len(self.running) < end.concurrency

    def ready_in_s(self, now_s: float, start_delay_s: float) -> float:
        """Return the residual start; 0 when ready."""
        if self.endpoint.phase != "starting":
            return 0.0
        if self.endpoint.ready_at_s is None:
            return start_delay_s
        return max(self.endpoint.ready_at_s - now_s, OVERDUE_RATIO * start_delay_s)


@dataclass(slots=True)
class KeeperCounts:
    """What became of all tickets that were offered since the process began."""

    offered: int = 0
    refused: int = 0
    returned: int = 0
    """Given back unstarted."""
    done: int = 0
    failed: int = 0
    dropped: int = 0
    """Given up by the ingress that owned them."""

    @property
    def over(self) -> int:
        """Return how many have left."""
        return self.refused + self.returned + self.done + self.failed + self.dropped


Ended = Literal["returned", "done", "failed", "dropped"]
"""How a ticket left: the fields of `KeeperCounts`."""


class Queues:
    """All queues of a node and the account of its work; every method leaves the books in order."""

    def __init__(self, clock: Clock, rule: SpeedRule, start_delay_s: Mapping[str, float]) -> None:
        """Begin without pods; `start_delay_s` per model is for pods that start without an estimate."""
        self.counts = KeeperCounts()
        self.start_delay_s = start_delay_s
        self.deadline_s: Mapping[str, float] = {}
        """Within which a request of a model is timely."""
        self.yields_of_s: float | None = None
        """Hold timeout of requests of which late ones yield; None: first come first served."""
        self.closed = False
        self.on_change: Callable[[], None] = lambda: None
        """Called after anything that a keeper's state shows has changed."""
        self.on_pods: Callable[[], None] = lambda: None
        """Called after pods came, went or changed their phase."""
        self._clock = clock
        self._rule = rule
        self._backlog: Backlog | None = None
        self._pods: dict[str, Queue] = {}
        self._entries: dict[int, Entry] = {}
        self._tickets: dict[TicketKey, Entry] = {}
        """The newest entry of each ticket, for withdrawals."""
        self._fates: dict[TicketKey, bool] = {}
        """Whether a ticket that left had been started."""
        self._numbers = itertools.count(1)

    # --- events

    def admit(self, offer: Offer) -> Entry | Refused | Returned:
        """Take an offer in: it runs if its verdict is None, else it waits."""
        self.counts.offered += 1
        key = key_of(offer)
        if self._fates.get(key) is False:
            self.counts.returned += 1
            return Returned(reason="withdrawn")
        pod = self._pods.get(offer.model)
        if self.closed or pod is None or not pod.is_open:
            self.counts.refused += 1
            draining = pod is not None and pod.phase in ("draining", "stopping")
            return Refused(reason="stopped" if self.closed else "draining" if draining else "no-pod")
        entry = Entry(next(self._numbers), offer, self._clock.now_s(), pod)
        self._entries[entry.number] = self._tickets[key] = entry
        if pod.has_place and not pod.waiting:
            self._begin(entry)
        else:
            entry.verdict = asyncio.get_running_loop().create_future()
            pod.waiting[entry.number] = entry
            self._account.enqueue(pod.endpoint.instance)
        self.on_change()
        return entry

    def leave(self, entry: Entry, ended: Ended) -> None:
        """Take an entry out for good and grant its place; a second call does nothing."""
        pod, number = entry.pod, entry.number
        if self._entries.pop(number, None) is None:
            return
        key = key_of(entry.offer)
        if self._tickets.get(key) is entry:
            del self._tickets[key]
        self._remember(key, started=entry.began_at_s is not None)
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
        self.on_change()

    def withdraw(self, offer: Offer) -> bool:
        """Take a waiting ticket back and return True; False if it was started. One that never came never will start."""
        key = key_of(offer)
        entry = self._tickets.get(key)
        if entry is None:
            started = self._fates.get(key)
            if started is None:
                self._remember(key, started=False)
            return not started
        if entry.began_at_s is not None:
            return False
        self._give_back(entry, Returned(reason="withdrawn"))
        return True

    def suspect(self, pod: Queue) -> None:
        """Take no offers for a pod that broke an exchange, and give its tickets back, until it is declared again."""
        if not pod.suspect:
            pod.suspect = True
            self._return_all(pod, Returned(reason="pod-lost"))
            self.on_change()
            self.on_pods()

    def sweep(self) -> None:
        """Give back the tickets whose deadline has passed."""
        now_s = self._clock.now_s()
        for entry in [e for e in self._entries.values() if e.began_at_s is None and e.offer.deadline_at_s <= now_s]:
            self._give_back(entry, Returned(reason="deadline"))

    def reconcile(self, declared: tuple[PodEndpoint, ...], speed: float, *, spare: bool) -> None:
        """Bring the queues in line with what was declared; `spare`: a new agent may not have found all pods yet."""
        if self._backlog is None:
            self._backlog = Backlog(speed, self._clock.now_s(), self._rule)
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
        for endpoint in wanted.values():
            changed |= self._update(endpoint)
        if changed:
            self.on_change()
            self.on_pods()

    def close(self) -> None:
        """Refuse offers from now on and give all waiting tickets back."""
        self.closed = True
        for entry in [e for e in self._entries.values() if e.began_at_s is None]:
            self._give_back(entry, Returned(reason="draining"))
        self.on_change()

    # --- what stands there

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

    def uses(self) -> tuple[PodUse, ...]:
        """Return how far each pod is from being free of requests, sorted by model."""
        return tuple(
            PodUse(
                model=model,
                instance=pod.endpoint.instance,
                waiting=len(pod.waiting),
                running=len(pod.running),
                used_at_s=pod.used_at_s,
            )
            for model, pod in sorted(self._pods.items())
        )

    def is_free(self, model: str) -> bool:
        """Tell whether a model's pod has no request and gets none: it drains or stops, or there is none."""
        pod = self._pods.get(model)
        return pod is None or (pod.phase in ("draining", "stopping") and not pod.waiting and not pod.running)

    def loads(self, now_s: float) -> tuple[PodLoad, ...]:
        """Return the load of each pod that is not suspect, sorted by model."""
        found = []
        for model, pod in sorted(self._pods.items()):
            if pod.suspect:
                continue
            account = self._account.account(pod.endpoint.instance, now_s)
            found.append(
                PodLoad(
                    model=model,
                    phase=pod.phase,
                    ready_in_s=pod.ready_in_s(now_s, self.start_delay_s.get(model, 0.0)),
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
            ready_in_s = pod.ready_in_s(now_s, self.start_delay_s.get(model, 0.0))
            found.append(PodQueue(model, pod.phase, ready_in_s, account.work_s, account.count))
        return NodeLoad(backlog.speed, now_s, tuple(found))

    def check(self) -> None:
        """Raise `AssertionError` unless every ticket is accounted for exactly once (DESIGN §8, invariant 1)."""
        inside = len(self._entries)
        if self.counts.offered != self.counts.over + inside:
            raise AssertionError(f"{self.counts} and {inside} inside do not add up")
        queues = {id(e.pod): e.pod for e in self._entries.values()}
        queues.update((id(p), p) for p in self._pods.values())
        held = sum(len(p.waiting) + len(p.running) for p in queues.values())
        if held != inside:
            raise AssertionError(f"{inside} tickets, {held} of them in queues")
        crowded = [p for p in queues.values() if len(p.running) > p.endpoint.concurrency]
        if crowded:
            raise AssertionError(f"{crowded[0].endpoint.model} runs more than its concurrency")

    # --- inside

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

    def _pump(self, pod: Queue) -> None:
        """Grant the places that are free."""
        now_s = self._clock.now_s()
        while pod.waiting and pod.has_place:
            number = self._next_up(pod, now_s)
            entry = pod.waiting[number]
            if entry.offer.deadline_at_s <= now_s:
                self._give_back(entry, Returned(reason="deadline"))
                continue
            del pod.waiting[number]
            self._account.leave(pod.endpoint.instance)
            self._begin(entry)
            if entry.verdict is not None and not entry.verdict.done():
                entry.verdict.set_result(None)

    def _next_up(self, pod: Queue, now_s: float) -> int:
        """Return who is served next, by number."""
        deadline_s, hold_s = self.deadline_s.get(pod.endpoint.model), self.yields_of_s
        if deadline_s is None or hold_s is None:
            return next(iter(pod.waiting))
        arrived = ((number, entry.offer.deadline_at_s - hold_s) for number, entry in pod.waiting.items())
        on_time_from_s = now_s + self._account.service_s(pod.endpoint.instance) - deadline_s
        return next_up(arrived, on_time_from_s, now_s - PATIENCE_SHARE * hold_s)

    def _give_back(self, entry: Entry, returned: Returned) -> None:
        """End the wait of a ticket that never started."""
        self.leave(entry, "returned")
        if entry.verdict is not None and not entry.verdict.done():
            entry.verdict.set_result(returned)

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

    def _update(self, endpoint: PodEndpoint) -> bool:
        """Take what was said of one pod; return whether it was news."""
        pod = self._pods.get(endpoint.model)
        if pod is not None and pod.endpoint.instance != endpoint.instance:
            self._lose(pod)
            pod = None
        news = pod is None or pod.endpoint != endpoint or pod.suspect
        if pod is None:
            pod = self._pods[endpoint.model] = Queue(endpoint)
        pod.endpoint, pod.suspect = endpoint, False
        self._account.declare(endpoint.instance, endpoint.work_s)
        if endpoint.phase in ("draining", "stopping", "sleeping"):
            self._return_all(pod, Returned(reason="draining"))
        self._pump(pod)
        return news

    def _remember(self, key: TicketKey, *, started: bool) -> None:
        self._fates[key] = started
        if len(self._fates) > REMEMBERED:
            del self._fates[next(iter(self._fates))]


def key_of(offer: Offer) -> TicketKey:
    """Return what a ticket is known by."""
    return (offer.site, offer.ticket.request, offer.ticket.attempt)
