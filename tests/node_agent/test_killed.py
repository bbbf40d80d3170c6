"""The agent as a process, killed: pods outlive it, its successor takes them over, and what it had to say is said."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fairlead.adapters import process_table
from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.settings import ControlSettings, NodeAgentSettings, Settings
from node_agent.pod_record import PodRecord, PodRecords
from tests.adapters.rest_stub import TOKEN, served
from tests.node_agent.pods import kill, model, node, placement, warm_parent
from tests.waiting import until

SPEED = 20.0


@dataclass
class Machine:
    """A control plane and a keeper that the test moves, and an agent's process."""

    directory: Path
    control: MemoryControl
    keeper: MemoryKeeperControl
    agent: asyncio.subprocess.Process | None = None
    agents: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def begin(self) -> None:
        """Start an agent."""
        config = str(self.directory / "fairlead.yaml")
        command = ("-m", "fairlead_cli", "node-agent", "--config", config, "--node", "n1")
        environment = {**os.environ, "FAIRLEAD_TOKEN": TOKEN}
        self.agent = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment)
        self.agents.append(self.agent)

    async def kill(self) -> None:
        """Kill the agent as nothing else would."""
        assert self.agent is not None
        self.agent.send_signal(signal.SIGKILL)
        await self.agent.wait()

    async def ready(self, *names: str) -> None:
        """Wait until the keeper hears of exactly these ready pods."""
        want = dict.fromkeys(names, "ready")
        await until(lambda: self.keeper.phases() == want, f"the keeper hears that {names} are ready")

    def records(self) -> dict[str, PodRecord]:
        """Return what the agent wrote down of its pods."""
        return {r.model: r for r in PodRecords(self.directory / "node-agent-n1" / "pods").all()}

    def pid(self, name: str) -> int:
        """Return a pod's process."""
        pid = self.records()[name].pid
        assert pid is not None
        return pid


@pytest.fixture(params=["exec", "warm-parent"])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    """Give a machine on which pods are commands or forks; at the end no process is left."""
    launcher: str = request.param
    models = tuple(model(name, launcher=launcher, start_s=0.5) for name in ("a", "b"))
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(warm_parent(tmp_path, SPEED)) if launcher == "warm-parent" else None
        control = MemoryControl(Cluster(nodes=(node(),), models=models, sites=()))
        keeper = MemoryKeeperControl("n1")
        async with served(control, keeper) as url:
            control.replace_cluster(Cluster(nodes=(node(url),), models=models, sites=()))
            settings = Settings(
                state_dir=str(tmp_path),
                speed=SPEED,
                control=ControlSettings(url=url),
                node_agent=NodeAgentSettings(warm_parent=socket, backoff_first_s=2.0),
            )
            (tmp_path / "fairlead.yaml").write_text(settings.to_json())
            one = Machine(tmp_path, control, keeper)
            yield one
            for agent in one.agents:
                if agent.returncode is None:
                    agent.send_signal(signal.SIGTERM)
                    await agent.wait()
            for record in one.records().values():
                assert record.pid is not None
                kill(record.pid)


async def test_pods_outlive_a_killed_agent_and_are_taken_over(machine: Machine) -> None:
    """The same processes serve on, are never declared as anything but ready, and can be stopped by the successor."""
    await machine.begin()
    machine.control.publish(placement(1, "a", "b", expires_at_s=1e12))
    await machine.ready("a", "b")
    pids = {name: machine.pid(name) for name in ("a", "b")}
    await machine.kill()
    ticks = {name: machine.records()[name].start_ticks or 0 for name in pids}
    for name, pid in pids.items():
        assert process_table.is_alive(pid, ticks[name])
    count = len(machine.keeper.declared)
    first = machine.keeper.declared[-1].instance
    await machine.begin()
    await until(lambda: machine.keeper.declared[-1].instance != first, "the successor declares")
    after = machine.keeper.declared[count:]
    assert {(p.model, p.phase) for s in after if s.instance != first for p in s.pods} == {
        ("a", "ready"),
        ("b", "ready"),
    }
    assert {name: machine.pid(name) for name in ("a", "b")} == pids
    machine.control.publish(placement(2, "a", stoppable=("b",), expires_at_s=1e12))
    await machine.ready("a")
    await until(lambda: not process_table.is_alive(pids["b"], ticks["b"]), "the stopped pod's process is gone")


async def test_a_killed_pod_is_noticed_and_started_again(machine: Machine) -> None:
    """The keeper hears of it at once; the next one is another process, after the back-off."""
    await machine.begin()
    machine.control.publish(placement(1, "a", expires_at_s=1e12))
    await machine.ready("a")
    pid = machine.pid("a")
    killed_s = time.monotonic()
    kill(pid)
    await until(lambda: machine.keeper.phases() == {}, "the keeper hears that it is gone")
    await until(
        lambda: any(p.crashes == 1 for r in machine.control.node_reports for p in r.pods), "the crash is reported"
    )
    await machine.ready("a")
    assert time.monotonic() - killed_s >= 2.0 / SPEED
    assert machine.pid("a") != pid
    assert max(r.starts for r in machine.control.node_reports) == 2


async def test_a_pod_that_dies_while_no_agent_lives_is_started_again(machine: Machine) -> None:
    """The successor finds its record and no process."""
    await machine.begin()
    machine.control.publish(placement(1, "a", expires_at_s=1e12))
    await machine.ready("a")
    pid = machine.pid("a")
    await machine.kill()
    kill(pid)
    machine.keeper.declared.clear()
    machine.control.away = True
    await machine.begin()
    await machine.ready("a")
    assert machine.pid("a") != pid


async def test_reports_of_a_killed_agent_arrive(machine: Machine) -> None:
    """Those that it could not deliver come from its successor, each once and in order."""
    await machine.begin()
    await until(lambda: len(machine.control.node_reports) > 1, "reports arrive")
    first = machine.control.node_reports[0].instance
    machine.control.away = True
    before = len(machine.control.node_reports)
    machine.control.publish(placement(1, "a", expires_at_s=1e12))
    spool = machine.directory / "node-agent-n1" / "reports"
    size = sum(p.stat().st_size for p in spool.glob("*.ndjson"))
    await until(lambda: sum(p.stat().st_size for p in spool.glob("*.ndjson")) > size + 1500, "reports are kept")
    await machine.kill()
    machine.control.away = False
    await machine.begin()
    await until(lambda: machine.control.node_reports[-1].instance != first, "the successor reports")
    sequences = [r.sequence for r in machine.control.node_reports if r.instance == first]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) > before
