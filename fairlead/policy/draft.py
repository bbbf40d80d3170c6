"""A placement while it is being decided: what stays, what goes, what is to start, and whom a start would displace."""

from dataclasses import dataclass, field

import numpy as np

from fairlead.contracts.plans import NodePlacement, Reason
from fairlead.policy.arrays import Board, Flags, Floats, Whole
from fairlead.policy.pricing import NO_CAPACITY, share

GB = 1e9
"""Bytes in the GB of CONTROL §2's "regret per GB" and "s per GB"."""


@dataclass(slots=True)
class Draft:
    """The state that the rules change one after another; all flags [n, m] and disjoint."""

    board: Board
    kept: Flags
    """Resident and staying."""
    going: Flags
    """Resident and to be stopped; claims memory until it has gone, but what is to start may count on its room."""
    wanted: Flags
    """To be started, or ordered to start and not yet seen starting."""
    reasons: list[Reason] = field(default_factory=list)
    started: list[tuple[int, int]] = field(default_factory=list)
    """Decided anew, in order."""

    @property
    def counted(self) -> Flags:
        """Pods that there will be."""
        return self.kept | self.wanted

    def on(self, node: int) -> Flags:
        """Return [m] pods that there will be on a node."""
        here: Flags = self.kept[node] | self.wanted[node]
        return here

    def free(self) -> Whole:
        """Return [n] bytes that are left once all that goes has gone and all that is wanted has started."""
        left: Whole = self.board.memory - self.counted @ self.board.claim
        return left

    def shares(self) -> Floats:
        """Return [n] σ of one pod beside the others."""
        return share(self.board.speed, self.counted.sum(axis=1))

    def capacity(self) -> Floats:
        """Return [m] C, the sum of σ over a model's pods on nodes that are up."""
        return np.where(self.board.up, self.shares(), 0.0) @ self.counted

    def make_room(self, node: int, model: int, going: list[int], costs: Floats) -> None:
        """Let go whom it takes for `model`; `costs` [m] on this node."""
        claim = self.board.claim
        for victim in fewest(claim, model, int(self.board.memory[node] - claim[self.on(node)].sum()), going):
            self.stop(node, victim, "victim", float(costs[victim]), f"makes room for {self.board.models[model]}")

    def ready(self) -> Whole:
        """Return [m] ready pods that are sure to stay; not those that the placement in force allowed to stop."""
        sure: Whole = (self.kept & self.board.pods.ready & ~self.board.was_stoppable).sum(axis=0)
        return sure

    def open_for(self, rows: Whole) -> Flags:
        """Return [r, m] where on the nodes `rows` a pod might be started, room apart."""
        board = self.board
        shut = ~board.up[rows] | board.wishes.closed[rows]
        barred = board.wishes.banned[rows] | board.pods.blocked[rows]
        return ~(shut[:, None] | barred | self.counted[rows] | self.going[rows])

    def idle(self) -> Flags:
        """Return [n, m] ready pods that nobody uses."""
        pods = self.board.pods
        unused: Flags = (pods.count == 0) & (pods.left_s <= NO_CAPACITY)
        return self.kept & pods.ready & unused

    def stop(self, node: int, model: int, rule: str, value_s: float | None, text: str) -> None:
        """Let a pod go."""
        self.kept[node, model], self.going[node, model] = False, True
        self.note(rule, node, model, value_s, text)

    def start(self, node: int, model: int, rule: str, value_s: float | None, text: str) -> None:
        """Want a pod."""
        self.wanted[node, model] = True
        self.started.append((node, model))
        self.note(rule, node, model, value_s, text)

    def note(self, rule: str, node: int | None, model: int | None, value_s: float | None, text: str) -> None:
        """Write down why."""
        self.reasons.append(
            Reason(
                rule=rule,
                node=None if node is None else self.board.nodes[node],
                model=None if model is None else self.board.models[model],
                value_s=None if value_s is None else float(value_s),
                text=text,
            )
        )

    def placed(self, also_awake: Flags) -> tuple[NodePlacement, ...]:
        """Return the placement; a pod that is stopping already is in neither list."""
        board, awake = self.board, self.counted | also_awake
        stoppable = self.going & ~board.pods.stopping
        named = (_by_node(board, awake), _by_node(board, stoppable))
        return tuple(
            NodePlacement(node=node, awake=tuple(stay), stoppable=tuple(go))
            for node, stay, go in zip(board.nodes, *named, strict=True)
        )


def _by_node(board: Board, marked: Flags) -> list[list[str]]:
    """Return for each node the models that are marked in [n, m]."""
    found: list[list[str]] = [[] for _ in board.nodes]
    for n, m in np.argwhere(marked).tolist():
        found[n].append(board.models[m])
    return found


@dataclass(frozen=True, slots=True)
class Victims:
    """Per row (a node) the pods that may have to go, cheapest first; k = most of them on a node."""

    order: Whole
    """[r, k] models; padded."""
    room: Whole
    """[r, k + 1] bytes that the first 0, 1, … of them free; padded with the last."""
    cost_s: Floats
    """[r, k + 1] what that costs, request-seconds."""
    length: Whole
    """[r] how many there are."""

    def needed(self, free: Whole, claims: Whole) -> tuple[Flags, Whole]:
        """Return [r, c] whether each of `claims` bytes fits once enough have gone, and how many that takes."""
        short = claims[None, :] - free[:, None]
        count = (self.room[:, :-1, None] < short[:, None, :]).sum(axis=1)
        count = np.minimum(count, self.length[:, None])
        return np.take_along_axis(self.room, count, axis=1) >= short, count

    def displaced_s(self, count: Whole) -> Floats:
        """Return [r, c] what it costs that the first `count` [r, c] go."""
        cost: Floats = np.take_along_axis(self.cost_s, count, axis=1)
        return cost


def victims(claim: Whole, allowed: Flags, cost_s: Floats) -> Victims:
    """Return who goes first in each row among `allowed` [r, m], least cost per GB first; `claim` [m] bytes."""
    n, m = np.nonzero(allowed)
    claims, costs = claim[m], cost_s[n, m]
    rank = np.lexsort((m, costs / (claims / GB), n))
    n, m, claims, costs = n[rank], m[rank], claims[rank], costs[rank]
    rows = allowed.shape[0]
    length = np.bincount(n, minlength=rows)
    most = int(length.max(initial=0))
    slot = np.arange(len(n)) - np.repeat(np.cumsum(length) - length, length)
    order = np.zeros((rows, most), dtype=np.int64)
    room = np.zeros((rows, most + 1), dtype=np.int64)
    cost = np.zeros((rows, most + 1))
    order[n, slot], room[n, slot + 1], cost[n, slot + 1] = m, claims, costs
    return Victims(order, np.cumsum(room, axis=1), np.cumsum(cost, axis=1), length)


def fewest(claim: Whole, model: int, free: int, going: list[int]) -> list[int]:
    """Return which of `going`, cheapest first, must go for `model`; the dearest are spared where that is enough."""
    for one in reversed(going[:-1]):
        rest = [m for m in going if m != one]
        if free + int(claim[rest].sum()) >= int(claim[model]):
            going = rest
    return going
