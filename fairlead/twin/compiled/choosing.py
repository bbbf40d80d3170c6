"""What an ingress sees and chooses: `twin.views`, `policy.steering` and `policy.choice`, compiled."""

import math

import numpy as np

from fairlead.policy.choice import CANDIDATES
from fairlead.twin.compiled.chance import draws
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.pricing import drain, lay, priced
from fairlead.twin.compiled.serving import count_up, counted_work, ready_in
from fairlead.twin.compiled.world import (
    ABSENT,
    READY,
    STARTING,
    beliefs,
    desks,
    found,
    hosts,
    listed,
    models,
    nodes,
    pods,
    queued,
    queues,
    requests,
    thoughts,
    words,
    world,
)
from fairlead.twin.flow import CHOICE_STREAM

STREAM = np.uint64(CHOICE_STREAM)

MARGINAL, SED, ROTATE, STRICT = range(4)
"""Rules of a row (`contracts.plans.Rule`)."""


@native
def look(w: int, s: int) -> None:
    """Let an ingress see the nodes as they are, or drain what it was told of them up to now."""
    now_s = world(w).now_s
    if world(w).fresh and world(w).looked_at_s == now_s:
        return  # accounts have counted up to now
    world(w).looked_at_s = now_s
    for n in range(world(w).node):
        if world(w).fresh:
            if nodes(w, n).up and nodes(w, n).queues > 0:
                count_up(w, n)
        elif usable(w, s, n) and words(w, s, n).at_s < now_s:
            drain_word(w, s, n)


@native
def usable(w: int, s: int, n: int) -> bool:
    """Tell whether the last word of a node may still be used."""
    word = words(w, s, n)
    return bool(word.reachable and world(w).now_s - word.said_at_s <= world(w).allowed_age_s)


@native
def drain_word(w: int, s: int, n: int) -> None:
    """Let the believed queues of a node be as they are now if nothing more arrived."""
    word = words(w, s, n)
    for_s = world(w).now_s - word.at_s
    word.at_s = world(w).now_s
    busy = False
    for k in range(word.pods):
        m = listed(w, s, n, k).model
        belief = beliefs(w, s, n, m)
        lay(w, k, m, belief.ready_in_s, belief.work_s, belief.count)
        busy = busy or belief.count > 0 or belief.ready_in_s > 0.0
    if not busy:
        return
    drain(w, word.pods, word.speed, for_s, nodes(w, n).pausing)
    for k in range(word.pods):
        q = queues(w, k)
        belief = beliefs(w, s, n, q.model)
        belief.ready_in_s, belief.work_s, belief.count = q.ready_in_s, q.work_s, q.count


@native
def phase_seen(w: int, s: int, n: int, m: int) -> int:
    """Return the phase of a pod as an ingress sees it; absent also where the node is not reached."""
    if world(w).fresh:
        pod = pods(w, n, m)
        return pod.phase if pod.queue and nodes(w, n).up else ABSENT
    return beliefs(w, s, n, m).phase if usable(w, s, n) else ABSENT


@native
def fill(w: int, s: int, n: int, thought: bool) -> tuple[int, float]:
    """Lay out the queues of a node as an ingress sees them; return how many and the node's speed.

    In `thought` they are as `moving` thinks of them while it moves tickets.
    """
    if not world(w).fresh:
        word = words(w, s, n)
        for k in range(word.pods):
            m = listed(w, s, n, k).model
            belief = beliefs(w, s, n, m)
            lay(w, k, m, belief.ready_in_s, belief.work_s, belief.count)
            if thought:
                lay(w, k, m, belief.ready_in_s, thoughts(w, n, m).work_s, thoughts(w, n, m).count)
        return word.pods, word.speed
    node = nodes(w, n)
    for k in range(node.queues):
        m = queued(w, n, k).model
        if thought:
            lay(w, k, m, ready_in(w, n, m, STARTING), thoughts(w, n, m).work_s, thoughts(w, n, m).count)
            continue
        pod, flying = pods(w, n, m), beliefs(w, s, n, m).flying
        work_s = counted_work(w, n, m)
        for _ in range(flying):
            work_s += models(w, m).work_s
        lay(w, k, m, ready_in(w, n, m, STARTING), work_s, pod.waiting + pod.running + flying)
    return node.queues, node.learned


@native
def think(w: int, s: int, n: int) -> None:
    """Think of the queues of a node as an ingress sees them, unless this look has already: `moving` changes that."""
    if nodes(w, n).thought == world(w).looks:
        return
    nodes(w, n).thought = world(w).looks
    size, _ = fill(w, s, n, False)
    for k in range(size):
        q = queues(w, k)
        thought = thoughts(w, n, q.model)
        thought.work_s, thought.count, thought.staying = q.work_s, q.count, False


