"""The placement of `marginal-dpp`: CONTROL §2 rules 1 to 4, on a draft.

Rule 1 runs on demand, at each event and refresh: a model that nobody can serve, or serves only after a long wait, gets
a pod at once. Rule 2 runs each slot, where there is room: the start that gains most expected delay. The currency of
both is request-seconds of expected delay; the penalty of a switch is the delay of the start.
"""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Flags, Floats, Whole
from fairlead.policy.choice import NodeLoad, PodQueue, wait_s
from fairlead.policy.draft import GB, Draft, Victims, victims
from fairlead.policy.pricing import regret


@dataclass(frozen=True, slots=True)
class Need:
    """A model that wants one more pod now."""

    model: int
    rule: str
    wait_s: float
    """Of the longest held request, or of the best pod."""
    least_gain_s: float | None
    """Only where a pod costs less than this wait; None for a model without pods."""
    patient: bool
    """Held so long that busy pods may go."""


def on_demand(draft: Draft, settings: PolicySettings, lost: Flags) -> None:
    """Apply rule 1: start what is needed, longest held first. `lost` [m] models that have to be re-homed."""
    for need in _needs(draft, settings, lost):
        costs = _regrets(draft, draft.board.demand.rate, settings.event_horizon_s)
        some = _rule1_victims(draft, settings, costs, need.patient)
        fits, count = some.needed(draft.free(), draft.board.claim[[need.model]])
        open_for = draft.open_for(np.arange(len(fits)))[:, need.model] & fits[:, 0]
        if not open_for.any():
            if need.least_gain_s is None:
                draft.note("rule1-no-room", None, need.model, need.wait_s, "needed, but no node can make room now")
            continue
        total = np.where(open_for, _start_cost(draft, settings, need.model, some, count), np.inf)
        best = int(total.argmin())
        if need.least_gain_s is not None and need.least_gain_s <= total[best]:
            continue
        draft.make_room(best, need.model, some.order[best, : count[best, 0]].tolist(), costs[best])
        text = f"waits {need.wait_s:.1f} s, costs least here"
        draft.start(best, need.model, need.rule, float(total[best]), text)


def _needs(draft: Draft, settings: PolicySettings, lost: Flags) -> list[Need]:
    """Return who needs a pod by rule 1, longest held first, those without pods before those that wait."""
    board, demand = draft.board, draft.board.demand
    usable = (draft.counted & ~board.wishes.drains[:, None]).any(axis=0)
    patience, soonest_s = settings.patience_starts * board.start_s, board.soonest_s
    asked = (demand.held > 0) | (demand.waiting > 0) | (demand.asked_at_s >= board.now_s - settings.refresh_s)
    under_way = (draft.wanted | (draft.kept & board.pods.starting)).any(axis=0)
    needs = []
    for m in np.nonzero(~usable & ((demand.held > 0) | lost))[0]:
        held_s = float(demand.oldest_held_s[m])
        rule = "rule1-lost" if lost[m] else "rule1-missing"
        needs.append(Need(int(m), rule, held_s, None, bool(held_s > patience[m])))
    needs.sort(key=lambda n: (-n.wait_s, n.model))
    for m in np.nonzero(usable & asked & ~under_way & _may_wait(draft, settings.wait_starts))[0]:
        wait = _best_wait_s(draft, int(m))
        if wait > settings.wait_starts * soonest_s[m]:
            patient = bool(demand.oldest_held_s[m] > patience[m])
            needs.append(Need(int(m), "rule1-wait", wait, wait, patient))
    return needs


def _may_wait(draft: Draft, starts: float) -> Flags:
    """Return [m] where the best pod's wait may exceed so many starts; a bound from above that spares exact prices."""
    board, pods = draft.board, draft.board.pods
    busy_s = pods.left_s.sum(axis=1) / board.speed
    queues = pods.count.sum(axis=1) / board.speed
    bound = busy_s[:, None] + queues[:, None] * board.work_s
    best = np.where(draft.kept, bound, np.inf).min(axis=0, initial=np.inf)
    slow: Flags = best > starts * board.soonest_s
    return slow


def _best_wait_s(draft: Draft, model: int) -> float:
    """Return w: the least d + e without own service over a model's pods, none of which is starting."""
    board = draft.board
    work = dict(zip(board.models, board.work_s.tolist(), strict=True))
    waits = []
    for n in np.nonzero(draft.kept[:, model])[0]:
        load = node_load(draft, int(n))
        own = next(p for p in load.pods if p.model == board.models[model])
        waits.append(wait_s(load, own, work))
    return min(waits)


def node_load(draft: Draft, node: int) -> NodeLoad:
    """Return a node as requests are priced on it."""
    board, pods = draft.board, draft.board.pods
    queues = tuple(
        PodQueue(
            board.models[m],
            "ready",
            float(pods.ready_in_s[node, m]),
            float(pods.left_s[node, m]),
            int(pods.count[node, m]),
        )
        for m in np.nonzero(pods.resident[node])[0]
    )
    return NodeLoad(float(board.speed[node]), board.now_s, queues, bool(board.pausing[node]))


def _regrets(draft: Draft, demand: Floats, horizon_s: float) -> Floats:
    """Return [n, m] the regret of stopping each pod, times its intent."""
    board = draft.board
    part = draft.shares()[:, None]
    return regret(draft.capacity(), part, demand, board.work_s, board.again_s, horizon_s) * board.wishes.tilt


def _rule1_victims(draft: Draft, settings: PolicySettings, costs: Floats, patient: bool) -> Victims:
    """Return whom rule 1 may displace: idle pods past their dwell; for the patient also busy ones, which drain."""
    board, pods = draft.board, draft.board.pods
    settled = (pods.age_s >= board.again_s) & ~board.wishes.pinned & board.up[:, None]
    idle = draft.idle()
    if not patient:
        return victims(board.claim, idle & settled, costs)
    nobody_waits = pods.count <= pods.running
    alone = draft.ready() <= 1
    busy = draft.kept & pods.ready & ~idle & (~alone | nobody_waits)
    dearer = np.where(busy, settings.drain_s_per_gb * board.claim / GB, 0.0)
    return victims(board.claim, (idle | busy) & settled, costs + dearer)


def _start_cost(draft: Draft, settings: PolicySettings, model: int, some: Victims, count: Whole) -> Floats:
    """Return [n] Σ regret + start + b (1 + 0.7·busy)/v: what the first request pays, and those who are displaced."""
    board = draft.board
    busy = (board.pods.count > 0).sum(axis=1)
    first_s = board.work_s[model] * (1.0 + settings.busy_share * busy) / board.speed
    total: Floats = some.displaced_s(count)[:, 0] + board.begin_s[:, model] + first_s
    return total
