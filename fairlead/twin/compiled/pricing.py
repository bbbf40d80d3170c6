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
def drain(w: int, size: int, speed: float, for_s: float, pausing: bool) -> None:
    """Let the queues of a node be as they will be after `for_s` if nothing arrives."""
    leave(w, size, -1, speed, for_s, pausing)
    for k in range(size):
        q = queues(w, k)
        if q.count == 0 and q.ready_in_s <= 0.0:
            continue
        if q.count > 0:
            q.count = min(q.count, math.ceil(q.left_s / models(w, q.model).work_s - NOTHING_S))
        q.ready_in_s = max(0.0, q.ready_in_s - for_s)
        q.work_s = q.left_s


@native
def leave(w: int, size: int, skipped: int, speed: float, for_s: float, pausing: bool) -> None:
    """Set the work left in each of the first `size` pods after `for_s`; who takes part see `takes_part`."""
    for k in range(size):
        queues(w, k).left_s = queues(w, k).work_s
    at_s = 0.0
    while True:
        until_s = for_s
        for k in range(size):
            if takes_part(w, k, skipped) and at_s < queues(w, k).ready_in_s < until_s:
                until_s = queues(w, k).ready_in_s
        if pausing:
            in_turn(w, size, skipped, at_s, speed * (until_s - at_s))
        else:
            shared(w, size, skipped, at_s, speed * (until_s - at_s))
        if until_s >= for_s:
            return
        at_s = until_s


@native
def shared(w: int, size: int, skipped: int, at_s: float, budget: float) -> None:
    """Split `budget` evenly among those with work that are ready by then."""
    done_s = poured(w, size, skipped, at_s, budget)
    for k in range(size):
        if takes_part(w, k, skipped) and queues(w, k).ready_in_s <= at_s:
            queues(w, k).left_s = less(queues(w, k).left_s, done_s)


@native
def in_turn(w: int, size: int, skipped: int, at_s: float, budget: float) -> None:
    """Give `budget` to those that are ready by then one after the other, least mean work first."""
    before = -1
    for _ in range(size):
        now = -1
        for k in range(size):
            if follows(w, k, before) and (now < 0 or mean_s(w, k) < mean_s(w, now)):
                now = k
        if takes_part(w, now, skipped) and queues(w, now).ready_in_s <= at_s:
            done_s = min(queues(w, now).left_s, budget)
            queues(w, now).left_s = less(queues(w, now).left_s, done_s)
            budget -= done_s
        before = now


@native
def follows(w: int, k: int, before: int) -> bool:
    """Tell whether a pod runs after another one (−1: none); of equals the first."""
    if before < 0:
        return True
    mine_s, its_s = mean_s(w, k), mean_s(w, before)
    return bool(mine_s > its_s or (mine_s == its_s and k > before))


@native
def mean_s(w: int, k: int) -> float:
    """Return b of a pod's model."""
    return float(models(w, queues(w, k).model).work_s)


@native
def less(work_s: float, done_s: float) -> float:
    """Return what is left of work."""
    return work_s - done_s if work_s - done_s > NOTHING_S else 0.0


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
def priced(w: int, size: int, own: int, speed: float, pausing: bool) -> tuple[float, float]:
    """Return d without start and network, and e, of one more request on the pod in place `own`."""
    own_s, ahead_s, start_s = models(w, queues(w, own).model).work_s, queues(w, own).work_s, queues(w, own).ready_in_s
    until_s = ahead_s + own_s
    finish_s, delays_s = until_s, 0.0
    later = False
    if start_s > 0.0:
        for k in range(size):
            later = later or (k != own and queues(w, k).count > 0)
        if later:
            leave(w, size, own, speed, start_s, pausing)
    if pausing:
        return paused(w, size, own, speed, later)
    for k in range(size):
        if k == own or queues(w, k).count == 0:
            continue
        omega_s = queues(w, k).left_s if later else queues(w, k).work_s
        finish_s += omega_s if omega_s < until_s else until_s
        if omega_s > ahead_s:
            delays_s += delayed_s(omega_s - ahead_s, queues(w, k).count, models(w, queues(w, k).model).work_s, own_s)
    return finish_s / speed, delays_s / speed


@native
def paused(w: int, size: int, own: int, speed: float, later: bool) -> tuple[float, float]:
    """Return the same where one pod runs at a time: who has less mean work goes before (CONTROL §2 rule 8)."""
    own_s = mean_s(w, own)
    finish_s, after = queues(w, own).work_s + own_s, 0
    for k in range(size):
        if k == own or queues(w, k).count == 0:
            continue
        left_s = queues(w, k).left_s if later else queues(w, k).work_s
        if mean_s(w, k) < own_s:
            finish_s += left_s
        else:
            after += min(queues(w, k).count, math.ceil(left_s / mean_s(w, k)))
    return finish_s / speed, own_s * after / speed
