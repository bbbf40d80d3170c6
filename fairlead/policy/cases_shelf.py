"""Cases of one cluster as columns: 0.6 KB each of city7 (2026-11), so that a hundred thousand are compared at once.

Rows are in no order: a case that goes leaves its row to the last one. Regimes are clusters of rates, found as cases
come (leader clustering: Hartigan, "Clustering algorithms", 1975, chapter 3): a case joins the first regime whose
leader is like it, or leads one.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cases import Advantage, Case
from fairlead.policy.arrays import Flags, Floats
from fairlead.policy.cases_kernel import Key, Keys, Marks, decision_marks, encoded, same_demand, stacked

Rows = NDArray[np.intp]

ROOM = 64
"""Rows to begin with; they double."""

SKETCH = 32
"""Of what a plan says beyond the neutral one so many marks are kept, the least: exact up to 32, a bottom-k sketch of
more (Broder, "On the resemblance and containment of documents", 1997), whose error of a share is below 0.18."""

SAME_REGIME = 0.6065
"""exp(−½): cases whose rates are less than one scale apart are of one regime."""

REGIMES_MOST = 256
"""Regimes that are told apart; what comes after is of the nearest one. `catalogue-recur` has four, a day of `redraw`
144."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A case as retrieval and forgetting need it."""

    id: str
    began_at_s: float
    objective: float
    advantage_low: float | None
    """Lower bound of its advantage over the fallback; None until our own twin has said it."""
    proven: bool
    """The whole interval is on one side of 0."""
    quarantined: bool
    imported: bool
    key: Key
    marks: Marks


def remembered(case: Case) -> Remembered:
    """Return what is kept of a case in memory; what an imported one says of its own advantage is not believed."""
    advantage = None if case.provenance.imported else case.advantage
    return Remembered(
        id=case.id,
        began_at_s=case.began_at_s,
        objective=case.realised.objective,
        advantage_low=advantage.low if advantage is not None else None,
        proven=advantage is not None and significant(advantage),
        quarantined=case.quarantined,
        imported=case.provenance.imported,
        key=encoded(case.features),
        marks=decision_marks(case)[:SKETCH],
    )


def significant(advantage: Advantage) -> bool:
    """Tell whether a plan was surely better or surely worse than the fallback."""
    return advantage.low > 0.0 or advantage.high < 0.0


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of k cases but their keys; shapes in brackets."""

    began_at_s: Floats
    """[k]"""
    objective: Floats
    """[k]"""
    advantage_low: Floats
    """[k] NaN where the twin has not said it."""
    proven: Flags
    """[k]"""
    quarantined: Flags
    """[k]"""
    imported: Flags
    """[k]"""
    said: NDArray[np.int64]
    """[k] how many of `marks` count; 0 is the fallback's own, or as good as that."""
    marks: NDArray[np.uint32]
    """[k, SKETCH]"""
    regime: NDArray[np.int64]
    """[k]"""


def _columns(room: int) -> Columns:
    return Columns(
        began_at_s=np.zeros(room),
        objective=np.zeros(room),
        advantage_low=np.zeros(room),
        proven=np.zeros(room, dtype=np.bool_),
        quarantined=np.zeros(room, dtype=np.bool_),
        imported=np.zeros(room, dtype=np.bool_),
        said=np.zeros(room, dtype=np.int64),
        marks=np.zeros((room, SKETCH), dtype=np.uint32),
        regime=np.zeros(room, dtype=np.int64),
    )


