"""Labels: what each remembered plan was worth against the fallback, said by the twin, one epoch after the other.

Newest first, also cases that the twin of another version has judged. A case whose advantage is not significant is
forgotten (CONTROL §3): it taught nothing. The twin plays in a process of its own, of the lowest priority.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pydantic
import structlog

from fairlead.adapters.bound_child import bound
from fairlead.adapters.outage import Outage, describe
from fairlead.agents.judging import LOCK_FILE
from fairlead.contracts.cases import Case
from fairlead.contracts.errors import Conflict, FairleadError, NotFound
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings
from fairlead.policy.cases_shelf import significant
from planner.case_metrics import CaseMetrics
from planner.memory import CaseMemory
from planner.patience import within

LOOK_S = 5.0
"""Wall seconds between looks whether there is something to judge."""

PLAYING_S = 300.0
"""Wall seconds after which a twin that still plays is ended: sixteen branches of an epoch of `nation1000` with the
reference engine would not be done by then, those of any other cluster are."""

Hindsight = Callable[[Evidence], Awaitable[Label]]


class TwinFailed(FairleadError):
    """The process that judges an epoch has ended without a label."""

    code = "twin-failed"
    status = 503


class Labeller:
    """Has the twin judge what it has not; `run` ends by cancellation only."""

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, memory: CaseMemory, metrics: CaseMetrics, twin: Hindsight
    ) -> None:
        self._store = store
        self._clock = clock
        self._error_ratio = settings.llm.watchdog.error_ratio
        self._timeout_s = settings.mongodb.timeout_s
        self._memory = memory
        self._metrics = metrics
        self._twin = twin
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Judge until cancelled."""
        outage = Outage("judging cases", self._clock, self._metrics.failures)
        while True:
            try:
                judged = await self._one()
                outage.over()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            if not judged:
                await self._clock.sleep_for(LOOK_S * self._clock.speed)

    async def _one(self) -> bool:
        """Judge the newest case that is owed a label; False if none is. Raises `StoreUnavailable`."""
        name = self._memory.owed()
        if name is None:
            return False
        try:
            async with within(self._timeout_s, "reading what a case is judged by"):
                evidence = await self._store.evidence(name)
            label = await self._twin(evidence)
        except (NotFound, Conflict, TwinFailed) as error:
            self._memory.settled(name)
            self._metrics.labels.labels("failed").inc()
            self._log.warning("a case is not judged", case=name, why=describe(error))
            return True
        await self._keep(name, evidence.decision, label)
        self._memory.settled(name)
        return True

    async def _keep(self, name: str, unused: str | None, label: Label) -> None:
        """Write a label to its case, or forget the case where it says nothing; one not believed changes nothing.

        That of a plan which did not act, `unused` by its decision, is kept beside that alone.
        """
        if unused is not None:  # what came of the epoch is the fallback's
            label = label.model_copy(update={"replayed": label.fallback})
        try:
            async with within(self._timeout_s, "keeping a label"):
                case = await self._store.case(name)
                self._metrics.twin_error.observe(abs(label.replayed.objective - case.realised.objective))
                why = disbelieved(case, label, self._error_ratio)
                if why is not None:
                    self._metrics.labels.labels("wrong").inc()
                    self._log.warning("a case is not judged", case=name, why=why)
                    return
                await self._store.put_plan_worth(plan_worth(case, unused, label))
                if unused is not None:
                    self._metrics.labels.labels("unused").inc()
                    return
                if significant(label.advantage):
                    case = await self._store.label_case(name, label)
                else:
                    await self._store.delete_case(name)
        except NotFound:  # it was forgotten meanwhile
            self._memory.forget(name)
            return
        if not significant(label.advantage):
            self._memory.forget(name)
            self._metrics.labels.labels("insignificant").inc()
            return
        self._memory.note(case)
        self._metrics.labels.labels(verdict(case)).inc()


def disbelieved(case: Case, label: Label, error_ratio: float) -> str | None:
    """Return why the twin's word on a case is not taken; None if it is.

    Where the twin plays the plan itself to another end than came of it, what it says of the fallback is worth nothing:
    of an epoch at whose begin a busy machine's nodes were not heard for a moment it played F 0.88 where 0.18 was
    measured (2026-11).
    """
    played, measured = label.replayed.objective, case.realised.objective
    if abs(played - measured) <= error_ratio * min(played, measured):
        return None
    return f"the twin plays F {played:.3f} where {measured:.3f} was measured"


def plan_worth(case: Case, unused: str | None, label: Label) -> PlanWorth:
    """Return what is kept beside the decision of a case's plan, or of one that did not act in its epoch."""
    decision = unused or f"epoch-{case.plan_generation}"
    return PlanWorth(decision=decision, case=case.id, realised=case.realised, advantage=label.advantage)


def verdict(case: Case) -> str:
    """Return `better` or `worse` than the fallback."""
    return "better" if case.advantage is not None and case.advantage.low > 0.0 else "worse"


def hindsight_command(state_dir: str, engine: str = "auto") -> tuple[str, ...]:
    """Return the command that judges an epoch; of those with this state directory one at a time compiles the twin."""
    lock = Path(state_dir).absolute() / LOCK_FILE
    return (sys.executable, "-m", "planner.hindsight_child", "--engine", engine, "--lock", str(lock))


async def in_a_process(command: Sequence[str], evidence: Evidence) -> Label:
    """Return what the twin says of an epoch, played by a process of its own. Raises `TwinFailed`."""
    child = await asyncio.create_subprocess_exec(
        *bound(command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PLAYING_S):
            said, _ = await child.communicate(evidence.to_json().encode())
    except TimeoutError as error:
        raise TwinFailed(f"the twin has played {evidence.case} for more than {PLAYING_S:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        return Label.from_json(said)
    except pydantic.ValidationError as error:
        why = f"the twin's process ended with status {child.returncode} and no label"
        raise TwinFailed(why) from error
