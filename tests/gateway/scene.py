"""A small cluster on loopback: tiny real HTTP pods, real gateways, a control API in memory."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from fairlead.adapters.memory_control import MemoryControl
from fairlead.contracts.cluster import Cluster, Kind, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.readings import Outcome, Phase
from fairlead.contracts.settings import GatewaySettings, Settings
from fairlead.contracts.tickets import PodEndpoint, PodSet
from fairlead.contracts.tuning import PolicySettings
from gateway.service import Gateway

CHAT = "/v1/chat/completions"

Exchange = AbstractAsyncContextManager[aiohttp.ClientResponse]
Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def model(
    name: str, *, kind: Kind = "text", work_s: float = 0.02, start_delay_s: float = 4.0, concurrency: int = 1
) -> ModelSpec:
    """Return a model's definition."""
    return ModelSpec(
        id=name,
        kind=kind,
        memory_bytes=1,
        work_s=work_s,
        start_delay_s=start_delay_s,
        concurrency=concurrency,
        launch=Launch(launcher="exec", command=("true",)),
    )


def small_cluster(nodes: int = 1, sites: int = 1, models: tuple[ModelSpec, ...] = ()) -> Cluster:
    """Return `nodes` nodes `n0`…, `sites` sites `s0`…, site i beside node i."""
    return Cluster(
        nodes=tuple(
            NodeSpec(id=f"n{i}", memory_bytes=10, speed=1.0, keeper_url=f"http://127.0.0.1:{free_port()}")
            for i in range(nodes)
        ),
        models=models or (model("alpha"),),
        sites=tuple(
            SiteSpec(id=f"s{i}", node=f"n{i}" if i < nodes else None, url=f"http://127.0.0.1:{free_port()}")
            for i in range(sites)
        ),
    )


@dataclass
class TinyPod:
    """A model server of a few lines; what it does with a request is set by its fields."""

    url: str = ""
    work_s: float = 0.0
    """Wall time until the answer begins."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it; open at first."""
    pieces: int = 1
    """Events of a stream; the gate stands before each but the first when `halt_after_first` is set."""
    halt_after_first: bool = False
    status: int = 200
    began: list[str] = field(default_factory=list)
    """Request ids, in the order in which they came."""
    bodies: list[int] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    cut: int = 0
    """Exchanges that the other side gave up."""
    _runner: web.ServerRunner | None = None

    async def start(self) -> "TinyPod":
        self.gate.set()
        port = free_port()
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def die(self) -> None:
        """Go away at once, in the middle of whatever it does."""
        runner, self._runner = self._runner, None
        if runner is not None and runner.server is not None:
            for connection in runner.server.connections:
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read() if (request.content_length or 0) < 1_000_000 else await self._large(request)
        self.began.append(request.headers["x-request-id"])
        self.bodies.append(len(body))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            asked = json.loads(body)
            if not self.halt_after_first:
                await self.gate.wait()
            if self.work_s:
                await asyncio.sleep(self.work_s)
            if asked.get("stream"):
                return await self._stream(request)
            return web.json_response({"id": request.headers["x-request-id"], "by": self.url}, status=self.status)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.running -= 1

    async def _large(self, request: web.BaseRequest) -> bytes:
        return b"".join([piece async for piece in request.content.iter_any()])

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for i in range(self.pieces):
            if i and self.halt_after_first:
                await self.gate.wait()
            await answer.write(b'data: {"n": %d}\n\n' % i)
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


