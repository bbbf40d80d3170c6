"""Start on demand, evict the least recently used, compiled: `policy.baselines.lru`."""

import math

from fairlead.policy.baselines import HALF, LRU_DWELL_STARTS
from fairlead.policy.draft import GB
from fairlead.twin.compiled.deciding_demand import asked_for, pod_price
from fairlead.twin.compiled.desk import desk, lines, models, nodes, pods
from fairlead.twin.compiled.drafting import free, idle, settled, stays
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.victims import line_up, needed, open_for, start, stop


@native
def lru(b: int) -> None:
    """Start what is missed or waited for, longest held first."""
    for m in range(desk(b).model):
        models(b, m).tried = False
    while True:
        m = next_asked(b)
        if m < 0:
            return
        model = models(b, m)
        model.tried = True
        if not had(b, m):
            if model.held > 0:
                for n in range(desk(b).node):
                    nodes(b, n).among = True
                start_one(b, m, model.oldest_held_s > desk(b).patience_starts * model.start_s)
            continue
        if begun(b, m):
            continue
        best, wait_s = best_pod(b, m)
        if wait_s > HALF * model.start_s:
            for n in range(desk(b).node):
                nodes(b, n).among = nodes(b, n).backlog_s < HALF * nodes(b, best).backlog_s
            start_one(b, m, False)


@native
def next_asked(b: int) -> int:
    """Return the model that is asked for, of those not tried the one with the longest held request; -1: none."""
    best = -1
    for m in range(desk(b).model):
        if models(b, m).tried or not asked_for(b, m):
            continue
        if best < 0 or models(b, m).oldest_held_s > models(b, best).oldest_held_s:
            best = m
    return best


@native
def had(b: int, m: int) -> bool:
    """Tell whether there will be a pod of a model."""
    found = False
    for n in range(desk(b).node):
        found = found or stays(b, n, m)
    return found


@native
def begun(b: int, m: int) -> bool:
    """Tell whether a pod of a model starts or is about to."""
    found = False
    for n in range(desk(b).node):
        found = found or pods(b, n, m).wanted or pods(b, n, m).starting
    return bool(found)


@native
def best_pod(b: int, m: int) -> tuple[int, float]:
    """Return the node of the pod with the shortest expected delay, and the wait there; 0, inf without a ready one."""
    best, least_s = 0, math.inf
    for n in range(desk(b).node):
        if pods(b, n, m).kept and pods(b, n, m).ready:
            delay_s, _ = pod_price(b, n, m)
            wait_s = delay_s - models(b, m).work_s / nodes(b, n).speed
            if wait_s < least_s:
                best, least_s = n, wait_s
    return best, least_s


@native
def start_one(b: int, m: int, patient: bool) -> None:
    """Start a pod on the node with least work of those `among` that can make room."""
    oldest_s, best = math.inf, -1
    for n in range(desk(b).node):
        for j in range(desk(b).model):
            if may_go(b, n, j, patient):
                oldest_s = min(oldest_s, pods(b, n, j).used_at_s)
    for n in range(desk(b).node):
        node = nodes(b, n)
        if not (node.among and open_for(b, n, m)) or (best >= 0 and node.backlog_s >= nodes(b, best).backlog_s):
            continue
        for j in range(desk(b).model):
            model = models(b, j)
            model.allowed = may_go(b, n, j, patient)
            model.cost_s = (pods(b, n, j).used_at_s - oldest_s) * (model.claim / GB)
        line_up(b, n)
        node.takes = needed(b, n, models(b, m).claim - free(b, n))
        if node.takes >= 0:
            best = n
    if best >= 0:
        for k in range(nodes(b, best).takes):
            stop(b, best, lines(b, best, k).model)
        start(b, best, m)


@native
def may_go(b: int, n: int, m: int, patient: bool) -> bool:
    """Tell whether a pod may be evicted."""
    dwelt = settled(b, n, m, LRU_DWELL_STARTS * models(b, m).start_s) and not pods(b, n, m).pinned
    return bool(dwelt and (patient or idle(b, n, m)))
