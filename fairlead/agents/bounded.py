"""A language model that is never waited for beyond its deadline, whatever its adapter does."""

import asyncio

from fairlead.contracts.dialogue import Answer, Ask, EndpointStatus
from fairlead.contracts.ports import Clock, Llm

GRACE_RATIO = 1.1
GRACE_S = 0.05
"""How much longer than its deadline an adapter is waited for: it keeps the deadline itself and knows better what became
of the question; a slot's deadline is 0.6 of it, so that this still ends inside the slot."""


class Bounded:
    """The port `Llm` before another one of it: a question that outlasts its deadline is late, and is given up."""

    def __init__(self, llm: Llm, clock: Clock) -> None:
        self._llm = llm
        self._clock = clock

    async def ask(self, ask: Ask, *, id: str, deadline_s: float) -> Answer:
        """Return what comes of a question, or that it is late."""
        began_s = self._clock.wall_s()
        asking = asyncio.create_task(self._llm.ask(ask, id=id, deadline_s=deadline_s))
        limit = asyncio.create_task(self._clock.sleep_for((GRACE_RATIO * deadline_s + GRACE_S) * self._clock.speed))
        try:
            await asyncio.wait({asking, limit}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        finally:
            limit.cancel()
            if not asking.done():
                asking.add_done_callback(_heard)
                asking.cancel()
        return Answer(
            code="late",
            text=None,
            endpoint="",
            model="",
            style=None,
            attempts=1,
            took_s=max(0.0, self._clock.wall_s() - began_s),
            prompt_tokens=0,
            reply_tokens=0,
            money=0.0,
        )

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Return what the model's adapter says of its endpoints."""
        return self._llm.statuses()

    async def close(self) -> None:
        """Let go of the model's connections."""
        await self._llm.close()


def _heard(asking: asyncio.Task[Answer]) -> None:
    """Take note of how a question ended that nobody waits for any more, so that the loop does not complain."""
    if not asking.cancelled():
        asking.exception()
