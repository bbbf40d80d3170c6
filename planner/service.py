"""The planner as a process: its store, its clock, its advisor, its case memory, its metrics."""

import asyncio
from functools import partial
from importlib.metadata import version

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.prometheus import exposed
from fairlead.agents.leading import leased, while_leading
from fairlead.agents.service import advised, stored
from fairlead.contracts.settings import Settings
from fairlead.policy.epoch import decide_epoch
from planner.case_metrics import CaseMetrics
from planner.decider import Case
from planner.evaluator import Evaluator
from planner.labelling import Labeller, hindsight_command, in_a_process
from planner.loop import Planner
from planner.memory import CaseMemory
from planner.metrics import PlannerMetrics


async def serve(settings: Settings) -> None:
    """Plan until cancelled, or while this planner holds the lease, where one is asked for.

    Raises `ConfigError` if there is no database, or a language model cannot be asked.
    """
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    metrics = PlannerMetrics()
    cases = CaseMetrics(metrics.registry)
    with exposed(metrics.registry, settings.planner.metrics_port, settings.planner.metrics_host):
        async with leased(settings.kubernetes, "planner") as lease:
            await while_leading(lease, lambda: _plan(settings, clock, metrics, cases))


async def _plan(settings: Settings, clock: ScaledClock, metrics: PlannerMetrics, cases: CaseMetrics) -> None:
    """Plan until cancelled."""
    release = version("fairlead")
    async with (
        stored(settings, "planner", clock, metrics.loop) as store,
        advised(settings, "planner", store, clock, metrics.dialogues) as advisor,
    ):
        memory = CaseMemory(store, clock, settings, release, cases)
        evaluator = Evaluator(store, clock, settings, release, memory, cases)
        twin = partial(in_a_process, hindsight_command(settings.state_dir))
        labeller = Labeller(store, clock, settings, memory, cases, twin)
        case = Case(settings, release, memory.recalled)
        planner = Planner(store, clock, case, decide_epoch, advisor, metrics)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(planner.run(), name="planner")
            tasks.create_task(evaluator.run(), name="planner: evaluator")
            tasks.create_task(labeller.run(), name="planner: labels")