class Shelf:
    """Cases of the same nodes and models, by id."""

    def __init__(self, like: Key) -> None:
        """Begin with none; all that are put here have the shape of `like`."""
        self.shape = like.shape
        self._ids: list[str] = []
        self._at: dict[str, int] = {}
        self._keys = stacked([like] * ROOM)
        self._columns = _columns(ROOM)
        self._leaders: list[Key] = []
        self._stacked: Keys | None = None
        """The leaders; None where one has come since."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ids)

    @property
    def ids(self) -> list[str]:
        """Return the ids by row."""
        return self._ids

    @property
    def keys(self) -> Keys:
        """Return the keys by row; no copy."""
        return Keys(*(getattr(self._keys, one.name)[: len(self)] for one in fields(Keys)))

    @property
    def columns(self) -> Columns:
        """Return everything else by row; no copy."""
        return Columns(*(getattr(self._columns, one.name)[: len(self)] for one in fields(Columns)))

    def put(self, one: Remembered) -> None:
        """Keep a case, in place of one of its id."""
        row = self._at.get(one.id)
        if row is None:
            row = len(self._ids)
            if row == len(self._columns.said):
                self._grow()
            self._ids.append(one.id)
            self._at[one.id] = row
        for column in fields(Keys):
            getattr(self._keys, column.name)[row] = getattr(one.key, column.name)
        into = self._columns
        into.began_at_s[row], into.objective[row] = one.began_at_s, one.objective
        into.advantage_low[row] = np.nan if one.advantage_low is None else one.advantage_low
        into.proven[row], into.quarantined[row], into.imported[row] = one.proven, one.quarantined, one.imported
        into.said[row] = len(one.marks)
        into.marks[row, : len(one.marks)] = one.marks
        into.regime[row] = self._regime(one.key)

    def drop(self, name: str) -> None:
        """Forget a case; one that is not there is passed over."""
        row = self._at.pop(name, None)
        if row is None:
            return
        last = self._ids.pop()
        if last == name:
            return
        self._ids[row], self._at[last] = last, row
        for table in (self._keys, self._columns):
            for column in fields(table):
                values = getattr(table, column.name)
                values[row] = values[len(self._ids)]

    def _grow(self) -> None:
        self._keys = Keys(*(_doubled(getattr(self._keys, one.name)) for one in fields(Keys)))
        self._columns = Columns(*(_doubled(getattr(self._columns, one.name)) for one in fields(Columns)))

    def _regime(self, key: Key) -> int:
        """Return the regime of these rates, which they lead if they are like no other's."""
        if self._leaders:
            if self._stacked is None:
                self._stacked = stacked(self._leaders)
            alike = same_demand(key, self._stacked)
            found = np.nonzero(alike >= SAME_REGIME)[0]
            if len(found):
                return int(found[0])
            if len(self._leaders) == REGIMES_MOST:
                return int(np.argmax(alike))
        self._leaders.append(key)
        self._stacked = None
        return len(self._leaders) - 1


def _doubled(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values, values])


def shelf(cases: Iterable[Remembered]) -> Shelf | None:
    """Return these cases on a shelf, sorted by id; those that are not of the commonest nodes and models are left out.

    Cases of one digest agree in them; an imported one may say what it likes. None where there are no cases.
    """
    alike: dict[bytes, list[Remembered]] = {}
    for case in sorted(cases, key=lambda c: c.id):
        alike.setdefault(case.key.shape, []).append(case)
    kept = max(alike.values(), key=len, default=[])
    if not kept:
        return None
    made = Shelf(kept[0].key)
    for case in kept:
        made.put(case)
    return made


def forgettable(among: Shelf, capacity: int) -> tuple[str, ...]:
    """Return the ids of those to forget so that `capacity` are left, in order.

    R regimes have room for `capacity`/R each: of the one that has most cases one goes first, so that a rare regime
    outlives a common one. Within a regime those in quarantine go first, then those whose advantage is not proven, the
    oldest each time; its best and its worst by realised F stay while it has others, for they are what a model shall
    imitate and avoid.
    """
    excess = len(among) - capacity
    if excess <= 0:
        return ()
    regime = among.columns.regime
    lines = [_dispensable(among, np.nonzero(regime == one)[0]) for one in np.unique(regime)]
    largest = [(-len(line), among.columns.began_at_s[line[0]], at) for at, line in enumerate(lines)]
    heapq.heapify(largest)
    forgotten = []
    for _ in range(excess):
        left, _, at = heapq.heappop(largest)
        line = lines[at]
        forgotten.append(among.ids[line[len(line) + left]])
        if left < -1:
            heapq.heappush(largest, (left + 1, among.columns.began_at_s[line[len(line) + left + 1]], at))
    return tuple(forgotten)


def _dispensable(among: Shelf, rows: Rows) -> list[int]:
    """Return the rows of a regime in the order in which they may go."""
    columns = among.columns
    values = columns.objective[rows]
    safe = np.zeros(len(rows), dtype=np.bool_)
    safe[[int(np.argmin(values)), int(np.argmax(values))]] = True
    began_at_s, usable = columns.began_at_s[rows], ~columns.quarantined[rows]
    order = np.lexsort((began_at_s, usable & columns.proven[rows], usable, safe & usable))
    return [int(row) for row in rows[order]]
