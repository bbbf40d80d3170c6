"""Rule 2 of CONTROL §2: each slot, where there is room, the starts that gain most; and every model's shadow price."""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.decisions import ShadowPrice
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Board, Flags, Floats, Whole
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
class Field:
    """Which starts are possible on some nodes and what they displace, all [r, m]."""

    rows: Whole
    """[r] the nodes."""
    possible: Flags
    count: Whole
    """How many victims it takes."""
    part: Floats
    """σ of the started pod."""
    displaced_s: Floats
    """Σ regret of the victims."""
    bias: Floats
    """max(0, 1 − a/H)·intent."""
    some: Victims
    movable: Flags
    """Pods that may be stopped."""
    costs: Floats
    """Regret of each pod that may be stopped, times its intent."""


def active(draft: Draft, settings: PolicySettings) -> Flags:
    """Return [m] models with an arrival in the last ten minutes or a request waiting.

    Where the plan has news of rates, those of which it says that they will be asked for, in place of those that were.
    """
    board, demand = draft.board, draft.board.demand
    recent = demand.asked_at_s > board.now_s - settings.active_window_s
    if board.wishes.news:
        expected = board.wishes.expected
        recent = np.where(np.isnan(expected), recent, expected > settings.rate_start_per_s)
    return recent | (demand.held > 0) | (demand.waiting > 0)


def field(draft: Draft, settings: PolicySettings, tally: Tally, pressed: Floats, rows: Whole) -> Field:
    """Return what could be started on the nodes `rows`, with demand `pressed` [m]."""
    board, horizon_s = draft.board, settings.slot_horizon_s
    counted, speed, tilt = draft.counted[rows], board.speed[rows, None], board.wishes.tilt[rows]
    resident = counted.sum(axis=1)[:, None]
    part = share(speed, resident)
    movable = _movable(draft, settings, tally, rows)
    r, m = np.nonzero(movable)
    costs, again_s = np.zeros(movable.shape), board.again_s[rows[r], m]
    costs[r, m] = regret(tally.capacity[m], part[r, 0], pressed[m], board.work_s[m], again_s, horizon_s) * tilt[r, m]
    some = victims(board.claim, movable, costs)
    fits, count = some.needed(board.memory[rows] - counted @ board.claim, board.claim)
    return Field(
        rows=rows,
        possible=fits & draft.open_for(rows),
        count=count,
        part=share(speed, resident - count + 1),
        displaced_s=some.displaced_s(count),
        bias=np.maximum(0.0, 1.0 - board.begin_s[rows] / horizon_s) * tilt,
        some=some,
        movable=movable,
        costs=costs,
    )


def scores(
    draft: Draft, settings: PolicySettings, tally: Tally, pressed: Floats, found: Field, columns: Whole
) -> tuple[Floats, Floats]:
    """Return [r, c] score and worth of starting each of the models `columns` on each node of a field.

    The score is max(0, 1 − a/H)·worth·intent − (1 + η)·Σ regret of the victims, -inf where there can be no start.
    """
    board, c = draft.board, columns
    gain = worth(
        tally.capacity[c], found.part[:, c], pressed[c], board.work_s[c], board.absent_s[c], settings.slot_horizon_s
    )
    score = found.bias[:, c] * gain - (1.0 + settings.eta) * found.displaced_s[:, c]
    return np.where(found.possible[:, c], score, -np.inf), gain


def _movable(draft: Draft, settings: PolicySettings, tally: Tally, rows: Whole) -> Flags:
    """Return [r, m] pods that rule 2 may stop: past their dwell, and not the last ready one of a model with demand."""
    board, pods = draft.board, draft.board.pods
    last = (tally.ready <= 1) & (board.demand.pressed > settings.rate_start_per_s)
    settled = pods.ready[rows] & (pods.age_s[rows] >= board.again_s[rows])
    return draft.kept[rows] & settled & ~last & ~board.wishes.pinned[rows]


