"""The core side alone: control API, planner and slot agent on a real MongoDB, and an edge that speaks REST to them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import control_api.service
import planner.service
import slot_agent.service
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.control_http import HttpControl
from fairlead.adapters.mongo import MongoStore, connect
from fairlead.adapters.mongod import free_port
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.errors import ControlUnavailable
from fairlead.contracts.events import Wake
from fairlead.contracts.plans import Placement
from fairlead.contracts.settings import ControlSettings, MongoSettings, Settings
from fairlead.policy.replay import again
from tests.slot_agent.edge import Edge, cluster
from tests.waiting import until

SPEED = 10.0
"""A report may be 1.5 s of the wall old: a busy machine that runs other tests too does not lose nodes by that."""

PATIENCE_S = 60.0
"""Wall seconds after which a test gives up; what it waits for takes a slot or two, 3 s each."""


@dataclass(slots=True)
class Core:
    """A running core side, its edge, and a look into its database."""

    settings: Settings
    clock: ScaledClock
    edge: Edge
    control: HttpControl
    store: MongoStore
    placement: Placement | None = None
    reports: int = 0

    async def report(self) -> None:
        """Let the edge obey and report over REST, once."""
        self.edge.pass_time(self.clock.now_s())
        self.edge.obey(self.placement)
        await asyncio.gather(
            *(self.control.report_node(r) for r in self.edge.node_reports()),
            *(self.control.report_gateway(r) for r in self.edge.gateway_reports()),
        )
        self.reports += 1

    async def keep_reporting(self) -> None:
        """Report every five seconds of the domain, until cancelled."""
        while True:
            await self.clock.sleep_for(5.0)
            await self.report()

    async def keep_following(self) -> None:
        """Take each placement as a node agent does, by long polls, until cancelled."""
        while True:
            newer_than = self.placement.generation if self.placement is not None else 0
            self.placement = await self.control.placement(newer_than=newer_than, wait_s=5.0) or self.placement

    async def miss(self, model: str) -> None:
        """Let a gateway ask for a model that has no pod, and say so."""
        self.edge.ask(model)
        await self.control.wake(Wake(model=model, reason="missing", site="s1", wait_s=0.0, at_s=self.clock.now_s()))

    def holders(self, model: str) -> set[str]:
        """Return the nodes on which the placement wants a model awake."""
        nodes = self.placement.nodes if self.placement is not None else ()
        return {n.node for n in nodes if model in n.awake}

    async def rows(self) -> dict[str, set[str]]:
        """Return which nodes the routing table in force sends each model's requests to."""
        table = await self.control.table(newer_than=0, wait_s=0.0)
        return {r.model: {s.node for s in r.shares} for r in table.rows} if table is not None else {}


async def ended(task: asyncio.Task[None]) -> None:
    """End a service by cancelling it; fails with where it stands if it goes on."""
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.done(), [one.get_stack() for one in asyncio.all_tasks()]


def four_nodes(now_s: float) -> Edge:
    """Return an edge of four nodes and five models: `m1` on `n1` and `n2`, `m2` on `n3`."""
    edge = Edge(cluster(nodes=4, models=5), now_s)
    for node, model in (("n1", "m1"), ("n2", "m1"), ("n3", "m2")):
        edge.awake(node, model)
    return edge


@asynccontextmanager
async def core(mongodb: MongoSettings, state_dir: Path) -> AsyncIterator[Core]:
    """Run the three services, the API answering, the edge's first report taken and the first table in force."""
    port, began_at_s = free_port(), time.time()
    edge = four_nodes(began_at_s)
    settings = Settings(
        cluster=edge.cluster,
        clock_origin_s=began_at_s,
        speed=SPEED,
        mongodb=mongodb,
        state_dir=str(state_dir),
        control=ControlSettings(port=port, url=f"http://127.0.0.1:{port}", auth=False),
    )
    clock = ScaledClock(SPEED, settings.clock_origin_s)
    control = HttpControl(settings.control.url, None)
    store = await connect(mongodb, clock)
    made = Core(settings, clock, edge, control, store)

    async def answers() -> bool:
        try:
            return bool((await control.cluster()).nodes)
        except ControlUnavailable:
            return False

    async def decided() -> bool:
        return bool(await made.rows())

    tasks = [asyncio.create_task(control_api.service.serve(settings))]
    try:
        await until(answers)
        await made.report()
        tasks += [asyncio.create_task(serve(settings)) for serve in (planner.service.serve, slot_agent.service.serve)]
        tasks += [asyncio.create_task(made.keep_following()), asyncio.create_task(made.keep_reporting())]
        await until(decided)
        yield made
        assert not any(t.done() for t in tasks), [t for t in tasks if t.done()]
    finally:
        for task in reversed(tasks):
            await ended(task)
        await control.close()
        await store.close()


