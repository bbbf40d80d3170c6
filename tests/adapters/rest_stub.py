"""The edge's part of the control API and of a keeper over real HTTP, answered by the fakes in memory."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.events import Wake
from fairlead.contracts.readings import GatewayReport, KeeperStates, NodeReport
from fairlead.contracts.tickets import PodSet

TOKEN = "token-of-an-agent"


@contextlib.asynccontextmanager
async def served(control: MemoryControl, keeper: MemoryKeeperControl | None = None) -> AsyncIterator[str]:
    """Serve both on one loopback port and give its address."""

    async def cluster(_: web.Request) -> web.Response:
        return web.json_response(text=(await control.cluster()).to_json())

    async def placement(request: web.Request) -> web.Response:
        newer, wait_s = int(request.query["newer_than"]), float(request.query["wait_s"])
        found = await control.placement(newer_than=newer, wait_s=wait_s)
        return web.Response(status=204) if found is None else web.json_response(text=found.to_json())

    async def table(request: web.Request) -> web.Response:
        newer, wait_s = int(request.query["newer_than"]), float(request.query["wait_s"])
        found = await control.table(newer_than=newer, wait_s=wait_s)
        return web.Response(status=204) if found is None else web.json_response(text=found.to_json())

    async def plan(request: web.Request) -> web.Response:
        newer, wait_s = int(request.query["newer_than"]), float(request.query["wait_s"])
        found = await control.plan(newer_than=newer, wait_s=wait_s)
        return web.Response(status=204) if found is None else web.json_response(text=found.to_json())

    async def node_report(request: web.Request) -> web.Response:
        await control.report_node(NodeReport.from_json(await request.read()))
        return web.json_response({"accepted": True}, status=202)

    async def gateway_report(request: web.Request) -> web.Response:
        await control.report_gateway(GatewayReport.from_json(await request.read()))
        return web.json_response({"accepted": True}, status=202)

    async def wake(request: web.Request) -> web.Response:
        await control.wake(Wake.from_json(await request.read()))
        return web.Response(status=204)

    async def keepers(request: web.Request) -> web.Response:
        found = await control.keepers(request.query["nodes"].split(","))
        return web.json_response(text=KeeperStates(items=found).to_json())

    async def pods(request: web.Request) -> web.Response:
        assert keeper is not None
        return web.json_response(text=(await keeper.declare(PodSet.from_json(await request.read()))).to_json())

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/api/") and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return web.json_response({"code": "denied"}, status=403)
        try:
            return await handler(request)
        except FairleadError as error:
            return web.json_response({"code": error.code}, status=error.status)
        except ValueError:
            return web.json_response({"code": "bad-input"}, status=422)

    app = web.Application(middlewares=[guard])
    app.add_routes(
        [
            web.get("/api/v1/cluster", cluster),
            web.get("/api/v1/placements/current", placement),
            web.get("/api/v1/tables/current", table),
            web.get("/api/v1/plans/current", plan),
            web.post("/api/v1/reports/node", node_report),
            web.post("/api/v1/reports/gateway", gateway_report),
            web.post("/api/v1/models/{model}:wake", wake),
            web.get("/api/v1/keepers", keepers),
            web.put("/keeper/v1/pods", pods),
        ]
    )
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
