"""Placements that are given, compiled: those of static policies and the first of adaptive ones (`policy.baselines`)."""

from fairlead.policy.arrays import Flags
from fairlead.twin.compiled.board import Board, Standing, Tuning
from fairlead.twin.compiled.drafting import Draft, resident, stays
from fairlead.twin.compiled.native import native


@native
def static_draft(board: Board, tuning: Tuning, standing: Standing, draft: Draft) -> None:
    """Keep, stop and want what the given placement asks for."""
    for m in range(len(board.models)):
        served = draft.models[m].pressed <= tuning.rate_start_per_s
        for n in range(len(board.nodes)):
            served = served or (board.pods[n, m].ready and standing.given[n, m])
        for n in range(len(board.nodes)):
            given, here, stopping = standing.given[n, m], resident(board, n, m), board.pods[n, m].stopping
            choice = draft.pods[n, m]
            choice.kept = here and given and not stopping
            choice.going = here and not given and (served or stopping)
            choice.wanted = given and not here


@native
def first_draft(board: Board, tuning: Tuning, standing: Standing, draft: Draft) -> None:
    """Want the given placement on a cluster on which nothing runs, but where a pod is in back-off."""
    static_draft(board, tuning, standing, draft)
    for n in range(len(board.nodes)):
        for m in range(len(board.models)):
            if board.pods[n, m].blocked:
                draft.pods[n, m].wanted = False


@native
def nothing_runs(board: Board) -> bool:
    """Tell whether no pod claims memory anywhere."""
    for n in range(len(board.nodes)):
        for m in range(len(board.models)):
            if resident(board, n, m):
                return False
    return True


@native
def put_in_force(board: Board, draft: Draft, also: Flags, standing: Standing) -> bool:
    """Make the draft, and `also` [n, m] awake, the placement in force; True if it differs from the one before."""
    changed = False
    for n in range(len(board.nodes)):
        for m in range(len(board.models)):
            awake = stays(draft, n, m) or also[n, m]
            stoppable = draft.pods[n, m].going and not board.pods[n, m].stopping
            changed = changed or awake != standing.awake[n, m] or stoppable != standing.stoppable[n, m]
            standing.awake[n, m], standing.stoppable[n, m] = awake, stoppable
    return changed
