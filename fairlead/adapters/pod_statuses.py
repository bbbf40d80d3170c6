"""What a runtime says of its pods, to everybody who listens: the present first, then each change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from fairlead.contracts.ports import PodStatus


class PodStatuses:
    """Those who listen to one runtime."""

    def __init__(self, present: Callable[[], Iterable[PodStatus]]) -> None:
        """Begin with nobody; `present` gives the status of each pod now."""
        self._present = present
        self._listeners: list[asyncio.Queue[PodStatus]] = []

    def say(self, status: PodStatus) -> None:
        """Tell a change."""
        for queue in self._listeners:
            queue.put_nowait(status)

    async def watch(self) -> AsyncIterator[PodStatus]:
        """Yield the present status of each pod, then each change."""
        queue: asyncio.Queue[PodStatus] = asyncio.Queue()
        for status in self._present():
            queue.put_nowait(status)
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)
