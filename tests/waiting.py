"""How tests wait for what happens by itself: they look again and again, with a deadline, and say what never came."""

import asyncio
import time
from collections.abc import Awaitable, Callable

DEADLINE_S = 60.0
"""Wall seconds after which a condition has failed: two orders above what most take on an idle machine."""

LOOK_S = 0.005
"""Wall seconds between two looks."""


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str = "the condition") -> float:
    """Return after how many wall seconds a condition held, a function or an async one; fails after the deadline."""
    began_s = time.monotonic()
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < DEADLINE_S, f"never came true: {what}"
        await asyncio.sleep(LOOK_S)
