"""A plan, proposed rows and orders of operators laid on a board for the compiled core."""

from dataclasses import dataclass

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import EpochPlan, Guide, GuideRow, Override
from fairlead.policy.arrays import age_of, lean
from fairlead.policy.epoch import WARM_FOR_S
from fairlead.policy.guiding import ANYWHERE
from fairlead.twin.compiled.board import NOT_IN_ROW, Board, Table
from fairlead.twin.compiled.desk import ORDER, TABLES, WARM

Places = dict[str, int]
"""Number of each id in the order of the cluster."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What people and a language model want; each part acts as long as it is in force."""

    plan: EpochPlan | None = None
    guide: Guide | None = None
    overrides: tuple[Override, ...] = ()
    """Each from its `created_at_s` on."""


def unknown(guide: Guide | None) -> str | None:
    """Return why the compiled core cannot follow proposed rows; None where it can."""
    rows = () if guide is None else guide.rows
    if any(row.zone != ANYWHERE for row in rows):
        return "rows of one zone steer in the reference engine only"
    if len({row.model for row in rows}) < len(rows):
        return "a model with two proposed rows is known to the reference engine only"
    return None


def wanting(board: Board, cluster: Cluster, wants: Wants) -> Board:
    """Return the board with these wants in place of those that were on it; its other tables are the same ones.

    Nodes and models that the cluster does not have are left out, as in `policy.arrays`. Raises `ValueError` for rows
    that are `unknown`.
    """
    refused = unknown(wants.guide)
    if refused is not None:
        raise ValueError(refused)
    at_node = {n.id: k for k, n in enumerate(cluster.nodes)}
    at_model = {m.id: k for k, m in enumerate(cluster.models)}
    _plan(board, wants.plan, at_node, at_model)
    _guide(board, wants.guide, at_node, at_model)
    fresh = {"warm": _warm(wants.plan, at_node, at_model), "orders": _orders(wants.overrides, at_node, at_model)}
    board.pods["pinned"], board.pods["banned"] = False, False
    board.desk["warmth"], board.desk["order"] = len(fresh["warm"]), len(fresh["orders"])
    for name, rows in fresh.items():
        board.desk[f"{name}_at"] = rows.ctypes.data
    kept = dict(zip(TABLES, board.room, strict=True)) | fresh
    return board._replace(room=tuple(kept.values()))


def _plan(board: Board, plan: EpochPlan | None, at_node: Places, at_model: Places) -> None:
    board.desk["planned_until_s"] = -np.inf if plan is None else plan.expires_at_s
    board.desk["told_at_s"] = np.inf if plan is None or plan.rates_at_s is None else plan.rates_at_s
    board.pods["tilt"] = np.exp2(lean(plan, at_node, at_model))
    board.nodes["drains"], board.nodes["closed"], board.models["expected"] = False, False, np.nan
    for intent in () if plan is None else plan.intents:
        if intent.node in at_node:
            board.nodes["drains"][at_node[intent.node]] = intent.role == "drain"
            board.nodes["closed"][at_node[intent.node]] = intent.role in ("drain", "standby")
    for rate in () if plan is None else plan.rates:
        if rate.model in at_model:
            board.models["expected"][at_model[rate.model]] = rate.per_s


def _guide(board: Board, guide: Guide | None, at_node: Places, at_model: Places) -> None:
    board.desk["guided_slot"] = -1 if guide is None else guide.slot
    board.pods["proposed"], board.models["guided"], board.models["joins"] = NOT_IN_ROW, False, 0.0
    for row in () if guide is None else guide.rows:
        if row.model in at_model:
            m = at_model[row.model]
            board.models["guided"][m], board.models["joins"][m] = True, _least(row)
            for share in row.shares:
                if share.node in at_node:
                    board.pods["proposed"][at_node[share.node], m] = share.probability


def _least(row: GuideRow) -> float:
    """Return the smallest P above 0 of a row; of a node that stands there twice the last counts."""
    chances = {share.node: share.probability for share in row.shares}
    return min((p for p in chances.values() if p > 0.0), default=0.0)


def _warm(plan: EpochPlan | None, at_node: Places, at_model: Places) -> Table:
    """Return when the plan wants which pods awake, in its order."""
    found = [
        (at_node[one.node], at_model[one.model], one.at_s, one.at_s + WARM_FOR_S)
        for one in (() if plan is None else plan.warm)
        if one.node in at_node and one.model in at_model
    ]
    return np.array(found, dtype=WARM)


def _orders(overrides: tuple[Override, ...], at_node: Places, at_model: Places) -> Table:
    """Return what operators have fixed, the oldest first."""
    found = [
        (
            at_node[one.node],
            at_model[one.model],
            one.action == "pin",
            one.created_at_s,
            np.inf if one.expires_at_s is None else one.expires_at_s,
        )
        for one in sorted(overrides, key=age_of)
        if one.node in at_node and one.model in at_model
    ]
    return np.array(found, dtype=ORDER)
