"""What an emulated pod costs and how true its time slices are: forks, CPU, service times against the ideal."""

import asyncio
import heapq
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import Launch, ModelSpec, NodeSpec
from fairlead.contracts.ports import PodOrder
from node_agent.launchers import Launched, WarmParentClient
from testbed.emulated_clock import SharedClock
from tests.node_agent.pods import warm_parent

SPEED = 30.0
NODE_SPEED = 1.0
WORKS_S = (2.0, 4.0, 8.0, 24.0)
"""Those of `city7`'s models (CONTROL §5)."""

LOAD = 0.7
REQUESTS = 400
SEED = 1


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as its client saw it, wall seconds from the beginning."""

    pod: int
    work_s: float
    at_s: float
    answered_s: float


def model(name: str, work_s: float) -> ModelSpec:
    """Return a model that is ready at once."""
    launch = Launch(launcher="warm-parent", command=("emulated",))
    return ModelSpec(id=name, kind="text", memory_bytes=1, work_s=work_s, start_delay_s=0.0, launch=launch)


def ideal(sent: list[Sent]) -> list[float]:
    """Return when each answer was due: first come first served in each pod, exact time slices between them."""
    clock = SharedClock(NODE_SPEED * SPEED, 0.0)
    waiting: dict[int, list[tuple[float, int]]] = {i: [] for i in range(len(WORKS_S))}
    busy: set[int] = set()
    due = [0.0] * len(sent)

    def serve(pod: int, at_s: float) -> None:
        if pod not in busy and waiting[pod]:
            _, number = heapq.heappop(waiting[pod])
            busy.add(pod)
            clock.begin(str(pod), number, (sent[number].work_s,), at_s)

    def until(at_s: float) -> None:
        while (next_s := clock.next_at_s()) <= at_s:
            for reached in clock.advance(next_s):
                due[reached.request] = reached.at_s
                busy.discard(int(reached.pod))
                serve(int(reached.pod), reached.at_s)

    for number in sorted(range(len(sent)), key=lambda n: sent[n].at_s):
        until(sent[number].at_s)
        heapq.heappush(waiting[sent[number].pod], (sent[number].at_s, number))
        serve(sent[number].pod, sent[number].at_s)
    until(float("1e9"))
    return due


async def measure(socket: str) -> None:
    """Fork pods, send Poisson arrivals, print the figures."""
    clock, client = ScaledClock(SPEED), WarmParentClient(socket)
    node = NodeSpec(id="n1", memory_bytes=10, speed=NODE_SPEED, keeper_url="http://127.0.0.1:1")
    pods: list[Launched] = []
    forks = []
    for at, work_s in enumerate(WORKS_S):
        begun_s = time.perf_counter()
        pods.append(await client.fork(PodOrder("n1", model(f"m{at}", work_s), f"m{at}-1"), node, clock.now_s()))
        forks.append(time.perf_counter() - begun_s)
    print(f"fork, ms: first {forks[0] * 1e3:.1f}, then {statistics.median(forks[1:]) * 1e3:.1f}")
    processes = [psutil.Process(p.pid) for p in pods]
    parent = processes[0].parent()
    assert parent is not None
    chance = random.Random(SEED)
    sent: list[Sent] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for pod in pods:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{pod.port}/health") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)
        before = [sum(p.cpu_times()[:2]) for p in (*processes, parent)]
        origin_s = time.monotonic()

        async def ask(pod: int, stream: bool) -> None:
            work_s = WORKS_S[pod] * chance.lognormvariate(-0.11, 0.47)
            call = {"messages": [], "stream": stream, "max_tokens": 64, "metadata": {"work_s": f"{work_s:.6f}"}}
            at_s = time.monotonic() - origin_s
            url = f"http://127.0.0.1:{pods[pod].port}/v1/chat/completions"
            async with http.post(url, json=call) as answer:
                await answer.read()
            sent.append(Sent(pod, float(f"{work_s:.6f}"), at_s, time.monotonic() - origin_s))

        mean_s = statistics.mean(WORKS_S) / NODE_SPEED / SPEED / LOAD
        async with asyncio.TaskGroup() as tasks:
            for number in range(REQUESTS):
                tasks.create_task(ask(chance.randrange(len(pods)), number % 2 == 0))
                await asyncio.sleep(chance.expovariate(1 / mean_s))
    used = [sum(p.cpu_times()[:2]) - b for p, b in zip((*processes, parent), before, strict=True)]
    due = ideal(sent)
    late = sorted(s.answered_s - d for s, d in zip(sent, due, strict=True))
    mean_late_s = statistics.mean(late)
    mean_took_s = statistics.mean(s.answered_s - s.at_s for s in sent)
    print(f"CPU a request, ms: pod {sum(used[:-1]) / REQUESTS * 1e3:.2f}, shared clock {used[-1] / REQUESTS * 1e3:.2f}")
    print(
        f"answers later than ideal, wall ms: mean {mean_late_s * 1e3:.2f}, p50 {late[len(late) // 2] * 1e3:.2f}, ",
        end="",
    )
    print(
        f"p99 {late[len(late) * 99 // 100] * 1e3:.2f}; at speed {SPEED:.0f} the mean is {mean_late_s * SPEED:.3f} s ",
        end="",
    )
    print(f"of {mean_took_s * SPEED:.1f} s, {mean_late_s / mean_took_s:.2%}")
    memory = [p.memory_full_info() for p in processes]
    print(f"memory of a pod, MB: resident {memory[0].rss / 1e6:.0f}, unshared {memory[0].uss / 1e6:.1f}")


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as folder, warm_parent(Path(folder), SPEED) as socket:
        asyncio.run(measure(socket))


if __name__ == "__main__":
    main()
