"""Rule 2 of CONTROL §2: each slot, where there is room, the starts that gain most; and every model's shadow price."""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.decisions import ShadowPrice
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Flags, Floats, Whole
from fairlead.policy.draft import Draft, Victims, victims
from fairlead.policy.pricing import regret, share, worth
from fairlead.policy.streams import seeded, shuffled

BLOCKS = 25
"""At scale, nodes are taken in about so many random blocks (CONTROL §2 rule 4)."""

BLOCK_STREAM = 2
"""Purpose of the stream that deals nodes into blocks."""


@dataclass(slots=True)
class Tally:
    """Sums over all nodes that change with each start, so that they need not be summed again."""

    capacity: Floats
    """[m] C."""
    ready: Whole
    """[m] ready pods that are sure to stay."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What each start on some nodes would gain now, all [r, m]."""

    rows: Whole
    """[r] the nodes."""
    score_s: Floats
    """max(0, 1 − a/H)·worth·intent − (1 + η)·Σ regret of the victims, request-seconds; -inf where impossible."""
    worth_s: Floats
    """Φ(C) − Φ(C + σ)."""
    count: Whole
    """How many victims it takes."""
    some: Victims
    costs: Floats
    """Regret of each pod, times its intent."""

    def best(self) -> tuple[int, int, float]:
        """Return row, model and score of the best start; the first of equals."""
        r, m = np.unravel_index(int(self.score_s.argmax()), self.score_s.shape)
        return int(r), int(m), float(self.score_s[r, m])


def active(draft: Draft, settings: PolicySettings) -> Flags:
    """Return [m] models with an arrival in the last ten minutes or a request waiting."""
    demand = draft.board.demand
    recent = demand.asked_at_s > draft.board.now_s - settings.active_window_s
    return recent | (demand.held > 0) | (demand.waiting > 0)


def scores(draft: Draft, settings: PolicySettings, tally: Tally, wanted: Flags, pressed: Floats, rows: Whole) -> Scores:
    """Return what starts of the `wanted` [m] models on the nodes `rows` would gain with demand `pressed` [m]."""
    board, horizon_s = draft.board, settings.slot_horizon_s
    counted, speed, tilt = draft.counted[rows], board.speed[rows, None], board.wishes.tilt[rows]
    resident = counted.sum(axis=1)[:, None]
    part = share(speed, resident)
    costs = regret(tally.capacity, part, pressed, board.work_s, board.start_s, horizon_s) * tilt
    some = victims(board.claim, _displaceable(draft, settings, tally, rows), costs)
    possible, count = some.needed(board.memory[rows] - counted @ board.claim, board.claim)
    possible &= draft.open_for(rows) & wanted
    part = share(speed, resident - count + 1)
    gain = worth(tally.capacity, part, pressed, board.work_s, board.start_s, horizon_s)
    bias = np.maximum(0.0, 1.0 - board.start_s / horizon_s)
    score = bias * gain * tilt - (1.0 + settings.eta) * some.displaced_s(count)
    return Scores(rows, np.where(possible, score, -np.inf), gain, count, some, costs)


def _displaceable(draft: Draft, settings: PolicySettings, tally: Tally, rows: Whole) -> Flags:
    """Return [r, m] pods that rule 2 may stop: past their dwell, and not the last ready one of a model with demand."""
    board, pods = draft.board, draft.board.pods
    last = (tally.ready <= 1) & (board.demand.pressed > settings.rate_start_per_s)
    settled = pods.ready[rows] & (pods.age_s[rows] >= board.start_s)
    return draft.kept[rows] & settled & ~last & ~board.wishes.pinned[rows]


