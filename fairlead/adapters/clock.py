"""Clocks: the wall, compressed by a speed, and a virtual one that tests and the twin move by hand."""

import asyncio
import heapq
import itertools
import time

LEAST_SLEEP_S = 0.001
"""Timers of uvloop count whole milliseconds: a shorter sleep returns at once and spins (measured 2026-11-21)."""


class ScaledClock:
    """Domain time that runs `speed` times as fast as the wall since `origin_s`.

    Reads the system's real-time clock, so that all processes of a machine agree; a machine whose real-time clock is
    set while Fairlead runs sees domain time jump `speed` times as far.
    """

    def __init__(self, speed: float = 1.0, origin_s: float = 0.0) -> None:
        self._speed = speed
        self._origin_s = origin_s

    @property
    def speed(self) -> float:
        """Domain seconds in a wall second."""
        return self._speed

    def now_s(self) -> float:
        """Return the domain's instant now."""
        return self._origin_s + (time.time() - self._origin_s) * self._speed

    def wall_s(self) -> float:
        """Return a monotonic wall time, seconds."""
        return time.monotonic()

    async def sleep_until(self, at_s: float) -> None:
        """Return once `now_s() >= at_s`."""
        while (left_s := at_s - self.now_s()) > 0:
            await asyncio.sleep(max(LEAST_SLEEP_S, left_s / self._speed))

    async def sleep_for(self, for_s: float) -> None:
        """Return after `for_s` domain seconds."""
        await asyncio.sleep(max(0.0, for_s) / self._speed)


class VirtualClock:
    """A clock that stands still until it is advanced: the fake of the clock port."""

    def __init__(self, now_s: float = 1_000_000.0, speed: float = 1.0) -> None:
        self._now_s = now_s
        self._speed = speed
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def speed(self) -> float:
        """Domain seconds in a wall second."""
        return self._speed

    def now_s(self) -> float:
        """Return the instant to which the clock was advanced."""
        return self._now_s

    def wall_s(self) -> float:
        """Return the same, in wall seconds."""
        return self._now_s / self._speed

    async def sleep_until(self, at_s: float) -> None:
        """Return once the clock was advanced to `at_s`."""
        if at_s <= self._now_s:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at_s, next(self._order), done))
        await done

    async def sleep_for(self, for_s: float) -> None:
        """Return once the clock was advanced by `for_s`."""
        await self.sleep_until(self._now_s + max(0.0, for_s))

    async def advance(self, by_s: float, turns: int = 20) -> None:
        """Move time on by `by_s`, waking sleepers in order and giving each `turns` turns of the event loop."""
        end_s = self._now_s + by_s
        while self._sleepers and self._sleepers[0][0] <= end_s:
            at_s, _, done = heapq.heappop(self._sleepers)
            self._now_s = max(self._now_s, at_s)
            if not done.done():
                done.set_result(None)
            for _ in range(turns):
                await asyncio.sleep(0)
        self._now_s = end_s
        for _ in range(turns):
            await asyncio.sleep(0)
