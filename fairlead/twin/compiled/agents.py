"""Nodes' agents and what befalls nodes: `policy.reconcile`, `twin.agent`, `twin.engine` about nodes; compiled."""

import math

from fairlead.twin.agent import STOP_S
from fairlead.twin.compiled.events import GONE, PATIENCE, READY_NOW, enter
from fairlead.twin.compiled.moving import have_room
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.requests import carry, give_back, lose, lose_sight, touch
from fairlead.twin.compiled.serving import count_up, foretell, host, part, pump, unhost, withdraw, work_on
from fairlead.twin.compiled.world import (
    ABSENT,
    DRAINING,
    READY,
    SLEEPING,
    STARTING,
    STOPPING,
    affected,
    models,
    nodes,
    places,
    pods,
    queued,
    requests,
    starts,
    stops,
    world,
)


@native
def open_pod(w: int, n: int, m: int) -> None:
    """Have a new pod on a node, or wake the one that sleeps there; its start begins now and claims its memory."""
    node, pod, now_s = nodes(w, n), pods(w, n, m), world(w).now_s
    begin_s = models(w, m).wake_s if pod.phase == SLEEPING else models(w, m).start_s
    node.opened += 1
    turn(w, n, m, STARTING)
    pod.instance, pod.ready_at_s, pod.queue, pod.used_at_s = node.opened, now_s + begin_s, True, -math.inf
    pod.waiting, pod.first, pod.last, pod.running, pod.given_s = 0, -1, -1, 0, 0.0
    k = node.queues
    while k > 0 and queued(w, n, k - 1).model > m:
        queued(w, n, k).model = queued(w, n, k - 1).model
        k -= 1
    queued(w, n, k).model = m
    node.queues += 1
    host(w, n, m)


@native
def turn(w: int, n: int, m: int, phase: int) -> None:
    """Have a pod in another phase."""
    pod = pods(w, n, m)
    pod.phase, pod.since_at_s, pod.left_waiting, pod.left_running = phase, world(w).now_s, -1, -1


@native
def become_ready(w: int, n: int, m: int) -> None:
    """Note that a starting pod is ready."""
    turn(w, n, m, READY)
    pods(w, n, m).ready_at_s = world(w).now_s


@native
def say_left(w: int, n: int, m: int) -> None:
    """Tell the agent how many requests a draining pod still has."""
    pod = pods(w, n, m)
    pod.left_waiting, pod.left_running = pod.waiting, pod.running


@native
def drain_pod(w: int, n: int, m: int) -> None:
    """Give back who waits for a pod; it takes nobody any more."""
    pod = pods(w, n, m)
    while pod.waiting > 0:
        r = pod.first
        withdraw(w, n, m, r)
        give_back(w, r)
    turn(w, n, m, DRAINING)
    say_left(w, n, m)


@native
def stop_pod(w: int, n: int, m: int, lost: int, dozes: bool) -> int:
    """Begin to stop a pod; put those whom it served before the `lost` ones, and return the first; -1 if none.

    In `dozes` it will sleep.
    """
    node, pod, now = nodes(w, n), pods(w, n, m), world(w)
    work_on(w, n)
    count_up(w, n)
    for k in range(pod.running):
        r = places(w, n, m, k).request
        requests(w, r).next, requests(w, r).before = -1, lost
        if lost >= 0:
            requests(w, lost).next = r
        lost = r
    node.busy -= pod.running > 0
    pod.running, pod.queue = 0, False
    node.version += 1
    drop_queue(w, n, m)
    turn(w, n, m, STOPPING)
    pod.dozes = dozes
    stops(w, now.stops).at_s = now.now_s
    now.stops += 1
    enter(w, now.now_s + STOP_S, GONE, n * world(w).model + m, pod.instance)
    return lost


@native
def drop_queue(w: int, n: int, m: int) -> None:
    """List the queue of a pod no longer."""
    node = nodes(w, n)
    unhost(w, n, m)
    node.queues -= 1
    k = 0
    while queued(w, n, k).model != m:
        k += 1
    for j in range(k, node.queues):
        queued(w, n, j).model = queued(w, n, j + 1).model


