"""What a person does to pods of ours with kubectl stands in the journal, in words, by the command that tells it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from control_api.access import new_token
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.control_http import HttpControl
from fairlead.adapters.kubernetes_api import PODS
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.adapters.spool import Outbox, Spool
from fairlead.agents.absent import Unadvised
from fairlead.agents.status import StatusKeeper
from fairlead.contracts.cluster import Cluster, SiteSpec
from fairlead.contracts.events import Role
from fairlead.contracts.plans import Override
from fairlead.contracts.readings import GatewayReport, KeeperState, NodeReport, PodLoad
from fairlead.contracts.settings import Settings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.reconcile import Limits
from fairlead.policy.registry import decide_slot
from fairlead_cli.client import locate
from fairlead_cli.main import invoke
from node_agent.agent import NodeAgent, Ports, Rhythm
from node_agent.books import Books
from node_agent.pod_objects import pod_name
from slot_agent.loop import SlotAgent
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Case
from tests.cli.conftest import System, system
from tests.kubernetes.lab import Playground, runtime_of
from tests.node_agent.pods import contained, node
from tests.waiting import until

__all__ = ["system"]

REPORT_S = 0.5
SETTINGS = Settings(controller=PolicySettings(slot_s=2.0, report_s=REPORT_S))
CLUSTER = Cluster(nodes=(node(),), models=(contained("a"),), sites=(SiteSpec(id="s1", node="n1", url="http://s1"),))
PIN = Override(id="p", node="n1", model="a", action="pin", created_at_s=0.0, expires_at_s=None, by="tests", why="")


def control_of(one: System, role: Role) -> HttpControl:
    """Return a client of the control API that has a role."""
    secret, record = new_token(role, "test", 0.0)
    one.does(one.store.add_token(record))
    return HttpControl(locate().url, secret)


@asynccontextmanager
async def running(ground: Playground, one: System, directory: Path) -> AsyncIterator[NodeAgent]:
    """Run a node's agent on Kubernetes and a slot agent, by one control API; a keeper says what it is told of pods."""
    clock, keeper = ScaledClock(), MemoryKeeperControl("n1")
    control, gateway = control_of(one, "agent"), control_of(one, "gateway")
    spool = Spool(directory / "reports", 1_000_000)

    async def deliver(message: str) -> None:
        await control.report_node(NodeReport.from_json(message))

    async def heard() -> None:
        for sequence in range(1, 1_000_000):
            await gateway.report_gateway(said(keeper, sequence, clock.now_s()))
            await asyncio.sleep(REPORT_S)

    async def decide() -> None:
        metrics = SlotMetrics()
        advisor = Unadvised("no-llm", StatusKeeper("slot-agent", one.store, clock, metrics.dialogues, timeout_s=5.0))
        await SlotAgent(one.store, clock, Case(SETTINGS, (), "0.0"), decide_slot, advisor, metrics).run()

    runtime = runtime_of(ground)
    books = Books(node(), {"a": contained("a")}, "n1-first", Limits(600.0, 1.0, 5.0), told_for_s=60.0)
    ports = Ports(runtime, control, keeper, clock, Outbox(spool, deliver, 1))
    agent = NodeAgent(books, ports, Rhythm(REPORT_S, 0.1, 1.0), directory, "tests")
    tasks = [asyncio.create_task(agent.run()), asyncio.create_task(heard())]
    deciding = asyncio.run_coroutine_threadsafe(decide(), one.loop)
    try:
        yield agent
    finally:
        deciding.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runtime.close()
        await control.close()
        await gateway.close()
        spool.close()


def said(keeper: MemoryKeeperControl, sequence: int, now_s: float) -> GatewayReport:
    """Return what the node's gateway reports: the pods that its agent has declared, none with a request."""
    pods = tuple(
        PodLoad(model=model, phase="ready", ready_in_s=0.0, work_s=0.0, count=0, running=0, used_at_s=None)
        for model, phase in keeper.phases().items()
        if phase == "ready"
    )
    head = {"instance": "g", "sequence": sequence, "observed_at_s": now_s}
    state = KeeperState.model_validate({**head, "node": "n1", "speed": 1.0, "pods": pods})
    nothing = dict.fromkeys(("models", "choices", "samples", "outcomes"), ())
    return GatewayReport.model_validate(
        {**head, **nothing, "gateway": "n1", "site": "s1", "keeper": state, "table_generation": 0}
    )


async def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command prints."""
    capsys.readouterr()
    assert await asyncio.to_thread(invoke, ["decisions", *words]) == 0
    return capsys.readouterr().out


async def test_a_pod_that_somebody_deletes_is_explained_by_the_decision_of_a_slot(
    playground: Playground, system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when another one is in its place already; what is journaled can be executed again to the byte."""
    system.does(system.store.replace_cluster(CLUSTER))
    system.does(system.store.put_override(PIN, if_revision=None))
    path = PODS.path(playground.namespace, pod_name("a", "n1"))

    async def serves(other: str) -> bool:
        pods = (await playground.api.items(PODS.path(playground.namespace)))[0]
        conditions = {c["type"]: c["status"] for pod in pods for c in pod["status"].get("conditions", ())}
        return conditions.get("Ready") == "True" and [pod["metadata"]["uid"] for pod in pods] != [other]

    async with running(playground, system, tmp_path):
        await until(lambda: serves(""), "the pod is ready")
        first = (await playground.api.get(path))["metadata"]["uid"]
        await playground.api.delete(path, grace_s=1)
        await until(lambda: serves(first), "another one is in its place")

        async def explained() -> bool:
            lines = json.loads(await told(capsys, "list", "--limit", "5", "--json"))["items"]
            words = await told(capsys, "show", next(one["id"] for one in lines if one["kind"] == "slot"))
            return re.search(r"^  n1 said of a: \d+ s ago: deleted by somebody else$", words, re.MULTILINE) is not None

        await until(explained, "the decision of a slot says what became of the pod")
    assert "0 different" in await told(capsys, "replay", "--all")
