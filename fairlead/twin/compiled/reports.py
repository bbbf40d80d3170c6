"""What nodes and ingresses report, and how it is folded: `twin.rules`, `policy.snapshot`, `policy.wakes`, compiled."""

import math

from fairlead.twin.compiled.board import Board
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.pricing import drain, lay
from fairlead.twin.compiled.requests import MISSING, WAIT, look_again
from fairlead.twin.compiled.serving import count_up, counted_work, ready_in
from fairlead.twin.compiled.world import (
    ABSENT,
    DRAINING,
    READY,
    SLEEPING,
    STARTING,
    STOPPING,
    beliefs,
    desks,
    listed,
    models,
    nodes,
    nodes_said,
    pods,
    pods_said,
    queues,
    requests,
    wakes,
    words,
    world,
)


@native
def take_all(w: int) -> None:
    """Let all that live report."""
    for n in range(world(w).node):
        take_node(w, n)
    world(w).said_at_s = world(w).now_s
    for s in range(world(w).site):
        for m in range(world(w).model):
            desk = desks(w, s, m)
            desk.said_arrived, desk.said_held, desk.said_asked_at_s = desk.arrived, desk.held, desk.asked_at_s
            desk.said_oldest_at_s = world(w).now_s
            r = desk.first
            while r >= 0:
                desk.said_oldest_at_s = min(desk.said_oldest_at_s, requests(w, r).held_at_s)
                r = requests(w, r).next


@native
def take_node(w: int, n: int) -> None:
    """Let one node report, if it lives."""
    node, said = nodes(w, n), nodes_said(w, n)
    if not node.up:
        return
    if node.queues > 0:
        count_up(w, n)
    said.heard, said.at_s, said.speed = True, world(w).now_s, node.learned
    for m in range(world(w).model):
        pod, here = pods(w, n, m), pods_said(w, n, m)
        here.phase, here.queue = pod.phase, pod.queue
        if pod.phase == ABSENT:
            continue
        here.since_at_s, here.ready_at_s, here.used_at_s = pod.since_at_s, pod.ready_at_s, pod.used_at_s
        here.ready_in_s = ready_in(w, n, m, STARTING)
        here.work_s = counted_work(w, n, m)
        here.count, here.running = pod.waiting + pod.running, pod.running


@native
def report(w: int) -> None:
    """Let all report where nobody sees the state of now, and ingresses hear of the nodes."""
    if world(w).fresh:
        return
    take_all(w)
    for s in range(world(w).site):
        news = False
        for n in range(world(w).node):
            if nodes_said(w, n).heard and nodes_said(w, n).at_s == world(w).now_s:
                news = hear(w, s, n) or news
        if news:
            look_again(w, s)


@native
def hear(w: int, s: int, n: int) -> bool:
    """Let an ingress take a report; True if a pod changed its phase or the node came back."""
    word, said = words(w, s, n), nodes_said(w, n)
    news = not word.reachable
    word.reachable, word.said_at_s, word.at_s, word.speed, word.pods = True, said.at_s, said.at_s, said.speed, 0
    for m in range(world(w).model):
        belief, here = beliefs(w, s, n, m), pods_said(w, n, m)
        phase = here.phase if here.queue else ABSENT
        news = news or phase != belief.phase
        belief.phase = phase
        if phase == ABSENT:
            continue
        flying = beliefs(w, s, n, m).flying
        belief.ready_in_s, belief.work_s, belief.count = here.ready_in_s, here.work_s, here.count + flying
        for _ in range(flying):
            belief.work_s += models(w, m).work_s
        listed(w, s, n, word.pods).model = m
        word.pods += 1
    return news


@native
def folded(w: int, board: Board) -> bool:
    """Lay the newest reports out for a decision now; True if a node or pod is not as it was at the last decision."""
    changed = False
    for n in range(world(w).node):
        changed = folded_node(w, board, n) or changed
    heard = world(w).now_s - world(w).said_at_s <= world(w).allowed_age_s
    for m in range(world(w).model):
        folded_model(w, board, m, heard)
    return changed


