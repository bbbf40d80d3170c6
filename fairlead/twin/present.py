"""Who is present in a situation: requests rebuilt from what nodes and ingresses report.

Of a pod W, K and the number running are known, of the held requests of a model how many there are and since when the
oldest waits. Of each running request there is what W leaves after the mean work of those that wait; every other one
has the mean work. Sites are taken in turn, for nobody reports whose requests they are. Queues are about first come
first served, so that those present are the newest that arrived: ages follow from the rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.decisions import ModelView, NodeView, PodView
from fairlead.policy.backlog import LEAST_LEFT_RATIO
from fairlead.policy.snapshot import allowed_age_s
from fairlead.twin.branching import Situation

SERVING = ("ready", "starting", "draining")
"""Phases of pods that may have requests."""


@dataclass(frozen=True, slots=True)
class Present:
    """A request that is there now."""

    model: str
    site: str
    node: str | None
    """In whose pod it is; None where it is held."""
    running: bool
    left_s: float
    """Work that is left of it, seconds at speed 1."""
    entered_at_s: float
    """When it came to its ingress, as far as that can be told."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A request of which all is known but its site."""

    node: str | None
    running: bool
    left_s: float
    age_s: float


def present(situation: Situation) -> tuple[Present, ...]:
    """Return the requests that are there now, in the order in which they came."""
    rates = {rate.model: rate.per_s for rate in situation.state.rates}
    views = {view.model: view for view in situation.snapshot.models}
    pods = _pods(situation)
    found = [
        (model.id, one)
        for model in situation.cluster.models
        for one in _of_model(situation, model, pods[model.id], views.get(model.id), rates.get(model.id, 0.0))
    ]
    found.sort(key=_oldest_first)
    sites = [site.id for site in situation.cluster.sites]
    now_s, limit_s = situation.now_s, situation.settings.hold_timeout_s
    return tuple(
        Present(model, sites[k % len(sites)], one.node, one.running, one.left_s, now_s - min(one.age_s, limit_s))
        for k, (model, one) in enumerate(found)
    )


def silent_from_s(view: NodeView, situation: Situation) -> float | None:
    """Return when a node that is not up was heard last, long ago in any case; None if it never was."""
    if view.observed_at_s is None:
        return None
    return min(view.observed_at_s, situation.now_s - 2.0 * allowed_age_s(situation.settings))


def running_in(pod: PodView, model: ModelSpec) -> tuple[int, float]:
    """Return how many requests run in a pod, and the work that is left of each."""
    running = min(pod.running, pod.count, model.concurrency) if pod.phase in ("ready", "draining") else 0
    if not running:
        return 0, 0.0
    left_s = (pod.work_s - model.work_s * (pod.count - running)) / running
    return running, min(max(left_s, LEAST_LEFT_RATIO * model.work_s), model.work_s)


def _oldest_first(one: tuple[str, _Found]) -> tuple[float, str]:
    return -one[1].age_s, one[0]


def _of_model(
    situation: Situation, model: ModelSpec, pods: Sequence[tuple[str, PodView]], view: ModelView | None, rate: float
) -> list[_Found]:
    """Return the requests of a model, each with its age; who waits is younger than who runs.

    Of a model that is asked for less than once a slot, those who wait are taken to have come a slot apart.
    """
    now_s = situation.now_s
    asked_at_s = now_s if view is None or view.asked_at_s is None else min(view.asked_at_s, now_s)
    youngest_s, apart_s = now_s - asked_at_s, 1.0 / max(rate, 1.0 / situation.settings.slot_s)
    running: list[tuple[str, float, float]] = []
    waiting: list[tuple[int, str]] = []
    held = 0 if view is None else view.held
    for node, pod in pods:
        many, left_s = running_in(pod, model)
        begun_s = now_s if pod.used_at_s is None else min(pod.used_at_s, now_s)
        running += [(node, left_s, now_s - begun_s)] * many
        if pod.phase == "draining":
            held += pod.count - many  # it has given them back
        else:
            waiting += [(many - pod.count + place, node) for place in range(pod.count - many)]
    waiting.sort(reverse=True)
    found = [_Found(node, False, model.work_s, youngest_s + k * apart_s) for k, (_, node) in enumerate(waiting)]
    oldest_s = youngest_s + len(waiting) * apart_s
    found += [_Found(node, True, left_s, max(oldest_s, served_s)) for node, left_s, served_s in running]
    since_s = 0.0 if view is None else view.oldest_held_s
    step_s = max(0.0, since_s - youngest_s) / max(held, 1)
    return found + [_Found(None, False, model.work_s, since_s - k * step_s) for k in range(held)]


def _pods(situation: Situation) -> dict[str, list[tuple[str, PodView]]]:
    """Return of each model the pods that may have requests, each with its node."""
    found: dict[str, list[tuple[str, PodView]]] = {model.id: [] for model in situation.cluster.models}
    for node in situation.snapshot.nodes:
        for pod in node.pods:
            if node.up and pod.phase in SERVING and pod.model in found:
                found[pod.model].append((node.node, pod))
    return found
