"""How a loop behaves while something outside is away: it counts, says so once, and asks again ever more seldom."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog

from fairlead.contracts.errors import Unavailable, foreign
from fairlead.contracts.ports import Clock

TRACE_FRAMES = 6
"""Innermost frames of an unexpected error that are logged; as text, so that no renderer prints a cluster's locals."""

Got = TypeVar("Got")


class Counted(Protocol):
    """What is told of each failure: a counter of metrics."""

    def inc(self, amount: float = 1) -> None:
        """Add to the count."""


class Outage:
    """Failures in a row of one thing outside."""

    def __init__(self, what: str, clock: Clock, count: Counted, *, first_s: float = 0.05, most_s: float = 1.0) -> None:
        """`first_s` and `most_s` bound the wait between two tries, wall seconds; it doubles with each failure.

        A wall second is the shortest slot in use (30 s at speed 30): an outage that ends is noticed within it.
        """
        self._what = what
        self._clock = clock
        self._count = count
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @property
    def present(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    async def failed(self, error: BaseException) -> None:
        """Count a failure, say so if it is the first in a row, and return when it is time to try again."""
        self._count.inc()
        self._failures += 1
        if self._failures == 1:
            told = f"{self._what} failed: going on with the last good state"
            if isinstance(error, Unavailable):
                self._log.warning(told, error=describe(error))
            else:
                trace = "".join(traceback.format_exception(error, limit=-TRACE_FRAMES))
                self._log.error(told, error=describe(error), trace=trace)
        wait_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures - 1, 16))
        await self._clock.sleep_for(wait_s * self._clock.speed)

    def over(self) -> None:
        """Note a success, and say so if it is the first after failures."""
        if self._failures:
            self._log.info(f"{self._what} works again", failures=self._failures)
            self._failures = 0


async def persist(outage: Outage, attempt: Callable[[], Awaitable[Got]]) -> Got:
    """Return what `attempt` gives once it does not raise `Unavailable`; other errors pass."""
    while True:
        try:
            got = await attempt()
        except Unavailable as error:
            await outage.failed(error)
        else:
            outage.over()
            return got


def describe(error: BaseException) -> str:
    """Return what `error` and its causes say, outermost first."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(parts) < 5:
        parts.append(f"{type(link).__name__}: {link}" if str(link) else type(link).__name__)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return foreign(" <- ".join(parts))
