"""Slots, epochs and refreshes: periods of equal length, counted from the clock's origin."""

from dataclasses import dataclass
from math import floor


@dataclass(frozen=True, slots=True)
class Periods:
    """Period k begins at `origin_s` + k·`length_s` and ends where the next begins."""

    origin_s: float
    length_s: float

    def at(self, now_s: float) -> int:
        """Return the number of the period that `now_s` is in; 0 before the origin."""
        period = max(0, floor((now_s - self.origin_s) / self.length_s))
        if period > 0 and self.begins_at_s(period) > now_s:
            return period - 1
        return period + 1 if self.begins_at_s(period + 1) <= now_s else period

    def begins_at_s(self, period: int) -> float:
        """Return the instant at which a period begins."""
        return self.origin_s + period * self.length_s


@dataclass(frozen=True, slots=True)
class Agenda:
    """Slots, and inside each the refreshes, every `refresh_s` from its begin, at which held requests are looked at."""

    slots: Periods
    refresh_s: float

    def next_tick_s(self, now_s: float) -> float:
        """Return the first instant after `now_s` at which a slot or a refresh begins."""
        slot = self.slots.at(now_s)
        refreshes = Periods(self.slots.begins_at_s(slot), self.refresh_s)
        refresh_at_s = refreshes.begins_at_s(refreshes.at(now_s) + 1)
        return min(refresh_at_s, self.slots.begins_at_s(slot + 1))
