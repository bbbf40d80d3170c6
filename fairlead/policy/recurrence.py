"""Stretches of steady demand, the regimes that they belong to, and the changes between them."""

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from fairlead.contracts.forecasts import Change, Knowledge, Regime
from fairlead.policy.arrays import Floats
from fairlead.policy.regimes import (
    HALF_COUNT,
    NEW_LEAST,
    SURE,
    WINDOWS,
    Alarm,
    Known,
    Likeness,
    known,
    merged,
    novelty,
    recognised,
    switched,
)

LEAST_REGIME_SLOTS = 8
"""A stretch of fewer slots is no regime of its own: four minutes."""

LEAST_SURE_SLOTS = 4
"""A regime is written into the timetable once so many slots go with it; what is expected rests on it before."""

REGIMES_MOST = 32
CHANGES_MOST = 512
"""What is remembered at most; the regime that was seen least is forgotten first, the oldest change."""


class Recurrence:
    """The stretch that is now, and what was learned of those before."""

    def __init__(self, models: Sequence[str], slot_s: float, origin_s: float, knowledge: Knowledge) -> None:
        """Begin with no stretch; what was learned elsewhere tells which regimes there are and what follows what."""
        self.regimes = knowledge.regimes
        self.likeness = Likeness("", 0.0)
        """Of the stretch that is now."""
        self.counts: Floats = np.zeros(len(models))
        self.slots = 0
        """Of the stretch that is now, and its arrivals."""
        self._models, self._slot_s, self._origin_s = tuple(models), slot_s, origin_s
        self._changes = deque(knowledge.changes, CHANGES_MOST)
        self._newest: deque[Floats] = deque(maxlen=WINDOWS[-1])
        self._next_slot = 0
        self._since: int | None = None
        """First slot of the stretch; None where its begin was not seen."""
        self._before: tuple[str, int | None] | None = None
        """The regime before, and since when, while the regime that is now is not named yet."""
        self._name = ""
        """Of the regime that is now, once it is sure."""
        self._told: dict[str, float] = {}
        """Regimes that somebody has said may come, and for how long each counts as seen by that alone."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return all changes that are remembered, oldest first."""
        return tuple(self._changes)

    @property
    def since_s(self) -> float | None:
        """Return the begin of the stretch that is now; None where it was not seen."""
        return None if self._since is None else self._at_s(self._since)

    @property
    def regime(self) -> Regime | None:
        """Return the regime that is recognised; None where none is for sure."""
        found = self.likeness
        return self.named(found.regime) if found.regime and found.probability >= SURE else None

    def expect(self, regimes: Sequence[Regime]) -> None:
        """Look out for these beside what is remembered, in place of those said before; what was seen of them stays."""
        kept = [one for one in self.regimes if one.seen_s > self._told.get(one.id, -1.0) or one.id == self._name]
        there = {one.id for one in kept}
        now = {name: seen_s for name, seen_s in self._told.items() if name == self._name}
        self._told = {one.id: one.seen_s for one in regimes} | now
        self.regimes = tuple(sorted((*kept, *(r for r in regimes if r.id not in there)), key=lambda one: one.id))

    def named(self, name: str) -> Regime | None:
        """Return a remembered regime."""
        return next((one for one in self.regimes if one.id == name), None)

    def seen(self, slot: int, counts: Floats) -> None:
        """Take the arrivals of a slot that has ended."""
        self.counts = self.counts + counts
        self.slots += 1
        self._newest.append(counts)
        self._next_slot = slot + 1

    def look(self, counts: Floats, share: float) -> None:
        """Recognise the stretch that is now, with the arrivals of the part of a slot that has passed."""
        total, slots = self.counts + counts, self.slots + share
        if slots > 0.0:
            self.likeness = recognised(total, slots * self._slot_s, self._known(), self._new())
        found = self.regime
        if found is not None and not self._name and self.slots >= LEAST_SURE_SLOTS:
            self._is(found.id)

    def switched(self, counts: Floats, share: float) -> Alarm | None:
        """Return the change to another remembered regime that the newest arrivals show; None where they show none."""
        everything = self._known()
        mine = everything.pop(self.likeness.regime, None) if self.regime is not None else None
        shape, seen_s = self.counts + HALF_COUNT, self.slots * self._slot_s
        if mine is not None:
            shape, seen_s = self.counts + mine.shape, seen_s + mine.seen_s
        present = Known(shape, seen_s)
        return switched(tuple(self._newest), (counts, share), present, tuple(everything.values()), self._slot_s)

    def _new(self) -> dict[str, float]:
        """Return of each remembered regime how much likelier a new one is; one that was told is looked out for."""
        came = Counter([*(change.before for change in (*self._changes,)[:1]), *(c.after for c in self._changes)])
        new = novelty([came[one.id] for one in self.regimes if one.id not in self._told])
        return {one.id: NEW_LEAST if one.id in self._told else new for one in self.regimes}

    def _known(self) -> dict[str, Known]:
        return {one.id: known(one, self._models) for one in self.regimes}

    def changed(self, slots: int) -> tuple[Floats, ...]:
        """Begin a new stretch with the newest `slots`; return their arrivals, oldest first."""
        moved = tuple(self._newest)[len(self._newest) - slots :] if slots else ()
        later = sum(moved, np.zeros(len(self._models)))
        self.counts, self.slots = self.counts - later, self.slots - len(moved)
        self._close()
        self.counts, self.slots = later, len(moved)
        self._newest.clear()
        self._newest.extend(moved)
        self._before, self._name = (self._name, self._since), ""
        self._since = self._next_slot - len(moved)
        self.likeness = Likeness("", 0.0)
        return moved

    def _close(self) -> None:
        """Take the stretch that has ended into its regime, or make it one."""
        if not self._name and self.slots >= LEAST_REGIME_SLOTS:
            self.look(np.zeros(len(self._models)), 0.0)
            if not self._name:
                number = 1 + max((int(r.id[1:]) for r in self.regimes if r.id[1:].isdigit()), default=0)
                self.regimes = (*self.regimes, Regime(id=f"r{number}", rates=(), seen_s=0.0))
                self._is(f"r{number}")
        regime = self.named(self._name)
        if regime is None:
            return
        seen = merged(regime, self._by_model(self.counts), self.slots * self._slot_s)
        kept = sorted((*(r for r in self.regimes if r.id != seen.id), seen), key=lambda r: (-r.seen_s, r.id))
        self.regimes = tuple(sorted(kept[:REGIMES_MOST], key=lambda r: r.id))

    def _is(self, name: str) -> None:
        """Name the stretch that is now; where it is the regime that was before, nothing has changed."""
        self._name = name
        if self._before is None or self._since is None:
            return
        before, began = self._before
        self._before = None
        if before == name:
            self._since = began
        elif before:
            began_at_s = None if began is None else self._at_s(began)
            change = Change(at_s=self._at_s(self._since), before=before, after=name, began_at_s=began_at_s)
            self._changes.append(change)

    def knowledge(self) -> Knowledge:
        """Return what was learned, the stretch that is now left out."""
        learned = tuple(one for one in self.regimes if one.seen_s > self._told.get(one.id, -1.0))
        return Knowledge(regimes=learned, changes=self.changes)

    def _at_s(self, slot: int) -> float:
        return self._origin_s + slot * self._slot_s

    def _by_model(self, counts: Floats) -> dict[str, float]:
        return dict(zip(self._models, counts.tolist(), strict=True))
