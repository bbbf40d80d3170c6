"""The calendar of the compiled core: a binary heap in the order (time, kind, sequence) of `twin.calendar`."""

from fairlead.twin.calendar import (
    PRIORITY,
    Ended,
    Entered,
    Expired,
    Gone,
    NodeBack,
    NodeLost,
    Patience,
    Reached,
    Ready,
    Returned,
    Rung,
    SpeedTurned,
    Ticked,
)
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.world import events, world

NODE_LOST, NODE_BACK, SPEED_TURNED = PRIORITY[NodeLost], PRIORITY[NodeBack], PRIORITY[SpeedTurned]
ENDED, READY_NOW, GONE = PRIORITY[Ended], PRIORITY[Ready], PRIORITY[Gone]
REACHED, RETURNED = PRIORITY[Reached], PRIORITY[Returned]
ENTERED, EXPIRED = PRIORITY[Entered], PRIORITY[Expired]
PATIENCE, TICKED, RUNG = PRIORITY[Patience], PRIORITY[Ticked], PRIORITY[Rung]

KIND_BITS = 48
"""An event's order is its kind above so many bits of its number in the sequence: 9 years of a million a second."""


@native
def enter(w: int, at_s: float, kind: int, who: int, what: int) -> None:
    """Note that something happens at `at_s`; there must be room."""
    state = world(w)
    state.entered += 1
    order = (kind << KIND_BITS) | state.entered
    k = state.waiting
    state.waiting = k + 1
    while k > 0:
        above = (k - 1) >> 1
        up = events(w, above)
        if up.at_s < at_s or (up.at_s == at_s and up.order < order):
            break
        here = events(w, k)
        here.at_s, here.order, here.who, here.what = up.at_s, up.order, up.who, up.what
        k = above
    here = events(w, k)
    here.at_s, here.order, here.who, here.what = at_s, order, who, what


@native
def forget_first(w: int) -> None:
    """Take the first event out."""
    state = world(w)
    size = state.waiting - 1
    state.waiting = size
    last = events(w, size)
    at_s, order, who, what = last.at_s, last.order, last.who, last.what
    k = 0
    while True:
        below = 2 * k + 1
        if below >= size:
            break
        one = events(w, below)
        if below + 1 < size:
            other = events(w, below + 1)
            if other.at_s < one.at_s or (other.at_s == one.at_s and other.order < one.order):
                below, one = below + 1, other
        if at_s < one.at_s or (at_s == one.at_s and order < one.order):
            break
        here = events(w, k)
        here.at_s, here.order, here.who, here.what = one.at_s, one.order, one.who, one.what
        k = below
    here = events(w, k)
    here.at_s, here.order, here.who, here.what = at_s, order, who, what
