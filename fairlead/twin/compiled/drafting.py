"""A placement while it is being decided, compiled: `policy.draft` and sums over it, in numpy's order of addition."""

from typing import NamedTuple

import numpy as np

from fairlead.policy.arrays import Flags, Floats, Whole
from fairlead.policy.pricing import CROWDING
from fairlead.twin.compiled.board import Board, Table
from fairlead.twin.compiled.native import native

CHOICE = np.dtype([("kept", np.bool_), ("going", np.bool_), ("wanted", np.bool_)])
"""What shall become of a pod; `policy.draft.Draft` says what each means."""

NEED = np.dtype(
    [
        ("pressed", np.float64),  # D = λ + Q/2T, requests per second
        ("rate", np.float64),  # λ
        ("waiting", np.int64),  # in queues of pods, not running
        ("moved", np.bool_),  # was started anew
    ],
    align=True,
)
"""Demand for a model as this decision sees it."""

RUNS = 8
"""How many running sums numpy keeps (`pairwise_sum` in its source)."""


class Draft(NamedTuple):
    """What the rules change one after another, and demand as they see it."""

    pods: Table
    """[n, m] `CHOICE`"""
    models: Table
    """[m] `NEED`"""


@native
def drafted(board: Board, rate: Floats, slot_s: float) -> Draft:
    """Return an empty draft with the demand that `board` and λ [m] amount to."""
    pods, models = np.zeros(board.pods.shape, CHOICE), np.zeros(len(rate), NEED)
    for m in range(len(rate)):
        waiting = 0
        for n in range(len(board.nodes)):
            waiting += max(board.pods[n, m].count - board.pods[n, m].running, 0)
        need = models[m]
        need.rate, need.waiting = rate[m], waiting
        need.pressed = rate[m] + (board.models[m].held + waiting) / (2.0 * slot_s)
    return Draft(pods, models)


@native
def resident(board: Board, n: int, m: int) -> bool:
    """Tell whether a pod claims memory."""
    pod = board.pods[n, m]
    return bool(pod.starting or pod.ready or pod.leaving or pod.stopping or pod.sleeping)


@native
def stays(draft: Draft, n: int, m: int) -> bool:
    """Tell whether there will be a pod."""
    return bool(draft.pods[n, m].kept or draft.pods[n, m].wanted)


@native
def free(board: Board, draft: Draft, n: int) -> int:
    """Return the bytes that are left on a node once all that goes has gone and all that is wanted has started."""
    left = board.nodes[n].memory
    for m in range(len(board.models)):
        if stays(draft, n, m):
            left -= board.models[m].claim
    return int(left)


@native
def share(speed: float, pods: float) -> float:
    """Return σ of one of `pods` pods on a node."""
    return speed / (1.0 + CROWDING * (max(pods, 1.0) - 1.0))


@native
def counted(draft: Draft, n: int) -> int:
    """Return how many pods a node will have."""
    count = 0
    for m in range(len(draft.models)):
        if stays(draft, n, m):
            count += 1
    return count


@native
def capacity(board: Board, draft: Draft) -> Floats:
    """Return [m] C, the sum of σ over a model's pods on nodes that are up, node after node."""
    found = np.zeros(len(draft.models))
    for n in range(len(board.nodes)):
        if board.nodes[n].up:
            part = share(board.nodes[n].speed, float(counted(draft, n)))
            for m in range(len(found)):
                if stays(draft, n, m):
                    found[m] += part
    return found


@native
def sure(board: Board, draft: Draft, stoppable: Flags) -> Whole:
    """Return [m] ready pods that are sure to stay; `stoppable` [n, m] of the placement in force."""
    found = np.zeros(len(draft.models), np.int64)
    for n in range(len(board.nodes)):
        for m in range(len(found)):
            if draft.pods[n, m].kept and board.pods[n, m].ready and not stoppable[n, m]:
                found[m] += 1
    return found


@native
def backlog_s(board: Board) -> Floats:
    """Return [n] seconds of work on each node at its speed."""
    found, left_s = np.zeros(len(board.nodes)), np.zeros(len(board.models))
    for n in range(len(found)):
        for m in range(len(left_s)):
            left_s[m] = board.pods[n, m].left_s
        found[n] = added(left_s, len(left_s)) / board.nodes[n].speed
    return found


@native
def added(values: Floats, count: int) -> float:
    """Return the sum of the first `count` values [k] in numpy's order, up to 128 of them to the last bit."""
    total, begun = 0.0, 0
    if count >= RUNS:
        runs = values[:RUNS].copy()
        begun = count - count % RUNS
        for k in range(RUNS, begun):
            runs[k % RUNS] += values[k]
        total = ((runs[0] + runs[1]) + (runs[2] + runs[3])) + ((runs[4] + runs[5]) + (runs[6] + runs[7]))
    for k in range(begun, count):
        total += values[k]
    return total