@native
def start_pods(w: int, n: int) -> bool:
    """Start what shall be awake and fits; False if that is nothing."""
    now = world(w)
    free, acted = nodes(w, n).memory, False
    for m in range(world(w).model):
        if not down(w, n, m):
            free -= models(w, m).claim
    for m in range(world(w).model):
        if pods(w, n, m).awake and down(w, n, m) and models(w, m).claim <= free:
            free -= models(w, m).claim
            open_pod(w, n, m)
            starts(w, now.starts).at_s = now.now_s
            now.starts += 1
            pod = pods(w, n, m)
            enter(w, pod.ready_at_s, READY_NOW, n * world(w).model + m, pod.instance)
            acted = True
    return acted


@native
def steer(w: int, n: int) -> None:
    """Let the agent of a living node do what its placement says, until nothing is left to do now."""
    now_s = world(w).now_s
    in_force = now_s < world(w).placed_until_s
    lost, changed, acted = -1, False, True
    while acted:
        acted, rested = False, False
        for m in range(world(w).model):
            pod = pods(w, n, m)
            stoppable = in_force and pods(w, n, m).stoppable
            if pod.phase == DRAINING:
                if not stoppable:
                    turn(w, n, m, READY)
                elif pod.left_running + pod.left_waiting == 0:
                    sleeps = may_sleep(w, n, m)
                    if sleeps and rested:
                        continue
                    rested = rested or sleeps
                    lost = rest(w, n, m, lost) if sleeps else stop_pod(w, n, m, lost, False)
                elif now_s - pod.since_at_s >= world(w).drain_limit_s:
                    lost = stop_pod(w, n, m, lost, False)
                else:
                    continue
                acted = True
            elif stoppable and (pod.phase == STARTING or pod.phase == READY):
                drain_pod(w, n, m)
                acted = True
        acted = start_pods(w, n) or acted
        changed = changed or acted
    lose_all(w, lost)
    if changed:
        foretell(w, n)
        touch(w)
    look_later(w, n)


@native
def down(w: int, n: int, m: int) -> bool:
    """Tell whether a model has no pod on a node, or one that sleeps."""
    return bool(pods(w, n, m).phase == ABSENT or pods(w, n, m).phase == SLEEPING)


@native
def may_sleep(w: int, n: int, m: int) -> bool:
    """Tell whether a drained pod can sleep in its node's host memory: it has been ready."""
    pod = pods(w, n, m)
    return bool(pod.ready_at_s <= pod.since_at_s and models(w, m).claim <= nodes(w, n).host_memory)


@native
def rest(w: int, n: int, m: int, lost: int) -> int:
    """Let a pod fall asleep, or else the one sleep no more that has slept longest and need not be awake.

    Where nobody can make room, the pod stops. Return the first of the `lost` ones, as `stop_pod`.
    """
    free, longest = nodes(w, n).host_memory, -1
    for j in range(world(w).model):
        pod = pods(w, n, j)
        if pod.phase == SLEEPING or (pod.phase == STOPPING and pod.dozes):
            free -= models(w, j).claim
        sooner = longest < 0 or pod.since_at_s < pods(w, n, longest).since_at_s
        if pod.phase == SLEEPING and not pod.awake and sooner:
            longest = j
    if models(w, m).claim > free and longest >= 0:
        pods(w, n, longest).phase = ABSENT
        return lost
    return stop_pod(w, n, m, lost, models(w, m).claim <= free)


@native
def lose_all(w: int, last: int) -> None:
    """Send those again that stopped pods had served, of whom `last` is the last."""
    if last < 0:
        return
    r = last
    while requests(w, r).before >= 0:
        r = requests(w, r).before
    while r >= 0:
        behind = requests(w, r).next
        lose(w, r)
        r = behind


