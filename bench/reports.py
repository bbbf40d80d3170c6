"""What a report costs: CPU of the control API and of mongod for each, at the rate of `city7` at speed 30.

Seven node agents and seven gateways report each 1/6 s while fourteen long polls wait; half of the gateways' reports
carry an outcome. The aim is 2 ms for both together (one core at 84 reports a second: a sixth of it).
"""

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from fairlead.adapters import mongod
from fairlead.contracts.readings import (
    ChoiceCount,
    GatewayReport,
    KeeperState,
    ModelCount,
    NodeReport,
    Outcome,
    PodLoad,
    PodReading,
)

REPORTERS = 7
MODELS = 4
PODS = 3
EVERY_S = 1 / 6
WARM_S = 3.0
RUN_S = 20.0

CONTROL = "import sys\nfrom control_api.service import serve\n" + (
    "from fairlead.contracts.settings import Settings\nimport uvloop\n"
    "uvloop.run(serve(Settings.model_validate_json(sys.argv[1])))\n"
)


def node_report(number: int, sequence: int) -> NodeReport:
    """Return what the agent of a node with three pods says."""
    now_s = time.time()
    pods = tuple(
        PodReading(
            model=f"m{pod}",
            instance=f"x{pod}",
            phase="ready",
            since_at_s=now_s,
            stage="",
            ready_at_s=now_s,
            memory_bytes=10**9,
            crashes=0,
            backoff_until_s=None,
            reason="",
        )
        for pod in range(PODS)
    )
    return NodeReport(
        node=f"node-{number}",
        instance="a",
        sequence=sequence,
        observed_at_s=now_s,
        memory_bytes=8 * 10**9,
        memory_used_bytes=PODS * 10**9,
        placement_generation=3,
        pods=pods,
        starts=PODS,
        stops=0,
        overruns=0,
        forced_losses=0,
    )


def outcome(number: int, sequence: int) -> Outcome:
    """Return a request that finished."""
    return Outcome(
        request=f"r-{number}-{sequence}",
        attempts=1,
        model="m0",
        site="site-1",
        node="node-1",
        status="finished",
        reason="",
        arrived_at_s=time.time() - 10,
        ended_at_s=time.time(),
        wait_s=1.0,
        service_s=3.0,
        response_bytes=1000,
        table_generation=1,
        propensity=1.0,
    )


def gateway_report(number: int, sequence: int) -> GatewayReport:
    """Return what a gateway that is ingress and keeper says."""
    now_s = time.time()
    pods = tuple(
        PodLoad(model=f"m{pod}", phase="ready", ready_in_s=0.0, work_s=12.3456789, count=3, running=1, used_at_s=now_s)
        for pod in range(PODS)
    )
    return GatewayReport(
        gateway=f"node-{number}",
        instance="a",
        sequence=sequence,
        observed_at_s=now_s,
        site="site-1",
        models=tuple(
            ModelCount(model=f"m{m}", arrived=sequence, held=0, oldest_held_s=0.0, asked_at_s=now_s)
            for m in range(MODELS)
        ),
        choices=tuple(
            ChoiceCount(model=f"m{m}", node=f"node-{n}", chosen=sequence)
            for m in range(MODELS)
            for n in range(REPORTERS)
        ),
        samples=(),
        outcomes=(outcome(number, sequence),) if (number + sequence) % 2 else (),
        keeper=KeeperState(
            node=f"node-{number}", instance="k", sequence=sequence, observed_at_s=now_s, speed=1.0, pods=pods
        ),
        table_generation=3,
    )


class Load:
    """Reporters and pollers, and what they saw."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.took_s: list[float] = []
        self._session = session

    async def report(self, kind: str, number: int) -> None:
        """Report until cancelled."""
        await asyncio.sleep(number * EVERY_S / REPORTERS)
        for sequence in itertools.count(1):
            body = (node_report if kind == "node" else gateway_report)(number, sequence).to_json()
            begun_s = time.monotonic()
            headers = {"content-type": "application/json"}
            async with self._session.post(f"/api/v1/reports/{kind}", data=body, headers=headers) as answer:
                answer.raise_for_status()
                await answer.read()
            self.took_s.append(time.monotonic() - begun_s)
            await asyncio.sleep(max(0.0, EVERY_S - self.took_s[-1]))

    async def poll(self, kind: str) -> None:
        """Wait for placements or tables that never come."""
        while True:
            async with self._session.get(f"/api/v1/{kind}/current?newer_than=0&wait_s=20") as answer:
                await answer.read()


async def ready(session: aiohttp.ClientSession) -> None:
    """Return once the control API is ready."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(session: aiohttp.ClientSession, control: psutil.Process, database: psutil.Process) -> None:
    """Load for a while and print what it cost."""
    load = Load(session)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.report(kind, n)) for kind in ("node", "gateway") for n in range(REPORTERS)]
        tasks += [group.create_task(load.poll(kind)) for kind in ("placements", "tables") for _ in range(REPORTERS)]
        await asyncio.sleep(WARM_S)
        load.took_s.clear()
        before = cpu_s(control), cpu_s(database), time.monotonic()
        await asyncio.sleep(RUN_S)
        count, lasted_s = len(load.took_s), time.monotonic() - before[2]
        of_control, of_database = cpu_s(control) - before[0], cpu_s(database) - before[1]
        took = sorted(load.took_s)
        for task in tasks:
            task.cancel()
    print(f"{count / lasted_s:.1f} reports/s")
    print(f"CPU a report: control API {of_control / count * 1e3:.2f} ms, mongod {of_database / count * 1e3:.2f} ms")
    print(f"both together: {(of_control + of_database) / lasted_s:.3f} of a core")
    print(f"answer: p50 {took[count // 2] * 1e3:.1f} ms, p99 {took[int(count * 0.99)] * 1e3:.1f} ms")
    print(
        f"memory: control API {control.memory_info().rss / 1e6:.0f} MB, "
        f"mongod {database.memory_info().rss / 1e6:.0f} MB"
    )


async def main() -> None:
    """Start both, measure, end both."""
    port = mongod.free_port()
    with tempfile.TemporaryDirectory() as state:
        async with mongod.embedded(Path(state)) as database:
            settings = {"control": {"port": port, "auth": False}, "mongodb": {"uri": database.uri}}
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CONTROL, json.dumps(settings)),
                stdout=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            )
            try:
                async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                    await ready(session)
                    await measure(session, psutil.Process(child.pid), psutil.Process(database.pid))
            finally:
                child.kill()
                await child.wait()


if __name__ == "__main__":
    asyncio.run(main())
