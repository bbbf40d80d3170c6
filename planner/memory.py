"""Case memory as the planner uses it: its cluster's cases as arrays, found in milliseconds, read in full if chosen."""

import asyncio

import structlog

from fairlead.adapters.outage import Outage, describe
from fairlead.contracts.cases import Case, CaseFeatures
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.errors import NotFound, Unavailable
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.cases import Before, cluster_digest, features, seen_by_planner
from fairlead.policy.cases_retrieval import Hit, Remembered, Shelf, forgettable, remembered, select, shelf
from planner.case_metrics import CaseMetrics
from planner.patience import within
from planner.tape import Tape

RECALLED = 4
"""Cases for one prompt (CONTROL §3)."""

PAGE = 50
"""Cases read at once: 0.2 MB of city7, parsed in 8 ms, between which plans are made (measured 2026-11)."""

REFRESH_S = 60.0
"""Wall seconds between two readings of all cases at least: what a person imports or deletes is noticed by then."""

REFRESH_SHARE = 0.01
"""Share of its time that this process spends reading all cases anew at most."""

TRIES = 3
"""Choices made again in a row because a chosen case was deleted or quarantined meanwhile."""


class CaseMemory:
    """The cases of the planner's cluster; `recalled` gives none where the store is away, and never raises for it."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, metrics: CaseMetrics) -> None:
        controller = settings.controller
        self._epoch_s = controller.epoch_slots * controller.slot_s
        self._store = store
        self._clock = clock
        self._timeout_s = settings.mongodb.timeout_s
        self._metrics = metrics
        self.tape = Tape(store, controller.epoch_slots, self._epoch_s)
        self._loading = asyncio.Lock()
        self._digest = ""
        self._cases: dict[str, Remembered] = {}
        self._changed: dict[str, Remembered | None] = {}
        """What was written or forgotten since the last load began; None for a forgotten one."""
        self._shelf: Shelf | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Keep what others have written and deleted in view until cancelled."""
        outage = Outage("reading cases", self._clock, self._metrics.failures)
        while True:
            began_s = self._clock.wall_s()
            try:
                await self.refresh()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            took_s = self._clock.wall_s() - began_s
            await self._clock.sleep_for(max(REFRESH_S, took_s / REFRESH_SHARE) * self._clock.speed)

    async def ready(self, digest: str) -> None:
        """Return once the cases of this cluster are there. Raises `StoreUnavailable`."""
        if self._digest != digest:
            async with self._loading:
                if self._digest != digest:  # another task may have loaded them meanwhile
                    await self._load(digest)

    async def refresh(self) -> None:
        """Read all cases of the cluster there is anew. Raises `StoreUnavailable`."""
        async with within(self._timeout_s, "reading the cluster"):
            cluster = await self._store.cluster()
        async with self._loading:
            await self._load(cluster_digest(cluster))

    async def _load(self, digest: str) -> None:
        """Read all cases of a cluster in place of those that are there; each page has a time-out of its own."""
        self._changed = {}
        found: dict[str, Remembered] = {}
        cursor = None
        while True:
            async with within(self._timeout_s, "reading cases"):
                page = await self._store.cases(cluster=digest, limit=PAGE, cursor=cursor)
            found |= {case.id: remembered(case) for case in page.items}
            cursor = page.cursor
            if cursor is None:
                break
        changed = self._changed if digest == self._digest else {}
        self._digest, self._cases, self._shelf = digest, found, None
        for name, case in changed.items():
            self._change(name, case)
        self._metrics.kept.set(len(self._cases))

    async def recalled(self, given: EpochInput) -> tuple[tuple[Case, ...], tuple[float, ...]]:
        """Return the cases to show for what the planner knows, with how similar each is."""
        began_s = self._clock.wall_s()
        try:
            async with within(self._timeout_s, "recalling cases"):
                await self.ready(cluster_digest(given.cluster))
                found = await self._chosen(await self._features(given), given.now_s)
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

    async def _chosen(self, now: CaseFeatures, now_s: float) -> tuple[tuple[Case, float], ...]:
        """Return the chosen cases in full as the store has them now."""
        for _ in range(TRIES):
            hits = select(now, self._shelved(), now_s=now_s, k=RECALLED)
            found = await asyncio.gather(*(self._in_full(hit) for hit in hits))
            kept = tuple(one for one in found if one is not None)
            if len(kept) == len(hits):
                break
        return kept

    async def _in_full(self, hit: Hit) -> tuple[Case, float] | None:
        """Return a case as it is now; None if it may not be shown any more, which is remembered."""
        try:
            case = await self._store.case(hit.id)
        except NotFound:
            self._change(hit.id, None)
            return None
        if case.quarantined:
            self.note(case)
            return None
        return case, hit.similarity

    def _shelved(self) -> Shelf:
        if self._shelf is None:
            self._shelf = shelf(self._cases.values())
        return self._shelf

    def _change(self, name: str, case: Remembered | None) -> None:
        self._shelf = None
        if case is None:
            self._cases.pop(name, None)
        else:
            self._cases[name] = case
        self._metrics.kept.set(len(self._cases))

    def note(self, case: Case) -> None:
        """Remember a case that was written, or has changed."""
        if case.provenance.cluster == self._digest:
            self._changed[case.id] = remembered(case)
            self._change(case.id, self._changed[case.id])

    def forget(self, name: str) -> None:
        """Forget a case that was deleted."""
        self._changed[name] = None
        self._change(name, None)

    def has_one_of(self, begin_s: float, end_s: float) -> bool:
        """Tell whether an epoch that began within this time is remembered."""
        return any(begin_s <= case.began_at_s < end_s for case in self._cases.values())

    def beyond(self, capacity: int) -> tuple[str, ...]:
        """Return the ids of those to forget so that `capacity` are left."""
        return forgettable(self._shelved(), capacity) if len(self._cases) > capacity else ()
