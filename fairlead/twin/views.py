"""What an ingress knows of the nodes: what they say now, or what they last reported.

Both believe that within bounds (`policy.believing`), add own dispatches that it does not have yet, and choose by
`policy.steering`, as a gateway does.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fairlead.contracts.plans import RoutingTable
from fairlead.policy.believing import Bounds, believed
from fairlead.policy.choice import NodeLoad, dispatched, drained, taken
from fairlead.policy.moving import Move, Waiting
from fairlead.policy.steering import Chosen, Steering
from fairlead.twin.node import Node, Reading


class View(Protocol):
    """What the engine tells an ingress, and what it asks."""

    def steer_by(self, table: RoutingTable) -> None:
        """Take a newer table."""

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return where a request goes."""

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Return which waiting tickets save more than `least_s` elsewhere."""

    def sent(self, request: int, node: str, model: str) -> None:
        """Note that a ticket is on its way."""

    def acknowledged(self, request: int, now_s: float) -> None:
        """Note that the node has it."""

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Note that a ticket does not wait there any more."""

    def refused(self, request: int, node: str, model: str) -> None:
        """Note that the node does not take requests of this model now."""

    def ended(self, request: int) -> None:
        """Note that a request is at no node any more."""

    def lost(self, node: str, now_s: float) -> None:
        """Note that a node does not answer any more."""

    def heard(self, reading: Reading) -> bool:
        """Take a report; True if those who are held may find a place by it."""

    def touched(self, pods: bool) -> bool:
        """Tell whether those who are held may find a place now that a node changed; `pods`: not only its queues."""


@dataclass(frozen=True, slots=True)
class _Dispatch:
    node: str
    model: str
    seen_at_s: float
    """When the node had it; infinite while it is on its way."""


class _Tickets:
    """An ingress's own tickets that nodes have, as far as it knows."""

    def __init__(self) -> None:
        self._where: dict[int, tuple[str, str]] = {}
        self._at: dict[str, Counter[str]] = {}

    def came(self, request: int, node: str, model: str) -> None:
        """Note that a node has a ticket."""
        self._where[request] = node, model
        self._at.setdefault(node, Counter())[model] += 1

    def gone(self, request: int) -> None:
        """Note that no node has it any more, if any had it."""
        where = self._where.pop(request, None)
        if where is not None:
            self._at[where[0]][where[1]] -= 1

    def lost(self, node: str) -> None:
        """Note that a node has none any more."""
        self._where = {request: where for request, where in self._where.items() if where[0] != node}
        self._at.pop(node, None)

    def at(self, node: str) -> Mapping[str, int]:
        """Return how many a node has, by model."""
        return self._at.get(node, {})


