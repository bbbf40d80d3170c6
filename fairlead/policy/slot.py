"""A slot decision from beginning to end: rates, placement, table, reasons and prices, as they are published."""

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

import numpy as np

from fairlead.contracts.decisions import ShadowPrice, SlotDecision, SlotInput, SlotState, Step
from fairlead.contracts.plans import NodePlacement, Placement, Reason, RoutingTable, Row, Rule
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.arrays import Board, Flags, board
from fairlead.policy.baselines import least_loaded, lru, random_placement, redrawn, static_draft
from fairlead.policy.carrying import carried, evacuated, homeless, overridden, retried, standing
from fairlead.policy.density import biased, textbook
from fairlead.policy.draft import Draft
from fairlead.policy.growing import by_slot
from fairlead.policy.guiding import steered
from fairlead.policy.ladder import FALLBACK, absent
from fairlead.policy.placing import on_demand
from fairlead.policy.rates import in_force, learned
from fairlead.policy.routing import even, filled, mixed, speeds, supported, table_rows, works

WITHIN = MappingProxyType[PolicyName, Rule]({"dpp": "strict", "bmw-dpp": "pair"})
"""How requests of the baselines choose inside the rows of the table of CONTROL §2 rule 5."""

REASONS_MOST = 1000
"""A decision of a large cluster keeps so many reasons; the last one says how many more there were."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What a policy decided about pods."""

    nodes: tuple[NodePlacement, ...]
    draft: Draft
    prices: tuple[ShadowPrice, ...] = ()


@dataclass(frozen=True, slots=True)
class Tabled:
    """A table and what became of the rows that a language model proposed for it."""

    table: RoutingTable | None = None
    guided: int = 0
    """Rows of the table that a language model proposed."""
    reasons: tuple[Reason, ...] = ()


def decide(i: SlotInput) -> SlotDecision:
    """Return the decision of `i.policy`."""
    state = learned(i)
    view = board(i, in_force(i, state))
    if i.trigger == "advice":
        draft = standing(view)
        generation = i.placement.generation if i.placement is not None else 0
        return _decision(i, None, _tabled(i, view, draft, generation), state, Placed((), draft))
    placed = _placed(i, view)
    unchanged = i.placement is not None and placed.nodes == i.placement.nodes
    if i.trigger == "event" and unchanged:
        return _decision(i, None, Tabled(), state, placed)
    placement = Placement(
        generation=i.next_placement,
        plan_generation=_plan_generation(i),
        slot=i.slot,
        created_at_s=i.now_s,
        expires_at_s=i.now_s + i.settings.placement_slots * i.settings.slot_s,
        decision=i.decision,
        nodes=placed.nodes,
    )
    return _decision(i, placement, _tabled(i, view, placed.draft, i.next_placement), state, placed)


def _decision(
    i: SlotInput, placement: Placement | None, tabled: Tabled, state: SlotState, placed: Placed
) -> SlotDecision:
    reasons = (*tabled.reasons, *placed.draft.reasons)
    if len(reasons) > REASONS_MOST:
        more = len(reasons) - REASONS_MOST
        left = Reason(rule="more", node=None, model=None, value_s=None, text=f"{more} further reasons are left out")
        reasons = (*reasons[:REASONS_MOST], left)
    return SlotDecision(
        placement=placement,
        table=tabled.table,
        state=state,
        steps=_steps(i, tabled.guided),
        reasons=reasons,
        prices=placed.prices,
    )


def _steps(i: SlotInput, guided: int) -> tuple[Step, ...]:
    """Return the ladder (DESIGN §4): that of the dialogue which this decision follows, or why it follows none."""
    if i.ladder:
        if i.guide is None or guided:
            return i.ladder
        text = "of the proposed rows none fits any more"
        return (*i.ladder, Step(name="feasibility", ok=False, code="no-rows", text=text), FALLBACK)
    none = absent(i.llm, "no model is configured for the slot agent")
    if guided:
        text = f"rows that were accepted earlier in this slot: {guided}"
        return (none, Step(name="mode", ok=True, code="guided", text=text))
    return (none, FALLBACK)


def _plan_generation(i: SlotInput) -> int:
    return i.plan.generation if i.plan is not None else 0


