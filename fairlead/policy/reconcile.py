"""Reconcile: what shall be awake on a node and what is there in, ordered actions out (DESIGN §3, CONTROL §2 rule 3).

The laws (DESIGN §8): stops come before starts; the node's memory is never exceeded, counting starting and stopping
pods; only what the placement in force lists as stoppable is stopped, and nothing without one; a stop drains first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.readings import Phase, PodReading
from fairlead.contracts.tickets import PodUses

FORCE_AFTER_S = 1.0
"""Domain seconds that a forced stop leaves its keeper to give waiting tickets back; own choice, the time of a stop."""

FALLS_ASLEEP = "sleep"
"""Stage of a stop that ends in `sleeping`."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One model on the node as its agent knows it; `off` ones are kept for their back-off."""

    model: str
    instance: str
    phase: Phase
    since_at_s: float
    memory_bytes: int
    """Claimed; 0 only when off."""
    stage: str = ""
    ready_at_s: float | None = None
    """Expected while starting, else when it became ready."""
    url: str | None = None
    crashes: int = 0
    """Ends in a row that nobody ordered."""
    backoff_until_s: float | None = None
    reason: str = ""
    waiting: int | None = None
    """Requests in its queue as the keeper said since it drains; None until it has."""
    running: int | None = None
    """Requests inside the model server, likewise."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more requests for the pod."""

    model: str


@dataclass(frozen=True, slots=True)
class Undrain:
    """Take requests for it again."""

    model: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the pod."""

    model: str
    forced: bool
    """It has not finished draining."""
    lost: int
    """Requests that are lost by it, as far as known."""
    asleep: bool = False
    """Its weights go to host memory, from where it wakes soon; of a pod that sleeps a stop is the end of that."""


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to start a pod of the model."""

    model: str
    wake: bool = False
    """It sleeps here."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A model shall be awake and cannot start now."""

    model: str
    reason: Literal["memory", "backoff", "stopping", "unknown-model"]


