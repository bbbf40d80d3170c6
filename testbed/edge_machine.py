"""All that runs on one edge node, as children of one process: gateway, node agent, and what forks emulated pods.

The way to run an edge machine, or the container of one, by a single command. The children outlive one another: one that
dies is started again while the others serve on. Pods end with this process.
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog
import yaml

from fairlead.contracts.settings import Settings
from testbed.processes import adopt_orphans, clean_environment
from testbed.supervise import Program, Supervisor

STOP_GRACE_S = 4.0
"""Wall seconds between asking a process to end and ending it; less than the 10 s that a container engine gives."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A node, the site beside it, and the keys of their processes."""

    node: str
    site: str | None
    emulated: bool
    """Whether its models are emulated: the parent that forks them runs here too."""
    agent_token: str
    gateway_token: str
    keeper_token: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of a machine find what they share."""

    directory: Path

    @property
    def file(self) -> Path:
        """The settings file of all of them."""
        return self.directory / "settings.yaml"

    @property
    def socket(self) -> Path:
        """Where the parent of emulated pods listens."""
        return self.directory / "warm-parent.sock"


def programs(machine: Machine, place: Place) -> tuple[Program, ...]:
    """Return what runs on a machine."""
    config = ("--config", str(place.file))
    ours = (sys.executable, "-m", "fairlead_cli")
    node = ("--node", machine.node)
    site = () if machine.site is None else ("--site", machine.site)
    parent = (sys.executable, "-m", "testbed.warm_parent", "--socket", str(place.socket), *config)
    secret = {"FAIRLEAD_KEEPER_TOKEN": machine.keeper_token}
    return (
        *((Program("warm-parent", parent),) if machine.emulated else ()),
        Program(
            "gateway", (*ours, "gateway", *config, *node, *site), {"FAIRLEAD_TOKEN": machine.gateway_token} | secret
        ),
        Program("node-agent", (*ours, "node-agent", *config, *node), {"FAIRLEAD_TOKEN": machine.agent_token} | secret),
    )


def write_settings(settings: Settings, machine: Machine) -> Place:
    """Write the file that the processes of a machine read in place of the environment; return where that is."""
    place = Place(Path(settings.state_dir).absolute() / f"edge-{machine.node}")
    place.directory.mkdir(parents=True, exist_ok=True)
    if machine.emulated:
        pods = settings.node_agent.model_copy(update={"warm_parent": str(place.socket)})
        settings = settings.model_copy(update={"node_agent": pods})
    text = yaml.safe_dump(settings.to_document(), sort_keys=False, allow_unicode=True)
    place.file.write_text(text, encoding="utf-8")
    return place


async def run(settings: Settings, machine: Machine) -> None:
    """Keep a machine's processes running until SIGTERM or SIGINT, then end them and their pods: its gateway first."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    adopt_orphans()
    place = write_settings(settings, machine)
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    environ = clean_environment(os.environ, f"edge-{machine.node}-{os.getpid()}")
    supervisor = Supervisor(place.directory, environ, log.warning, to_files=False)
    try:
        for program in programs(machine, place):
            supervisor.start(program)
        log.info("edge is up", node=machine.node, site=machine.site, processes=sorted(supervisor.running()))
        await stop.wait()
    finally:
        for name in await supervisor.stop(["gateway"], grace_s=settings.gateway.drain_s + STOP_GRACE_S):
            log.warning("it did not end by itself and was killed", process=name)
        await supervisor.close(grace_s=STOP_GRACE_S)