@native
def folded_node(w: int, board: Board, n: int) -> bool:
    """Lay out what was said of a node; True if it or a pod is not as it was at the last decision."""
    said, node, now_s = nodes_said(w, n), board.nodes[n], world(w).now_s
    up = said.heard and now_s - said.at_s <= world(w).allowed_age_s
    node.seen, node.up, node.speed = said.heard, up, said.speed if up else nodes(w, n).declared
    size = 0
    for m in range(world(w).model):
        here = pods_said(w, n, m)
        if up and here.phase != ABSENT and here.queue:
            lay(w, size, m, here.ready_in_s, here.work_s, here.count)
            size += 1
    if up and now_s > said.at_s:
        drain_said(w, size, said.speed, now_s - said.at_s, nodes(w, n).pausing)
    changed, k = up != said.shown_up, 0
    said.seen_up = up
    for m in range(world(w).model):
        pod, here = board.pods[n, m], pods_said(w, n, m)
        phase = here.phase if up else ABSENT
        changed = changed or phase != here.shown
        here.seen = phase
        pod.starting, pod.ready = phase == STARTING, phase == READY
        pod.leaving, pod.stopping, pod.sleeping = phase == DRAINING, phase == STOPPING, phase == SLEEPING
        pod.left_s, pod.count, pod.running, pod.ready_in_s, pod.used_at_s = 0.0, 0, 0, 0.0, -math.inf
        pod.since_at_s = 0.0
        if phase == ABSENT:
            continue
        pod.since_at_s = pod.used_at_s = here.since_at_s
        if phase == STARTING:
            pod.ready_in_s = max(0.0, here.ready_at_s - now_s)
        if here.queue:
            q = queues(w, k)
            pod.left_s, pod.count, pod.running = q.work_s, q.count, min(here.running, q.count)
            pod.used_at_s = max(here.used_at_s, here.since_at_s)
            k += 1
    return bool(changed)


@native
def drain_said(w: int, size: int, speed: float, for_s: float, pausing: bool) -> None:
    """Let reported queues be as they are now if nothing more arrived."""
    for k in range(size):
        if queues(w, k).count > 0 or queues(w, k).ready_in_s > 0.0:
            drain(w, size, speed, for_s, pausing)
            return


@native
def remember_shape(w: int) -> None:
    """Note what this decision was shown of nodes and pods."""
    for n in range(world(w).node):
        nodes_said(w, n).shown_up = nodes_said(w, n).seen_up
        for m in range(world(w).model):
            pods_said(w, n, m).shown = pods_said(w, n, m).seen


@native
def folded_model(w: int, board: Board, m: int, heard: bool) -> None:
    """Lay out what ingresses said of a model; `heard` that their words may still be used."""
    model, now = board.models[m], world(w)
    age_s = max(0.0, now.now_s - now.said_at_s)
    total = 0
    model.held, model.oldest_held_s, model.asked_at_s = 0, 0.0, -math.inf
    for s in range(world(w).site):
        desk = desks(w, s, m)
        total += desk.said_arrived
        if not heard or desk.said_arrived == 0:
            continue
        model.held += desk.said_held
        model.asked_at_s = max(model.asked_at_s, desk.said_asked_at_s)
        if desk.said_held > 0:
            model.oldest_held_s = max(model.oldest_held_s, (now.said_at_s - desk.said_oldest_at_s) + age_s)
    model.arrived = max(0, total - models(w, m).counted)
    models(w, m).total = total


@native
def wakes_left(w: int) -> bool:
    """Forget wakes that reports have answered; True if any still says something."""
    now, left = world(w), False
    heard = now.now_s - now.said_at_s <= world(w).allowed_age_s
    for m in range(world(w).model):
        for reason in (MISSING, WAIT):
            wake = wakes(w, m, reason)
            too_old = now.now_s - wake.at_s > world(w).allowed_age_s
            if too_old or (heard and now.said_at_s > wake.at_s):
                wake.at_s = -math.inf
            left = left or wake.at_s >= 0.0
    return left


@native
def woken(w: int, board: Board) -> None:
    """Add what ingresses said since their reports."""
    for m in range(world(w).model):
        model = board.models[m]
        for reason in (MISSING, WAIT):
            at_s = wakes(w, m, reason).at_s
            if at_s < 0.0:
                continue
            model.asked_at_s = max(model.asked_at_s, at_s)
            if reason == MISSING:
                model.held = max(model.held, 1)
                model.oldest_held_s = max(model.oldest_held_s, world(w).now_s - at_s)
