"""A node: pods, their queues, and the processor that busy pods share.

What is true stands here beside what the node's keeper believes: requests do their own work at the true speed, the
keeper's account (`policy.backlog`) knows mean work and the speed that completions have taught it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fairlead.contracts.cluster import ModelSpec, NodeSpec
from fairlead.contracts.plans import Placement
from fairlead.contracts.readings import Phase
from fairlead.policy.backlog import Backlog, SpeedRule
from fairlead.policy.choice import NodeLoad, PodQueue
from fairlead.policy.reconcile import Pod, claimed_bytes, hosted_bytes
from fairlead.policy.yielding import next_up


@dataclass(slots=True)
class Queue:
    """Who waits for one start of a pod and who is in it: first come first served, at most its concurrency inside."""

    instance: str
    concurrency: int
    waiting: dict[int, float] = field(default_factory=dict)
    """Work of each request that waits, in order of arrival."""
    arrived_at_s: dict[int, float] = field(default_factory=dict)
    """When each request that waits came to its ingress."""
    running: dict[int, float] = field(default_factory=dict)
    """Work left of each request that runs."""
    used_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """The request that ends next if nothing changes."""

    at_s: float
    model: str
    request: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What agent and keeper of a node say of it at one instant."""

    node: NodeSpec
    at_s: float
    placement: int
    """Generation that the agent follows; 0 if none."""
    pods: tuple[Pod, ...]
    load: NodeLoad
    running: Mapping[str, int]
    used_at_s: Mapping[str, float | None]
    starts: int
    stops: int

    def phases(self) -> tuple[tuple[str, Phase], ...]:
        """Return model and phase of each pod that there is."""
        return tuple((p.model, p.phase) for p in self.pods)