def by_slot(draft: Draft, settings: PolicySettings, seed: int, slot: int) -> tuple[ShadowPrice, ...]:
    """Apply rule 2, at most one start per 7 nodes, each worth more than a request-second; return the shadow prices.

    Where the plan has news of rates, each node may start one: what was right until now is not any more. Twin, mean
    latency on `catalogue-roomy-cycle` at 0.6, rates told as they change, against nothing told, 2026-11: 0.86; with one
    start a slot 0.91.
    """
    board = draft.board
    tally = Tally(draft.capacity(), draft.ready())
    _warmed(draft, settings, tally)
    prices = _shadow_prices(draft, settings, tally)
    wanted = active(draft, settings)
    need, room = int(board.claim[wanted].sum()), int(board.memory[board.up].sum())
    if need > settings.fit_ratio * room:
        draft.note("rule2-full", None, None, None, f"active models need {need} bytes, {room} are up: on demand only")
        return prices
    blocks, up = _blocks(board.up, settings.nodes_per_start, seed, slot), int(board.up.sum())
    budget = up if board.wishes.news else max(1, up // settings.nodes_per_start)
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
    """Start the best pairs in a block of nodes, each on another node.

    After each, the scores of the models it touched are taken anew; nodes whose victims may be pods of such a model are
    left for the next slot, because what stopping those would cost is not known any more.
    """
    if not len(rows) or not wanted.any():
        return
    pressed, columns = draft.board.demand.pressed, np.nonzero(wanted)[0]
    found = field(draft, settings, tally, pressed, rows)
    score, gain = scores(draft, settings, tally, pressed, found, columns)
    for _ in range(budget):
        r, c = np.unravel_index(int(score.argmax()), score.shape)
        best, m = float(score[r, c]), int(columns[c])
        if best <= settings.least_worth_s:
            if np.isfinite(best):
                draft.note("rule2-none", int(rows[r]), m, best, "the best start gains too little")
            return
        gone = _begin(draft, tally, found, int(r), m, "rule2-worth", best, float(gain[r, c]))
        touched = np.zeros(len(wanted), dtype=np.bool_)
        touched[[m, *gone]] = True
        shut: Flags = np.logical_or.reduce(found.movable[:, touched], axis=1)
        shut[r] = True
        found.possible[shut], score[shut] = False, -np.inf
        again = np.nonzero(touched[columns])[0]
        score[:, again], gain[:, again] = scores(draft, settings, tally, pressed, found, columns[again])


def _begin(
    draft: Draft, tally: Tally, found: Field, r: int, m: int, rule: str, score_s: float, worth_s: float
) -> list[int]:
    """Start the pair, let its victims go, keep the tally; return the victims."""
    n, board = int(found.rows[r]), draft.board
    before, kept = draft.on(n), draft.kept[n].copy()
    draft.make_room(n, m, found.some.order[r, : found.count[r, m]].tolist(), found.costs[r])
    draft.start(n, m, rule, score_s, f"worth {worth_s:.1f} request-seconds")
    after, gone = draft.on(n), kept & ~draft.kept[n]
    speed = board.speed[[n]]
    tally.capacity += share(speed, after.sum(keepdims=True)) * after - share(speed, before.sum(keepdims=True)) * before
    tally.ready -= gone & ~board.was_stoppable[n]
    return [int(j) for j in np.nonzero(gone)[0]]


def _warmed(draft: Draft, settings: PolicySettings, tally: Tally) -> None:
    """Start what the plan wants warm now, if rule 2 gains by it at the rates that the plan expects.

    Where the plan says nothing of the model, a request for it within the horizon is taken for sure.
    """
    board = draft.board
    for n, m in board.wishes.warm:
        if draft.counted[n, m]:
            continue
        pressed = _expected(board)
        if np.isnan(board.wishes.expected[m]):
            pressed[m] = max(pressed[m], 1.0 / settings.slot_horizon_s)
        found = field(draft, settings, tally, pressed, np.array([n]))
        score, gain = scores(draft, settings, tally, pressed, found, np.array([m]))
        if score[0, 0] > settings.least_worth_s:
            _begin(draft, tally, found, 0, m, "warm", float(score[0, 0]), float(gain[0, 0]))
        else:
            draft.note("warm-refused", n, m, None, "no room here, or it gains too little")


def _expected(board: Board) -> Floats:
    """Return [m] D with the rates that the plan expects in place of those learned, where it says them."""
    demand, expected = board.demand, board.wishes.expected
    waiting = demand.pressed - demand.rate
    return np.where(np.isnan(expected), demand.pressed, expected + waiting)


def _shadow_prices(draft: Draft, settings: PolicySettings, tally: Tally) -> tuple[ShadowPrice, ...]:
    """Return of each model the worth of its best start; where no node can take one, what one would be worth."""
    board, pressed = draft.board, draft.board.demand.pressed
    rows = np.nonzero(board.up)[0]
    if not len(rows) or not board.models:
        return tuple(ShadowPrice(model=m, node=None, worth_s=0.0) for m in board.models)
    found = field(draft, settings, tally, pressed, rows)
    score, gain = scores(draft, settings, tally, pressed, found, np.arange(len(board.models)))
    best = score.argmax(axis=0)
    most = np.where(draft.counted[rows], 0.0, gain).max(axis=0)
    prices = []
    for m, model in enumerate(board.models):
        r = int(best[m])
        possible = bool(np.isfinite(score[r, m]))
        node, worth_s = (board.nodes[rows[r]], gain[r, m]) if possible else (None, most[m])
        prices.append(ShadowPrice(model=model, node=node, worth_s=float(worth_s)))
    return tuple(prices)
