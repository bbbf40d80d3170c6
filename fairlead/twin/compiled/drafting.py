"""A placement while it is being decided, compiled: `policy.draft` and sums over it, in numpy's order of addition."""

import math

from fairlead.policy.arrays import FORGOTTEN
from fairlead.policy.pricing import CROWDING, NO_CAPACITY
from fairlead.twin.compiled.desk import desk, models, nodes, numbers, pods
from fairlead.twin.compiled.native import native

RUNS = 8
"""How many running sums numpy keeps (`pairwise_sum` in its source)."""


@native
def begin_draft(b: int) -> None:
    """Begin an empty draft with the demand that the board and λ amount to."""
    for m in range(desk(b).model):
        model, waiting = models(b, m), 0
        for n in range(desk(b).node):
            pod = pods(b, n, m)
            waiting += max(pod.count - pod.running, 0)
            pod.kept, pod.going, pod.wanted, pod.also = False, False, False, False
        time_starts(b, m)
        model.waiting, model.moved, model.prior_s = waiting, False, 0.0
        model.pressed = model.rate + (model.held + waiting) / (2.0 * desk(b).slot_s)
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            numbers(b, m).value = pods(b, n, m).left_s
        nodes(b, n).backlog_s = added(b, desk(b).model) / nodes(b, n).speed


@native
def time_starts(b: int, m: int) -> None:
    """Set how long a pod of a model takes to be ready on each node: now, and again were it stopped."""
    model, asleep, again_s = models(b, m), False, math.inf
    model.soonest_s = math.inf
    for n in range(desk(b).node):
        pod = pods(b, n, m)
        pod.begin_s = model.wake_s if pod.sleeping else model.start_s
        pod.again_s = model.start_s
        if model.claim <= nodes(b, n).host_memory:
            pod.again_s = model.wake_s + FORGOTTEN * model.start_s
        model.soonest_s, again_s = min(model.soonest_s, pod.begin_s), min(again_s, pod.again_s)
        asleep = asleep or pod.sleeping
    model.absent_s = again_s if asleep else model.start_s


@native
def resident(b: int, n: int, m: int) -> bool:
    """Tell whether a pod claims memory."""
    pod = pods(b, n, m)
    return bool(pod.starting or pod.ready or pod.leaving or pod.stopping)


@native
def stays(b: int, n: int, m: int) -> bool:
    """Tell whether there will be a pod."""
    return bool(pods(b, n, m).kept or pods(b, n, m).wanted)


@native
def free(b: int, n: int) -> int:
    """Return the bytes that are left on a node once all that goes has gone and all that is wanted has started."""
    left = nodes(b, n).memory
    for m in range(desk(b).model):
        if stays(b, n, m):
            left -= models(b, m).claim
    return int(left)


@native
def share(b: int, n: int, count: int) -> float:
    """Return σ of one of `count` pods on a node."""
    return float(nodes(b, n).speed / (1.0 + CROWDING * (max(float(count), 1.0) - 1.0)))


@native
def counted(b: int, n: int) -> int:
    """Return how many pods a node will have."""
    count = 0
    for m in range(desk(b).model):
        if stays(b, n, m):
            count += 1
    return count


@native
def sum_up(b: int) -> None:
    """Set C, the sum of σ over a model's pods, node after node, and its ready pods that are sure to stay."""
    for m in range(desk(b).model):
        models(b, m).capacity, models(b, m).sure = 0.0, 0
    for n in range(desk(b).node):
        part = share(b, n, counted(b, n)) if nodes(b, n).up else 0.0
        for m in range(desk(b).model):
            pod = pods(b, n, m)
            if stays(b, n, m):
                models(b, m).capacity += part
            if pod.kept and pod.ready and not pod.stoppable:
                models(b, m).sure += 1


@native
def idle(b: int, n: int, m: int) -> bool:
    """Tell whether nobody uses a ready pod that stays."""
    pod = pods(b, n, m)
    return bool(pod.kept and pod.ready and pod.count == 0 and pod.left_s <= NO_CAPACITY)


@native
def settled(b: int, n: int, m: int, for_s: float) -> bool:
    """Tell whether a ready pod stays and has been ready for so long."""
    pod = pods(b, n, m)
    return bool(pod.kept and pod.ready and desk(b).now_s - pod.since_at_s >= for_s)


@native
def added(b: int, count: int) -> float:
    """Return the sum of the first `count` of `numbers`, which are overwritten; up to 128 to the last bit as numpy's."""
    total, begun = 0.0, 0
    if count >= RUNS:
        begun = count - count % RUNS
        for k in range(RUNS, begun):
            numbers(b, k % RUNS).value += numbers(b, k).value
        low = (numbers(b, 0).value + numbers(b, 1).value) + (numbers(b, 2).value + numbers(b, 3).value)
        high = (numbers(b, 4).value + numbers(b, 5).value) + (numbers(b, 6).value + numbers(b, 7).value)
        total = low + high
    for k in range(begun, count):
        total += numbers(b, k).value
    return total
