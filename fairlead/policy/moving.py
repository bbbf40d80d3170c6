"""Waiting tickets move to where they are better off, when their ingress hears of nodes (CONTROL §2 rule 7).

A ticket is taken out of its pod's queue in thought and priced there and elsewhere as a new request would be. All
requests of a queue are alike for prices, so it does not matter for the sum of delays which of them goes; the newest
goes, which would have waited longest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairlead.contracts.plans import Row
from fairlead.policy.choice import CANDIDATES, NodeLoad, candidates, dispatched, price, sampled, scores, taken


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket that waits at a keeper for its pod."""

    ticket: int
    """The caller's number for it, in order of arrival."""
    model: str
    node: str
    draw: float
    """In [0, 1): which pods are priced where there are more than `CANDIDATES`."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What prices are made of beside loads."""

    work: Mapping[str, float]
    """b of each model."""
    network_s: Mapping[str, float]
    """τ to a node, 0 where it is not named."""


@dataclass(frozen=True, slots=True)
class Move:
    """A ticket that is better off elsewhere."""

    ticket: int
    to: str
    """The node that is cheapest now; by the time the ticket is back it may be another one."""
    saves_s: float


def moves(
    waiting: Iterable[Waiting], rows: Mapping[str, Row], loads: Mapping[str, NodeLoad], costs: Costs, least_s: float
) -> tuple[Move, ...]:
    """Return which tickets save more than `least_s` elsewhere, the newest first; each move counts for the next.

    Where one ticket of a pod stays, those that wait with it stay too.
    """
    found: list[Move] = []
    staying: set[tuple[str, str]] = set()
    now = dict(loads)
    for one in sorted(waiting, key=_newest_first):
        row = rows.get(one.model)
        if row is None or not movable(row) or one.node not in now or (one.node, one.model) in staying:
            continue
        without = taken(now[one.node], one.model, costs.work[one.model])
        move = _move(one, row, {**now, one.node: without}, costs)
        if move is None or move.saves_s <= least_s:
            staying.add((one.node, one.model))
            continue
        now[one.node] = without
        now[move.to] = dispatched(now[move.to], one.model, costs.work[one.model])
        found.append(move)
    return tuple(found)


def movable(row: Row) -> bool:
    """Tell whether tickets move by a row: those of strict executors and of baselines stay where they are."""
    return row.rule == "marginal"


def _move(one: Waiting, row: Row, loads: Mapping[str, NodeLoad], costs: Costs) -> Move | None:
    """Return the best place for a ticket that is in none of `loads`; None where it is not to be priced here."""
    among = candidates(row, loads)
    here = next((c for c in among if c[0] == one.node), None)
    if here is None:
        return None
    if len(among) > CANDIDATES:
        among = sampled(among, sum(c[1] for c in among), one.draw, here)
    prices = tuple(price(n, loads[n], pod, costs.work, costs.network_s.get(n, 0.0)) for n, _, pod in among)
    total = scores(row, among, prices)
    best = total.index(min(total))
    return Move(one.ticket, among[best][0], total[among.index(here)] - total[best])


def _newest_first(one: Waiting) -> int:
    return -one.ticket