@native
def look_later(w: int, n: int) -> None:
    """Enter when time alone changes what the agent of a node does (`policy.reconcile.wakes_at_s`)."""
    now_s, node = world(w).now_s, nodes(w, n)
    at_s = math.inf
    if world(w).placed_until_s > now_s:
        at_s = world(w).placed_until_s
    for m in range(world(w).model):
        pod = pods(w, n, m)
        limit_s = pod.since_at_s + world(w).drain_limit_s
        if pod.phase == DRAINING and now_s < limit_s < at_s:
            at_s = limit_s
    if at_s < math.inf and at_s != node.looks_at_s:
        node.looks_at_s = at_s
        enter(w, at_s, PATIENCE, n, 0)


@native
def patience_over(w: int, n: int) -> None:
    """Let an agent look again if this is when it wanted to."""
    node = nodes(w, n)
    if node.looks_at_s == world(w).now_s:
        node.looks_at_s = -math.inf
        steer(w, n)


@native
def started(w: int, n: int, m: int, instance: int) -> None:
    """Let a start be over."""
    pod = pods(w, n, m)
    if pod.phase == STARTING and pod.instance == instance:
        become_ready(w, n, m)
        pump(w, n, m)
        touch(w)
        have_room(w)


@native
def gone(w: int, n: int, m: int, instance: int) -> None:
    """Let a stop be over."""
    pod = pods(w, n, m)
    if pod.phase != ABSENT and pod.instance == instance:
        turn(w, n, m, SLEEPING if pod.dozes else ABSENT)
        steer(w, n)


@native
def die(w: int, n: int) -> None:
    """Lose a node; the ingresses of its requests notice at once."""
    node = nodes(w, n)
    ran, waited = 0, 0
    for k in range(node.queues):
        m = queued(w, n, k).model
        for j in range(pods(w, n, m).running):
            affected(w, ran).ran = places(w, n, m, j).request
            ran += 1
        r = pods(w, n, m).first
        while r >= 0:
            affected(w, waited).waited = r
            part(w, r)
            waited += 1
            r = requests(w, r).next
    clear(w, n)
    for k in range(waited):
        lose_sight(w, requests(w, affected(w, k).waited).site, n)
    for k in range(ran):
        lose_sight(w, requests(w, affected(w, k).ran).site, n)
    r = next_affected(w, waited, -1, True)
    while r >= 0:
        carry(w, r)
        r = next_affected(w, waited, r, True)
    r = next_affected(w, ran, -1, False)
    while r >= 0:
        lose(w, r)
        r = next_affected(w, ran, r, False)
    touch(w)


@native
def next_affected(w: int, size: int, after: int, waited: bool) -> int:
    """Return the first request behind `after` that waited or ran on a node that died; -1 if there is none."""
    first = -1
    for k in range(size):
        r = affected(w, k).waited if waited else affected(w, k).ran
        if r > after and (first < 0 or r < first):
            first = r
    return first


@native
def clear(w: int, n: int) -> None:
    """Have nothing on a node any more."""
    node = nodes(w, n)
    for k in range(node.queues):
        unhost(w, n, queued(w, n, k).model)
    for m in range(world(w).model):
        pod = pods(w, n, m)
        pod.phase, pod.queue, pod.waiting, pod.running, pod.first, pod.last = ABSENT, False, 0, 0, -1, -1
    node.queues, node.busy, node.up, node.looks_at_s = 0, 0, False, -math.inf
    node.version += 1


@native
def come_back(w: int, n: int) -> None:
    """Have a node there again, empty; its new keeper believes the declared speed."""
    node, now_s = nodes(w, n), world(w).now_s
    node.up, node.at_s, node.counted_at_s, node.learned = True, now_s, now_s, node.declared
    steer(w, n)


@native
def slow_down(w: int, n: int, speed: float) -> None:
    """Let a node go on at another speed, which nobody is told."""
    work_on(w, n)
    nodes(w, n).speed = speed
    nodes(w, n).version += 1
    foretell(w, n)
