"""When slots and refreshes begin, and which slots were late."""

from dataclasses import dataclass

from fairlead.policy.periods import Periods


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


@dataclass(slots=True)
class Punctuality:
    """Counts slots that ended, and those of them that ended without a decision of their own."""

    current: int
    """The slot now; the one in which counting began is not judged, only a part of it was ours."""
    first: int = -1
    total: int = 0
    late: int = 0

    def __post_init__(self) -> None:
        self.first = self.current + 1

    def entered(self, slot: int, decided: int) -> tuple[int, int]:
        """Note that `slot` has begun, and that `decided` is the newest slot with a decision.

        Returns how many judged slots ended since the last call, and how many of them were late.
        """
        ended = range(max(self.current, self.first), slot)
        late = sum(1 for s in ended if s > decided)
        self.current = max(self.current, slot)
        self.total += len(ended)
        self.late += late
        return len(ended), late
