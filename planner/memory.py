"""Case memory as the planner uses it: its cluster's cases as arrays, found in milliseconds, read in full if chosen.

Arrays are kept in step with the store by a number for each case that differs after a change: so a hundred thousand are
compared without being read.
"""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TypeAlias

import structlog

from fairlead.adapters.outage import Outage, describe
from fairlead.contracts.cases import Case, CaseFeatures
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.errors import Unavailable
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.cases import Before, believable, cluster_digest, features, seen_by_planner
from fairlead.policy.cases_evidence import owed
from fairlead.policy.cases_retrieval import Hit, select
from fairlead.policy.cases_shelf import Remembered, Shelf, forgettable, remembered
from planner.case_metrics import CaseMetrics
from planner.patience import within
from planner.tape import Tape

RECALLED = 4
"""Cases for one prompt (CONTROL §3)."""

PAGE = 50
"""Cases read at once: 0.2 MB of city7, parsed in 8 ms, between which plans are made (measured 2026-11)."""

REFRESH_S = 60.0
"""Wall seconds between two comparisons with the store, so that what a person imports or deletes is noticed by then; one
of a hundred thousand cases takes 0.4 s of this process, the most that may be kept (measured 2026-11)."""

TRIES = 3
"""Choices made again in a row because a chosen case was deleted or quarantined meanwhile."""


Stamped: TypeAlias = tuple[str, float]
"""A case's id, and what differs after each change of it."""


class CaseMemory:
    """The cases of the planner's cluster; `recalled` gives none where the store is away, and never raises for it."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, version: str, metrics: CaseMetrics) -> None:
        controller = settings.controller
        self._epoch_s = controller.epoch_slots * controller.slot_s
        self._store = store
        self._clock = clock
        self._timeout_s = settings.mongodb.timeout_s
        self._version = version
        self._metrics = metrics
        self.tape = Tape(store, controller.epoch_slots, self._epoch_s)
        self._reading = asyncio.Lock()
        """Held for one question to the store at a time, so that nobody waits for all cases."""
        self._digest = ""
        self._cases = Shelves()
        self._owed: dict[str, float] = {}
        """Cases that the twin is still to judge, and when they began."""
        self._settled: set[str] = set()
        """Cases that it has judged, or could not."""
        self._stamps: dict[str, float] = {}
        """Of the cases that were read, as the store had it before they were."""
        self._touched: set[str] = set()
        """What was written or forgotten here since the store was asked last."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Keep what others have written and deleted in view until cancelled."""
        outage = Outage("reading cases", self._clock, self._metrics.failures)
        while True:
            try:
                await self.refresh()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            await self._clock.sleep_for(REFRESH_S * self._clock.speed)

    async def ready(self, cluster: Cluster) -> None:
        """Return once the newest cases of this cluster are there; `run` reads the older. Raises `StoreUnavailable`."""
        if self._digest != cluster_digest(cluster):
            async with self._reading:
                if self._digest != cluster_digest(cluster):  # another task may have been first
                    await self._begin(cluster)

    async def refresh(self) -> None:
        """Read what others have written since, newest first, and drop what they deleted. Raises `StoreUnavailable`."""
        async with within(self._timeout_s, "reading the cluster"):
            cluster = await self._store.cluster()
        async with self._reading:
            differing = await self._begin(cluster)
        for first in range(PAGE, len(differing), PAGE):
            async with self._reading:
                if self._digest == cluster_digest(cluster):
                    await self._read(differing[first : first + PAGE], cluster)

    async def _begin(self, cluster: Cluster) -> list[Stamped]:
        """Compare memory with the store, read the newest page of cases that differ, and return all that do."""
        digest = cluster_digest(cluster)
        self._touched.clear()
        async with within(self._timeout_s, "looking for cases that have changed"):
            there = await self._store.case_stamps(digest)
        if digest != self._digest:
            self._digest, self._cases, self._stamps = "", Shelves(), {}
        for name in (self._cases.names | self._stamps.keys()) - there.keys() - self._touched:
            self._change(name, None)
        differing = [(name, stamp) for name, stamp in there.items() if self._stamps.get(name) != stamp]
        await self._read(differing[:PAGE], cluster)
        self._digest = digest
        return differing

    async def _read(self, some: Sequence[Stamped], cluster: Cluster) -> None:
        """Take cases from the store; what was written or forgotten here meanwhile is left as it is.

        What is not believable is as if it were in quarantine.
        """
        self._touched.clear()
        async with within(self._timeout_s, "reading cases"):
            found = await self._store.some_cases([name for name, _ in some]) if some else ()
        for case in found:
            if case.id not in self._touched:
                one = remembered(case)
                self._change(case.id, one if believable(case, cluster) else replace(one, quarantined=True))
                self._owe(case)
        self._stamps |= dict(some)

    async def recalled(self, given: EpochInput) -> tuple[tuple[Case, ...], tuple[float, ...]]:
        """Return the cases to show for what the planner knows, with how similar each is."""
        began_s = self._clock.wall_s()
        try:
            async with within(self._timeout_s, "recalling cases"):
                await self.ready(given.cluster)
                found = await self.chosen(await self._features(given), given.now_s)
        except Unavailable as error:
            self._metrics.failures.inc()
            self._log.warning("no case is recalled: the store does not answer", error=describe(error))
            return (), ()
        self._metrics.recall_seconds.observe(max(0.0, self._clock.wall_s() - began_s))
        return tuple(case for case, _ in found), tuple(similarity for _, similarity in found)

    async def _features(self, given: EpochInput) -> CaseFeatures:
        """Return the features of now; the epoch before is the time of its length up to now."""
        since_s = given.now_s - self._epoch_s
        frames = await self.tape.read(since_s)
        tallies = await self._store.tallies(max(0.0, since_s), given.now_s)
        slots = tuple(f.seen for f in frames if f.seen.taken_at_s <= given.now_s)
        return features(seen_by_planner(given), Before(self._epoch_s, slots, tallies))

    async def chosen(self, now: CaseFeatures, now_s: float) -> tuple[tuple[Case, float], ...]:
        """Return the cases to show for these features in full, with how similar each is; one question to the store.

        Where some may not be shown any more, they are remembered as such, and chosen is again. Raises
        `StoreUnavailable`.
        """
        kept: tuple[tuple[Case, float], ...] = ()
        for _ in range(TRIES):
            similar = {hit.id: hit.similarity for hit in self._cases.select(now, now_s)}
            found = {case.id: case for case in await self._store.some_cases(tuple(similar))} if similar else {}
            kept = tuple((found[name], alike) for name, alike in similar.items() if _shown(found.get(name)))
            if len(kept) == len(similar):
                break
            for name in similar:
                self._change(name, remembered(found[name]) if name in found else None)
        return kept

    def _change(self, name: str, case: Remembered | None) -> None:
        if case is None:
            self._cases.drop(name)
            self._stamps.pop(name, None)
            self._owed.pop(name, None)
        else:
            self._cases.put(case)
        self._metrics.kept.set(len(self._cases))

    def note(self, case: Case) -> None:
        """Remember a case that was written, or has changed."""
        if case.provenance.cluster == self._digest:
            self._owe(case)
            self._touched.add(case.id)
            self._change(case.id, remembered(case))

    def forget(self, name: str) -> None:
        """Forget a case that was deleted."""
        self._touched.add(name)
        self._change(name, None)

    def _owe(self, case: Case) -> None:
        if owed(case, self._version) and case.id not in self._settled:
            self._owed[case.id] = case.began_at_s

    def owe(self, case: Case) -> None:
        """Have the twin judge what did not act in the epoch of a case: there is evidence of it."""
        self._owed[case.id] = case.began_at_s

    def owed(self) -> str | None:
        """Return the newest case that the twin is still to judge; None if there is none."""
        return max(self._owed, key=lambda name: (self._owed[name], name), default=None)

    def settled(self, name: str) -> None:
        """Note that the twin has judged a case, or cannot: not again while this process lives."""
        self._owed.pop(name, None)
        self._settled.add(name)

    def has_one_of(self, begin_s: float, end_s: float) -> bool:
        """Tell whether an epoch that began within this time is remembered."""
        return self._cases.has_one_of(begin_s, end_s)

    def beyond(self, capacity: int) -> tuple[str, ...]:
        """Return the ids of those to forget so that `capacity` are left."""
        return self._cases.beyond(capacity)


