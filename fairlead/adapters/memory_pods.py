"""Pods in memory: the fake of the port `PodPort`, each exchange moved by a test."""

import asyncio
from collections.abc import AsyncGenerator

from fairlead.contracts.tickets import Failed, Head, Returned


class MemoryExchange:
    """One request at a pod in memory; nothing happens until a test says what."""

    def __init__(self, url: str, request: str) -> None:
        self.url = url
        self.request = request
        self.over = False
        """Answered, broken or given up."""
        self._steps: asyncio.Queue[Head | bytes | Failed | Returned | None] = asyncio.Queue()

    def say(self, *steps: Head | bytes | Failed | Returned | None) -> None:
        """Let the pod say something; None ends a complete answer."""
        for step in steps:
            self._steps.put_nowait(step)

    def abort(self) -> None:
        """Break the exchange off."""
        self.say(Failed(phase="connect", reason="the pod is gone"))

    async def answer(self) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        """Yield what the test lets the pod say."""
        try:
            while (step := await self._steps.get()) is not None:
                yield step
                if isinstance(step, (Failed, Returned)):
                    return
        finally:
            self.over = True


class MemoryPods:
    """All pods of a test; `exchanges` holds every request that reached one."""

    def __init__(self) -> None:
        self.exchanges: list[MemoryExchange] = []

    def ask(self, url: str, path: str, body: bytes, request: str) -> MemoryExchange:
        """Note the request and return its exchange."""
        exchange = MemoryExchange(url, request)
        self.exchanges.append(exchange)
        return exchange

    @property
    def open(self) -> tuple[MemoryExchange, ...]:
        """Return the exchanges that are not over, in the order in which they began."""
        return tuple(e for e in self.exchanges if not e.over)

    async def close(self) -> None:
        """Do nothing: there is no connection."""
