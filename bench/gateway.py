"""What a gateway costs: CPU a request and hop, added latency at 500 requests/s, import time, memory.

    python -m bench.gateway [--rate 500] [--seconds 8]

Four set-ups in one run: a bare pod alone; an aiohttp server that answers by itself, which is what the library costs; an
ingress with its keeper in one process, and an ingress and a keeper in two, with that pod behind them. Requests and
answers have 1 KB. First arrivals are a Poisson stream that does not wait for answers, then eight clients ask without a
pause: a process that is woken for each request pays for the waking, a busy one does not. The control plane is away, as
static stability allows. CPU is that of the processes in question, user and system, idle CPU taken off; added latency
is the difference of the quantiles to those of the pod alone.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from aiohttp import web

from bench._bare_http import BareClient, BarePod
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.errors import KeeperUnavailable
from fairlead.contracts.settings import ControlSettings, Settings
from fairlead.contracts.tickets import PodEndpoint, PodSet
from gateway.serving import listening

PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "alpha", "messages": [{"role": "user", "content": "a" * 940}]}).encode()


@dataclass(frozen=True, slots=True)
class Figures:
    """What one set-up measured."""

    name: str
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Of all its processes, a request."""
    busy_cpu_ms: float
    """The same with eight clients that ask without a pause."""
    busy_rps: float
    requests: int
    failed: int