def _shown(case: Case | None) -> bool:
    return case is not None and not case.quarantined


class Shelves:
    """Cases of one digest, by the nodes and models that they name: an imported one may say what it likes."""

    def __init__(self) -> None:
        self._shelves: dict[bytes, Shelf] = {}
        self._where: dict[str, bytes] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._where)

    @property
    def names(self) -> Set[str]:
        """Return the ids."""
        return self._where.keys()

    def put(self, one: Remembered) -> None:
        """Keep a case, in place of one of its id."""
        if self._where.get(one.id, one.key.shape) != one.key.shape:
            self.drop(one.id)
        if one.key.shape not in self._shelves:
            self._shelves[one.key.shape] = Shelf(one.key)
        self._shelves[one.key.shape].put(one)
        self._where[one.id] = one.key.shape

    def drop(self, name: str) -> None:
        """Forget a case; one that is not there is passed over."""
        shape = self._where.pop(name, None)
        if shape is not None:
            self._shelves[shape].drop(name)

    def select(self, now: CaseFeatures, now_s: float) -> tuple[Hit, ...]:
        """Return the cases to show for a situation."""
        found = (select(now, one, now_s=now_s, k=RECALLED) for one in self._shelves.values())
        return next((hits for hits in found if hits), ())

    def has_one_of(self, begin_s: float, end_s: float) -> bool:
        """Tell whether an epoch that began within this time is there."""
        columns = (one.columns.began_at_s for one in self._shelves.values())
        return any(bool(((begin_s <= began) & (began < end_s)).any()) for began in columns)

    def beyond(self, capacity: int) -> tuple[str, ...]:
        """Return the ids of those to forget so that `capacity` are left; those of the commonest shape stay longest."""
        forgotten: list[str] = []
        left = len(self)
        for one in sorted(self._shelves.values(), key=len):
            gone = forgettable(one, max(0, len(one) - max(0, left - capacity)))
            forgotten += gone
            left -= len(gone)
        return tuple(forgotten)
