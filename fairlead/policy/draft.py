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

    def ready(self) -> Whole:
        """Return [m] ready pods that are sure to stay; not those that the placement in force allowed to stop."""
        sure: Whole = (self.kept & self.board.pods.ready & ~self.board.was_stoppable).sum(axis=0)
        return sure

    def open_for(self, model: int) -> Flags:
        """Return [n] nodes on which a pod of `model` might be started, room apart."""
        board = self.board
        barred = board.wishes.closed | board.wishes.banned[:, model] | board.pods.blocked[:, model]
        return board.up & ~barred & ~self.counted[:, model] & ~self.going[:, model]

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
        models = np.array(board.models, dtype=object)
        return tuple(
            NodePlacement(node=node, awake=tuple(models[awake[n]]), stoppable=tuple(models[stoppable[n]]))
            for n, node in enumerate(board.nodes)
        )


@dataclass(frozen=True, slots=True)
class Victims:
    """Per node the pods that may have to go, cheapest first; k = most of them on a node."""

    order: Whole
    """[n, k] models; padded."""
    room: Whole
    """[n, k + 1] bytes that the first 0, 1, … of them free; padded with the last."""
    cost_s: Floats
    """[n, k + 1] what that costs, request-seconds."""
    length: Whole
    """[n] how many there are."""

    def needed(self, free: Whole, claim: int) -> tuple[Flags, Whole]:
        """Return [n] whether `claim` bytes fit once enough have gone, and how many that takes."""
        short = claim - free
        count = np.minimum((self.room[:, :-1] < short[:, None]).sum(axis=1), self.length)
        rows = np.arange(len(free))
        return self.room[rows, count] >= short, count


def victims(draft: Draft, allowed: Flags, cost_s: Floats) -> Victims:
    """Return who goes first on each node among `allowed` [n, m], least cost per GB first."""
    board = draft.board
    n, m = np.nonzero(allowed)
    claims, costs = board.claim[m], cost_s[n, m]
    rank = np.lexsort((m, costs / (claims / GB), n))
    n, m, claims, costs = n[rank], m[rank], claims[rank], costs[rank]
    length = np.bincount(n, minlength=len(board.nodes))
    most = int(length.max(initial=0))
    slot = np.arange(len(n)) - np.repeat(np.cumsum(length) - length, length)
    order = np.zeros((len(board.nodes), most), dtype=np.int64)
    room = np.zeros((len(board.nodes), most + 1), dtype=np.int64)
    cost = np.zeros((len(board.nodes), most + 1))
    order[n, slot], room[n, slot + 1], cost[n, slot + 1] = m, claims, costs
    return Victims(order, np.cumsum(room, axis=1), np.cumsum(cost, axis=1), length)


def fewest(draft: Draft, some: Victims, node: int, model: int, count: int) -> list[int]:
    """Return which of the first `count` victims on `node` must go for `model`; the dearest are spared if possible."""
    free = int(draft.free()[node])
    claim = draft.board.claim
    going = [int(m) for m in some.order[node, :count]]
    for one in reversed(going[:-1]):
        rest = [m for m in going if m != one]
        if free + sum(int(claim[m]) for m in rest) >= int(claim[model]):
            going = rest
    return going