@dataclass
class Scene:
    """Gateways and pods of one test; `check` at its end holds the invariants."""

    cluster: Cluster
    settings: Settings
    control: MemoryControl
    client: aiohttp.ClientSession
    gateways: dict[str, Gateway] = field(default_factory=dict)
    pods: dict[tuple[str, str], TinyPod] = field(default_factory=dict)
    phases: dict[tuple[str, str], tuple[str, Phase, float | None]] = field(default_factory=dict)
    """Per node and model: instance, phase, when it will be ready."""
    sequence: int = 0
    _stops: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def gateway(self, node: str | None, site: str | None) -> Gateway:
        """Start a gateway."""
        stack = AsyncExitStack()
        one = await stack.enter_async_context(Gateway(self.settings, node, site, self.control, self.cluster, None))
        running = asyncio.create_task(one.run())

        async def stop() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        stack.push_async_callback(stop)
        self.gateways[one.id] = one
        self._stops[one.id] = stack
        return one

    async def stop(self, gateway: str) -> None:
        """Stop one gateway."""
        await self._stops.pop(gateway).aclose()

    async def pod(self, node: str, model: str, phase: Phase = "ready", **fields: object) -> TinyPod:
        """Start a pod and declare it."""
        pod = await TinyPod(**fields).start()  # type: ignore[arg-type]
        before = self.pods.get((node, model))
        if before is not None:
            await before.die()
        self.pods[node, model] = pod
        await self.declare(node, model, phase, instance=f"{model}-{len(self.phases)}-{self.sequence}")
        return pod

    async def declare(
        self,
        node: str,
        model: str,
        phase: Phase | None,
        *,
        instance: str | None = None,
        ready_at_s: float | None = None,
    ) -> None:
        """Say a pod's phase to its keeper, None for gone; all other pods of the node are said again."""
        if phase is None:
            self.phases.pop((node, model), None)
        else:
            known = self.phases.get((node, model), ("", "off", None))
            self.phases[node, model] = (instance or known[0], phase, ready_at_s)
        await self.say(node)

    async def say(self, node: str, agent: str = "agent-1") -> None:
        """Declare all pods of a node."""
        self.sequence += 1
        keeper = self.gateways[node].keeper
        assert keeper is not None
        works = {m.id: m for m in self.cluster.models}
        await keeper.declare(
            PodSet(
                node=node,
                instance=agent,
                sequence=self.sequence,
                speed=1.0,
                pods=tuple(
                    PodEndpoint(
                        model=model,
                        instance=instance,
                        phase=phase,
                        url=self.pods[n, model].url if (n, model) in self.pods else None,
                        concurrency=works[model].concurrency,
                        work_s=works[model].work_s,
                        ready_at_s=ready_at_s,
                    )
                    for (n, model), (instance, phase, ready_at_s) in sorted(self.phases.items())
                    if n == node
                ),
            )
        )

    def url(self, site: str) -> str:
        """Return where a site's clients send requests."""
        return next(s.url for s in self.cluster.sites if s.id == site)

    def ask(self, site: str = "s0", model: str = "alpha", request: str | None = None, **body: object) -> Exchange:
        """Send a chat request; use as an async context manager."""
        headers = {} if request is None else {"x-request-id": request}
        document = {"model": model, "messages": [{"role": "user", "content": "hello"}], **body}
        return self.client.post(self.url(site) + CHAT, json=document, headers=headers)

    async def asked(self, site: str = "s0", model: str = "alpha", request: str | None = None, **body: object) -> Answer:
        """Send a chat request and return status, headers and body."""
        async with self.ask(site, model, request, **body) as answer:
            return answer.status, answer.headers, await answer.read()

    def outcomes(self) -> list[Outcome]:
        """Return all outcomes that the gateways have logged."""
        directory = Path(self.settings.state_dir) / "outcomes"
        return [
            Outcome.from_json(line)
            for path in sorted(directory.glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]

    def outcome(self, request: str) -> Outcome:
        """Return the one outcome of a request."""
        found = [o for o in self.outcomes() if o.request == request]
        assert len(found) == 1, f"{len(found)} outcomes of {request}"
        return found[0]

    def check(self) -> None:
        """Hold invariant 1 on every book, and that each arrived request has exactly one outcome."""
        for one in self.gateways.values():
            one.ledger.check()
            if one.keeper is not None:
                one.keeper.check()


@asynccontextmanager
async def scene(tmp_path: Path, cluster: Cluster, **policy: float) -> AsyncIterator[Scene]:
    """Make a scene without gateways; at its end everything is stopped and its books are checked."""
    settings = Settings(
        state_dir=str(tmp_path),
        cluster=cluster,
        gateway=GatewaySettings(body_limit_bytes=2_000_000, drain_s=0.0),
        controller=PolicySettings(report_s=0.2, refresh_s=0.2, coalesce_s=0.01).model_copy(update=dict(policy)),
    )
    async with aiohttp.ClientSession() as client:
        one = Scene(cluster, settings, MemoryControl(cluster), client)
        try:
            yield one
            one.check()
        finally:
            for stack in list(one._stops.values()):
                await stack.aclose()
            for pod in one.pods.values():
                await pod.die()
    for gateway in one.gateways.values():
        gateway.ledger.check()
        assert not gateway.ledger.open
    arrived = sum(sum(g.ledger.arrived.values()) for g in one.gateways.values())
    outcomes = one.outcomes()
    assert len(outcomes) == arrived
