"""When the planner is asked early: at a change of demand, or of the nodes' health."""

from typing import Literal

from fairlead.contracts.decisions import Snapshot

Cause = Literal["demand", "node", "speed"]
"""What has changed: rates or mix; which nodes are up; how fast one is."""

SPEED_CHANGE = 0.3
"""A node whose learned speed has changed by this share is another one: the learned speed of a healthy node stays
within a tenth (CONTROL §2: completions move it by their ratio to the power 0.15)."""


class Alarms:
    """Says when to ask, at most once in a cool-down."""

    def __init__(self, cool_down_s: float) -> None:
        """Begin with the first state that is seen as the usual one."""
        self._cool_down_s = cool_down_s
        self._up: frozenset[str] | None = None
        self._speeds: dict[str, float] = {}
        self._waiting: Cause | None = None
        self._rang_at_s: float | None = None

    def demand(self) -> None:
        """Note that demand has changed."""
        self._waiting = self._waiting or "demand"

    def seen(self, snapshot: Snapshot) -> None:
        """Note which nodes are up and how fast they are."""
        up = frozenset(n.node for n in snapshot.nodes if n.up)
        speeds = {n.node: n.speed for n in snapshot.nodes if n.up}
        if self._up is not None and up != self._up:
            self._waiting = self._waiting or "node"
        changed = {n: v for n, v in speeds.items() if abs(v / self._speeds.get(n, v) - 1.0) > SPEED_CHANGE}
        if changed:
            self._waiting = self._waiting or "speed"
        self._up = up
        self._speeds = {**speeds, **self._speeds, **changed}

    def due(self, now_s: float) -> Cause | None:
        """Return why the planner is to be asked now; None where nothing has changed or it was asked just before.

        What changes inside the cool-down is asked about when that is over.
        """
        if self._waiting is None or (self._rang_at_s is not None and now_s < self._rang_at_s + self._cool_down_s):
            return None
        cause, self._waiting, self._rang_at_s = self._waiting, None, now_s
        return cause
