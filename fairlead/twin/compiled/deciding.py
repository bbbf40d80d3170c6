"""Slot decisions, compiled: what `policy.slot.decide` decides, without reasons and prices.

`tests/twin/test_compiled_deciding.py` holds it to the same placements and rows on random inputs.
"""

import math

from fairlead.twin.compiled.board import (
    COUNTED_SLOT,
    LRU,
    MARGINAL_DPP,
    PLACEMENT,
    TABLE,
    Asked,
    Board,
    Standing,
    Tuning,
)
from fairlead.twin.compiled.deciding_carried import carry, mark_lost, retry, stand
from fairlead.twin.compiled.deciding_demand import on_demand
from fairlead.twin.compiled.deciding_guide import follow_guide
from fairlead.twin.compiled.deciding_lru import lru
from fairlead.twin.compiled.deciding_orders import evacuate, override
from fairlead.twin.compiled.deciding_rows import put_rows
from fairlead.twin.compiled.deciding_slot import by_slot
from fairlead.twin.compiled.deciding_static import first_draft, nothing_runs, static_draft
from fairlead.twin.compiled.desk import desk, models, pods
from fairlead.twin.compiled.drafting import begin_draft, stays
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.wanting import mark_orders, told


@native
def decide(asked: Asked, board: Board, tuning: Tuning, standing: Standing) -> bool:
    """Decide, and put it in force in `standing`; True if there is a new table, with its placement unless by advice.

    A slot decision always has one; an event decision that changes nothing leaves all as it was. `board` is the fold of
    the newest reports at `asked.now_s` (`policy.snapshot`), with pending wakes in `held`, `oldest_held_s` and
    `asked_at_s`; what is said of nodes, models and pods there is not changed. Ingresses choose by `standing.chance`
    and `standing.prior_s` with the rule of the policy's rows (`policy.slot`), agents reconcile to `standing.awake` and
    `standing.stoppable`.
    """
    b = board.desk.ctypes.data
    question = desk(b)
    question.policy, question.slot_trigger, question.slot = asked.policy, asked.slot_trigger, asked.slot
    question.now_s, question.seed, question.advice = asked.now_s, asked.seed, asked.advice
    question.placed, question.planned = standing.number[PLACEMENT] > 0, question.planned_until_s > asked.now_s
    question.news = told(b, math.inf)
    set_up(b, tuning)
    learn(asked, board, tuning, standing)
    for m in range(len(standing.rate)):
        models(b, m).rate = standing.rate[m]
        for n in range(len(standing.given)):
            pod = pods(b, n, m)
            pod.given, pod.awake = standing.given[n, m], standing.awake[n, m]
            pod.stoppable = standing.stoppable[n, m]
    mark_orders(b)
    changed = settle_placement(b)
    if not (changed or asked.slot_trigger or asked.advice or standing.number[PLACEMENT] == 0):
        return False
    put_rows(b)
    follow_guide(b)
    for m in range(len(standing.rate)):
        standing.prior_s[m] = models(b, m).prior_s
        for n in range(len(standing.given)):
            pod = pods(b, n, m)
            standing.awake[n, m], standing.stoppable[n, m] = pod.awake, pod.stoppable
            standing.chance[n, m] = pod.chance
    standing.number[PLACEMENT] += not asked.advice
    standing.number[TABLE] += 1
    return True


@native
def set_up(b: int, tuning: Tuning) -> None:
    """Lay the settings on the desk."""
    laid = desk(b)
    laid.slot_s, laid.refresh_s, laid.rate_start_per_s = tuning.slot_s, tuning.refresh_s, tuning.rate_start_per_s
    laid.event_horizon_s, laid.slot_horizon_s = tuning.event_horizon_s, tuning.slot_horizon_s
    laid.active_window_s, laid.fit_ratio = tuning.active_window_s, tuning.fit_ratio
    laid.nodes_per_start, laid.eta, laid.least_worth_s = tuning.nodes_per_start, tuning.eta, tuning.least_worth_s
    laid.wait_starts, laid.busy_share = tuning.wait_starts, tuning.busy_share
    laid.patience_starts = tuning.patience_starts
    laid.drain_s_per_gb, laid.uniform_share = tuning.drain_s_per_gb, tuning.uniform_share
    laid.trust_tv, laid.guide_prior_weight_s = tuning.trust_tv, tuning.guide_prior_weight_s


@native
def learn(asked: Asked, board: Board, tuning: Tuning, standing: Standing) -> None:
    """Count a slot's arrivals into the rates, once, or take those that the plan says from now on (`policy.rates`)."""
    before = standing.number[COUNTED_SLOT]
    if not asked.slot_trigger or asked.slot <= before:
        return
    slots = asked.slot - before if before >= 0 else 1
    gain = 1.0 - math.pow(2.0, -slots / tuning.rate_half_life_slots)
    news = told(board.desk.ctypes.data, tuning.slot_s)
    for m in range(len(standing.rate)):
        seen = board.models[m].arrived / (slots * tuning.slot_s)
        standing.rate[m] = max(0.0, standing.rate[m] + gain * (seen - standing.rate[m]))
        expected = board.models[m].expected
        if news and not math.isnan(expected):
            standing.rate[m] = max(0.0, expected)
    standing.number[COUNTED_SLOT] = asked.slot


@native
def settle_placement(b: int) -> bool:
    """Apply the rules of the policy and make the draft the placement; True if it differs from the one before.

    By advice no rule is applied, and the placement stays.
    """
    begin_draft(b)
    if desk(b).advice:
        stand(b)
        return False
    place(b)
    changed = False
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pod = pods(b, n, m)
            awake, stoppable = stays(b, n, m) or pod.also, pod.going and not pod.stopping
            changed = changed or awake != pod.awake or stoppable != pod.stoppable
            pod.awake, pod.stoppable = awake, stoppable
    return changed


@native
def place(b: int) -> None:
    """Apply the rules of the policy to the empty draft."""
    if desk(b).policy != MARGINAL_DPP and desk(b).policy != LRU:
        static_draft(b)
        return
    if not desk(b).placed and nothing_runs(b):
        first_draft(b)
        return
    carry(b)
    override(b)
    if desk(b).policy == LRU:
        lru(b)
    else:
        mark_lost(b)
        on_demand(b)
        evacuate(b)
        if desk(b).slot_trigger:
            by_slot(b)
    retry(b)
