"""What the newest slot decisions saw, read from the journal once each: features of cases are made of it."""

from dataclasses import dataclass

from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput
from fairlead.contracts.ports import Store
from fairlead.policy.cases import Seen, SlotSeen, seen_by_slot, slot_seen

PAGE = 50
"""Lines of the journal read at once; a slot has one decision of its own and some on events."""

PAGES_MOST = 40
"""Pages read at once at most: 2000 lines are over an hour of a restless cluster, an epoch is five minutes."""

EPOCHS_KEPT = 4
"""What is evaluated is the last epoch, two at most, and the one before each."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One slot decision."""

    decision: str
    seen: SlotSeen
    begin: Seen | None
    """All that it knew, where its slot begins an epoch."""


class Tape:
    """The slot decisions of the last epochs, oldest first; a new one reads the journal again."""

    def __init__(self, store: Store, epoch_slots: int, epoch_s: float) -> None:
        self._store = store
        self._epoch_slots = epoch_slots
        self._kept_for_s = EPOCHS_KEPT * epoch_s
        self._frames: dict[str, Frame] = {}
        self._since_s = float("inf")
        """All slot decisions made from here to the newest known one are there."""

    async def read(self, since_at_s: float) -> tuple[Frame, ...]:
        """Return the frames of slot decisions made since then. Raises `StoreUnavailable`."""
        for decision in reversed(await self._missing(since_at_s)):
            record = await self._store.decision(decision)
            self._frames[decision] = framed(record, self._epoch_slots)
        self._since_s = min(self._since_s, since_at_s)
        self._forget()
        found = (f for f in self._frames.values() if f.seen.taken_at_s >= since_at_s)
        return tuple(sorted(found, key=lambda f: (f.seen.taken_at_s, f.decision)))

    async def _missing(self, since_at_s: float) -> list[str]:
        """Return the ids of slot decisions that are not known yet, newest first."""
        missing: list[str] = []
        cursor = None
        for _ in range(PAGES_MOST):
            page = await self._store.decision_summaries(agent="slot-agent", limit=PAGE, cursor=cursor)
            for line in page.items:
                if line.made_at_s < since_at_s or (line.id in self._frames and self._since_s <= since_at_s):
                    return missing
                if line.kind == "slot" and line.id not in self._frames:
                    missing.append(line.id)
            cursor = page.cursor
            if cursor is None:
                break
        return missing

    def _forget(self) -> None:
        newest_s = max((f.seen.taken_at_s for f in self._frames.values()), default=0.0)
        horizon_s = newest_s - self._kept_for_s
        self._frames = {name: f for name, f in self._frames.items() if f.seen.taken_at_s >= horizon_s}
        self._since_s = max(self._since_s, horizon_s)


def framed(record: DecisionRecord, epoch_slots: int) -> Frame:
    """Return what is kept of a slot decision."""
    given, decided = record.input, record.output
    assert isinstance(given, SlotInput)
    assert isinstance(decided, SlotDecision)
    begin = seen_by_slot(given, decided) if given.slot % epoch_slots == 0 else None
    return Frame(record.id, slot_seen(given), begin)
