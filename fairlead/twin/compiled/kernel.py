"""The compiled core: events one after the other, in the order of `twin.calendar`, as `twin.engine` has them."""

import math

from fairlead.policy.steering import STEERS_ON_SLOTS
from fairlead.twin.compiled.agents import (
    become_ready,
    come_back,
    die,
    gone,
    open_pod,
    patience_over,
    say_left,
    slow_down,
    started,
    steer,
)
from fairlead.twin.compiled.board import Asked, Board, Standing, Tuning
from fairlead.twin.compiled.deciding import decide
from fairlead.twin.compiled.events import (
    ENDED,
    ENTERED,
    EXPIRED,
    GONE,
    KIND_BITS,
    NODE_BACK,
    NODE_LOST,
    PATIENCE,
    REACHED,
    READY_NOW,
    RETURNED,
    SPEED_TURNED,
    TICKED,
    enter,
    forget_first,
)
from fairlead.twin.compiled.moving import have_room, take_turn
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.reports import (
    folded,
    remember_shape,
    report,
    take_all,
    take_node,
    wakes_left,
    woken,
)
from fairlead.twin.compiled.requests import carry, come, end, expire, look_again, patience_ends_s, reach, remind
from fairlead.twin.compiled.serving import foretell, list_all, pump
from fairlead.twin.compiled.world import DRAINING, READY, coming, events, mishaps, models, nodes, pods, world


@native
def begin(w: int, board: Board, tuning: Tuning, standing: Standing) -> None:
    """Put the first decision in force, its pods ready, and let slots and refreshes begin."""
    report(w)
    read(w)
    decided(w, board, tuning, standing, True, True)
    for n in range(world(w).node):
        for m in range(world(w).model):
            if standing.awake[n, m]:
                open_pod(w, n, m)
                become_ready(w, n, m)
    put_in_force(w, standing)
    report(w)
    enter(w, next_tick_s(w), TICKED, 0, 0)


@native
def resume(w: int, board: Board, tuning: Tuning, standing: Standing) -> None:
    """Go on with what was laid out as it is now; the first decision has a placement and a table in any case."""
    now = world(w)
    list_all(w)
    for n in range(now.node):
        for m in range(now.model):
            if pods(w, n, m).phase == READY:
                pump(w, n, m)
        foretell(w, n)
    report(w)
    read(w)
    if not decided(w, board, tuning, standing, now.slot_begins, True):
        decide(Asked(now.policy, False, True, slot_now(w), now.now_s, now.seed), board, tuning, standing)
    put_in_force(w, standing)
    enter(w, next_tick_s(w), TICKED, 0, 0)


@native
def run(w: int, board: Board, tuning: Tuning, standing: Standing, until_s: float) -> bool:
    """Let happen what happens before `until_s`; False if there is no more room for what may follow from an event."""
    now = world(w)
    if not now.begun:
        now.begun = True
        if now.resumed:
            resume(w, board, tuning, standing)
        else:
            begin(w, board, tuning, standing)
    while True:
        at_s, kind = next_event(w)
        if at_s >= until_s:
            return True
        if cramped(w):
            return False
        now.now_s = at_s
        if kind == ENTERED:
            now.come += 1
            come(w, coming(w, now.come - 1).request)
        elif kind == EXPIRED:
            now.patient += 1
            expire(w, coming(w, now.patient - 1).request)
        else:
            first = events(w, 0)
            who, what = first.who, first.what
            forget_first(w)
            if kind <= ENDED:
                befall(w, kind, who, what)
            elif kind <= RETURNED:
                happen(w, kind, who, what)
            elif kind == PATIENCE:
                patience_over(w, who)
            else:
                decide_now(w, board, tuning, standing, kind == TICKED)


@native
def next_event(w: int) -> tuple[float, int]:
    """Return when and what the next event is; never (infinite) if there is none."""
    now = world(w)
    at_s, kind = math.inf, ENDED
    if now.waiting > 0:
        at_s, kind = events(w, 0).at_s, events(w, 0).order >> KIND_BITS
    if now.come < now.request:
        come_s = coming(w, now.come).at_s
        if come_s < at_s or (come_s == at_s and kind > ENTERED):
            at_s, kind = come_s, ENTERED
    over_s = patience_ends_s(w)
    if over_s < at_s or (over_s == at_s and kind > EXPIRED):
        at_s, kind = over_s, EXPIRED
    return at_s, kind


@native
def cramped(w: int) -> bool:
    """Tell whether one event might not have room for what follows from it."""
    now = world(w)
    cells = now.node * now.model
    most = 2 * (now.come - now.patient) + 4 * (now.node + cells)
    return bool(now.event - now.waiting < most or now.start - max(now.starts, now.stops) < 2 * cells)


