"""Kills and drains with real processes: nothing is lost silently, nothing is answered twice."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import KeeperUnavailable
from fairlead.contracts.settings import ControlSettings, Settings
from fairlead.contracts.tickets import PodEndpoint, PodSet
from tests.gateway.scene import Scene, TinyPod, free_port, model, scene, small_cluster
from tests.gateway.test_clusters import reaches
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A gateway in a process of its own, without a control plane."""

    def __init__(self, directory: Path, cluster: Cluster, node: str | None, site: str | None) -> None:
        away = ControlSettings(url=f"http://127.0.0.1:{free_port()}")
        settings = Settings(state_dir=str(directory), cluster=cluster, control=away)
        self._path = directory / f"{node or site}.json"
        self._path.write_text(settings.to_json())
        self._words = [sys.executable, "-m", "tests.gateway.one_process", str(self._path), node or "-", site or "-"]
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also anew."""
        self.child = subprocess.Popen(self._words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """End it and wait for that."""
        if self.child is not None:
            self.child.send_signal(sign)
            self.child.wait(20)
            self.child = None


@asynccontextmanager
async def process(directory: Path, cluster: Cluster, node: str | None, site: str | None) -> AsyncIterator[Process]:
    """Run a gateway in a process of its own, killed at the end."""
    one = Process(directory, cluster, node, site)
    one.start()
    try:
        yield one
    finally:
        one.kill()


async def declared(url: str, node: str, pod: TinyPod, sequence: int) -> None:
    """Declare one pod of `alpha` to a keeper, however long its process takes to listen."""
    end = PodEndpoint(
        model="alpha", instance="alpha-1", phase="ready", url=pod.url, concurrency=2, work_s=0.02, ready_at_s=None
    )
    keeper = HttpKeeper(url, None, ScaledClock())

    async def declared() -> bool:
        try:
            await keeper.declare(PodSet(node=node, instance="a", sequence=sequence, speed=1.0, pods=(end,)))
        except KeeperUnavailable:
            return False
        return True

    try:
        await until(declared, f"the keeper at {url} answers")
    finally:
        await keeper.close()


async def test_a_killed_keeper_loses_only_what_its_clients_had_begun_to_read(tmp_path: Path) -> None:
    """Kill -9 mid-stream: the stream failed visibly, all others are answered once elsewhere, and it comes back."""
    cluster = small_cluster(nodes=2, models=(model("alpha", concurrency=2),))
    far = TinyPod(pieces=2, halt_after_first=True)
    await far.start()
    far.gate.clear()
    async with scene(tmp_path, cluster) as s, process(tmp_path, cluster, "n1", None) as keeper:
        await s.gateway("n0", "s0")
        await declared(cluster.nodes[1].keeper_url, "n1", far, 1)
        await until(lambda: reaches(s, "n0", "n1"))
        async with s.ask(request="stream", stream=True) as answer:
            await answer.content.readline()
            far.halt_after_first = False
            whole = asyncio.create_task(s.asked(request="whole"))
            await until(lambda: far.running == 2)
            waiting = [asyncio.create_task(s.asked(request=f"w{i}")) for i in range(3)]
            await until(lambda: s.gateways["n0"].ledger.places["queued"] == 3)
            near = await s.pod("n0", "alpha")
            keeper.kill()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()
        assert [(await t)[0] for t in (whole, *waiting)] == [200] * 4
        assert sorted(near.began) == ["w0", "w1", "w2", "whole"]
        assert s.outcome("stream").status == "failed"
        assert {s.outcome(r).status for r in near.began} == {"finished"}
        await until(lambda: not reaches(s, "n0", "n1"))
        keeper.start()
        await declared(cluster.nodes[1].keeper_url, "n1", far, 2)
        await until(lambda: reaches(s, "n0", "n1"), "the restarted keeper is known again")
        far.gate.set()
        await s.declare("n0", "alpha", None)
        status, headers, _ = await s.asked(request="after")
        assert (status, headers["x-fairlead-node"]) == (200, "n1")
    await far.die()


async def test_a_gateway_restarts_from_its_cache_without_a_control_plane_and_its_log_outlives_a_kill(
    tmp_path: Path,
) -> None:
    """The cached cluster is used, and the outcome log has every line once."""
    cluster = small_cluster()
    pod = await TinyPod().start()
    (tmp_path / "n0").mkdir()
    (tmp_path / "n0" / "cluster.json").write_text(cluster.to_json())
    nowhere = cluster.model_copy(update={"models": ()})
    async with process(tmp_path, nowhere, "n0", "s0") as gateway, aiohttp.ClientSession() as client:
        for turn in (1, 2):
            await declared(cluster.nodes[0].keeper_url, "n0", pod, turn)
            document = {"model": "alpha", "messages": []}
            url = cluster.sites[0].url + "/v1/chat/completions"
            async with client.post(url, json=document, headers={"x-request-id": f"r{turn}"}) as answer:
                assert answer.status == 200
            gateway.kill()
            gateway.start()
    lines = (tmp_path / "outcomes" / "n0.jsonl").read_text().splitlines()
    assert [json.loads(line)["request"] for line in lines] == ["r1", "r2"]
    await pod.die()


async def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    """The ports are free afterwards."""
    cluster = small_cluster()
    pod = await TinyPod().start()
    async with process(tmp_path, cluster, "n0", "s0") as gateway:
        await declared(cluster.nodes[0].keeper_url, "n0", pod, 1)
        gateway.kill(signal.SIGINT)
    again = asyncio.get_running_loop()
    server = await again.create_server(asyncio.Protocol, "127.0.0.1", int(cluster.sites[0].url.rsplit(":", 1)[1]))
    server.close()
    await server.wait_closed()
    await pod.die()


async def test_invariant_06_200_role_changes_under_load_lose_nothing(tmp_path: Path) -> None:
    """Pods drain, stop and start anew on three nodes while requests and streams flow: none fails, none comes twice."""
    draw = random.Random(11)
    cluster = small_cluster(nodes=3, sites=2, models=(model("alpha", concurrency=2),))
    async with scene(tmp_path, cluster) as s:
        for gateway in (("n0", "s0"), ("n1", "s1"), ("n2", None)):
            await s.gateway(*gateway)
        for node in ("n0", "n1", "n2"):
            await s.pod(node, "alpha", work_s=0.002, pieces=3)
        await until(lambda: reaches(s, "n0", "n1", "n2") and reaches(s, "n1", "n0", "n2"))
        served: Counter[str] = Counter()
        changed = asyncio.Event()
        lines = [asyncio.create_task(_ask_until(s, changed, f"c{i}", f"s{i % 2}", served)) for i in range(8)]
        for turn in range(200):
            node = ("n0", "n1", "n2")[turn % 3]
            await _role_change(s, node, draw)
        changed.set()
        asked = [r for line in lines for r in await line]
        assert len(asked) > 200
        outcomes = {o.request: o for o in s.outcomes()}
        assert set(asked) == set(outcomes)
        assert {o.status for o in outcomes.values()} == {"finished"}
        assert sum(g.ledger.moved["lost"] for g in s.gateways.values()) == 0


async def _role_change(s: Scene, node: str, draw: random.Random) -> None:
    """Drain a node's pod as its agent does, then replace it by a new one."""
    old = s.pods[node, "alpha"]
    keeper = s.gateways[node].keeper
    assert keeper is not None
    await s.declare(node, "alpha", "draining")
    await until(lambda: all(u.running + u.waiting == 0 for u in keeper.uses().pods))
    await s.declare(node, "alpha", None)
    assert old.running == 0
    await s.pod(node, "alpha", work_s=0.002 * draw.random(), pieces=3)


async def _ask_until(s: Scene, over: asyncio.Event, name: str, site: str, served: Counter[str]) -> list[str]:
    asked: list[str] = []
    while not over.is_set():
        request = f"{name}-{len(asked)}"
        status, headers, body = await s.asked(site=site, request=request, stream=len(asked) % 2 == 0)
        assert status == 200, body
        assert body.endswith(b"data: [DONE]\n\n") or json.loads(body)["id"] == request
        served[headers["x-fairlead-node"]] += 1
        asked.append(request)
    return asked
