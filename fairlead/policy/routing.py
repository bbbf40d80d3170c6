"""The routing table of CONTROL §2 rule 5: water-filling over pods, mixed with a little of the uniform distribution."""

import numpy as np

from fairlead.contracts.plans import ModelWork, NodeSpeed, Row, Rule, Share
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Board, Flags, Floats

SWEEPS = 4
"""Rounds of filling model by model. Measured 2026-11 on inputs of `bench.fallback`, three seeds of each size: at most
0.08 % above the least sum of squares."""

SETTLED = 1e-3
"""Share of a model's requests below which a round has changed nothing worth another one."""

LEAST_RATE = 1e-6
"""Requests per second that a model without any is filled with, so that its row has a shape."""


def supported(board: Board, pods: Flags, begun: Flags) -> Flags:
    """Return [n, m] pods that a row may name: ready, or starting and ready within the model's deadline.

    `pods` stay by the placement that goes with the table, `begun` are started by it.
    """
    soon = board.pods.starting & (board.pods.ready_in_s <= board.deadline_s)
    ordered = begun & (board.begin_s <= board.deadline_s)
    here = pods & (board.pods.ready | soon | board.pods.leaving)
    return (here | ordered) & board.up[:, None] & ~board.pods.blocked


def filled(board: Board, support: Flags, slot_s: float) -> Floats:
    """Return x [n, m]: requests of a slot, shared so that Σ_n (backlog seconds of n)² is least, one slot's rates in.

    The backlog of a node is what its pods hold plus what it is sent, both divided by its speed. One model at a time
    the minimum is exact (its nodes are filled to one level); several rounds approach the joint one.
    """
    backlog = board.pods.left_s.sum(axis=1) / board.speed
    sent = np.zeros(board.shape)
    load = backlog.copy()
    totals = (np.maximum(board.demand.rate, LEAST_RATE) * slot_s).tolist()
    models = np.nonzero(support.any(axis=0))[0]
    members = [np.nonzero(support[:, m])[0] for m in models]
    for _ in range(SWEEPS):
        moved = 0.0
        for m, nodes in zip(models, members, strict=True):
            each_s = board.work_s[m] / board.speed[nodes]
            without = load[nodes] - sent[nodes, m] * each_s
            fresh = poured(without, each_s, totals[m])
            load[nodes] = without + fresh * each_s
            moved = max(moved, float(np.abs(fresh - sent[nodes, m]).max() / fresh.sum()))
            sent[nodes, m] = fresh
        if moved < SETTLED:
            break
    return sent


def poured(load: Floats, each_s: Floats, total: float) -> Floats:
    """Return x ≥ 0 with Σx = `total` that minimises Σ (load + each_s·x)².

    Where x > 0, (load + each_s·x)·each_s is the same: with y that number, x = (y/each_s − load)/each_s.
    """
    price = load * each_s
    order = np.argsort(price, kind="stable")
    gain, base = 1.0 / each_s[order] ** 2, load[order] / each_s[order]
    levels = (total + np.cumsum(base)) / np.cumsum(gain)
    open_to = int(np.nonzero(price[order] < levels)[0].max(initial=0))
    poured_in: Floats = np.maximum(levels[open_to] / each_s - load, 0.0) / each_s
    return poured_in


def table_rows(board: Board, support: Flags, chances: Floats, rule: Rule, settings: PolicySettings) -> tuple[Row, ...]:
    """Return one row `*` per model with a pod; `chances` [n, m] are positive where `support` is, or 0."""
    rows = []
    for m, model in enumerate(board.models):
        nodes = np.nonzero(support[:, m])[0]
        if not len(nodes):
            continue
        part = chances[nodes, m]
        part = np.minimum(part / part.sum(), 1.0)
        rows.append(
            Row(
                zone="*",
                model=model,
                rule=rule,
                prior_weight_s=0.0,
                explore=settings.explore,
                shares=tuple(
                    Share(node=board.nodes[n], probability=p)
                    for n, p in zip(nodes.tolist(), part.tolist(), strict=True)
                ),
            )
        )
    return tuple(rows)


def mixed(chances: Floats, support: Flags, uniform_share: float) -> Floats:
    """Return each model's distribution over its pods with `uniform_share` of the uniform one in it."""
    totals = chances.sum(axis=0)
    flat = even(support)
    shaped: Floats = np.where(totals > 0.0, chances / np.where(totals > 0.0, totals, 1.0), flat)
    return (1.0 - uniform_share) * shaped + uniform_share * flat


def even(support: Flags) -> Floats:
    """Return the uniform distribution over each model's pods."""
    flat: Floats = support / np.maximum(support.sum(axis=0), 1)
    return flat


def works(board: Board) -> tuple[ModelWork, ...]:
    """Return b of each model as the table carries it."""
    return tuple(ModelWork(model=m, work_s=float(b)) for m, b in zip(board.models, board.work_s, strict=True))


def speeds(board: Board) -> tuple[NodeSpeed, ...]:
    """Return v of each node as the table carries it."""
    return tuple(NodeSpeed(node=n, speed=float(v)) for n, v in zip(board.nodes, board.speed, strict=True))