async def test_the_loop_closes_from_a_missing_model_to_its_row(mongo_settings: MongoSettings, tmp_path: Path) -> None:
    """A wake makes a placement with the model; once its pod is ready requests are sent to it; all of it replays."""
    async with core(mongo_settings, tmp_path) as c:
        assert await c.rows() == {"m1": {"n1", "n2"}, "m2": {"n3"}}
        assert c.holders("m4") == set()
        await c.miss("m4")

        async def placed() -> bool:
            return bool(c.holders("m4"))

        async def ready() -> bool:
            return any("m4" in pods and pods["m4"].phase == "ready" for pods in c.edge.pods.values())

        async def routed() -> bool:
            return "m4" in await c.rows()

        took_s = await until(placed)
        print(f"wake to placement: {took_s * 1000:.0f} ms of the wall")
        await until(ready)
        await until(routed)
        plan = await c.store.current_plan()
        assert plan is not None
        assert plan.source == "fallback"

        async def planned() -> bool:
            table = await c.store.current_table()
            return table is not None and table.plan_generation == plan.generation

        await until(planned)
        page = await c.store.decisions(agent=None, limit=1000, cursor=None)
        assert {r.kind for r in page.items} == {"epoch", "slot", "event"}
        prompts = prompt_texts()
        assert all(again(r, prompts).identical for r in page.items)


async def test_what_a_lost_node_had_gets_a_home_elsewhere(mongo_settings: MongoSettings, tmp_path: Path) -> None:
    """A model with demand that only the lost node held is started on another; requests go there, not to the lost."""
    async with core(mongo_settings, tmp_path) as c:

        async def counted() -> bool:
            return (await c.store.arrived()).get("m2", 0) > 0

        async def learned() -> bool:
            page = await c.store.decision_summaries(agent="slot-agent", limit=1, cursor=None)
            return bool(page.items) and page.items[0].number >= slot + 2

        c.edge.ask("m2", 3)
        await until(counted)
        slot = (await c.store.decision_summaries(agent="slot-agent", limit=1, cursor=None)).items[0].number
        await until(learned)
        lost = c.holders("m2")
        for node in lost:
            c.edge.lose(node)

        async def moved() -> bool:
            return bool(c.holders("m2") - lost)

        async def routed() -> bool:
            nodes = (await c.rows()).get("m2", set())
            return bool(nodes) and not nodes & lost

        took_s = await until(moved)
        print(f"loss to new placement: {took_s:.2f} s of the wall, {took_s * SPEED:.0f} s of the domain")
        await until(routed)


async def test_a_second_slot_agent_and_a_second_planner_do_no_harm(
    mongo_settings: MongoSettings, tmp_path: Path
) -> None:
    """Each slot and each epoch is decided once on one database, whoever comes first."""
    async with core(mongo_settings, tmp_path) as c:
        seconds = [asyncio.create_task(s(c.settings)) for s in (planner.service.serve, slot_agent.service.serve)]

        async def several() -> bool:
            page = await c.store.decision_summaries(agent="slot-agent", limit=1000, cursor=None)
            return sum(r.kind == "slot" for r in page.items) >= 5

        await until(several)
        for task in seconds:
            await ended(task)
        page = await c.store.decision_summaries(agent=None, limit=1000, cursor=None)
        slots = sorted(r.number for r in page.items if r.kind == "slot")
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        assert len([r for r in page.items if r.agent == "planner"]) == 1
