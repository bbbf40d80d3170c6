"""The routing table that goes with a placement, compiled: `policy.routing` and the rows of the baselines."""

import numpy as np

from fairlead.policy.arrays import Flags, Floats
from fairlead.twin.compiled.board import LEAST_LOADED_SLOT, NOT_IN_ROW, Asked, Board, Standing
from fairlead.twin.compiled.drafting import Draft, added, backlog_s
from fairlead.twin.compiled.native import native


@native
def put_rows(asked: Asked, board: Board, draft: Draft, standing: Standing) -> None:
    """Make the rows of the policy for a draft the table in force."""
    support = supported(board, draft)
    nodes, models = support.shape
    chances, backlog, part = np.zeros((nodes, models)), backlog_s(board), np.zeros(nodes)
    for m in range(models):
        if asked.policy == LEAST_LOADED_SLOT:
            least_loaded(support, backlog, m, chances)
        else:
            even(support, m, chances)
        count = 0
        for n in range(nodes):
            if support[n, m]:
                part[count] = chances[n, m]
                count += 1
        total = added(part, count)
        for n in range(nodes):
            standing.chance[n, m] = min(1.0, chances[n, m] / total) if support[n, m] else -1.0


@native
def supported(board: Board, draft: Draft) -> Flags:
    """Return [n, m] pods that a row may name: ready, or starting and ready within the model's deadline."""
    found = np.zeros(board.pods.shape, np.bool_)
    for n in range(len(board.nodes)):
        for m in range(len(board.models)):
            pod, choice, deadline_s = board.pods[n, m], draft.pods[n, m], board.models[m].deadline_s
            soon = pod.starting and pod.ready_in_s <= deadline_s
            here = choice.kept and (pod.ready or soon or pod.leaving)
            ordered = choice.wanted and board.models[m].start_s <= deadline_s
            found[n, m] = (here or ordered) and board.nodes[n].up and not pod.blocked
    return found


@native
def even(support: Flags, m: int, chances: Floats) -> None:
    """Put the uniform distribution over a model's pods into `chances`."""
    count = 0
    for n in range(len(support)):
        if support[n, m]:
            count += 1
    for n in range(len(support)):
        chances[n, m] = 1.0 / count if support[n, m] else 0.0


@native
def least_loaded(support: Flags, backlog: Floats, m: int, chances: Floats) -> None:
    """Put 1 for the pod of a model whose node has least backlog now."""
    best = -1
    for n in range(len(support)):
        if support[n, m] and (best < 0 or backlog[n] < backlog[best]):
            best = n
    if best >= 0:
        chances[best, m] = 1.0
