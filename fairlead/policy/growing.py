"""Rule 2 of CONTROL §2: each slot, where there is room, the starts that gain most; and every model's shadow price."""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.decisions import ShadowPrice
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Flags, Floats, Whole
from fairlead.policy.draft import Draft, Victims, fewest, victims
from fairlead.policy.pricing import regret, share, worth
from fairlead.policy.streams import seeded, shuffled

BLOCKS = 25
"""At scale, nodes are taken in about so many random blocks (CONTROL §2 rule 4)."""

BLOCK_STREAM = 2
"""Purpose of the stream that deals nodes into blocks."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What each start would gain now, all [n, m]; -inf where it is impossible."""

    score_s: Floats
    """max(0, 1 − a/H)·worth·intent − (1 + η)·Σ regret of the victims, request-seconds."""
    worth_s: Floats
    """Φ(C) − Φ(C + σ)."""
    count: Whole
    """How many victims it takes."""
    some: Victims
    costs: Floats
    """[n, m] regret of each pod, times its intent."""


def active(draft: Draft, settings: PolicySettings) -> Flags:
    """Return [m] models with an arrival in the last ten minutes or a request waiting."""
    demand = draft.board.demand
    recent = demand.asked_at_s > draft.board.now_s - settings.active_window_s
    return recent | (demand.held > 0) | (demand.waiting > 0)


def scores(draft: Draft, settings: PolicySettings, wanted: Flags, pressed: Floats, rows: Flags) -> Scores:
    """Return what starts of the `wanted` [m] models on the nodes `rows` [n] would gain with demand `pressed` [m]."""
    board, horizon_s = draft.board, settings.slot_horizon_s
    shares, capacity, resident = draft.shares(), draft.capacity(), draft.counted.sum(axis=1)
    costs = regret(capacity, shares[:, None], pressed, board.work_s, board.start_s, horizon_s) * board.wishes.tilt
    some = victims(draft, _displaceable(draft, settings) & rows[:, None], costs)
    free = draft.free()
    possible = np.zeros(board.shape, dtype=np.bool_)
    count = np.zeros(board.shape, dtype=np.int64)
    for m in np.nonzero(wanted)[0]:
        fits, count[:, m] = some.needed(free, int(board.claim[m]))
        possible[:, m] = fits & rows & draft.open_for(int(m))
    part = share(board.speed[:, None], resident[:, None] - count + 1)
    gain = worth(capacity, part, pressed, board.work_s, board.start_s, horizon_s)
    bias = np.maximum(0.0, 1.0 - board.start_s / horizon_s)
    displaced = some.cost_s[np.arange(len(free))[:, None], count]
    score = bias * gain * board.wishes.tilt - (1.0 + settings.eta) * displaced
    return Scores(np.where(possible, score, -np.inf), gain, count, some, costs)


def _displaceable(draft: Draft, settings: PolicySettings) -> Flags:
    """Return [n, m] pods that rule 2 may stop: past their dwell, and not the last ready one of a model with demand."""
    board, pods = draft.board, draft.board.pods
    last = (draft.ready() <= 1) & (board.demand.pressed > settings.rate_start_per_s)
    return draft.kept & pods.ready & (pods.age_s >= board.start_s) & ~last & ~board.wishes.pinned & board.up[:, None]


def by_slot(draft: Draft, settings: PolicySettings, seed: int, slot: int) -> None:
    """Apply rule 2: at most one start per 7 nodes, each worth more than a request-second."""
    board = draft.board
    wanted = active(draft, settings)
    need, room = int(board.claim[wanted].sum()), int(board.memory[board.up].sum())
    _warmed(draft, settings)
    if need > settings.fit_ratio * room:
        draft.note("rule2-full", None, None, None, f"active models need {need} bytes, {room} are up: on demand only")
        return
    blocks = _blocks(board.up, settings.nodes_per_start, seed, slot)
    budget = max(1, int(board.up.sum()) // settings.nodes_per_start)
    for k, rows in enumerate(blocks):
        _grow(draft, settings, wanted, rows, budget * (k + 1) // len(blocks) - budget * k // len(blocks))


def _blocks(up: Flags, nodes_per_start: int, seed: int, slot: int) -> list[Flags]:
    """Return the nodes that are up, dealt into about 25 random blocks of at least one start each; small ones in one."""
    nodes = np.nonzero(up)[0]
    count = max(1, min(BLOCKS, len(nodes) // nodes_per_start))
    order = shuffled(len(nodes), seeded(seed, BLOCK_STREAM, slot))
    blocks = []
    for part in np.array_split(order, count):
        rows = np.zeros_like(up)
        rows[nodes[part]] = True
        blocks.append(rows)
    return blocks


def _grow(draft: Draft, settings: PolicySettings, wanted: Flags, rows: Flags, budget: int) -> None:
    """Start the best pairs in a block of nodes, pricing afresh after each."""
    for _ in range(budget):
        found = scores(draft, settings, wanted, draft.board.demand.pressed, rows)
        n, m = np.unravel_index(int(found.score_s.argmax()), found.score_s.shape)
        best = float(found.score_s[n, m])
        if best <= settings.least_worth_s:
            if np.isfinite(best):
                draft.note("rule2-none", int(n), int(m), best, "the best start gains too little")
            return
        _begin(draft, found, int(n), int(m), "rule2-worth")


def _begin(draft: Draft, found: Scores, n: int, m: int, rule: str) -> None:
    for victim in fewest(draft, found.some, n, m, int(found.count[n, m])):
        text = f"makes room for {draft.board.models[m]}"
        draft.stop(n, victim, "victim", float(found.costs[n, victim]), text)
    draft.start(n, m, rule, float(found.score_s[n, m]), f"worth {found.worth_s[n, m]:.1f} request-seconds")


def _warmed(draft: Draft, settings: PolicySettings) -> None:
    """Start what the plan wants warm now, if rule 2 gains by it when a request within the horizon is taken for sure."""
    board = draft.board
    for n, m in board.wishes.warm:
        if draft.counted[n, m]:
            continue
        pressed = board.demand.pressed.copy()
        pressed[m] = max(pressed[m], 1.0 / settings.slot_horizon_s)
        wanted, rows = np.zeros(board.shape[1], dtype=np.bool_), np.zeros(board.shape[0], dtype=np.bool_)
        wanted[m], rows[n] = True, True
        found = scores(draft, settings, wanted, pressed, rows)
        if found.score_s[n, m] > settings.least_worth_s:
            _begin(draft, found, n, m, "warm")
        else:
            draft.note("warm-refused", n, m, None, "no room here, or it gains too little")


def shadow_prices(draft: Draft, settings: PolicySettings) -> tuple[ShadowPrice, ...]:
    """Return of each model the worth of its best start; where no node can take one, what one would be worth."""
    board = draft.board
    everyone = np.ones(board.shape[1], dtype=np.bool_)
    found = scores(draft, settings, everyone, board.demand.pressed, board.up)
    prices = []
    for m, model in enumerate(board.models):
        n = int(found.score_s[:, m].argmax()) if board.nodes else 0
        if board.nodes and np.isfinite(found.score_s[n, m]):
            prices.append(ShadowPrice(model=model, node=board.nodes[n], worth_s=float(found.worth_s[n, m])))
        else:
            most = float(found.worth_s[board.up & ~draft.counted[:, m], m].max(initial=0.0))
            prices.append(ShadowPrice(model=model, node=None, worth_s=most))
    return tuple(prices)