class Node:
    """One node, alive or dead."""

    def __init__(
        self, spec: NodeSpec, models: Mapping[str, ModelSpec], rule: SpeedRule, patience_s: float | None = None
    ) -> None:
        """Begin empty, at the declared speed; with `patience_s`, late requests yield until they have waited so long."""
        self.spec = spec
        self.models = models
        self.speed = spec.speed
        """True, seconds of work done in a second."""
        self.up = True
        self.pods: dict[str, Pod] = {}
        """As the agent knows them."""
        self.queues: dict[str, Queue] = {}
        """Of pods that start, serve or drain."""
        self.placement: Placement | None = None
        self.looks_at_s: float | None = None
        """When the agent is to look again, if that is entered."""
        self.version = 0
        """Rises whenever who is served changes."""
        self.foretold = -1
        """The version whose next end was entered."""
        self.opened = 0
        self.starts = 0
        self.stops = 0
        self.tale: Callable[[NodeLoad], NodeLoad] | None = None
        """What its keeper makes of its account before it says it; None where it is honest."""
        self._patience_s = patience_s
        self._rule = rule
        self._account = Backlog(spec.speed, 0.0, rule, pausing=spec.pausing)
        self._at_s = 0.0

    # --- requests

    def admit(self, request: int, model: str, work_s: float, arrived_at_s: float = 0.0) -> bool:
        """Take a request in that came to its ingress at `arrived_at_s`; False if no pod of its model takes any."""
        pod = self.pods.get(model)
        if pod is None or pod.phase not in ("ready", "starting"):
            return False
        queue = self.queues[model]
        queue.waiting[request] = work_s
        queue.arrived_at_s[request] = arrived_at_s
        self._account.enqueue(queue.instance)
        return True

    def resume(self, now_s: float, speed: float) -> None:
        """Begin at an instant, empty, at the speed that was learned, which is taken for the true one."""
        self.speed = speed
        self._at_s = now_s
        self._account = Backlog(speed, now_s, self._rule, pausing=self.spec.pausing)

    def have(self, pod: Pod, used_at_s: float | None) -> None:
        """Have a pod that was opened before; only one that starts, serves or drains takes or has requests."""
        if pod.phase in ("starting", "ready", "draining"):
            self.open(pod)
            self.queues[pod.model].used_at_s = used_at_s
        else:
            self.pods[pod.model] = pod

    def go_on(self, request: int, model: str, left_s: float, now_s: float) -> None:
        """Have a request in its pod that has been served for a while."""
        queue = self.queues[model]
        queue.running[request] = left_s
        self._account.start(queue.instance, request, now_s, attained_s=self.models[model].work_s - left_s)
        self.version += 1

    def pump(self, model: str, now_s: float) -> list[int]:
        """Begin to serve those for whom a pod has a place, and return them."""
        begun: list[int] = []
        pod, queue = self.pods[model], self.queues[model]
        while pod.phase == "ready" and queue.waiting and len(queue.running) < queue.concurrency:
            self._advance(now_s)
            request = self._next_up(queue, model, now_s)
            queue.running[request] = queue.waiting.pop(request)
            del queue.arrived_at_s[request]
            queue.used_at_s = now_s
            self._account.leave(queue.instance)
            self._account.start(queue.instance, request, now_s)
            self.version += 1
            begun.append(request)
        return begun

    def _next_up(self, queue: Queue, model: str, now_s: float) -> int:
        if self._patience_s is None:
            return next(iter(queue.waiting))
        on_time_from_s = now_s + self._account.service_s(queue.instance) - self.models[model].deadline_s
        return next_up(queue.arrived_at_s.items(), on_time_from_s, now_s - self._patience_s)

    def end(self, request: int, model: str, now_s: float) -> None:
        """Take out a request that has been served."""
        self._advance(now_s)
        queue = self.queues[model]
        del queue.running[request]
        queue.used_at_s = now_s
        self._account.end(queue.instance, request, now_s, finished=True)
        self.version += 1

    def withdraw(self, request: int, model: str) -> None:
        """Take out a request that waits."""
        queue = self.queues[model]
        del queue.waiting[request], queue.arrived_at_s[request]
        self._account.leave(queue.instance)

    def due(self) -> Due | None:
        """Return who ends next; of those that end together, the first by model and arrival."""
        busy = sorted(self._served().items())
        best: Due | None = None
        for model, queue in busy:
            request = min(queue.running, key=lambda one: (queue.running[one], one))
            shares = len(busy) * len(queue.running)
            at_s = self._at_s + max(queue.running[request], 0.0) * shares / self.speed
            if best is None or at_s < best.at_s:
                best = Due(at_s, model, request)
        return best

    def turn(self, speed: float, now_s: float) -> None:
        """Go on at another speed, which nobody is told."""
        self._advance(now_s)
        self.speed = speed
        self.version += 1

    def _advance(self, now_s: float) -> None:
        """Do the work since the last instant: k busy pods get v/k each, the requests inside one pod share it evenly."""
        for_s = now_s - self._at_s
        self._at_s = now_s
        busy = self._served().values()
        for queue in busy:
            done_s = for_s * self.speed / (len(busy) * len(queue.running))
            for request in queue.running:
                queue.running[request] -= done_s

    def _served(self) -> dict[str, Queue]:
        """Return the pods that work now: all busy ones, or on a pausing node the one that its keeper lets run."""
        busy = {model: queue for model, queue in self.queues.items() if queue.running}
        runner = self._account.runner() if self.spec.pausing else None
        return busy if runner is None else {m: queue for m, queue in busy.items() if queue.instance == runner}

    # --- pods

    def open(self, pod: Pod) -> None:
        """Have a new pod, which claims its memory from now on."""
        model = self.models[pod.model]
        self.pods[model.id] = pod
        self.queues[model.id] = Queue(pod.instance, model.concurrency)
        self._account.declare(pod.instance, model.work_s)
        self.opened += 1

    def close(self, model: str, now_s: float) -> tuple[int, ...]:
        """Have a queue no longer; return the requests that were being served in it and are lost."""
        self._advance(now_s)
        queue = self.queues.pop(model)
        self._account.drop(queue.instance, now_s)
        self.version += 1
        return tuple(queue.running)

    def die(self, now_s: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lose everything; return the requests that ran and those that waited."""
        queues = [queue for _, queue in sorted(self.queues.items())]
        ran = tuple(sorted(r for queue in queues for r in queue.running))
        waited = tuple(sorted(r for queue in queues for r in queue.waiting))
        self.pods, self.queues, self.up = {}, {}, False
        self.looks_at_s = None
        self._advance(now_s)
        self.version += 1
        return ran, waited

    def come_back(self, now_s: float) -> None:
        """Be there again, empty; a new keeper believes the declared speed."""
        self.up = True
        self._at_s = now_s
        self._account = Backlog(self.spec.speed, now_s, self._rule, pausing=self.spec.pausing)

    @property
    def claimed_bytes(self) -> int:
        """Return the memory that pods claim now."""
        return claimed_bytes(self.pods)

    @property
    def hosted_bytes(self) -> int:
        """Return the host memory that sleeping pods claim now."""
        return hosted_bytes(self.pods)

    # --- what is said of it

    def load(self, now_s: float) -> NodeLoad:
        """Return what the keeper says of its account, as requests are priced on it."""
        found = []
        for model, queue in sorted(self.queues.items()):
            pod = self.pods[model]
            account = self._account.account(queue.instance, now_s)
            ready_in_s = max(0.0, (pod.ready_at_s or now_s) - now_s) if pod.phase == "starting" else 0.0
            found.append(PodQueue(model, pod.phase, ready_in_s, account.work_s, account.count))
        load = NodeLoad(self._account.speed, now_s, tuple(found), self.spec.pausing)
        return load if self.tale is None else self.tale(load)

    def reading(self, now_s: float) -> Reading:
        """Return what is reported of it."""
        return Reading(
            node=self.spec,
            at_s=now_s,
            placement=0 if self.placement is None else self.placement.generation,
            pods=tuple(pod for _, pod in sorted(self.pods.items())),
            load=self.load(now_s),
            running={model: len(queue.running) for model, queue in self.queues.items()},
            used_at_s={model: queue.used_at_s for model, queue in self.queues.items()},
            starts=self.starts,
            stops=self.stops,
        )
