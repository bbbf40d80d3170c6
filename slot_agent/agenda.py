"""Which slots were late."""

from dataclasses import dataclass


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
