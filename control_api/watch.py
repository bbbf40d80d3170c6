"""One reader of the store's changes for all clients: what is in force for long polls, events for streams."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import structlog

from control_api.metrics import ControlMetrics
from fairlead.adapters.store_rules import EVERY_KIND
from fairlead.contracts.errors import FairleadError, StoreUnavailable
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.plans import EpochPlan, Placement, RoutingTable
from fairlead.contracts.ports import Clock, Store

Kind = Literal["plan", "placement", "table"]

WATCHED: tuple[EventKind, ...] = tuple(kind for kind in EVERY_KIND if kind != "report")
"""Reports are told by the process that takes them: through the database they would cost each process as much again."""

LOOK_EVERY_S = 1.0
"""Wall seconds between looks at the generations, in case a change was missed and to know whether the store answers."""

BACKLOG = 1000
"""Events kept for streams that come back, and for a slow reader before it is cut off."""


@dataclass(frozen=True, slots=True)
class Held:
    """The newest message of a kind, as it is sent."""

    generation: int
    body: bytes


class Watch:
    """Keeps what clients wait for; it goes on with what it has while the store is away."""

    def __init__(self, store: Store, clock: Clock, metrics: ControlMetrics) -> None:
        self.store_up = False
        """Whether the last look at the database succeeded."""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._held: dict[Kind, Held] = {}
        self._changed: dict[Kind, asyncio.Event] = {kind: asyncio.Event() for kind in get_args(Kind)}
        self._recent: deque[Event] = deque(maxlen=BACKLOG)
        self._sequence = 0
        self._streams: list[asyncio.Queue[Event | None]] = []
        self._closed = False
        self._log = structlog.get_logger("watch")

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._look())

    async def _follow(self) -> None:
        while True:
            try:
                async for event in self._store.changes(WATCHED):
                    await self._take(event)
            except Exception as error:
                self._metrics.watch_failures.inc()
                self._log.warning("stream of changes ended", error=str(error), exc_info=_unexpected(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _take(self, event: Event) -> None:
        self._metrics.events.labels(event.kind).inc()
        match event.kind:
            case "plan" | "placement" | "table":
                await self.refresh(event.kind)
            case "node" | "model" | "site":
                self._metrics.know(await self._store.cluster())
            case _:
                pass
        self.tell(event.kind, event.id, event.at_s, event.text)

    async def _look(self) -> None:
        while True:
            try:
                await self._catch_up()
                self.store_up = True
            except Exception as error:
                if self.store_up or _unexpected(error):
                    self._log.warning("store is away", error=str(error), exc_info=_unexpected(error))
                self.store_up = False
            self._metrics.store_up.set(self.store_up)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _catch_up(self) -> None:
        seen = await self._store.generations()
        if not self.store_up:
            self._metrics.know(await self._store.cluster())
        newest: tuple[tuple[Kind, int], ...] = (
            ("plan", seen.plan),
            ("placement", seen.placement),
            ("table", seen.table),
        )
        for kind, generation in newest:
            self._metrics.generation.labels(kind).set(generation)
            if generation > self._generation(kind):
                await self.refresh(kind)

    def _generation(self, kind: Kind) -> int:
        return self._held[kind].generation if kind in self._held else 0

    async def refresh(self, kind: Kind) -> None:
        """Read the newest of a kind; a newer one wakes those who wait."""
        newest: EpochPlan | Placement | RoutingTable | None
        match kind:
            case "plan":
                newest = await self._store.current_plan()
            case "placement":
                newest = await self._store.current_placement()
            case "table":
                newest = await self._store.current_table()
            case _:
                assert_never(kind)
        if newest is not None and newest.generation > self._generation(kind):
            self._held[kind] = Held(newest.generation, newest.to_json().encode())
            self._changed[kind].set()
            self._changed[kind] = asyncio.Event()

    async def newest(self, kind: Kind, newer_than: int, wait_s: float) -> Held | None:
        """Return the message in force once it is newer; None after `wait_s` wall seconds.

        Those who do not wait get it from the store, or what was last seen while that is away; those who wait are told
        by the one reader of changes.
        """
        if wait_s <= 0 or kind not in self._held:
            try:
                await self.refresh(kind)
            except StoreUnavailable:
                if kind not in self._held and wait_s <= 0:
                    raise
        until_s = self._clock.wall_s() + wait_s
        while self._generation(kind) <= newer_than:
            left_s = until_s - self._clock.wall_s()
            if left_s <= 0 or self._closed:
                return None
            with self._counted(kind):
                try:
                    async with asyncio.timeout(left_s):
                        await self._changed[kind].wait()
                except TimeoutError:
                    return None
        return self._held[kind]

    @contextmanager
    def _counted(self, kind: Kind) -> Iterator[None]:
        self._metrics.waiting.labels(kind).inc()
        try:
            yield
        finally:
            self._metrics.waiting.labels(kind).dec()

    def tell(self, kind: EventKind, name: str, at_s: float, text: str) -> None:
        """Send an event to all streams; a reader that is too far behind is cut off and may come back."""
        self._sequence += 1
        event = Event(sequence=self._sequence, kind=kind, id=name, at_s=at_s, text=text)
        if kind != "report":
            self._recent.append(event)
        for queue in tuple(self._streams):
            if queue.qsize() >= BACKLOG:
                self._streams.remove(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    @property
    def told(self) -> int:
        """How many events have been told: the sequence of the newest."""
        return self._sequence

    @property
    def listened_to(self) -> bool:
        """Whether any event stream is open."""
        return bool(self._streams)

    async def events(self, kinds: frozenset[EventKind], after: int | None) -> AsyncGenerator[Event, None]:
        """Yield events from now on, or from the one after `after` as far as it is still known."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        for known in tuple(self._recent):
            if after is not None and after < known.sequence:
                queue.put_nowait(known)
        self._streams.append(queue)
        self._metrics.listeners.inc()
        try:
            while not self._closed and (event := await queue.get()) is not None:
                if event.kind in kinds:
                    yield event
        finally:
            self._metrics.listeners.dec()
            if queue in self._streams:
                self._streams.remove(queue)

    def close(self) -> None:
        """Let everybody go who waits."""
        self._closed = True
        for changed in self._changed.values():
            changed.set()
        for queue in self._streams:
            queue.put_nowait(None)


def _unexpected(error: Exception) -> bool:
    return not isinstance(error, FairleadError)
