"""Whether an endpoint may be asked: a circuit breaker (Nygard, *Release It!*, 2007, ch. 5) on wall time.

closed ──failures in a row──▶ open ──after a while──▶ half-open: one question tries it
   ▲                            ▲                          │
   └──────── answered ──────────┼───────── failed ◀────────┤
                                └──────────────────────────┘
"""

from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Counts failures in a row; what waits for an answer is not its business."""

    __slots__ = ("_failures", "_in_a_row", "_open_s", "_opened_at_s", "_trying")

    def __init__(self, failures: int, open_s: float) -> None:
        """Open after `failures` in a row, for `open_s` wall seconds."""
        self._failures = failures
        self._open_s = open_s
        self._in_a_row = 0
        self._opened_at_s: float | None = None
        self._trying = False

    def state(self, now_s: float) -> State:
        """Return how it stands at the wall time `now_s`."""
        if self._opened_at_s is None:
            return "closed"
        return "open" if now_s - self._opened_at_s < self._open_s else "half-open"

    def admits(self, now_s: float) -> bool:
        """Return whether a question may be asked now; half-open admits one at a time."""
        state = self.state(now_s)
        return state == "closed" or (state == "half-open" and not self._trying)

    def begin(self, now_s: float) -> None:
        """Note that a question is asked now."""
        self._trying = self.state(now_s) == "half-open"

    def succeeded(self) -> None:
        """Note that it was answered: closed again."""
        self._in_a_row = 0
        self._opened_at_s = None
        self._trying = False

    def failed(self, now_s: float) -> bool:
        """Note a failure; return whether that has opened it."""
        self._in_a_row += 1
        was_closed = self._opened_at_s is None
        self._trying = False
        if was_closed and self._in_a_row < self._failures:
            return False
        self._opened_at_s = now_s
        return was_closed

    def given_up(self) -> None:
        """Note that a question was taken back before anything came of it."""
        self._trying = False
