"""A keeper whose stream of state is down is known by its reports, by way of the control API (DESIGN §3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fairlead.adapters.clock import VirtualClock
from fairlead.contracts.readings import KeeperState, PodLoad
from fairlead.policy.believing import FASTER_MOST, Bounds
from gateway.view import View
from tests.gateway.scene import free_port, scene, small_cluster
from tests.gateway.test_clusters import reaches
from tests.waiting import until


@dataclass
class Road:
    """A way to a keeper on which streams of state can be cut while offers pass."""

    port: int
    to: int
    cut: bool = False
    streams: set[asyncio.StreamWriter] = field(default_factory=set)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pipe one connection, by its first line."""
        first = await reader.readline()
        is_stream = b"/keeper/v1/state" in first
        try:
            if not first or (is_stream and self.cut):
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
            if is_stream:
                self.streams.add(writer)
            back.write(first)
            pipes = (asyncio.ensure_future(_pipe(reader, back)), asyncio.ensure_future(_pipe(there, writer)))
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            back.close()
        finally:
            self.streams.discard(writer)
            writer.close()

    def block(self) -> None:
        """Cut the streams that there are, and let no new one through."""
        self.cut = True
        for stream in self.streams:
            stream.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def road(to_url: str) -> AsyncIterator[Road]:
    """Open a road to the keeper at `to_url`."""
    one = Road(free_port(), urlsplit(to_url).port or 0)
    server = await asyncio.start_server(one.pass_on, "127.0.0.1", one.port)
    try:
        yield one
    finally:
        server.close()
        await server.wait_closed()


async def test_a_node_whose_stream_is_cut_goes_on_serving_by_its_reports(tmp_path: Path) -> None:
    """And stays away once its reports end too; when the stream is back it is known by that."""
    cluster = small_cluster(nodes=2)
    near, far = cluster.nodes
    async with road(far.keeper_url) as way, scene(tmp_path, cluster) as s:
        await s.gateway("n1", None)
        roundabout = far.model_copy(update={"keeper_url": f"http://127.0.0.1:{way.port}"})
        s.cluster = cluster.model_copy(update={"nodes": (near, roundabout)})
        s.control.replace_cluster(s.cluster)
        ingress = await s.gateway("n0", "s0")
        await s.pod("n1", "alpha")
        await until(lambda: reaches(s, "n0", "n1"), "the node is known by its stream")
        way.block()
        await until(lambda: bool(ingress.view.unheard(["n1"])), "the stream is down")
        await until(lambda: reaches(s, "n0", "n1"), "the node is known by its reports")
        status, headers, _ = await s.asked(request="roundabout")
        assert (status, headers["x-fairlead-node"]) == (200, "n1")
        s.control.away = True
        await until(lambda: not reaches(s, "n0", "n1"), "without reports it is away")
        s.control.away = way.cut = False
        await until(lambda: reaches(s, "n0", "n1") and not ingress.view.unheard(["n1"]), "the stream is back")


def state(sequence: int, at_s: float) -> KeeperState:
    """Return the word of a keeper with one ready pod."""
    load = PodLoad(model="alpha", phase="ready", ready_in_s=0.0, work_s=0.0, count=0, running=0, used_at_s=None)
    return KeeperState(node="n1", instance="k", sequence=sequence, observed_at_s=at_s, speed=1.0, pods=(load,))


def view(clock: VirtualClock) -> View:
    """Return what an ingress knows that takes a silence of 3 s."""
    one = View("s0", clock, 30.0, 3.0)
    one.declared({"alpha": 1.0})
    return one


async def test_the_last_report_of_a_keeper_that_died_proves_nothing() -> None:
    """What was said before its stream broke is not taken; what is said afterwards is."""
    clock = VirtualClock(100.0)
    one = view(clock)
    assert one.unheard(["n1"]) == ("n1",)
    assert one.heard(state(1, 100.0))
    assert not one.reported(state(2, 100.0))
    await clock.advance(0.5)
    one.lost("n1")
    assert not one.reported(state(2, 100.2))
    assert not one.loads(clock.now_s())
    await clock.advance(0.5)
    assert one.reported(state(3, 101.0))
    one.lost("n1")
    assert "n1" in one.loads(clock.now_s())


async def test_a_reports_age_counts_against_its_use() -> None:
    """One of 2 s ago serves for another second only, one of 4 s ago not at all."""
    clock = VirtualClock(100.0)
    one = view(clock)
    assert not one.reported(state(1, 96.0))
    assert one.reported(state(2, 98.0))
    await clock.advance(0.9)
    assert "n1" in one.loads(clock.now_s())
    await clock.advance(0.2)
    assert "n1" not in one.loads(clock.now_s())


async def test_a_keeper_that_hides_its_queue_and_boasts_is_not_believed() -> None:
    """The tickets that it has acknowledged and not begun to answer wait there, but one that may be on its way."""
    clock = VirtualClock(100.0)
    one = view(clock)
    one.bounded(Bounds({"n1": 1.0}, {"alpha": 1}, {"alpha": 1.0}))
    assert one.heard(state(1, 100.0))
    sent = [one.sent("n1", "alpha") for _ in range(5)]
    for each in sent:
        one.acknowledged(each)
    await clock.advance(0.1)
    assert one.heard(state(2, clock.now_s()).model_copy(update={"speed": 1e6}))
    load = one.loads(clock.now_s())["n1"]
    assert load.speed == FASTER_MOST
    assert load.pods[0].count == 4
    assert load.pods[0].work_s == pytest.approx(3.1)
    one.answered(sent[0])
    one.settled(sent[1])
    one.settled(sent[0])
    assert one.heard(state(3, clock.now_s()))
    assert one.loads(clock.now_s())["n1"].pods[0].count == 2
    one.forget("n1")
    for each in sent:
        one.settled(each)
