"""Rule 1 of CONTROL §2, compiled: `policy.placing`."""

import math

from fairlead.policy.draft import GB
from fairlead.twin.compiled.desk import desk, lines, models, nodes, pods, wishes
from fairlead.twin.compiled.drafting import counted, free, idle, resident, settled, share, stays, sum_up
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.pricing import priced
from fairlead.twin.compiled.victims import line_up, make_room, needed, open_for, start
from fairlead.twin.compiled.wanting import drains, tilt
from fairlead.twin.compiled.world import queues
from fairlead.twin.compiled.worth import regret


@native
def on_demand(b: int) -> None:
    """Start what is needed, longest held first."""
    for k in range(wished(b)):
        wish = wishes(b, k)
        price_starts(b, wish.model, wish.patient)
        best = -1
        for n in range(desk(b).node):
            if nodes(b, n).takes >= 0 and (best < 0 or nodes(b, n).total_s < nodes(b, best).total_s):
                best = n
        if best >= 0 and not (wish.bound and wish.wait_s <= nodes(b, best).total_s):
            make_room(b, best, wish.model, nodes(b, best).takes)
            start(b, best, wish.model)


@native
def wished(b: int) -> int:
    """Set who needs a pod, longest held first, those without pods before those that wait; return how many."""
    size = 0
    for m in range(desk(b).model):
        held_s = models(b, m).oldest_held_s
        if usable(b, m) or not (models(b, m).held > 0 or models(b, m).lost):
            continue
        k = size
        while k > 0 and wishes(b, k - 1).wait_s < held_s:
            before = wishes(b, k - 1)
            put(b, k, before.model, before.wait_s, False)
            k -= 1
        put(b, k, m, held_s, False)
        size += 1
    for m in range(desk(b).model):
        if asked_for(b, m) and usable(b, m) and not under_way(b, m) and may_wait(b, m):
            wait_s = best_wait_s(b, m)
            if wait_s > desk(b).wait_starts * models(b, m).soonest_s:
                put(b, size, m, wait_s, True)
                size += 1
    return size


@native
def put(b: int, k: int, m: int, wait_s: float, bound: bool) -> None:
    """Set one of the wishes."""
    wish, model = wishes(b, k), models(b, m)
    wish.model, wish.wait_s, wish.bound = m, wait_s, bound
    wish.patient = model.oldest_held_s > desk(b).patience_starts * model.start_s


@native
def asked_for(b: int, m: int) -> bool:
    """Tell whether a request is held or waits, or has come since the last refresh."""
    model = models(b, m)
    return bool(model.held > 0 or model.waiting > 0 or model.asked_at_s >= desk(b).now_s - desk(b).refresh_s)


@native
def usable(b: int, m: int) -> bool:
    """Tell whether there will be a pod of a model, on a node that the plan does not drain."""
    found = False
    for n in range(desk(b).node):
        found = found or (stays(b, n, m) and not drains(b, n))
    return found


@native
def under_way(b: int, m: int) -> bool:
    """Tell whether a pod of a model starts or is about to."""
    found = False
    for n in range(desk(b).node):
        found = found or pods(b, n, m).wanted or (pods(b, n, m).kept and pods(b, n, m).starting)
    return bool(found)


@native
def may_wait(b: int, m: int) -> bool:
    """Tell whether the best pod's wait may be long; a bound from above that spares exact prices."""
    best = math.inf
    for n in range(desk(b).node):
        if pods(b, n, m).kept:
            count = 0
            for j in range(desk(b).model):
                count += pods(b, n, j).count
            best = min(best, nodes(b, n).backlog_s + count / nodes(b, n).speed * models(b, m).work_s)
    return bool(best > desk(b).wait_starts * models(b, m).soonest_s)


@native
def best_wait_s(b: int, m: int) -> float:
    """Return w: the least d + e without own service over a model's pods, none of which is starting."""
    best = math.inf
    for n in range(desk(b).node):
        if pods(b, n, m).kept:
            delay_s, delays_s = pod_price(b, n, m)
            best = min(best, max(0.0, delay_s + delays_s - models(b, m).work_s / nodes(b, n).speed))
    return best


@native
def pod_price(b: int, n: int, m: int) -> tuple[float, float]:
    """Return d and e of one more request on a pod, without network."""
    w, size, own = desk(b).world_at, 0, 0
    for j in range(desk(b).model):
        if resident(b, n, j):
            pod, queue = pods(b, n, j), queues(w, size)
            queue.model, queue.ready_in_s, queue.work_s, queue.count = j, pod.ready_in_s, pod.left_s, pod.count
            own = size if j == m else own
            size += 1
    finish_s, delays_s = priced(w, size, own, nodes(b, n).speed, nodes(b, n).pausing)
    return pods(b, n, m).ready_in_s + finish_s, delays_s


@native
def price_starts(b: int, m: int, patient: bool) -> None:
    """Set on each node how many have to go for a start, and what it costs the first request and them."""
    sum_up(b)
    for n in range(desk(b).node):
        nodes(b, n).takes = -1
        if not open_for(b, n, m):
            continue
        busy = stand_by(b, n, patient)
        line_up(b, n)
        node = nodes(b, n)
        node.takes = needed(b, n, models(b, m).claim - free(b, n))
        if node.takes >= 0:
            first_s = models(b, m).work_s * (1.0 + desk(b).busy_share * busy) / node.speed
            node.total_s = displaced_s(b, n) + pods(b, n, m).begin_s + first_s


@native
def displaced_s(b: int, n: int) -> float:
    """Return what it costs that those go who have to."""
    return float(lines(b, n, nodes(b, n).takes).cost_s)


@native
def stand_by(b: int, n: int, patient: bool) -> int:
    """Set whom rule 1 may displace on a node and what that costs; return how many pods there are busy."""
    part, busy = share(b, n, counted(b, n)), 0
    for j in range(desk(b).model):
        pod, model, unused = pods(b, n, j), models(b, j), idle(b, n, j)
        busy += 1 if pod.count > 0 else 0
        spared = model.sure <= 1 and pod.count > pod.running
        free_to_go = settled(b, n, j, pod.again_s) and not pod.pinned
        model.allowed = free_to_go and (unused or (patient and not spared))
        if model.allowed:
            dearer = 0.0 if unused else desk(b).drain_s_per_gb * model.claim / GB
            lost_s = regret(b, n, j, part, model.rate, desk(b).event_horizon_s) * tilt(b, n, j)
            model.cost_s = lost_s + dearer
    return busy
