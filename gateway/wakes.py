"""Telling the control side that a model is missed: at once, at most once per model, reason and refresh period."""

import asyncio
from typing import Literal, Never

import structlog

from fairlead.contracts.errors import FairleadError
from fairlead.contracts.events import Wake
from fairlead.contracts.ports import Clock, Control

WAITING = 256
"""Wakes that may wait for delivery: beyond ten per model of a full catalogue they are repeats."""


class Wakes:
    """What one ingress has to say; `run` delivers it."""

    def __init__(self, site: str, clock: Clock, control: Control, every_s: float) -> None:
        """Say the same at most every `every_s` domain seconds."""
        self.sent = 0
        self.failed = 0
        """Not delivered; a held request is told again each refresh."""
        self._site = site
        self._clock = clock
        self._control = control
        self._every_s = every_s
        self._said: dict[tuple[str, str], float] = {}
        self._waiting: asyncio.Queue[Wake] = asyncio.Queue(WAITING)
        self._log = structlog.get_logger()

    def missing(self, model: str, held_for_s: float) -> None:
        """Say that nobody has a pod of the model."""
        self._say(model, "missing", held_for_s)

    def growing(self, model: str, wait_s: float) -> None:
        """Say that the model's best pod would take longer than half its start."""
        self._say(model, "wait", wait_s)

    async def run(self) -> Never:
        """Deliver until cancelled."""
        while True:
            wake = await self._waiting.get()
            try:
                await self._control.wake(wake)
                self.sent += 1
            except FairleadError as error:
                self.failed += 1
                self._log.info("wake not delivered", model=wake.model, error=str(error))

    def _say(self, model: str, reason: Literal["missing", "wait"], wait_s: float) -> None:
        now_s = self._clock.now_s()
        if now_s < self._said.get((model, reason), float("-inf")) + self._every_s or self._waiting.full():
            return
        self._said[model, reason] = now_s
        self._waiting.put_nowait(Wake(model=model, reason=reason, site=self._site, wait_s=wait_s, at_s=now_s))
