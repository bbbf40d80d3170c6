"""Prices of pods as `policy.choice` has them, compiled: one candidate's queues in a row, sums in the same order."""

import math

from fairlead.policy.choice import NOTHING_S
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.world import models, queues


@native
def lay(w: int, k: int, m: int, ready_in_s: float, work_s: float, count: int) -> None:
    """Lay out a pod of the node that is looked at, behind those that were."""
    q = queues(w, k)
    q.model, q.ready_in_s, q.work_s, q.count = m, ready_in_s, work_s, count


@native
def drain(w: int, size: int, speed: float, for_s: float) -> None:
    """Let the queues of a node be as they will be after `for_s` if nothing arrives."""
    shared(w, size, -1, speed, for_s)
    for k in range(size):
        q = queues(w, k)
        if q.count == 0 and q.ready_in_s <= 0.0:
            continue
        if q.count > 0:
            q.count = min(q.count, math.ceil(q.left_s / models(w, q.model).work_s - NOTHING_S))
        q.ready_in_s = max(0.0, q.ready_in_s - for_s)
        q.work_s = q.left_s


@native
def shared(w: int, size: int, skipped: int, speed: float, for_s: float) -> None:
    """Set the work left in each of the first `size` pods after `for_s`; who takes part see `takes_part`."""
    for k in range(size):
        queues(w, k).left_s = queues(w, k).work_s
    at_s = 0.0
    while True:
        until_s = for_s
        for k in range(size):
            if takes_part(w, k, skipped) and at_s < queues(w, k).ready_in_s < until_s:
                until_s = queues(w, k).ready_in_s
        done_s = poured(w, size, skipped, at_s, speed * (until_s - at_s))
        for k in range(size):
            if takes_part(w, k, skipped) and queues(w, k).ready_in_s <= at_s:
                rest_s = queues(w, k).left_s - done_s
                queues(w, k).left_s = rest_s if rest_s > NOTHING_S else 0.0
        if until_s >= for_s:
            return
        at_s = until_s


@native
def takes_part(w: int, k: int, skipped: int) -> bool:
    """Tell whether a pod shares the node: all do where none is skipped (−1), else the others that have requests."""
    return skipped < 0 or (k != skipped and queues(w, k).count > 0)


@native
def poured(w: int, size: int, skipped: int, at_s: float, budget: float) -> float:
    """Return how much each pod that is ready by then gets done when `budget` is split evenly among those with work."""
    sharing = 0
    for k in range(size):
        if takes_part(w, k, skipped) and queues(w, k).ready_in_s <= at_s:
            work_s, j = queues(w, k).left_s, sharing
            while j > 0 and queues(w, j - 1).sorted_s > work_s:
                queues(w, j).sorted_s = queues(w, j - 1).sorted_s
                j -= 1
            queues(w, j).sorted_s = work_s
            sharing += 1
    level, count = 0.0, sharing
    for k in range(count):
        need = (queues(w, k).sorted_s - level) * sharing
        if need > budget:
            return level + budget / sharing
        budget -= need
        level, sharing = queues(w, k).sorted_s, sharing - 1
    return level


@native
def delayed_s(after_s: float, count: int, each_s: float, own_s: float) -> float:
    """Return what one queue waits longer for a new request: `policy.choice.delayed_s`."""
    positive = min(count, math.ceil(after_s / each_s))
    full = 0
    if after_s >= own_s:
        full = min(positive, math.floor((after_s - own_s) / each_s) + 1)
    falling = (positive - full) * after_s - each_s * (positive * (positive - 1) - full * (full - 1)) / 2
    return full * own_s + falling


@native
def priced(w: int, size: int, own: int, speed: float) -> tuple[float, float]:
    """Return d without start and network, and e, of one more request on the pod in place `own`."""
    own_s, ahead_s, start_s = models(w, queues(w, own).model).work_s, queues(w, own).work_s, queues(w, own).ready_in_s
    until_s = ahead_s + own_s
    finish_s, delays_s = until_s, 0.0
    later = False
    if start_s > 0.0:
        for k in range(size):
            later = later or (k != own and queues(w, k).count > 0)
        if later:
            shared(w, size, own, speed, start_s)
    for k in range(size):
        if k == own or queues(w, k).count == 0:
            continue
        omega_s = queues(w, k).left_s if later else queues(w, k).work_s
        finish_s += omega_s if omega_s < until_s else until_s
        if omega_s > ahead_s:
            delays_s += delayed_s(omega_s - ahead_s, queues(w, k).count, models(w, queues(w, k).model).work_s, own_s)
    return finish_s / speed, delays_s / speed
