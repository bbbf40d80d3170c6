"""Waiting tickets move by price: `policy.moving` and the part of `twin.flow` about it, compiled."""

import math

import numpy as np

from fairlead.policy.choice import CANDIDATES
from fairlead.twin.compiled.chance import draws
from fairlead.twin.compiled.choosing import (
    MARGINAL,
    candidates,
    look,
    most_likely,
    phase_seen,
    priced_at,
    prior,
    sampled,
    think,
)
from fairlead.twin.compiled.events import RETURNED, enter
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.serving import withdraw
from fairlead.twin.compiled.world import (
    ABSENT,
    TRANSFER,
    affected,
    beliefs,
    found,
    models,
    requests,
    sites,
    thoughts,
    words,
    world,
)
from fairlead.twin.flow import MOVE_STREAM

STREAM = np.uint64(MOVE_STREAM)


@native
def have_room(w: int) -> None:
    """Let waiting tickets move now that a node has room, where ingresses see that; each sees who went before it."""
    if world(w).moving and world(w).fresh:
        for s in range(world(w).site):
            move_waiting(w, s)


@native
def take_turn(w: int) -> None:
    """Let the tickets of one ingress move after a report, of the next one at the next."""
    if world(w).moving and not world(w).fresh:
        move_waiting(w, world(w).looks % world(w).site)


@native
def move_waiting(w: int, s: int) -> None:
    """Take back the tickets of an ingress that are better off elsewhere; once they are back they choose again."""
    world(w).looks += 1
    size = waiting_of(w, s) if sites(w, s).queued > 0 and movable(w) else 0
    if size == 0:
        return
    look(w, s)
    for k in range(size):
        r = affected(w, k).waited
        n, m = requests(w, r).node, requests(w, r).model
        if models(w, m).least <= 0.0 or phase_seen(w, s, n, m) == ABSENT:
            continue
        think(w, s, n)
        thought = thoughts(w, n, m)
        if not thought.staying:
            thought.staying = not moved(w, s, r, n, m)


@native
def movable(w: int) -> bool:
    """Tell whether waiting tickets may move: a table steers that says so."""
    now = world(w)
    return bool(now.rule == MARGINAL and now.rows > 0 and now.now_s < now.tabled_until_s)


@native
def waiting_of(w: int, s: int) -> int:
    """Lay out the requests of an ingress that wait for pods, the newest first; return how many."""
    size, r = 0, sites(w, s).newest
    while r >= 0:
        affected(w, size).waited = r
        size += 1
        r = requests(w, r).older
    return size


@native
def moved(w: int, s: int, r: int, n: int, m: int) -> bool:
    """Take a ticket back that is better off elsewhere; False if it is not, and its pod is thought of as it was."""
    here = thoughts(w, n, m)
    work_s, count, mean_s = here.work_s, here.count, models(w, m).work_s
    here.work_s, here.count = max(0.0, work_s - mean_s), max(0, count - 1)
    best, saves_s = better(w, s, r, n, m)
    if saves_s <= world(w).move_saves_s:
        here.work_s, here.count = work_s, count
        return False
    there = thoughts(w, best, m)
    there.work_s += mean_s
    there.count += 1
    take_back(w, s, r, n, m)
    return True


@native
def better(w: int, s: int, r: int, n: int, m: int) -> tuple[int, float]:
    """Return the best place for a ticket that is nowhere in thought, and what that saves; -1 s if it is not priced."""
    size, total = candidates(w, s, m)
    here = -1
    for k in range(size):
        if found(w, k).node == n:
            here = k
    if here < 0:
        return n, -1.0
    if size > CANDIDATES:
        size = sampled(w, size, total, draws(world(w).seed, STREAM, r, world(w).looks)[0], here)
    best, least_s, here_s, most = -1, math.inf, 0.0, most_likely(w, size)
    for k in range(size):
        one = found(w, k).node
        delay_s, delays_s, _ = priced_at(w, s, one, m, True)
        mine = delay_s + delays_s + prior(w, m, k, most)
        if best < 0 or mine < least_s:
            best, least_s = one, mine
        if one == n:
            here_s = mine
    return best, here_s - least_s


@native
def take_back(w: int, s: int, r: int, n: int, m: int) -> None:
    """Take a ticket out of its queue; it is at its ingress again after a round trip."""
    withdraw(w, n, m, r)
    if not world(w).fresh:
        belief = beliefs(w, s, n, m)
        belief.work_s, belief.count = max(0.0, belief.work_s - models(w, m).work_s), max(0, belief.count - 1)
    requests(w, r).place = TRANSFER
    enter(w, world(w).now_s + 2.0 * words(w, s, n).far_s, RETURNED, r, 0)