class FreshView:
    """State on change: what nodes say now, tickets on their way are added."""

    def __init__(self, steering: Steering, nodes: Mapping[str, Node], bounds: Bounds | None = None) -> None:
        """Look at `nodes`, whose words are held against `bounds`; without, all is believed."""
        self._steering = steering
        self._bounds = bounds or Bounds()
        self._nodes = nodes
        self._own: dict[int, _Dispatch] = {}
        self._there = _Tickets()

    def steer_by(self, table: RoutingTable) -> None:
        """Take a newer table."""
        self._steering.steer_by(table)

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return where a request goes."""
        return self._steering.chosen(model, self._loads(now_s), now_s, draws)

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Return which waiting tickets save more than `least_s` elsewhere."""
        steering = self._steering
        return steering.moves(waiting, self._loads(now_s), least_s) if steering.moving(now_s) else ()

    def sent(self, request: int, node: str, model: str) -> None:
        """Note that a ticket is on its way."""
        self._own[request] = _Dispatch(node, model, math.inf)

    def acknowledged(self, request: int, now_s: float) -> None:
        """Note that the node has it: it is in its state from now on."""
        own = self._own.pop(request, None)
        if own is not None:
            self._there.came(request, own.node, own.model)

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Note that a ticket does not wait there any more."""
        self._there.gone(request)

    def refused(self, request: int, node: str, model: str) -> None:
        """Note that a ticket is not at the node; that its pod takes none is seen anyway."""
        self._own.pop(request, None)
        self._there.gone(request)

    def ended(self, request: int) -> None:
        """Note that a request is at no node any more."""
        self._there.gone(request)

    def lost(self, node: str, now_s: float) -> None:
        """Note that a node has no tickets any more; that it is lost is seen."""
        self._there.lost(node)

    def heard(self, reading: Reading) -> bool:
        """Do nothing: more than that is seen."""
        return False

    def touched(self, pods: bool) -> bool:
        """Tell whether pods have changed."""
        return pods

    def _loads(self, now_s: float) -> dict[str, NodeLoad]:
        said = {name: node.load(now_s) for name, node in self._nodes.items() if node.up}
        loads = {name: believed(load, name, self._there.at(name), self._bounds) for name, load in said.items()}
        for one in self._own.values():
            if one.node in loads:
                loads[one.node] = dispatched(loads[one.node], one.model, self._steering.work[one.model])
        return loads


@dataclass(slots=True)
class _Word:
    """The last report of a node, and what is known since."""

    said_at_s: float
    load: NodeLoad
    """Drained to when it was last looked at, own dispatches added."""
    reachable: bool = True


class ReportedView:
    """State every few seconds: the last report, drained by time-slicing, with own dispatches since."""

    def __init__(self, steering: Steering, allowed_age_s: float, bounds: Bounds | None = None) -> None:
        """Know nothing; what is older than `allowed_age_s` is not used (DESIGN §8, invariant 10).

        What nodes say is held against `bounds`; without, all is believed.
        """
        self._steering = steering
        self._bounds = bounds or Bounds()
        self._allowed_age_s = allowed_age_s
        self._words: dict[str, _Word] = {}
        self._own: dict[int, _Dispatch] = {}
        self._there = _Tickets()

    def steer_by(self, table: RoutingTable) -> None:
        """Take a newer table."""
        self._steering.steer_by(table)

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return where a request goes."""
        return self._steering.chosen(model, self._loads(now_s), now_s, draws)

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Return which waiting tickets save more than `least_s` elsewhere."""
        steering = self._steering
        return steering.moves(waiting, self._loads(now_s), least_s) if steering.moving(now_s) else ()

    def sent(self, request: int, node: str, model: str) -> None:
        """Note that a ticket is on its way, and count it at the node."""
        self._own[request] = _Dispatch(node, model, math.inf)
        word = self._words[node]
        word.load = dispatched(word.load, model, self._steering.work[model])

    def acknowledged(self, request: int, now_s: float) -> None:
        """Note that the node has it: what it reports from now on includes it."""
        if request in self._own:
            own = self._own[request] = replace(self._own[request], seen_at_s=now_s)
            self._there.came(request, own.node, own.model)

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Count a ticket there no longer; the next report will not have it."""
        self._forget(request)
        word = self._words[node]
        word.load = taken(word.load, model, self._steering.work[model])

    def refused(self, request: int, node: str, model: str) -> None:
        """Send no more requests of this model there until the next report, which will not have the ticket."""
        self._forget(request)
        word = self._words[node]
        pods = tuple(replace(p, phase="draining") if p.model == model else p for p in word.load.pods)
        word.load = replace(word.load, pods=pods)

    def ended(self, request: int) -> None:
        """Note that a request is at no node any more; the next report will not have it."""
        self._there.gone(request)

    def lost(self, node: str, now_s: float) -> None:
        """Leave a node out until it reports again."""
        self._words[node].reachable = False
        self._own = {request: one for request, one in self._own.items() if one.node != node}
        self._there.lost(node)

    def heard(self, reading: Reading) -> bool:
        """Take a report; True if a pod changed its phase or the node came back."""
        name, before = reading.node.id, self._words.get(reading.node.id)
        self._own = {r: d for r, d in self._own.items() if d.node != name or d.seen_at_s > reading.at_s}
        load = believed(reading.load, name, self._there.at(name), self._bounds)
        for one in self._own.values():
            if one.node == name:
                load = dispatched(load, one.model, self._steering.work[one.model])
        self._words[name] = _Word(reading.at_s, load)
        return before is None or not before.reachable or _phases(before.load) != _phases(load)

    def touched(self, pods: bool) -> bool:
        """Tell that nothing is known of it before the next report."""
        return False

    def _loads(self, now_s: float) -> dict[str, NodeLoad]:
        loads: dict[str, NodeLoad] = {}
        for name, word in self._words.items():
            if word.reachable and now_s - word.said_at_s <= self._allowed_age_s:
                word.load = loads[name] = drained(word.load, now_s, self._steering.work)
        return loads

    def _forget(self, request: int) -> None:
        self._own.pop(request, None)
        self._there.gone(request)


def _phases(load: NodeLoad) -> tuple[tuple[str, str], ...]:
    return tuple((p.model, p.phase) for p in load.pods)