Action = Drain | Undrain | Stop | Start | Wait


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an agent is patient, domain seconds (`NodeAgentSettings`)."""

    drain_limit_s: float
    backoff_first_s: float
    backoff_most_s: float


def newer(known: Placement | None, offered: Placement) -> Placement:
    """Return the placement to follow: an older generation never replaces a newer one (invariant 9)."""
    return offered if known is None or offered.generation > known.generation else known


def part(placement: Placement | None, node: str) -> NodePlacement | None:
    """Return what a placement says of a node; None if it says nothing."""
    return None if placement is None else next((n for n in placement.nodes if n.node == node), None)


def claimed_bytes(pods: Mapping[str, Pod]) -> int:
    """Return the memory that the pods of a node claim together."""
    return sum(p.memory_bytes for p in pods.values() if p.phase not in ("off", "sleeping"))


def hosted_bytes(pods: Mapping[str, Pod]) -> int:
    """Return the host memory that pods claim which sleep or fall asleep."""
    return sum(p.memory_bytes for p in pods.values() if p.phase == "sleeping" or _falls_asleep(p))


def _falls_asleep(pod: Pod) -> bool:
    return pod.phase == "stopping" and pod.stage == FALLS_ASLEEP


def reading_of(pod: Pod) -> PodReading:
    """Return what an agent reports of a pod."""
    return PodReading(
        model=pod.model,
        instance=pod.instance,
        phase=pod.phase,
        since_at_s=pod.since_at_s,
        stage=pod.stage,
        ready_at_s=pod.ready_at_s,
        memory_bytes=pod.memory_bytes,
        crashes=pod.crashes,
        backoff_until_s=pod.backoff_until_s,
        reason=pod.reason,
    )


def reconcile(
    placement: NodePlacement | None,
    in_force: bool,
    pods: Mapping[str, Pod],
    models: Mapping[str, ModelSpec],
    memory_bytes: int,
    now_s: float,
    limits: Limits,
    host_bytes: int = 0,
) -> tuple[Action, ...]:
    """Return what to do now, in this order; `in_force` says that the placement has not expired.

    `host_bytes` is what pods may sleep in: one that has drained falls asleep there, those that have slept longest make
    room. One pod at a time falls asleep or makes room, the next when this is called again.

    A placement that has expired still says what shall be awake, so that a crashed pod comes back while the control
    plane is away; it stops nothing any more, and what it was draining serves again.
    """
    awake = () if placement is None else placement.awake
    stoppable = frozenset(placement.stoppable) if placement is not None and in_force else frozenset[str]()
    forced = frozenset(placement.forced) if placement is not None else frozenset[str]()
    ends: list[Action] = []
    rested = False
    for pod in sorted(pods.values(), key=lambda p: p.model):
        action = _end(pod, pod.model in stoppable, pod.model in forced, now_s, limits)
        if isinstance(action, Stop) and _may_sleep(pod, action, host_bytes):
            action = None if rested else _rest(pod, action, pods, host_bytes, awake)
            rested = True
        if action is not None:
            ends.append(action)
    return (*ends, *_starts(awake, pods, models, memory_bytes - claimed_bytes(pods), now_s))


def _end(pod: Pod, stoppable: bool, forced: bool, now_s: float, limits: Limits) -> Action | None:
    match pod.phase:
        case "starting" | "ready" if stoppable:
            return Drain(pod.model)
        case "draining" if not stoppable:
            return Undrain(pod.model)
        case "draining":
            return _stop(pod, FORCE_AFTER_S if forced else limits.drain_limit_s, now_s)
    return None


def _stop(pod: Pod, limit_s: float, now_s: float) -> Stop | None:
    """Return the stop of a draining pod that is free of requests, or has drained for `limit_s` and is not."""
    if pod.running == 0 and pod.waiting == 0:
        return Stop(pod.model, forced=False, lost=0)
    if now_s - pod.since_at_s >= limit_s:
        return Stop(pod.model, forced=True, lost=pod.running or 0)
    return None


def _may_sleep(pod: Pod, stop: Stop, host_bytes: int) -> bool:
    """Tell whether a pod can sleep in so much host memory: it has been ready, and has nothing to do."""
    loaded = pod.ready_at_s is not None and pod.ready_at_s <= pod.since_at_s
    return loaded and not stop.forced and pod.memory_bytes <= host_bytes


def _rest(pod: Pod, stop: Stop, pods: Mapping[str, Pod], host_bytes: int, awake: tuple[str, ...]) -> Stop:
    """Return that a pod falls asleep, or else who sleeps no more for it; a plain stop where nobody can make room."""
    if pod.memory_bytes <= host_bytes - hosted_bytes(pods):
        return replace(stop, asleep=True)
    asleep = [p for p in pods.values() if p.phase == "sleeping" and p.model not in awake]
    if not asleep:
        return stop
    return Stop(min(asleep, key=lambda p: (p.since_at_s, p.model)).model, forced=False, lost=0)


def _starts(
    awake: tuple[str, ...], pods: Mapping[str, Pod], models: Mapping[str, ModelSpec], free_bytes: int, now_s: float
) -> tuple[Action, ...]:
    actions: list[Action] = []
    for model in awake:
        pod, spec = pods.get(model), models.get(model)
        if pod is not None and pod.phase == "stopping":
            actions.append(Wait(model, "stopping"))
        elif pod is not None and pod.phase not in ("off", "sleeping"):
            continue
        elif spec is None:
            actions.append(Wait(model, "unknown-model"))
        elif pod is not None and pod.backoff_until_s is not None and now_s < pod.backoff_until_s:
            actions.append(Wait(model, "backoff"))
        elif spec.memory_bytes > free_bytes:
            actions.append(Wait(model, "memory"))
        else:
            free_bytes -= spec.memory_bytes
            actions.append(Start(model, wake=pod is not None and pod.phase == "sleeping"))
    return tuple(actions)


def wakes_at_s(
    placement: Placement | None, node: str, pods: Mapping[str, Pod], now_s: float, limits: Limits
) -> float | None:
    """Return the next instant at which time alone changes what `reconcile` returns; None if there is none."""
    mine = part(placement, node)
    instants = [] if placement is None else [placement.expires_at_s]
    for pod in pods.values():
        if pod.phase == "off" and pod.backoff_until_s is not None:
            instants.append(pod.backoff_until_s)
        elif pod.phase == "draining":
            forced = mine is not None and pod.model in mine.forced
            instants.append(pod.since_at_s + (FORCE_AFTER_S if forced else limits.drain_limit_s))
    return min((at_s for at_s in instants if at_s > now_s), default=None)


def crashed(pod: Pod, reason: str, now_s: float, limits: Limits) -> Pod:
    """Return what is left of a pod that ended though nobody ordered it: off, and not started again for a while.

    The wait doubles with each crash in a row; one that was ready for longer than the longest wait begins a new row.
    """
    served = pod.phase != "starting" and pod.ready_at_s is not None
    steady = served and pod.ready_at_s is not None and now_s - pod.ready_at_s >= limits.backoff_most_s
    crashes = 1 if steady else pod.crashes + 1
    wait_s = min(limits.backoff_most_s, limits.backoff_first_s * 2.0 ** min(crashes - 1, 60))
    return Pod(
        pod.model,
        pod.instance,
        "off",
        now_s,
        0,
        crashes=crashes,
        backoff_until_s=now_s + wait_s,
        reason=reason or "ended",
    )


def turned(pod: Pod, phase: Phase, now_s: float) -> Pod:
    """Return the pod in another phase, begun now; what the keeper said of it before no longer counts."""
    return replace(pod, phase=phase, since_at_s=now_s, stage="", waiting=None, running=None)


def remembered(pods: Mapping[str, Pod], now_s: float, limits: Limits) -> dict[str, Pod]:
    """Return the pods without those that crashed so long ago that it says nothing any more."""
    return {
        model: pod
        for model, pod in pods.items()
        if pod.phase != "off" or pod.backoff_until_s is None or now_s < pod.backoff_until_s + limits.backoff_most_s
    }


def used(pods: Mapping[str, Pod], declared: Mapping[str, Pod], uses: PodUses) -> dict[str, Pod]:
    """Return the pods with what the keeper says of the draining ones, in answer to what was `declared` to it.

    It counts only for a pod that was declared as draining and has been ever since: before the keeper knows of a drain,
    an idle pod may get a request at any moment.
    """
    said = {(u.model, u.instance): u for u in uses.pods}
    found = dict(pods)
    for model, pod in pods.items():
        then, use = declared.get(model), said.get((model, pod.instance))
        if pod.phase != "draining" or then is None or use is None:
            continue
        if (then.instance, then.phase, then.since_at_s) == (pod.instance, pod.phase, pod.since_at_s):
            found[model] = replace(pod, waiting=use.waiting, running=use.running)
    return found