def _placed(i: SlotInput, view: Board) -> Placed:
    """Return the placement of `i.policy`."""
    match i.policy:
        case "marginal-dpp" | "lru":
            if i.placement is None and not view.pods.resident.any():
                return _first(i, view)
            return _marginal(i, view) if i.policy == "marginal-dpp" else _lru(i, view)
        case "dpp" | "bmw-dpp":
            return _first(i, view) if i.placement is None and not view.pods.resident.any() else _dense(i, view)
        case "random-dynamic":
            nodes = redrawn(i.cluster, i.settings, i.seed, i.slot)
            draft, awake = static_draft(view, nodes, math.inf)  # whatever was not drawn goes, whoever asks for it
            return Placed(draft.placed(awake), draft)
        case "random-static" | "round-robin" | "least-loaded-slot" | "sed-static":
            nodes = i.static or random_placement(i.cluster, i.seed)
            draft, awake = static_draft(view, nodes, i.settings.rate_start_per_s)
            return Placed(draft.placed(awake), draft)
        case _:
            assert_never(i.policy)


def _first(i: SlotInput, view: Board) -> Placed:
    """Return the placement of a cluster on which nothing runs: a random one fixed by the seed (CONTROL §5)."""
    draft, awake = static_draft(view, random_placement(i.cluster, i.seed), i.settings.rate_start_per_s)
    draft.wanted &= ~view.wishes.banned & ~view.wishes.closed[:, None] & ~view.pods.blocked
    draft.note(
        "first", None, None, None, f"nothing runs and nothing was ever placed: random placement of seed {i.seed}"
    )
    return Placed(draft.placed(np.zeros_like(awake)), draft)


def _marginal(i: SlotInput, view: Board) -> Placed:
    """Return the placement of CONTROL §2 rules 1 to 4."""
    settings, start = i.settings, i.settings.rate_start_per_s
    draft = carried(view, start)
    overridden(draft, settings.event_horizon_s)
    on_demand(draft, settings, homeless(draft, start))
    evacuated(draft, start)
    prices: tuple[ShadowPrice, ...] = ()
    if i.trigger == "slot":
        prices = by_slot(draft, settings, i.seed, i.slot)
    return Placed(draft.placed(retried(draft)), draft, prices)


def _lru(i: SlotInput, view: Board) -> Placed:
    """Return the placement of `lru`."""
    draft = carried(view, i.settings.rate_start_per_s)
    overridden(draft, i.settings.event_horizon_s)
    lru(draft, i.settings)
    return Placed(draft.placed(retried(draft)), draft)


def _dense(i: SlotInput, view: Board) -> Placed:
    """Return the placement of `dpp` or `bmw-dpp`: anew each slot, in between what was decided."""
    draft = carried(view, i.settings.rate_start_per_s)
    overridden(draft, i.settings.event_horizon_s)
    if i.trigger == "slot":
        (textbook if i.policy == "dpp" else biased)(draft, i.settings)
    return Placed(draft.placed(retried(draft)), draft)


def _tabled(i: SlotInput, view: Board, draft: Draft, placement_generation: int) -> Tabled:
    """Return the routing table that goes with a placement, with the rows of this slot's guide that fit."""
    rows, guided = _rows(i, view, supported(view, draft.kept, draft.wanted)), 0
    reasons: tuple[Reason, ...] = ()
    if i.guide is not None and i.guide.slot == i.slot and i.policy == "marginal-dpp":
        found = steered(rows, i.guide, i.settings)
        rows, guided, reasons = found.rows, found.guided, found.reasons
    table = RoutingTable(
        generation=i.next_table,
        placement_generation=placement_generation,
        plan_generation=_plan_generation(i),
        slot=i.slot,
        created_at_s=i.now_s,
        expires_at_s=i.now_s + i.settings.table_slots * i.settings.slot_s,
        decision=i.decision,
        source="llm" if guided else "fallback",
        rows=rows,
        work=works(view),
        speeds=speeds(view),
    )
    return Tabled(table, guided, reasons)


def _rows(i: SlotInput, view: Board, support: Flags) -> tuple[Row, ...]:
    match i.policy:
        case "marginal-dpp" | "dpp" | "bmw-dpp":
            chances = mixed(filled(view, support, i.settings.slot_s), support, i.settings.uniform_share)
            rule = i.settings.route if i.policy == "marginal-dpp" else WITHIN[i.policy]
            return table_rows(view, support, chances, rule, i.settings)
        case "lru" | "sed-static":
            return table_rows(view, support, even(support), "sed", i.settings)
        case "round-robin":
            return table_rows(view, support, even(support), "rotate", i.settings)
        case "random-static" | "random-dynamic":
            return table_rows(view, support, even(support), "strict", i.settings)
        case "least-loaded-slot":
            return table_rows(view, support, least_loaded(view, support), "strict", i.settings)
        case _:
            assert_never(i.policy)