@native
def befall(w: int, kind: int, who: int, what: int) -> None:
    """Let something happen to a node: a mishap, or the end of a service."""
    node = nodes(w, who)
    if kind == ENDED:
        if what == node.version:
            m = node.due_model
            end(w, who, m, node.due_request)
            have_room(w)
            if pods(w, who, m).phase == DRAINING:
                say_left(w, who, m)
                steer(w, who)
    elif kind == NODE_LOST:
        if node.up:
            if world(w).fresh:
                take_node(w, who)
            die(w, who)
    elif kind == NODE_BACK:
        if not node.up:
            come_back(w, who)
    elif kind == SPEED_TURNED:
        slow_down(w, who, mishaps(w, what).speed)


@native
def happen(w: int, kind: int, who: int, what: int) -> None:
    """Let something happen to a pod or a ticket."""
    if kind == REACHED:
        reach(w, who)
    elif kind == RETURNED:
        carry(w, who)
    elif kind == READY_NOW:
        started(w, who // world(w).model, who % world(w).model, what)
    elif kind == GONE:
        gone(w, who // world(w).model, who % world(w).model, what)


@native
def read(w: int) -> None:
    """Let the slot agent read the state of now, where that is what it reads."""
    if world(w).fresh:
        take_all(w)


@native
def decide_now(w: int, board: Board, tuning: Tuning, standing: Standing, tick: bool) -> None:
    """Let a slot or a refresh begin, or the slot agent decide because it was told that a model is missed."""
    now = world(w)
    slot = False
    if tick:
        report(w)
        for s in range(world(w).site):
            remind(w, s)
            look_again(w, s)
        slot = slot_now(w) * world(w).slot_s + world(w).origin_s == now.now_s
    else:
        now.rung = False
    read(w)
    if decided(w, board, tuning, standing, slot, slot or not tick):
        put_in_force(w, standing)
    if tick:
        take_turn(w)
        enter(w, next_tick_s(w), TICKED, 0, 0)


@native
def decided(w: int, board: Board, tuning: Tuning, standing: Standing, slot: bool, forced: bool) -> bool:
    """Decide by the newest reports (`twin.controller`); True if there is something new to put in force."""
    now = world(w)
    pending = wakes_left(w)
    asked = folded(w, board) or pending or forced
    for m in range(world(w).model):
        asked = asked or board.models[m].held > 0
    if not asked:
        return False
    remember_shape(w)
    woken(w, board)
    question = Asked(world(w).policy, slot, False, slot_now(w), now.now_s, world(w).seed)
    new = decide(question, board, tuning, standing)
    if slot:
        for m in range(now.model):
            models(w, m).counted = models(w, m).total
    now.decisions += new
    return new


@native
def put_in_force(w: int, standing: Standing) -> None:
    """Have ingresses choose by the table in force and agents follow the placement in force, at once."""
    put_table(w, standing)
    world(w).placed_until_s = world(w).now_s + world(w).placed_for_s
    for n in range(world(w).node):
        for m in range(world(w).model):
            pods(w, n, m).awake, pods(w, n, m).stoppable = standing.awake[n, m], standing.stoppable[n, m]
    for n in range(world(w).node):
        if nodes(w, n).up:
            steer(w, n)
    for s in range(world(w).site):
        look_again(w, s)


@native
def put_table(w: int, standing: Standing) -> None:
    """Have ingresses choose by the table in force."""
    now, rules = world(w), world(w)
    now.tabled_until_s = (now.now_s + rules.tabled_for_s) + STEERS_ON_SLOTS * rules.slot_s
    now.rows = 0
    for m in range(world(w).model):
        least = 0.0
        for n in range(world(w).node):
            chance = standing.chance[n, m]
            pods(w, n, m).chance = chance
            if chance > 0.0 and (least == 0.0 or chance < least):
                least = chance
        models(w, m).least, models(w, m).prior_s = least, standing.prior_s[m]
        now.rows += least > 0.0


@native
def period(now_s: float, origin_s: float, length_s: float) -> int:
    """Return the number of the period that `now_s` is in (`policy.periods`)."""
    found = max(0, math.floor((now_s - origin_s) / length_s))
    if found > 0 and origin_s + found * length_s > now_s:
        return found - 1
    return found + 1 if origin_s + (found + 1) * length_s <= now_s else found


@native
def slot_now(w: int) -> int:
    """Return the number of the slot that is now."""
    return period(world(w).now_s, world(w).origin_s, world(w).slot_s)


@native
def next_tick_s(w: int) -> float:
    """Return the first instant from now at which a slot or a refresh begins (`policy.periods.Agenda`)."""
    now_s, slot_s, refresh_s = world(w).now_s, world(w).slot_s, world(w).refresh_s
    slot, origin_s = slot_now(w), world(w).origin_s
    begun_s = origin_s + slot * slot_s
    refresh = period(now_s, begun_s, refresh_s)
    return float(min(begun_s + (refresh + 1) * refresh_s, origin_s + (slot + 1) * slot_s))
