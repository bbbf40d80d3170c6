"""Waiting: for an instant or a bell, and for a store that is away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fairlead.adapters.outage import Outage, persist
from fairlead.contracts.errors import StoreUnavailable
from fairlead.contracts.ports import Clock

Got = TypeVar("Got")


async def until(clock: Clock, at_s: float, bell: asyncio.Event) -> None:
    """Return at the domain's instant `at_s`, or at once when `bell` is set."""
    waits = {asyncio.create_task(clock.sleep_until(at_s)), asyncio.create_task(bell.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Insisting:
    """Asks a store until it answers."""

    outage: Outage
    timeout_s: float
    """Wall seconds for one try."""

    async def got(self, attempt: Callable[[], Awaitable[Got]]) -> Got:
        """Return what `attempt` gives once the store is there; other errors than its absence pass."""
        return await persist(self.outage, lambda: self._once(attempt))

    async def _once(self, attempt: Callable[[], Awaitable[Got]]) -> Got:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await attempt()
        except TimeoutError as error:
            raise StoreUnavailable(f"the store did not answer an agent within {self.timeout_s} s") from error
