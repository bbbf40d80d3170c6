"""The planner as a process: its store, its clock, its metrics."""

from importlib.metadata import version

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import connect
from fairlead.adapters.outage import Outage, persist
from fairlead.adapters.prometheus import exposed
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import Settings
from fairlead.policy.epoch import decide_epoch
from planner.loop import Planner
from planner.metrics import PlannerMetrics


async def serve(settings: Settings) -> None:
    """Plan until cancelled. Raises `ConfigError` if there is no database."""
    if settings.mongodb.uri is None:
        raise ConfigError("the planner needs a database: set mongodb.uri or FAIRLEAD_MONGODB_URI")
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    metrics = PlannerMetrics()
    outage = Outage("reaching the store", clock, metrics.failures)
    store = await persist(outage, lambda: connect(settings.mongodb, clock))
    try:
        with exposed(metrics.registry, settings.planner.metrics_port):
            await Planner(store, clock, settings, version("fairlead"), decide_epoch, metrics).run()
    finally:
        await store.close()
