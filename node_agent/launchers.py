"""Two ways to begin a pod: run its command, or have the testbed's warm parent fork it."""

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.adapters import process_table
from fairlead.contracts.cluster import Launch, NodeSpec
from fairlead.contracts.errors import PodFault, foreign
from fairlead.contracts.ports import PodOrder

OWNER = "FAIRLEAD_POD_OF"
"""Environment variable of every command's process: the directory of the agent that began it."""

SECRETS = ("FAIRLEAD_TOKEN", "FAIRLEAD_KEEPER_TOKEN")
"""Not handed on to model servers."""

PARENT_S = 5.0
"""Wall seconds for an answer of the warm parent: a fork takes milliseconds, a busy machine 100 times as much."""

LINE_BYTES = 1_000_000
"""Longest line of the warm parent: 1000 pods take 150 KB."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that exists."""

    pid: int
    start_ticks: int
    port: int
    child: bool
    """It is this process's own child and must be waited for."""


def launch_of(order: PodOrder) -> Launch:
    """Return how a pod is started as a process. Raises `PodFault` where its model has a container alone."""
    launch = order.model.launch
    if launch is None:
        raise PodFault(
            f"{order.model.id} on {order.node} has a container and no launch: give the model a launch, or let "
            "node_agent.runtime be kubernetes"
        )
    return launch


def run_command(order: PodOrder, directory: Path, log: Path) -> Launched:
    """Run a pod's command in a session of its own; it outlives the agent. Raises `PodFault`."""
    port = _free_port()
    words = {"port": str(port), "model": order.model.id, "node": order.node, "python": sys.executable}
    command = [_filled(argument, words) for argument in launch_of(order).command]
    environment = {k: v for k, v in os.environ.items() if k not in SECRETS} | {OWNER: str(directory.resolve())}
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
        )
    except (OSError, ValueError) as error:
        raise PodFault(f"{command[0]!r} for {order.model.id} on {order.node} cannot run: {foreign(error)}") from error
    finally:
        os.close(null)
        os.close(out)
    return Launched(pid, process_table.start_ticks(pid) or 0, port, child=True)


class WarmParentClient:
    """Asks the warm parent over its unix socket, one connection a question."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    async def fork(
        self, order: PodOrder, node: NodeSpec, ordered_at_s: float, address: tuple[str, int] | None = None
    ) -> Launched:
        """Have a pod forked, to listen at `address` or on a port of its own. Raises `PodFault`."""
        said = await self._ask(
            {
                "op": "fork",
                "node": node.to_document(),
                "model": order.model.to_document(),
                "instance": order.instance,
                "ordered_at_s": ordered_at_s,
                "address": address,
            }
        )
        return Launched(int(said["pid"]), int(said["start_ticks"]), int(said["port"]), child=False)

    async def pods(self, node: str) -> dict[str, tuple[int, int]]:
        """Return pid and start of each instance that the parent has on a node. Raises `PodFault`."""
        said = await self._ask({"op": "list", "node": node})
        return {str(p["instance"]): (int(p["pid"]), int(p["start_ticks"])) for p in said["pods"]}

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._path is None:
            raise PodFault(
                "a pod shall be forked by a warm parent, and none is set: give node_agent.warm_parent the socket of "
                "`python -m testbed.warm_parent`, or let the model's launcher be exec"
            )
        try:
            async with asyncio.timeout(PARENT_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES)
                try:
                    writer.write(json.dumps(question).encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
            said = json.loads(line)
        except (OSError, TimeoutError, ValueError) as error:
            raise PodFault(f"the warm parent at {self._path} does not answer: {foreign(repr(error))}") from error
        if not said.get("ok"):
            raise PodFault(f"the warm parent refused: {foreign(said.get('error', said))}")
        return dict(said)


def _free_port() -> int:
    """Return a loopback port that nobody has now; if somebody takes it first, the pod crashes and starts anew."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _filled(argument: str, words: dict[str, str]) -> str:
    """Replace `{port}`, `{model}`, `{node}` and `{python}`; other braces stay as they are."""
    for name, value in words.items():
        argument = argument.replace("{" + name + "}", value)
    return argument