@native
def priced_at(w: int, s: int, n: int, m: int, thought: bool) -> tuple[float, float, float]:
    """Return d, e and w of one more request of a model on its pod on a node."""
    if thought:
        think(w, s, n)
    size, speed = fill(w, s, n, thought)
    own = 0
    while queues(w, own).model != m:
        own += 1
    network_s = 2.0 * words(w, s, n).far_s
    finish_s, delays_s = priced(w, size, own, speed, nodes(w, n).pausing)
    delay_s = network_s + queues(w, own).ready_in_s + finish_s
    own_s = models(w, m).work_s / speed + network_s
    return delay_s, delays_s, max(0.0, delay_s + delays_s - own_s)


@native
def pick(w: int, s: int, m: int, r: int) -> tuple[int, float]:
    """Return the node that gets a request (-1: none can serve it), and how long it waits there (-1: not priced)."""
    look(w, s)
    if world(w).now_s >= world(w).tabled_until_s or models(w, m).least <= 0.0:
        return without_table(w, s, m)
    desks(w, s, m).turn += 1
    size, total = candidates(w, s, m)
    if size == 0:
        return without_table(w, s, m)
    rules = world(w)
    if rules.rule == ROTATE:
        return found(w, desks(w, s, m).turn % size).node, -1.0
    first, second = 1.0, 0.0
    if rules.rule == STRICT or rules.explore > 0.0 or size > CANDIDATES:
        first, second = draws(rules.seed, STREAM, r, requests(w, r).attempts)
    if rules.rule == STRICT:
        return found(w, drawn(w, size, second * total)).node, -1.0
    kept = drawn(w, size, second * total) if first < rules.explore else -1
    chosen = found(w, kept).node if kept >= 0 else -1
    if size > CANDIDATES:
        size = sampled(w, size, total, second, kept)
    best, score, wait_s, most = -1, math.inf, -1.0, most_likely(w, size)
    for k in range(size):
        n = found(w, k).node
        delay_s, delays_s, here_s = priced_at(w, s, n, m, False)
        mine = delay_s if rules.rule == SED else delay_s + delays_s
        mine += prior(w, m, k, most)
        if best < 0 or mine < score:
            best, score = n, mine
            wait_s = here_s if chosen < 0 else wait_s
        if n == chosen:
            wait_s = here_s
    return (best if chosen < 0 else chosen), wait_s


@native
def candidates(w: int, s: int, m: int) -> tuple[int, float]:
    """Lay out who may take a request of a row; return how many and the sum of their P."""
    size, total = 0, 0.0
    for k in range(places_of(w, m)):
        n = place_of(w, m, k)
        phase = phase_seen(w, s, n, m)
        if phase != READY and phase != STARTING:
            continue
        chance = pods(w, n, m).chance
        if chance < 0.0:
            chance = models(w, m).least if phase == READY else 0.0
        if chance > 0.0:
            found(w, size).node, found(w, size).chance = n, chance
            size += 1
            total += chance
    return size, total


@native
def most_likely(w: int, size: int) -> float:
    """Return the largest P among the candidates."""
    most = 0.0
    for k in range(size):
        most = max(most, found(w, k).chance)
    return most


@native
def prior(w: int, m: int, k: int, most: float) -> float:
    """Return how much dearer a candidate is by the prior of a guided row; `most` is the largest P among them."""
    weight_s = models(w, m).prior_s
    return float(weight_s * math.log(most / found(w, k).chance) if weight_s > 0.0 else 0.0)


@native
def places_of(w: int, m: int) -> int:
    """Return how many nodes may be seen to have a pod of a model: all those whose state is only told."""
    return int(models(w, m).hosts if world(w).fresh else world(w).node)


@native
def place_of(w: int, m: int, k: int) -> int:
    """Return one of them, in the order of nodes."""
    return int(hosts(w, m, k).node if world(w).fresh else k)


@native
def drawn(w: int, size: int, mark: float) -> int:
    """Return the candidate in whose stretch of the summed P `mark` falls."""
    for k in range(size):
        mark -= found(w, k).chance
        if mark < 0.0:
            return k
    return size - 1


@native
def sampled(w: int, size: int, total: float, draw: float, kept: int) -> int:
    """Keep a systematic sample of the candidates, and `kept`; return how many that are."""
    step = total / CANDIDATES
    mark, end, count = draw * step, 0.0, 0
    for k in range(size):
        end += found(w, k).chance
        if mark < end or k == kept:
            found(w, count).node, found(w, count).chance = found(w, k).node, found(w, k).chance
            count += 1
        while mark < end:
            mark += step
    return count


@native
def without_table(w: int, s: int, m: int) -> tuple[int, float]:
    """Return the pod with the shortest expected delay: among the ready ones, else among those that start."""
    for phase in (READY, STARTING):
        best, least_s, wait_s = -1, math.inf, -1.0
        for k in range(places_of(w, m)):
            n = place_of(w, m, k)
            if phase_seen(w, s, n, m) != phase:
                continue
            delay_s, _, here_s = priced_at(w, s, n, m, False)
            if best < 0 or delay_s < least_s:
                best, least_s, wait_s = n, delay_s, here_s
        if best >= 0:
            return best, wait_s
    return -1, -1.0