def main() -> int:
    """Run the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="of load for each set-up")
    parser.add_argument("--role", choices=("pod", "library", "gateway"), help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role == "pod":
        uvloop.run(_pod(int(asked.rest[0])))
    elif asked.role == "library":
        uvloop.run(_library(int(asked.rest[0])))
    elif asked.role == "gateway":
        _gateway(Path(asked.rest[0]), asked.rest[1] or None, asked.rest[2] or None)
    else:
        uvloop.run(_measure(asked.rate, asked.seconds))
    return 0


async def _pod(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(BarePod, "127.0.0.1", port)
    await server.serve_forever()


async def _library(port: int) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=BarePod.BODY, headers={"content-type": "application/json"})

    async with listening("127.0.0.1", port, (answer,), body_limit_bytes=1_000_000, what="the benchmark"):
        await asyncio.Event().wait()


def _gateway(settings: Path, node: str | None, site: str | None) -> None:
    from fairlead.adapters.log import configure
    from gateway import service

    configure("error", "bench")
    uvloop.run(service.serve(Settings.from_json(settings.read_bytes()), node, site, ""))


async def _measure(rate_rps: float, for_s: float) -> None:
    pod_port = _free_port()
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            pod = await stack.enter_async_context(_process("pod", str(pod_port)))
            await _listening(pod_port)
            found = [await _load("pod alone", pod_port, (), rate_rps, for_s)]
            library_port = _free_port()
            async with _process("library", str(library_port)) as library:
                await _listening(library_port)
                found.append(await _load("aiohttp alone", library_port, (library,), rate_rps, for_s))
            for name, together in (("ingress with local keeper", True), ("ingress and remote keeper", False)):
                async with _gateways(Path(tempfile.mkdtemp(dir=directory)), pod_port, together) as (port, processes):
                    found.append(await _load(name, port, processes, rate_rps, for_s))
                    memory_mb = [p.memory_info().rss / 1e6 for p in processes]
                    print(f"{name}: resident {', '.join(f'{m:.0f} MB' for m in memory_mb)}")
            assert pod.is_running()
    _print(found, rate_rps)


def _print(found: list[Figures], rate_rps: float) -> None:
    bare = found[0]
    print(f"at {rate_rps:g} requests/s, 1 KB each way, {os.cpu_count()} cores:")
    for one in found:
        print(
            f"  {one.name:28} p50 {one.p50_ms:6.2f} ms  p99 {one.p99_ms:6.2f} ms  "
            f"added p50 {one.p50_ms - bare.p50_ms:5.2f}  p99 {one.p99_ms - bare.p99_ms:6.2f} ms  "
            f"CPU {one.cpu_ms:.3f} ms a request, {one.busy_cpu_ms:.3f} when busy at {one.busy_rps:.0f}/s  "
            f"({one.requests} requests, {one.failed} failed)"
        )
    one, two = found[2], found[3]
    print(f"  CPU a request and hop: {one.cpu_ms:.3f} ms with one process, {two.cpu_ms / 2:.3f} ms with two")
    print(f"  the same when busy:    {one.busy_cpu_ms:.3f} ms with one process, {two.busy_cpu_ms / 2:.3f} ms with two")
    began_s = time.perf_counter()
    code = "import time; import gateway.service; print(time.process_time())"
    cpu_s = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    print(f"  import of gateway.service: {cpu_s:.2f} s CPU, {time.perf_counter() - began_s:.2f} s wall")


async def _load(name: str, port: int, processes: tuple[psutil.Process, ...], rate_rps: float, for_s: float) -> Figures:
    """Send a Poisson stream for a while, after a second of warm-up."""
    client = BareClient("127.0.0.1", port)
    await _stream(client, rate_rps, 1.0, f"{name[:7].strip()}-warm".replace(" ", "-"))
    idle = await _idle(processes)
    before_s, began_s = _cpu_s(processes), time.perf_counter()
    answers = await _stream(client, rate_rps, for_s, name.replace(" ", "-"))
    took_s = time.perf_counter() - began_s
    used_s = _cpu_s(processes) - before_s - idle * took_s
    busy_before_s, busy_began_s = _cpu_s(processes), time.perf_counter()
    busy = await _busy(client, for_s / 2, f"busy-{name.replace(' ', '-')}")
    busy_took_s = time.perf_counter() - busy_began_s
    busy_used_s = _cpu_s(processes) - busy_before_s - idle * busy_took_s
    client.close()
    times = sorted(t for t, _ in answers)
    return Figures(
        name,
        1000 * times[len(times) // 2],
        1000 * times[int(0.99 * len(times))],
        1000 * used_s / len(answers),
        1000 * busy_used_s / busy,
        busy / busy_took_s,
        len(answers),
        sum(1 for _, status in answers if status != 200),
    )


async def _stream(client: BareClient, rate_rps: float, for_s: float, prefix: str) -> list[tuple[float, int]]:
    draw = random.Random(7)
    loop = asyncio.get_running_loop()
    began_s, at_s = loop.time(), 0.0
    sent: list[asyncio.Task[tuple[float, int]]] = []
    while (at_s := at_s + draw.expovariate(rate_rps)) < for_s:
        left_s = began_s + at_s - loop.time()
        if left_s > 0:
            await asyncio.sleep(left_s)
        sent.append(asyncio.create_task(client.post(PATH, f"{prefix}-{len(sent)}", BODY)))
    return list(await asyncio.gather(*sent))


async def _busy(client: BareClient, for_s: float, prefix: str) -> int:
    """Return how many requests eight clients got answered that ask without a pause."""
    end_s = time.perf_counter() + for_s

    async def line(number: int) -> int:
        count = 0
        while time.perf_counter() < end_s:
            await client.post(PATH, f"{prefix}-{number}-{count}", BODY)
            count += 1
        return count

    return sum(await asyncio.gather(*[line(i) for i in range(8)]))


async def _idle(processes: tuple[psutil.Process, ...]) -> float:
    """Return the share of a core that they use without requests."""
    if not processes:
        return 0.0
    before_s, began_s = _cpu_s(processes), time.perf_counter()
    await asyncio.sleep(2.0)
    return (_cpu_s(processes) - before_s) / (time.perf_counter() - began_s)


def _cpu_s(processes: tuple[psutil.Process, ...]) -> float:
    return sum(t.user + t.system for t in (p.cpu_times() for p in processes))


@asynccontextmanager
async def _gateways(
    directory: Path, pod_port: int, together: bool
) -> AsyncIterator[tuple[int, tuple[psutil.Process, ...]]]:
    """Start the gateway's processes and declare the pod to the keeper until the end."""
    keeper_port, site_port = _free_port(), _free_port()
    launch = Launch(launcher="exec", command=("true",))
    model = ModelSpec(
        id="alpha", kind="text", memory_bytes=1, work_s=0.0005, start_delay_s=5.0, concurrency=64, launch=launch
    )
    node = NodeSpec(id="n0", memory_bytes=2, speed=1.0, keeper_url=f"http://127.0.0.1:{keeper_port}")
    site = SiteSpec(id="s0", node="n0", url=f"http://127.0.0.1:{site_port}")
    cluster = Cluster(nodes=(node,), models=(model,), sites=(site,))
    away = ControlSettings(url=f"http://127.0.0.1:{_free_port()}")
    settings = Settings(state_dir=str(directory), cluster=cluster, control=away, log_level="error")
    path = directory / "settings.json"
    path.write_text(settings.to_json())
    roles = (("n0", "s0"),) if together else (("n0", ""), ("", "s0"))
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(_process("gateway", str(path), *role)) for role in roles]
        for port in (keeper_port, site_port):
            await _listening(port)
        declaring = asyncio.create_task(_declare(node.keeper_url, pod_port))
        client = BareClient("127.0.0.1", site_port)
        _, status = await client.post(PATH, "first", BODY)
        client.close()
        assert status == 200, f"the first request was answered with {status}"
        try:
            yield site_port, tuple(processes)
        finally:
            declaring.cancel()
            await asyncio.gather(declaring, return_exceptions=True)


async def _declare(url: str, pod_port: int) -> None:
    keeper = HttpKeeper(url, None, ScaledClock())
    end = PodEndpoint(
        model="alpha",
        instance="alpha-1",
        phase="ready",
        url=f"http://127.0.0.1:{pod_port}",
        concurrency=64,
        work_s=0.0005,
        ready_at_s=None,
    )
    sequence = 0
    try:
        while True:
            sequence += 1
            try:
                await keeper.declare(PodSet(node="n0", instance="bench", sequence=sequence, speed=1.0, pods=(end,)))
            except KeeperUnavailable as error:
                print(f"bench: {error}", file=sys.stderr)
            await asyncio.sleep(1.0)
    finally:
        await keeper.close()


@asynccontextmanager
async def _process(role: str, *rest: str) -> AsyncIterator[psutil.Process]:
    words = (sys.executable, "-m", "bench.gateway", "--role", role, "--", *rest)
    child = await asyncio.create_subprocess_exec(*words)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), 5.0)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _listening(port: int) -> None:
    """Return once somebody listens there, within ten wall seconds."""
    for _ in range(1000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"nobody listens on port {port} after 10 s")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
