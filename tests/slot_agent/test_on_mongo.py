"""The slot agent as it runs: its service on a real MongoDB, in real time at speed 30."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.mongo import MongoStore
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord, SlotInput
from fairlead.contracts.events import Wake
from fairlead.contracts.settings import MongoSettings, Settings
from fairlead.policy.replay import again
from slot_agent.service import serve
from tests.slot_agent.edge import Edge, cluster

SPEED = 30.0


async def within(seconds: float, holds: Callable[[], Awaitable[bool]], every_s: float = 0.01) -> float:
    """Return after how many wall seconds `holds` did, asked every so many; fails if it does not in time."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(every_s)
    return time.monotonic() - began


async def report(store: MongoStore, edge: Edge, now_s: float) -> None:
    """Let the edge obey and report once."""
    edge.pass_time(now_s)
    edge.obey(await store.current_placement())
    await asyncio.gather(*(store.append_node_report(r) for r in edge.node_reports()))
    await asyncio.gather(*(store.append_gateway_report(r) for r in edge.gateway_reports()))


async def reporting(store: MongoStore, edge: Edge, clock: ScaledClock) -> None:
    """Let the edge obey and report every five seconds of the domain, until cancelled."""
    while True:
        await clock.sleep_for(5.0)
        await report(store, edge, clock.now_s())


async def test_slots_wakes_and_a_restart_on_a_real_database(
    mongo_settings: MongoSettings, mongo_store: MongoStore, tmp_path: Path
) -> None:
    """Every slot is decided, a missing model is placed at once, a killed agent goes on, all of it replays."""
    settings = Settings(
        clock_origin_s=time.time(), speed=SPEED, mongodb=mongo_settings, state_dir=str(tmp_path), seed=3
    )
    clock = ScaledClock(SPEED, settings.clock_origin_s)
    edge = Edge(cluster(), clock.now_s())
    edge.awake("n1", "m1")
    await mongo_store.replace_cluster(edge.cluster)
    await report(mongo_store, edge, clock.now_s())
    edges = asyncio.create_task(reporting(mongo_store, edge, clock))
    agents = [asyncio.create_task(serve(settings))]

    async def slots() -> list[int]:
        page = await mongo_store.decisions(agent="slot-agent", limit=1000, cursor=None)
        return sorted(r.input.slot for r in page.items if r.kind == "slot" and isinstance(r.input, SlotInput))

    async def decided(count: int) -> bool:
        return len(await slots()) >= count

    async def placed(model: str) -> bool:
        placement = await mongo_store.current_placement()
        return placement is not None and any(model in n.awake for n in placement.nodes)

    try:
        await within(20.0, lambda: decided(2))
        assert not await placed("m3")
        edge.ask("m3")
        await mongo_store.wake(Wake(model="m3", reason="missing", site="s1", wait_s=0.0, at_s=clock.now_s()))
        await within(5.0, lambda: placed("m3"))
        agents[0].cancel()
        await asyncio.gather(agents[0], return_exceptions=True)
        before = max(await slots())
        agents.append(asyncio.create_task(serve(settings)))
        await within(20.0, lambda: decided(5))
        found = await slots()
        assert len(found) == len(set(found))
        assert found[-1] > before
        page = await mongo_store.decisions(agent="slot-agent", limit=1000, cursor=None)
        prompts = prompt_texts()
        assert all(again(DecisionRecord.from_json(r.to_json()), prompts).identical for r in page.items)
    finally:
        for task in (edges, *agents):
            task.cancel()
        ended = await asyncio.gather(edges, *agents, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended
