"""`fairlead edge` as a process: all of a node by one command, which mends what dies and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.mongod import free_port
from fairlead.contracts.cluster import Cluster, SiteSpec
from fairlead.contracts.settings import ControlSettings, Settings
from fairlead_cli import keys
from tests.adapters.rest_stub import TOKEN, served
from tests.node_agent.pods import model, node, placement
from tests.waiting import until

SPEED = 20.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge and the control plane that it obeys."""

    directory: Path
    control: MemoryControl
    process: asyncio.subprocess.Process

    def children(self) -> dict[str, int]:
        """Return the processes that the edge keeps, pid by name; none while it starts."""
        file = self.directory / "edge-n1" / "processes.json"
        if not file.is_file():
            return {}
        return {row["name"]: row["pid"] for row in json.loads(file.read_text("utf-8"))["processes"]}

    def serves(self) -> bool:
        """Tell whether the keeper's last report has the pod ready."""
        last = self.control.gateway_reports[-1:]
        return any(p.phase == "ready" for r in last if r.keeper is not None for p in r.keeper.pods)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """Run an edge with one emulated model on a node with a site."""
    keeper, site = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    models = (model("a", launcher="warm-parent", start_s=0.5),)
    cluster = Cluster(nodes=(node(keeper),), models=models, sites=(SiteSpec(id="s1", node="n1", url=site),))
    control = MemoryControl(cluster)
    async with served(control) as url:
        settings = Settings(state_dir=str(tmp_path), speed=SPEED, control=ControlSettings(url=url))
        (tmp_path / "fairlead.yaml").write_text(settings.to_json())
        for name in (keys.AGENT, keys.GATEWAY, keys.KEEPER):
            keys.write(tmp_path / "keys" / name, TOKEN)
        command = ("edge", "--node", "n1", "--site", "s1", "--emulated", "--keys", str(tmp_path / "keys"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fairlead_cli", *command, "--config", str(tmp_path / "fairlead.yaml")
        )
        yield Edge(tmp_path, control, process)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_an_edge_mends_what_dies_and_ends_with_all_its_pods(edge: Edge) -> None:
    """A pod gets ready; a killed gateway and a killed node agent come back beside it; at SIGTERM nothing is left."""
    edge.control.publish(placement(1, "a", expires_at_s=1e12))
    await until(edge.serves, "the keeper has the pod")
    names = edge.children()
    assert sorted(names) == ["gateway", "node-agent", "warm-parent"]
    pods = psutil.Process(names["warm-parent"]).children()
    assert len(pods) == 1
    killed = ("gateway", "node-agent")
    for name in killed:
        os.kill(names[name], signal.SIGKILL)
    await until(lambda: all(edge.children().get(one, names[one]) != names[one] for one in killed), "others run")
    reports = len(edge.control.gateway_reports)
    await until(lambda: len(edge.control.gateway_reports) > reports + 1 and edge.serves(), "it serves as before")
    assert psutil.Process(names["warm-parent"]).children() == pods
    below = psutil.Process(edge.process.pid).children(recursive=True)
    edge.process.send_signal(signal.SIGTERM)
    assert await edge.process.wait() == 0
    assert not [one for one in below if one.is_running()]


async def test_an_edge_that_is_told_to_stop_ends_its_requests_before_its_pods(edge: Edge) -> None:
    """The client has its whole answer, which takes longer than anything here is given to end without that."""
    edge.control.publish(placement(1, "a", expires_at_s=1e12))
    await until(edge.serves, "the keeper has the pod")
    words = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "metadata": {"work_s": f"{6.0 * SPEED}"}}
    url = f"{(await edge.control.cluster()).sites[0].url}/v1/chat/completions"

    def runs() -> bool:
        keeper = edge.control.gateway_reports[-1].keeper
        return keeper is not None and any(pod.running for pod in keeper.pods)

    async def ask() -> int:
        async with aiohttp.ClientSession() as client, client.post(url, json=words) as answer:
            await answer.read()
            return answer.status

    asked = asyncio.create_task(ask())
    await until(runs, "the pod has the request")
    edge.process.send_signal(signal.SIGTERM)
    assert await asked == 200
    assert await edge.process.wait() == 0
