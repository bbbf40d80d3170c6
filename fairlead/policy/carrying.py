"""What a decision takes over: pods that run, starts and stops that the placement in force ordered, people's overrides.

A start that has not begun stays wanted, and its victims stay stoppable, until it begins or no longer makes sense; a
victim that is not needed any more is kept again. So decisions that follow one another closely do not undo each other.
"""

import numpy as np

from fairlead.policy.arrays import Board, Flags
from fairlead.policy.draft import Draft, victims
from fairlead.policy.pricing import regret


def carried(board: Board, rate_start: float) -> Draft:
    """Return the draft that the placement in force and the pods of now amount to."""
    draft, chosen = standing(board), _chosen(board)
    for n in np.nonzero((chosen & board.up[:, None]).any(axis=1) | draft.wanted.any(axis=1))[0]:
        _settle(draft, int(n), chosen[n], rate_start)
    return draft


def standing(board: Board) -> Draft:
    """Return the draft that is nothing but the placement in force, on the pods of now."""
    pods, up = board.pods, board.up[:, None]
    going = (pods.stopping | _leaving(board)) & up
    kept = pods.resident & ~going & up
    ordered = board.was_awake & ~pods.resident & up
    return Draft(board, kept, going, ordered & ~pods.blocked & ~board.wishes.banned & ~board.wishes.drains[:, None])


def _leaving(board: Board) -> Flags:
    """Return [n, m] pods that the placement in force lets go and that have not begun to stop."""
    pods = board.pods
    return board.was_stoppable & (pods.ready | pods.leaving) & ~board.wishes.pinned


def _chosen(board: Board) -> Flags:
    """Return [n, m] those of them that could still be kept: what an operator banned goes whatever starts."""
    return _leaving(board) & ~board.wishes.banned


def _settle(draft: Draft, n: int, chosen: Flags, rate_start: float) -> None:
    """Decide on one node which ordered starts still hold, and whether their victims still have to go."""
    board, demand = draft.board, draft.board.demand
    alive = (demand.pressed > rate_start) | (demand.held > 0) | board.wishes.pinned[n]
    held = int(board.claim[chosen].sum())
    stays = draft.free()[n] < held and not _may_go(draft, chosen, draft.wanted[n] & alive, rate_start)
    for m in sorted(np.nonzero(draft.wanted[n])[0], key=lambda m: (bool(alive[m]), demand.pressed[m], m)):
        if stays or draft.free()[n] < (held if not alive[m] else 0):
            draft.wanted[n, m] = False
            draft.note("dropped", n, int(m), None, "an ordered start that fits no longer, or that nobody waits for")
    if draft.free()[n] >= held:
        draft.kept[n] |= chosen
        draft.going[n] &= ~chosen
    else:
        for m in np.nonzero(chosen)[0]:
            draft.note("pending", n, int(m), None, "goes for a start that has not begun")


def _may_go(draft: Draft, chosen: Flags, waited_for: Flags, rate_start: float) -> bool:
    """Tell whether the chosen pods of a node may still go: a last ready one only for a model that has none."""
    last = chosen & (draft.board.demand.pressed > rate_start) & (draft.ready() == 0)
    missed = waited_for & (draft.ready() == 0)
    return bool(missed.any()) or not bool(last.any())


def overridden(draft: Draft, horizon_s: float) -> None:
    """Apply what operators fixed: banned pods go, pinned ones are wanted wherever room can be made."""
    board, wishes = draft.board, draft.board.wishes
    for n, m in np.argwhere(draft.kept & wishes.banned):
        draft.stop(int(n), int(m), "banned", None, "an operator banned it here")
    absent = wishes.pinned & ~draft.counted & board.up[:, None] & ~board.pods.resident & ~board.pods.blocked
    for n, m in np.argwhere(absent):
        demand = board.demand
        costs = regret(draft.capacity(), draft.shares()[:, None], demand.rate, board.work_s, board.again_s, horizon_s)
        some = victims(board.claim, draft.kept & board.pods.ready & ~wishes.pinned, costs)
        fits, count = some.needed(draft.free(), board.claim[[m]])
        if not fits[n, 0]:
            draft.note(
                "pin-no-room", int(n), int(m), None, "pinned, but what is pinned or starting here leaves no room"
            )
            continue
        draft.make_room(int(n), int(m), some.order[n, : count[n, 0]].tolist(), costs[n])
        draft.start(int(n), int(m), "pinned", None, "an operator pinned it here")


def homeless(draft: Draft, rate_start: float) -> Flags:
    """Return [m] models with demand that lost what they had: with the node, by a crash, a ban or a drain."""
    board = draft.board
    lost = board.was_awake & ((~board.up & board.seen)[:, None] | board.pods.blocked | board.wishes.banned)
    lost |= (draft.kept | draft.going) & (board.wishes.drains[:, None] | board.wishes.banned)
    usable = draft.counted & ~board.wishes.drains[:, None]
    return lost.any(axis=0) & ~usable.any(axis=0) & (board.demand.pressed > rate_start)


def evacuated(draft: Draft, rate_start: float) -> None:
    """Let pods go from nodes that the plan drains, once their models are ready elsewhere or nobody asks for them."""
    board, pods = draft.board, draft.board.pods
    here = draft.kept & pods.ready & board.wishes.drains[:, None] & ~board.wishes.pinned
    elsewhere = (draft.kept & pods.ready & ~board.was_stoppable & ~board.wishes.drains[:, None]).any(axis=0)
    free = elsewhere | (board.demand.pressed <= rate_start)
    for n, m in np.argwhere(here & free & (pods.age_s >= board.start_s)):
        draft.stop(int(n), int(m), "drain", None, "the plan drains this node")


def retried(draft: Draft) -> Flags:
    """Return [n, m] what stays awake though no pod is there now: in back-off, or on a node that was never heard.

    A pod in back-off gives way to everything that is decided now: it stays only where room is left, and not where its
    model was just started elsewhere.
    """
    board = draft.board
    moved = np.zeros(board.shape[1], dtype=np.bool_)
    moved[[m for _, m in draft.started]] = True
    here = (board.up & ~board.wishes.drains)[:, None]
    waiting = board.pods.blocked & here & ~board.wishes.banned & (board.wishes.pinned | (board.was_awake & ~moved))
    back = np.zeros_like(waiting)
    free = draft.free()
    for n, m in np.argwhere(waiting):
        if board.claim[m] <= free[n]:
            back[n, m] = True
            free[n] -= board.claim[m]
    return back | (board.was_awake & ~board.seen[:, None])
