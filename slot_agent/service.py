"""The slot agent as a process: its store, its clock, its advisor, its static placement, its metrics."""

from importlib.metadata import version
from pathlib import Path

import pydantic

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.prometheus import exposed
from fairlead.agents.leading import leased, while_leading
from fairlead.agents.service import advised, stored
from fairlead.contracts.errors import ConfigError, foreign
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.settings import Settings
from fairlead.policy.registry import decide_slot
from slot_agent.loop import SlotAgent
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Case

STATIC_FILE = "static.json"
"""In the state directory: the placement of policies that are given one, a list of `NodePlacement`."""


async def serve(settings: Settings) -> None:
    """Decide until cancelled, or while this slot agent holds the lease, where one is asked for.

    Raises `ConfigError` if there is no database, the static placement cannot be read, or a language model not asked.
    """
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    metrics = SlotMetrics()
    case = Case(settings, static_placement(Path(settings.state_dir)), version("fairlead"))

    async def decide() -> None:
        async with (
            stored(settings, "slot-agent", clock, metrics.loop) as store,
            advised(settings, "slot-agent", store, clock, metrics.dialogues) as advisor,
        ):
            await SlotAgent(store, clock, case, decide_slot, advisor, metrics).run()

    with exposed(metrics.registry, settings.slot_agent.metrics_port, settings.slot_agent.metrics_host):
        async with leased(settings.kubernetes, "slot-agent") as lease:
            await while_leading(lease, decide)


def static_placement(state_dir: Path) -> tuple[NodePlacement, ...]:
    """Return the placement that policies like `sed-static` are given; empty where there is no file."""
    path = state_dir / STATIC_FILE
    if not path.exists():
        return ()
    try:
        return pydantic.TypeAdapter(tuple[NodePlacement, ...]).validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise ConfigError(f"{path} is not a list of placements of nodes: {foreign(error)}") from error
