"""One suite for the control API as the edge reaches it: over HTTP and in memory."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web

from fairlead.adapters.control_http import HttpControl
from fairlead.adapters.memory_control import MemoryControl
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ControlUnavailable, Denied, FairleadError, InputError, NotFound
from fairlead.contracts.events import Wake
from fairlead.contracts.plans import EpochPlan, RoutingTable
from fairlead.contracts.ports import Control
from fairlead.contracts.readings import GatewayReport, KeeperState, NodeReport
from tests.adapters.rest_stub import TOKEN, served
from tests.node_agent.pods import free_port, model, node, placement

CLUSTER = Cluster(nodes=(node(),), models=(model("a"),), sites=())


@dataclass
class Side:
    """The control plane from both sides."""

    edge: Control
    """As the edge reaches it."""
    core: MemoryControl
    """What stands behind."""


@contextlib.asynccontextmanager
async def over_http() -> AsyncIterator[Side]:
    """Reach it through a socket."""
    core = MemoryControl(CLUSTER)
    async with served(core) as url:
        edge = HttpControl(url, TOKEN)
        yield Side(edge, core)
        await edge.close()


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Side]:
    """Reach it by a call."""
    core = MemoryControl(CLUSTER)
    yield Side(core, core)


@pytest.fixture(params=[over_http, in_memory], ids=["http", "memory"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """Give each way in turn."""
    async with request.param() as one:
        yield one


def table(generation: int) -> RoutingTable:
    """Return a table without rows."""
    return RoutingTable(
        generation=generation,
        placement_generation=1,
        plan_generation=0,
        slot=0,
        created_at_s=0.0,
        expires_at_s=60.0,
        decision="slot-1",
        source="fallback",
        rows=(),
        work=(),
        speeds=(),
    )


def report(sequence: int) -> NodeReport:
    """Return a report of an empty node."""
    return NodeReport(
        node="n1",
        instance="n1-x",
        sequence=sequence,
        observed_at_s=1.5,
        memory_bytes=1,
        memory_used_bytes=0,
        placement_generation=0,
        pods=(),
        starts=0,
        stops=0,
        overruns=0,
        forced_losses=0,
    )


def gateway_report(sequence: int) -> GatewayReport:
    """Return a report of an idle gateway."""
    return GatewayReport(
        gateway="g1",
        instance="g1-x",
        sequence=sequence,
        observed_at_s=1.5,
        site=None,
        models=(),
        choices=(),
        samples=(),
        outcomes=(),
        keeper=None,
        table_generation=0,
    )


async def test_it_gives_the_cluster(side: Side) -> None:
    """In full."""
    assert await side.edge.cluster() == CLUSTER


async def test_a_poll_returns_what_is_newer_at_once(side: Side) -> None:
    """And nothing that is not."""
    side.core.publish(placement(3, "a"))
    side.core.publish(table(5))
    found = await side.edge.placement(newer_than=2, wait_s=5.0)
    assert found is not None
    assert (found.generation, found.nodes[0].awake) == (3, ("a",))
    assert await side.edge.placement(newer_than=3, wait_s=0.05) is None
    assert await side.edge.table(newer_than=4, wait_s=5.0) == table(5)
    assert await side.edge.table(newer_than=5, wait_s=0.05) is None
    plan = EpochPlan(
        generation=2, parent=1, epoch=0, created_at_s=0.0, expires_at_s=60.0, source="operator",
        intents=(), priorities=(), warm=(), why="",
    )  # fmt: skip
    side.core.publish(plan)
    assert await side.edge.plan(newer_than=1, wait_s=5.0) == plan
    assert await side.edge.plan(newer_than=2, wait_s=0.05) is None


async def test_a_poll_waits_for_what_comes(side: Side) -> None:
    """It returns when it is published, not when the wait ends."""
    waiting = asyncio.create_task(side.edge.placement(newer_than=0, wait_s=20.0))
    tables = asyncio.create_task(side.edge.table(newer_than=0, wait_s=20.0))
    await asyncio.sleep(0)
    begun_s = time.monotonic()
    side.core.publish(placement(1))
    side.core.publish(table(1))
    async with asyncio.timeout(10):
        found, other = await waiting, await tables
    assert found is not None
    assert other is not None
    assert time.monotonic() - begun_s < 10


async def test_reports_arrive_once(side: Side) -> None:
    """A repeated one is taken as delivered and kept once."""
    for sequence in (1, 2, 2, 1):
        await side.edge.report_node(report(sequence))
        await side.edge.report_gateway(gateway_report(sequence))
    assert side.core.node_reports == [report(1), report(2)]
    assert side.core.gateway_reports == [gateway_report(1), gateway_report(2)]
    assert side.core.refused == 4


async def test_a_wake_arrives(side: Side) -> None:
    """As it was said."""
    wake = Wake(model="a", reason="missing", site="s1", wait_s=2.5, at_s=7.0)
    await side.edge.wake(wake)
    assert side.core.wakes == [wake]


async def test_keepers_are_known_by_their_newest_reports(side: Side) -> None:
    """Those that were asked for and have reported, sorted."""
    for sequence, name in enumerate(("b", "a", "c", "a"), 1):
        state = KeeperState(
            node=name, instance="k", sequence=sequence, observed_at_s=float(sequence), speed=1.0, pods=()
        )
        await side.edge.report_gateway(gateway_report(sequence).model_copy(update={"keeper": state}))
    found = await side.edge.keepers(("b", "a", "d"))
    assert [(state.node, state.sequence) for state in found] == [("a", 4), ("b", 1)]


async def test_away_is_unavailable(side: Side) -> None:
    """For every call, so that the caller tries again."""
    side.core.away = True
    calls = (
        side.edge.cluster(),
        side.edge.placement(newer_than=0, wait_s=1.0),
        side.edge.report_node(report(1)),
    )
    for call in calls:
        with pytest.raises(ControlUnavailable):
            await call


# --- what only a socket shows


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputError),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (413, InputError),
        (422, InputError),
        (429, ControlUnavailable),
        (500, ControlUnavailable),
        (503, ControlUnavailable),
    ],
)
async def test_a_status_becomes_an_error(status: int, kind: type[FairleadError]) -> None:
    """Of the kind that says whether trying again may help; foreign words are cut."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="words " * 500)

    async with plain(answer) as url:
        control = HttpControl(url, "t")
        with pytest.raises(kind) as caught:
            await control.report_node(report(1))
        await control.close()
    assert str(status) in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_a_wrong_token_is_denied() -> None:
    """And none at all, too."""
    async with served(MemoryControl(CLUSTER)) as url:
        for token in ("another", None):
            control = HttpControl(url, token)
            with pytest.raises(Denied):
                await control.cluster()
            await control.close()


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection."""
    control = HttpControl(f"http://127.0.0.1:{free_port()}", "t")
    with pytest.raises(ControlUnavailable, match="is the control API up"):
        await control.cluster()
    await control.close()


async def test_silence_is_unavailable() -> None:
    """After the time-out, beyond what was asked to wait."""
    held = asyncio.Event()

    async def answer(_: web.BaseRequest) -> web.Response:
        await held.wait()
        return web.Response()

    async with plain(answer) as url:
        control = HttpControl(url, "t", timeout_s=0.05)
        for call in (control.cluster(), control.placement(newer_than=0, wait_s=0.05)):
            with pytest.raises(ControlUnavailable, match="TimeoutError"):
                await call
        held.set()
        await control.close()


async def test_nonsense_is_unavailable() -> None:
    """Another version may be restarting there."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text='{"nodes": 7}')

    async with plain(answer) as url:
        control = HttpControl(url, "t")
        with pytest.raises(ControlUnavailable, match="cannot be read"):
            await control.cluster()
        await control.close()


@contextlib.asynccontextmanager
async def plain(handler: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Serve one handler on a loopback port."""
    runner = web.ServerRunner(web.Server(handler), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
