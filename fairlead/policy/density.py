"""Placements of the drift-plus-penalty baselines: each slot the pods that relieve most for their memory.

`dpp` is the textbook (Neely 2010, MaxWeight with a penalty): one queue for each model, L = ½ Σ Q², so a pod that can
serve s requests in a slot is worth Q·s; a start costs V times its delay. `bmw-dpp` biases against switching (Celik et
al., ISIT 2011; Hsieh, Hou, Liu, arXiv:1701.03831), counts the arrivals that it expects, and weighs models by their
delay. Both fill each node by worth per GB, what is in the way drains.
"""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Board, Flags, Floats
from fairlead.policy.draft import GB, Draft
from fairlead.policy.pricing import share

FAIR_MOST = 2.0
"""Models weigh between the inverse of this and this: own choice, CONTROL §2 rule 4 clips intents alike."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What draws pods to nodes."""

    left: Floats
    """[m] requests of a slot that no pod was chosen for yet; changes."""
    factor: Floats
    """[n, m] of the drift."""
    toll: Floats
    """[n, m] requests², what choosing a pod costs."""


def textbook(draft: Draft, settings: PolicySettings) -> None:
    """Place as `dpp` does: Q·s − V·a for a start, Q·s for a pod that is there."""
    board = draft.board
    toll = np.where(draft.kept, 0.0, settings.start_weight * board.start_s)
    _fill(draft, settings, Pull(_present(board), np.ones(board.shape), toll))


def biased(draft: Draft, settings: PolicySettings) -> None:
    """Place as `bmw-dpp` does: (Q + λT)·s, times 1 + η for a pod that is there, 1 − a/H for a start, and fairness."""
    board = draft.board
    started = np.maximum(0.0, 1.0 - board.start_s / settings.slot_horizon_s)
    factor = fair_weights(board) * np.where(draft.kept, 1.0 + settings.eta, started)
    left = _present(board) + board.demand.rate * settings.slot_s
    _fill(draft, settings, Pull(left, factor, np.zeros(board.shape)))


def fair_weights(board: Board) -> Floats:
    """Return [m] the delay of each model relative to that of all, clipped; by Little's law Q/λ is a mean delay."""
    present, rate = _present(board), np.maximum(board.demand.rate, 1e-9)
    if not present.any():
        return np.ones_like(present)
    every = present.sum() / rate.sum()
    weights: Floats = np.clip(present / rate / every, 1.0 / FAIR_MOST, FAIR_MOST)
    return weights


def _present(board: Board) -> Floats:
    """Return [m] Q: requests that are held, wait or run."""
    present: Floats = (board.demand.held + board.pods.count.sum(axis=0)).astype(np.float64)
    return present


def _fill(draft: Draft, settings: PolicySettings, pull: Pull) -> None:
    """Choose pods one by one, start those that are missing and let go what is in their way."""
    board, left = draft.board, pull.left
    stays = _locked(draft, settings)
    chosen = stays | draft.wanted
    free = board.memory - chosen @ board.claim
    slot_work = settings.slot_s / board.work_s
    left -= np.minimum(left, (share(board.speed, chosen.sum(axis=1))[:, None] * chosen * slot_work).sum(axis=0))
    usable = (draft.kept & ~stays) | draft.open_for(np.arange(len(free)))
    while True:
        serves = np.minimum(left, share(board.speed, chosen.sum(axis=1) + 1)[:, None] * slot_work)
        worth = (pull.factor * left * serves - pull.toll) / (board.claim / GB)
        worth[~usable | chosen | (board.claim > free[:, None])] = 0.0
        n, m = (int(k) for k in np.unravel_index(int(worth.argmax()), worth.shape))
        if worth[n, m] <= 0.0:
            break
        chosen[n, m] = True
        free[n] -= board.claim[m]
        left[m] -= serves[n, m]
        if not draft.counted[n, m]:
            draft.start(n, m, "density", None, f"{worth[n, m]:.2f} requests² a GB, the most that is left")
    _let_go(draft, chosen)


def _locked(draft: Draft, settings: PolicySettings) -> Flags:
    """Return [n, m] pods that stay: not ready, inside their dwell, pinned.

    And the last ready one of a model with demand, unless another model has no pod at all and requests are held for it.
    """
    board, pods = draft.board, draft.board.pods
    settled = draft.kept & pods.ready & (pods.age_s >= board.start_s) & ~board.wishes.pinned
    missed = (board.demand.held > 0) & ~draft.counted.any(axis=0)
    if not missed.any():
        settled &= ~((draft.ready() <= 1) & (board.demand.pressed > settings.rate_start_per_s))
    return draft.kept & ~settled


def _let_go(draft: Draft, chosen: Flags) -> None:
    """Keep what was not chosen where it is in nobody's way, the pods used last first; the others stop."""
    board = draft.board
    free = draft.board.memory - (chosen | draft.wanted) @ board.claim
    spare = np.argwhere(draft.kept & ~chosen)
    for n, m in sorted(spare.tolist(), key=lambda pair: (-board.pods.used_at_s[pair[0], pair[1]], pair)):
        if board.claim[m] <= free[n]:
            free[n] -= board.claim[m]
        else:
            draft.stop(n, m, "victim", None, "relieves less for its memory than what starts here")
