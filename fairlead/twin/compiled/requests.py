"""The way of requests: `twin.flow` and `twin.site`, compiled."""

import math

from fairlead.policy.steering import REFUSALS_AT_ONCE, WAIT_SHARE
from fairlead.twin.compiled.choosing import pick
from fairlead.twin.compiled.events import REACHED, RETURNED, RUNG, enter
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.serving import append, pump, served, withdraw
from fairlead.twin.compiled.world import (
    DRAINING,
    FAILED,
    FINISHED,
    HELD,
    OPEN,
    QUEUED,
    READY,
    REFUSED,
    STARTING,
    TRANSFER,
    beliefs,
    coming,
    desks,
    models,
    nodes,
    pods,
    requests,
    sites,
    wakes,
    words,
    world,
)

MISSING, WAIT = 0, 1
"""Reasons of a wake."""


@native
def come(w: int, r: int) -> None:
    """Let a request come to its ingress."""
    request, now_s = requests(w, r), world(w).now_s
    desk = desks(w, request.site, request.model)
    desk.arrived += 1
    desk.asked_at_s = now_s
    request.entered_at_s = now_s
    request.expires_at_s = now_s + world(w).hold_timeout_s
    carry(w, r)


@native
def carry(w: int, r: int) -> None:
    """Send a ticket for a request, hold it, or give it up."""
    request, now_s = requests(w, r), world(w).now_s
    if now_s >= request.expires_at_s:
        close(w, r, REFUSED, now_s)
    elif not dispatch(w, r):
        hold(w, r)
        if request.refusals < REFUSALS_AT_ONCE:
            say(w, request.site, request.model, MISSING)
        request.refusals = 0
        request.place = HELD


@native
def close(w: int, r: int, fate: int, at_s: float) -> None:
    """End a request."""
    request = requests(w, r)
    request.fate, request.ended_at_s = fate, at_s


@native
def dispatch(w: int, r: int) -> bool:
    """Send a ticket for a request to the pod that its ingress chooses; False if it chooses none."""
    request, now_s = requests(w, r), world(w).now_s
    if request.refusals >= REFUSALS_AT_ONCE:
        return False
    s, m = request.site, request.model
    n, wait_s = pick(w, s, m, r)
    if n < 0:
        return False
    request.node = n
    request.attempts += 1
    if wait_s > WAIT_SHARE * models(w, m).start_s:
        say(w, s, m, WAIT)
    word = words(w, s, n)
    request.flying = word.number
    beliefs(w, s, n, m).flying += 1
    if not world(w).fresh:
        belief = beliefs(w, s, n, m)
        belief.work_s += models(w, m).work_s
        belief.count += 1
    request.place = TRANSFER
    enter(w, now_s + word.far_s, REACHED, r, 0)
    return True


@native
def landed(w: int, r: int) -> None:
    """Note at its ingress that a ticket is on its way no more."""
    request = requests(w, r)
    if request.flying == words(w, request.site, request.node).number:
        beliefs(w, request.site, request.node, request.model).flying -= 1
    request.flying = -1


@native
def reach(w: int, r: int) -> None:
    """Let a ticket come to its node."""
    request, now_s = requests(w, r), world(w).now_s
    n, m = request.node, request.model
    phase = pods(w, n, m).phase
    if not nodes(w, n).up:
        lose_sight(w, request.site, n)
        refused(w, r)
        carry(w, r)
    elif phase in (READY, STARTING):
        append(w, n, m, r)
        request.refusals = 0
        landed(w, r)
        request.place = QUEUED
        pump(w, n, m)
        if now_s >= request.expires_at_s:
            expire(w, r)
    else:
        request.refusals += 1
        give_back(w, r)


@native
def refused(w: int, r: int) -> None:
    """Have an ingress believe that a pod takes no more requests until its node reports."""
    landed(w, r)
    request = requests(w, r)
    belief = beliefs(w, request.site, request.node, request.model)
    if belief.phase != 0:
        belief.phase = DRAINING


@native
def lose_sight(w: int, s: int, n: int) -> None:
    """Have an ingress leave a node out until it reports again."""
    if world(w).fresh:
        return
    word = words(w, s, n)
    word.reachable = False
    word.number += 1
    for m in range(world(w).model):
        beliefs(w, s, n, m).flying = 0


@native
def give_back(w: int, r: int) -> None:
    """Let a ticket that never started go back to its ingress."""
    refused(w, r)
    request = requests(w, r)
    request.place = TRANSFER
    enter(w, world(w).now_s + words(w, request.site, request.node).far_s, RETURNED, r, 0)


