"""A gateway that is told to stop: what is open ends, nothing new is begun, and it waits no longer than it may."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from fairlead.contracts.settings import GatewaySettings
from tests.gateway.scene import Answer, Scene, TinyPod, scene, small_cluster
from tests.waiting import until


async def with_one_request(s: Scene, drain_s: float) -> tuple[TinyPod, asyncio.Task[Answer]]:
    """Start a gateway and a pod that has a request; return the pod and the request."""
    s.settings = s.settings.model_copy(update={"gateway": GatewaySettings(drain_s=drain_s)})
    await s.gateway("n0", "s0")
    pod = await s.pod("n0", "alpha")
    pod.gate.clear()
    asked = asyncio.create_task(s.asked(request="open"))
    await until(lambda: pod.running == 1)
    return pod, asked


async def test_what_is_open_ends_and_nobody_new_comes(tmp_path: Path) -> None:
    """A connection that is kept open has one more answer, by which its client learns to ask elsewhere."""
    async with scene(tmp_path, small_cluster()) as s, aiohttp.ClientSession() as stranger:
        pod, asked = await with_one_request(s, drain_s=30.0)
        gateway = s.gateways["n0"]
        waiting = asyncio.create_task(s.asked(request="waits"))
        await until(lambda: len(gateway.ledger.open) == 2)
        async with s.client.get(s.url("s0") + "/healthz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "ok")
        stopping = asyncio.create_task(s.stop("n0"))
        await until(lambda: gateway.draining)
        kept = asyncio.create_task(s.asked(request="kept"))
        await until(lambda: len(gateway.ledger.open) == 3)
        with pytest.raises(aiohttp.ClientConnectorError):
            await stranger.get(s.url("s0") + "/healthz")
        assert not stopping.done()
        pod.gate.set()
        answers = [await one for one in (asked, waiting, kept)]
        assert [(status, headers.get("connection")) for status, headers, _ in answers] == [(200, "close")] * 3
        await stopping
        assert {one.status for one in s.outcomes()} == {"finished"}


async def test_whoever_asks_about_the_health_of_one_that_drains_is_told(tmp_path: Path) -> None:
    """By the port of the keeper, which others know."""
    async with scene(tmp_path, small_cluster()) as s:
        pod, asked = await with_one_request(s, drain_s=30.0)
        stopping = asyncio.create_task(s.stop("n0"))
        await until(lambda: s.gateways["n0"].draining)
        async with s.client.get(s.cluster.nodes[0].keeper_url + "/healthz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (503, "draining")
        pod.gate.set()
        await asyncio.gather(asked, stopping)


async def test_tickets_of_others_that_wait_go_elsewhere_and_running_ones_end(tmp_path: Path) -> None:
    """The keeper of a node whose gateway is replaced: its pods are still there, and so is the other node."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        s.settings = s.settings.model_copy(update={"gateway": GatewaySettings(drain_s=30.0)})
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        pod = await s.pod("n1", "alpha")
        pod.gate.clear()
        asked = [asyncio.create_task(s.asked(request=name)) for name in ("runs", "waits")]
        await until(lambda: pod.running == 1)
        keeper = s.gateways["n1"].keeper
        assert keeper is not None
        await until(lambda: keeper.waiting == 1)
        stopping = asyncio.create_task(s.stop("n1"))
        other = await s.pod("n0", "alpha")
        await until(lambda: bool(other.began))
        assert not stopping.done()
        pod.gate.set()
        assert [(await one)[0] for one in asked] == [200, 200]
        await stopping
        assert len(pod.began) == len(other.began) == 1


@pytest.mark.parametrize("drain_s", [0.0, 0.2])
async def test_it_waits_no_longer_than_it_may(tmp_path: Path, drain_s: float) -> None:
    """What is still open has failed then, and says why."""
    async with scene(tmp_path, small_cluster()) as s:
        _, asked = await with_one_request(s, drain_s)
        await s.stop("n0")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await asked
        assert (s.outcome("open").status, s.outcome("open").reason) == ("failed", "gateway-stopped")


async def test_told_twice_it_ends_at_once(tmp_path: Path) -> None:
    """As a person expects who presses Ctrl-C again."""
    async with scene(tmp_path, small_cluster()) as s:
        pod, asked = await with_one_request(s, drain_s=600.0)
        stopping = asyncio.create_task(s.stop("n0"))
        await until(lambda: s.gateways["n0"].draining)
        stopping.cancel()
        await asyncio.wait([stopping], timeout=30.0)
        assert stopping.done()
        pod.gate.set()
        await asyncio.gather(asked, return_exceptions=True)
