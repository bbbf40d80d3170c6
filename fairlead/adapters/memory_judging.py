"""A twin in memory: judges as a test tells it to; the fake beside the process of `fairlead.agents.judging`."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import GateStatus, Judge, Judgement

NO_WORSE = Judgement(code="no-worse", text="a test says so")
"""What is said where nothing else is told."""

Verdicts = Iterable[Judgement] | Callable[[Judge], Judgement]
"""What is said, one after another, `absent` when there is no more; or what judges each proposal."""


class MemoryJudging:
    """The port `Judging` without a process, ready at once."""

    def __init__(self, verdicts: Verdicts = lambda _: NO_WORSE) -> None:
        self._judge = verdicts if callable(verdicts) else None
        self._left = deque(() if callable(verdicts) else verdicts)
        self.judged: list[Judge] = []
        """In the order in which they came."""

    def wanted(self) -> None:
        """Do nothing: it is ready."""

    def status(self) -> GateStatus:
        """Return that it is ready."""
        return GateStatus(state="ready", twin="memory")

    async def judge(self, asked: SlotInput | EpochInput, judge: Judge, *, deadline_s: float) -> Judgement:
        """Return what was told; `late` where no time was left."""
        self.judged.append(judge)
        if deadline_s <= 0.0:
            return Judgement(code="late", text="no time was left")
        if self._judge is not None:
            return self._judge(judge)
        return self._left.popleft() if self._left else Judgement(code="absent", text="there is nothing more to say")

    async def run(self) -> None:
        """Wait to be cancelled."""
        await asyncio.Event().wait()