def by_slot(draft: Draft, settings: PolicySettings, seed: int, slot: int) -> tuple[ShadowPrice, ...]:
    """Apply rule 2, at most one start per 7 nodes, each worth more than a request-second; return the shadow prices."""
    board = draft.board
    tally = Tally(draft.capacity(), draft.ready())
    _warmed(draft, settings, tally)
    prices = _shadow_prices(draft, settings, tally)
    wanted = active(draft, settings)
    need, room = int(board.claim[wanted].sum()), int(board.memory[board.up].sum())
    if need > settings.fit_ratio * room:
        draft.note("rule2-full", None, None, None, f"active models need {need} bytes, {room} are up: on demand only")
        return prices
    blocks = _blocks(board.up, settings.nodes_per_start, seed, slot)
    budget = max(1, int(board.up.sum()) // settings.nodes_per_start)
    for k, rows in enumerate(blocks):
        _grow(draft, settings, tally, wanted, rows, budget * (k + 1) // len(blocks) - budget * k // len(blocks))
    return prices


def _blocks(up: Flags, nodes_per_start: int, seed: int, slot: int) -> list[Whole]:
    """Return the nodes that are up, dealt into about 25 random blocks of at least one start each; few nodes in one."""
    nodes = np.nonzero(up)[0]
    count = max(1, min(BLOCKS, len(nodes) // nodes_per_start))
    order = shuffled(len(nodes), seeded(seed, BLOCK_STREAM, slot))
    return [np.sort(nodes[part]) for part in np.array_split(order, count)]


def _grow(draft: Draft, settings: PolicySettings, tally: Tally, wanted: Flags, rows: Whole, budget: int) -> None:
    """Start the best pairs in a block of nodes, pricing afresh after each."""
    for _ in range(budget if len(rows) else 0):
        found = scores(draft, settings, tally, wanted, draft.board.demand.pressed, rows)
        r, m, best = found.best()
        if best <= settings.least_worth_s:
            if np.isfinite(best):
                draft.note("rule2-none", int(rows[r]), m, best, "the best start gains too little")
            return
        _begin(draft, tally, found, r, m, "rule2-worth")


def _begin(draft: Draft, tally: Tally, found: Scores, r: int, m: int, rule: str) -> None:
    """Start the pair, let its victims go, and keep the tally."""
    n, board = int(found.rows[r]), draft.board
    before, kept = draft.counted[n], draft.kept[n].copy()
    draft.make_room(n, m, found.some.order[r, : found.count[r, m]].tolist(), found.costs[r])
    draft.start(n, m, rule, float(found.score_s[r, m]), f"worth {found.worth_s[r, m]:.1f} request-seconds")
    after = draft.counted[n]
    speed = board.speed[[n]]
    tally.capacity += share(speed, after.sum(keepdims=True)) * after - share(speed, before.sum(keepdims=True)) * before
    tally.ready -= (kept & ~draft.kept[n]) & ~board.was_stoppable[n]


def _warmed(draft: Draft, settings: PolicySettings, tally: Tally) -> None:
    """Start what the plan wants warm now, if rule 2 gains by it when a request within the horizon is taken for sure."""
    board = draft.board
    for n, m in board.wishes.warm:
        if draft.counted[n, m]:
            continue
        pressed = board.demand.pressed.copy()
        pressed[m] = max(pressed[m], 1.0 / settings.slot_horizon_s)
        wanted = np.arange(board.shape[1]) == m
        found = scores(draft, settings, tally, wanted, pressed, np.array([n]))
        if found.score_s[0, m] > settings.least_worth_s:
            _begin(draft, tally, found, 0, m, "warm")
        else:
            draft.note("warm-refused", n, m, None, "no room here, or it gains too little")


def _shadow_prices(draft: Draft, settings: PolicySettings, tally: Tally) -> tuple[ShadowPrice, ...]:
    """Return of each model the worth of its best start; where no node can take one, what one would be worth."""
    board = draft.board
    rows = np.nonzero(board.up)[0]
    if not len(rows):
        return tuple(ShadowPrice(model=m, node=None, worth_s=0.0) for m in board.models)
    everyone = np.ones(board.shape[1], dtype=np.bool_)
    found = scores(draft, settings, tally, everyone, board.demand.pressed, rows)
    best = found.score_s.argmax(axis=0)
    most = np.where(draft.counted[rows], 0.0, found.worth_s).max(axis=0)
    prices = []
    for m, model in enumerate(board.models):
        r = int(best[m])
        if np.isfinite(found.score_s[r, m]):
            node, worth_s = board.nodes[rows[r]], float(found.worth_s[r, m])
        else:
            node, worth_s = None, float(most[m])
        prices.append(ShadowPrice(model=model, node=node, worth_s=worth_s))
    return tuple(prices)
