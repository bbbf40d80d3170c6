"""What a runtime asks of the API server, as tasks: tried again while the server is away, and ended with the runtime."""

import asyncio
import random
from collections.abc import Coroutine

import structlog

from fairlead.contracts.errors import foreign

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
"""Wall seconds between two tries of one order while the API is away, with jitter: a sixth of a slot of 30 s at most."""


class Orders:
    """The tasks of one runtime."""

    def __init__(self, node: str) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._jitter = random.Random(node)
        self._log = structlog.get_logger().bind(node=node)

    def begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin to carry an order out; one that fails in a way nobody foresaw is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def pause(self, tries: int) -> None:
        """Wait before an order is tried again that has been tried `tries` times before this one."""
        ceiling_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(tries, 30))
        await asyncio.sleep(ceiling_s * (0.5 + 0.5 * self._jitter.random()))

    async def close(self) -> None:
        """End what is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("an order failed in a way nobody foresaw", error=foreign(repr(error)), exc_info=error)
