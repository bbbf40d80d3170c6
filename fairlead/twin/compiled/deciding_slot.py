"""Rule 2 of CONTROL §2, compiled: `policy.growing` without shadow prices."""

import math

import numpy as np

from fairlead.policy.growing import BLOCK_STREAM, BLOCKS
from fairlead.twin.compiled.chance import mixed
from fairlead.twin.compiled.desk import desk, lines, models, nodes, numbers, pods, warm
from fairlead.twin.compiled.drafting import counted, free, settled, share, stays, sum_up
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.victims import line_up, make_room, needed, open_for, start
from fairlead.twin.compiled.wanting import tilt
from fairlead.twin.compiled.worth import gain, regret

STREAM = np.uint64(BLOCK_STREAM)


@native
def by_slot(b: int) -> None:
    """Start the pairs that gain most where the active models fit, at most one for each so many nodes.

    Where the plan has news of rates, each node may start one.
    """
    sum_up(b)
    warm_up(b)
    need, room, up, some = mark_active(b), 0, 0, False
    for m in range(desk(b).model):
        some = some or models(b, m).column
    for n in range(desk(b).node):
        if nodes(b, n).up:
            room, up = room + nodes(b, n).memory, up + 1
    if need > desk(b).fit_ratio * room or not some:
        return
    blocks, budget = max(1, min(BLOCKS, up // desk(b).nodes_per_start)), max(1, up // desk(b).nodes_per_start)
    if desk(b).news:
        budget = up
    deal(b, up, blocks)
    for k in range(blocks):
        grow(b, k, budget * (k + 1) // blocks - budget * k // blocks)


@native
def warm_up(b: int) -> None:
    """Start what the plan wants warm now, if that gains at the rates that the plan expects.

    Where the plan says nothing of the model, a request for it within the horizon is taken for sure.
    """
    now_s = desk(b).now_s
    for k in range(desk(b).warmth):
        n, m = warm(b, k).node, warm(b, k).model
        due = desk(b).planned and warm(b, k).from_s <= now_s < warm(b, k).until_s
        if not due or stays(b, n, m):
            continue
        for j in range(desk(b).model):
            models(b, j).weighed, models(b, j).column = foreseen(b, j), j == m
        if math.isnan(models(b, m).expected):
            models(b, m).weighed = max(models(b, m).weighed, 1.0 / desk(b).slot_horizon_s)
        lay_out(b, n)
        score(b, n, m)
        if pods(b, n, m).score_s > desk(b).least_worth_s:
            begin(b, n, m)


@native
def foreseen(b: int, m: int) -> float:
    """Return D of a model with the rate that the plan expects in place of the learned one, where it says it."""
    model = models(b, m)
    waiting = model.pressed - model.rate
    return float(model.pressed if math.isnan(model.expected) else model.expected + waiting)


@native
def mark_active(b: int) -> int:
    """Mark the models with an arrival in the last ten minutes or a request waiting; return the bytes they need.

    Where the plan has news of rates, those of which it says that they will be asked for, in place of those that were.
    """
    need = 0
    for m in range(desk(b).model):
        model = models(b, m)
        recent = model.asked_at_s > desk(b).now_s - desk(b).active_window_s
        if desk(b).news and not math.isnan(model.expected):
            recent = model.expected > desk(b).rate_start_per_s
        model.column, model.weighed = recent or model.held > 0 or model.waiting > 0, model.pressed
        need += model.claim if model.column else 0
    return need


@native
def deal(b: int, up: int, blocks: int) -> None:
    """Deal the nodes that are up into blocks at random, the first ones larger as by `array_split`; -1: not up."""
    state = mixed(mixed(mixed(desk(b).seed) ^ STREAM) ^ np.uint64(desk(b).slot))
    size = 0
    for n in range(desk(b).node):
        nodes(b, n).block = 0 if nodes(b, n).up else -1
        if nodes(b, n).up and blocks > 1:
            key, k = mixed(state ^ mixed(np.uint64(size))), size
            while k > 0 and key < numbers(b, k - 1).key:
                numbers(b, k).key, numbers(b, k).at = numbers(b, k - 1).key, numbers(b, k - 1).at
                k -= 1
            numbers(b, k).key, numbers(b, k).at = key, n
            size += 1
    each, larger = up // blocks, up % blocks
    for k in range(size):
        first = larger * (each + 1)
        nodes(b, numbers(b, k).at).block = k // (each + 1) if k < first else larger + (k - first) // each


@native
def grow(b: int, block: int, budget: int) -> None:
    """Start the best pairs in a block of nodes, each on another node.

    After each, the scores of the models it touched are taken anew; nodes whose victims may be pods of such a model are
    left for the next slot.
    """
    for n in range(desk(b).node):
        if nodes(b, n).block == block:
            lay_out(b, n)
    for m in range(desk(b).model):
        score_block(b, block, m)
    for _ in range(budget):
        best_n, best_m, best_s = -1, -1, desk(b).least_worth_s
        for n in range(desk(b).node):
            for m in range(desk(b).model):
                if nodes(b, n).block == block and pods(b, n, m).score_s > best_s:
                    best_n, best_m, best_s = n, m, pods(b, n, m).score_s
        if best_n < 0:
            return
        begin(b, best_n, best_m)
        for n in range(desk(b).node):
            if nodes(b, n).block == block and (n == best_n or touched_victim(b, n)):
                for m in range(desk(b).model):
                    pods(b, n, m).possible, pods(b, n, m).score_s = False, -math.inf
        for m in range(desk(b).model):
            if models(b, m).touched:
                score_block(b, block, m)


@native
def touched_victim(b: int, n: int) -> bool:
    """Tell whether a pod that may have to go on a node is of a model that the newest start concerns."""
    found = False
    for m in range(desk(b).model):
        found = found or (models(b, m).touched and pods(b, n, m).movable)
    return bool(found)


@native
def lay_out(b: int, n: int) -> None:
    """Set what could be started on a node and what that displaces."""
    here, room = counted(b, n), free(b, n)
    own = share(b, n, here)
    for m in range(desk(b).model):
        model, pod = models(b, m), pods(b, n, m)
        last = model.sure <= 1 and model.pressed > desk(b).rate_start_per_s
        pod.movable = model.allowed = settled(b, n, m, pod.again_s) and not (last or pod.pinned)
        if model.allowed:
            model.cost_s = regret(b, n, m, own, model.weighed, desk(b).slot_horizon_s) * tilt(b, n, m)
    line_up(b, n)
    for m in range(desk(b).model):
        pod = pods(b, n, m)
        pod.possible = False
        if models(b, m).column and open_for(b, n, m):
            pod.takes = needed(b, n, models(b, m).claim - room)
            pod.possible = pod.takes >= 0
            pod.part = share(b, n, here - pod.takes + 1)


@native
def score_block(b: int, block: int, m: int) -> None:
    """Set what starting a model is worth on each node of a block."""
    for n in range(desk(b).node):
        if nodes(b, n).block == block:
            score(b, n, m)


@native
def score(b: int, n: int, m: int) -> None:
    """Set what a start is worth: max(0, 1 − a/H)·worth·intent − (1 + η)·Σ regret of the victims."""
    horizon_s, pod = desk(b).slot_horizon_s, pods(b, n, m)
    pod.score_s = -math.inf
    if pod.possible:
        bias = max(0.0, 1.0 - pod.begin_s / horizon_s) * tilt(b, n, m)
        worth_s = gain(b, m, pod.part, models(b, m).weighed, horizon_s)
        pod.score_s = bias * worth_s - (1.0 + desk(b).eta) * lines(b, n, pod.takes).cost_s


@native
def begin(b: int, n: int, m: int) -> None:
    """Start the pair, let its victims go, keep the sums over all nodes; mark whom it concerns."""
    before = share(b, n, counted(b, n))
    for j in range(desk(b).model):
        models(b, j).before, models(b, j).stayed = stays(b, n, j), pods(b, n, j).kept
    make_room(b, n, m, pods(b, n, m).takes)
    start(b, n, m)
    after = share(b, n, counted(b, n))
    for j in range(desk(b).model):
        model = models(b, j)
        gone = model.stayed and not pods(b, n, j).kept
        model.touched = gone or j == m
        model.capacity += (after if stays(b, n, j) else 0.0) - (before if model.before else 0.0)
        if gone and not pods(b, n, j).stoppable:
            model.sure -= 1