@native
def end(w: int, n: int, m: int, r: int) -> None:
    """Let a pod have done a request, which is answered when it has come back."""
    served(w, n, m, r)
    request = requests(w, r)
    request.place = TRANSFER
    back_s = words(w, request.site, n).far_s + models(w, m).down_s
    close(w, r, FINISHED, world(w).now_s + back_s)
    pump(w, n, m)


@native
def lose(w: int, r: int) -> None:
    """Send a request that was being served again from the beginning, once."""
    request = requests(w, r)
    if request.sent_again:
        close(w, r, FAILED, world(w).now_s)
        return
    request.sent_again = True
    request.place = TRANSFER
    carry(w, r)


@native
def expire(w: int, r: int) -> None:
    """Give up a request that has waited for as long as it may, if it still waits."""
    request = requests(w, r)
    if request.fate != OPEN:
        return
    if request.place == HELD:
        release(w, r)
    elif request.place == QUEUED:
        withdraw(w, request.node, request.model, r)
    else:
        return
    close(w, r, REFUSED, world(w).now_s)


@native
def hold(w: int, r: int) -> None:
    """Keep a request that nobody can serve now; those who were sent before it come before it."""
    request = requests(w, r)
    desk = desks(w, request.site, request.model)
    request.held_at_s = world(w).now_s
    before = desk.last
    while before > r:
        before = requests(w, before).before
    request.before = before
    if before >= 0:
        request.next = requests(w, before).next
        requests(w, before).next = r
    else:
        request.next = desk.first
        desk.first = r
    if request.next >= 0:
        requests(w, request.next).before = r
    else:
        desk.last = r
    desk.held += 1
    sites(w, request.site).held += 1


@native
def release(w: int, r: int) -> None:
    """Hold a request no longer."""
    request = requests(w, r)
    desk = desks(w, request.site, request.model)
    if request.before >= 0:
        requests(w, request.before).next = request.next
    else:
        desk.first = request.next
    if request.next >= 0:
        requests(w, request.next).before = request.before
    else:
        desk.last = request.before
    desk.held -= 1
    sites(w, request.site).held -= 1


@native
def next_waiting(w: int, s: int, after: int) -> int:
    """Return the model whose oldest held request comes next behind request `after`; -1 if none does."""
    found, oldest = -1, -1
    for m in range(world(w).model):
        first = desks(w, s, m).first
        if first > after and (found < 0 or first < oldest):
            found, oldest = m, first
    return found


@native
def remind(w: int, s: int) -> None:
    """Say again which models are missed, the one with the oldest request first."""
    after = -1
    while sites(w, s).held > 0:
        m = next_waiting(w, s, after)
        if m < 0:
            return
        after = desks(w, s, m).first
        say(w, s, m, MISSING)


@native
def look_again(w: int, s: int) -> None:
    """Let those who are held choose again, the oldest first; one that finds none stands for its model."""
    after = -1
    while sites(w, s).held > 0:
        m = next_waiting(w, s, after)
        if m < 0:
            return
        r = desks(w, s, m).first
        if dispatch(w, r):
            release(w, r)
        after = r


@native
def touch(w: int) -> None:
    """Let ingresses look again that see that pods have changed."""
    if world(w).fresh:
        for s in range(world(w).site):
            look_again(w, s)


@native
def say(w: int, s: int, m: int, reason: int) -> None:
    """Say that a model is missed or waited for, unless that was just said; the slot agent decides if it is news."""
    desk, now_s, refresh_s = desks(w, s, m), world(w).now_s, world(w).refresh_s
    if now_s < (desk.missed_at_s if reason == MISSING else desk.waited_at_s) + refresh_s:
        return
    if reason == MISSING:
        desk.missed_at_s = now_s
    else:
        desk.waited_at_s = now_s
    wake = wakes(w, m, reason)
    wake.at_s = now_s
    if now_s - wake.rang_at_s < refresh_s:
        return
    wake.rang_at_s = now_s
    if not world(w).rung:
        world(w).rung = True
        enter(w, now_s, RUNG, 0, 0)


@native
def patience_ends_s(w: int) -> float:
    """Return when the patience of the next request that is still open ends; what has ended is passed over."""
    state = world(w)
    while state.patient < state.come:
        request = requests(w, coming(w, state.patient).request)
        if request.fate == OPEN:
            return float(request.expires_at_s)
        state.patient += 1
    return math.inf
