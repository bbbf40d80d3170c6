"""The twin's gate as an agent sees it: a child process that judges, waited for no longer than a deadline.

The child is started when something will be judged for the first time, and again, ever more seldom, when it ends. Until
it is ready the answer is `absent`, past the deadline `late`: the fallback acts, nothing waits.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from fairlead.adapters.bound_child import bound
from fairlead.adapters.outage import describe
from fairlead.agents.frames import HUNG_S, LINE_MOST, Question, Verdict
from fairlead.agents.metrics import DialogueMetrics
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import GateStatus, Judge, Judgement
from fairlead.contracts.errors import foreign
from fairlead.contracts.ports import Clock
from fairlead.contracts.settings import Settings

AGAIN_FIRST_S = 1.0
AGAIN_MOST_S = 60.0
"""Wall seconds before a child that ended is started again; they double each time in a row."""

LOCK_FILE = "twin.lock"
"""In the state directory."""


@dataclass(slots=True)
class Open:
    """A question that the child has not answered yet."""

    number: int
    since_s: float
    """Wall time."""
    answer: "asyncio.Future[Verdict]"


class TwinProcess:
    """The port `Judging` with a child process; what it says of itself is true at any time."""

    def __init__(
        self, command: Sequence[str], clock: Clock, metrics: DialogueMetrics, changed: Callable[[], None]
    ) -> None:
        """`command` runs `fairlead.agents.twin_child`, or whatever speaks as it does; `changed` hears of each state."""
        self._command = tuple(command)
        self._clock = clock
        self._metrics = metrics
        self._changed = changed
        self._wanted = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._open: Open | None = None
        self._asked = 0
        self._began_s = 0.0
        """When the child was started, wall time."""
        self._status = GateStatus(state="idle", text="nothing was to be judged yet")
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def wanted(self) -> None:
        """Have the child started, if it is not."""
        self._wanted.set()

    def status(self) -> GateStatus:
        """Return how the child is, and what its judgements were."""
        if self._status.state != "starting":
            return self._status
        took_s = self._clock.wall_s() - self._began_s
        return self._status.model_copy(update={"text": f"its process begins, {took_s:.0f} s so far"})

    async def judge(self, asked: SlotInput | EpochInput, judge: Judge, *, deadline_s: float) -> Judgement:
        """Return what the child says within `deadline_s` wall seconds, or that it says nothing."""
        self.wanted()
        began_s = self._clock.wall_s()
        judgement = await self._judged(asked, judge, deadline_s)
        took_s = max(0.0, self._clock.wall_s() - began_s)
        judgement = judgement.model_copy(update={"took_s": took_s})
        self._metrics.judged(judgement)
        self._count(judgement)
        return judgement

    async def _judged(self, asked: SlotInput | EpochInput, judge: Judge, deadline_s: float) -> Judgement:
        child = self._child
        if self._status.state != "ready" or child is None or child.stdin is None:
            return Judgement(code="absent", text=foreign(f"the twin is not ready: {self.status().text}"))
        if self._open is not None:
            return Judgement(code="late", text="the twin is still busy with a proposal before")
        if deadline_s <= 0.0:
            return Judgement(code="late", text="no time was left")
        self._asked += 1
        self._open = Open(self._asked, self._clock.wall_s(), asyncio.get_running_loop().create_future())
        answer = self._open.answer
        lines = Question(self._asked, asked, judge, deadline_s).lines()
        child.stdin.write(lines)  # a pipe takes it piece by piece, beside the loop
        limit = asyncio.create_task(self._clock.sleep_for(deadline_s * self._clock.speed))
        waits: set[asyncio.Future[Any]] = {answer, limit}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
        if not answer.done() or answer.result().late:
            return Judgement(code="late", text=f"the twin has not judged within {deadline_s:.2f} s")
        verdict = answer.result()
        if verdict.judgement is None:
            return Judgement(code="absent", text=foreign(f"judging failed: {verdict.fault}"))
        return verdict.judgement

    def _count(self, judgement: Judgement) -> None:
        status = self._status
        name = {"no-worse": "no_worse", "worse": "worse"}.get(judgement.code, "unjudged")
        more = {name: getattr(status, name) + 1, "seconds": status.seconds + judgement.took_s}
        self._status = status.model_copy(update=more)

    async def run(self) -> None:
        """Keep a child once one is wanted, until cancelled."""
        await self._wanted.wait()
        wait_s = AGAIN_FIRST_S
        while True:
            began_s = self._clock.wall_s()
            try:
                why = await self._lived()
            except OSError as error:
                why = describe(error)
            self._say(state="away", text=foreign(why))
            self._log.warning("the twin's process ended: nothing is judged until it is back", why=why)
            if self._clock.wall_s() - began_s > AGAIN_MOST_S:
                wait_s = AGAIN_FIRST_S
            await self._clock.sleep_for(wait_s * self._clock.speed)
            wait_s = min(AGAIN_MOST_S, 2.0 * wait_s)

    def _say(self, **what: object) -> None:
        before = self._status.state
        self._status = self._status.model_copy(update=what)
        if self._status.state != before:
            self._changed()

    async def _lived(self) -> str:
        """Start a child and hear it until it ends; return how that was. Raises `OSError`."""
        self._began_s = self._clock.wall_s()
        child = await asyncio.create_subprocess_exec(
            *bound(self._command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_MOST,
        )
        self._child = child
        self._say(state="starting", starts=self._status.starts + 1)
        hearing = asyncio.create_task(self._heard(child))
        try:
            while not hearing.done():
                if self._is_hung():
                    return f"it judged for more than {HUNG_S:.0f} s and was ended"
                tick = asyncio.create_task(self._clock.sleep_for(self._clock.speed))
                await asyncio.wait({hearing, tick}, return_when=asyncio.FIRST_COMPLETED)
                tick.cancel()
            return await hearing
        finally:
            self._child = None
            hearing.cancel()
            with suppress(ProcessLookupError):
                child.kill()  # it keeps nothing: what it compiles appears on disk in one piece
            await child.wait()
            if self._open is not None and not self._open.answer.done():
                ended = Verdict(number=self._open.number, fault="its process ended", twin="", memory_bytes=0)
                self._open.answer.set_result(ended)
            self._open = None

    def _is_hung(self) -> bool:
        return self._open is not None and self._clock.wall_s() - self._open.since_s > HUNG_S

    async def _heard(self, child: asyncio.subprocess.Process) -> str:
        """Take verdicts until there are no more; return how the child ended."""
        assert child.stdout is not None
        while line := await child.stdout.readline():
            try:
                verdict = Verdict.from_json(line)
            except ValueError:
                return f"it said what is no verdict: {foreign(line[:100].decode(errors='replace'))}"
            self._say(twin=verdict.twin, memory_bytes=verdict.memory_bytes)
            self._metrics.twin_memory(verdict.memory_bytes)
            if verdict.number == 0:
                took_s = self._clock.wall_s() - self._began_s
                self._say(state="ready", text=f"ready after {took_s:.1f} s")
            elif self._open is not None and self._open.number == verdict.number:
                if not self._open.answer.done():
                    self._open.answer.set_result(verdict)
                self._open = None
        return f"it ended with status {await child.wait()}"


def twin_command(settings: Settings) -> tuple[str, ...]:
    """Return the command that runs the twin; of those with one state directory one at a time compiles its core."""
    lock, llm = Path(settings.state_dir).absolute() / LOCK_FILE, settings.llm
    words = ("--nice", str(llm.gate_nice), "--engine", llm.gate_engine, "--lock", str(lock))
    return (sys.executable, "-m", "fairlead.agents.twin_child", *words)
