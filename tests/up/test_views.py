"""What a person who looks on is shown, and when a cluster counts as ready."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from fairlead.adapters.clock import VirtualClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, SlotInput, SlotState, Snapshot
from fairlead.contracts.events import Mode
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.readings import GatewayReport, KeeperState, ModelCount, NodeReport, Phase, PodLoad, PodReading
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.registry import decide_slot
from fairlead.twin.clusters import cluster
from testbed.client_log import ClientLog, ClientRecord, End
from testbed.client_tail import ClientTail
from testbed.live_view import LiveView
from testbed.picture import Moment, Picture, line, take
from testbed.readiness import missing_pod, missing_report
from tests.control_api import dialogue_examples as example

NOW_S = 1_000_000.0


@pytest.fixture
def city() -> Cluster:
    """Return city7 on some ports."""
    return cluster("city7", lambda _: 9000)


async def decide(store: MemoryStore, shape: Cluster) -> tuple[NodePlacement, ...]:
    """Put a first placement and table in force, as the slot agent does, and return the placement's nodes."""
    given = SlotInput(
        trigger="slot",
        slot=0,
        now_s=NOW_S,
        seed=1,
        policy="marginal-dpp",
        settings=PolicySettings(),
        cluster=shape,
        snapshot=Snapshot(taken_at_s=NOW_S, nodes=(), models=(), stale=()),
        state=SlotState(slot=0, rates=(), rotation=0),
        plan=None,
        placement=None,
        overrides=(),
        static=(),
        next_placement=1,
        next_table=1,
        decision="slot-1",
    )
    output = decide_slot(given)
    record = DecisionRecord(
        id="slot-1",
        agent="slot-agent",
        kind="slot",
        made_at_s=NOW_S,
        took_s=0.01,
        source="fallback",
        version="0",
        input=given,
        output=output,
    )
    await store.publish_slot(output.placement, output.table, record)
    assert output.placement is not None
    return output.placement.nodes


async def report(
    store: MemoryStore, shape: Cluster, nodes: tuple[NodePlacement, ...], phase: Phase, sequence: int
) -> None:
    """Let all agents and gateways report the placed pods in a phase."""
    placed = {one.node: one.awake for one in nodes}
    sites = {site.node: site.id for site in shape.sites}
    for node in shape.nodes:
        readings = [
            PodReading(
                model=model,
                instance="i",
                phase=phase,
                since_at_s=NOW_S,
                stage="",
                ready_at_s=NOW_S,
                memory_bytes=1,
                crashes=0,
                backoff_until_s=None,
                reason="",
            )
            for model in placed.get(node.id, ())
        ]
        await store.append_node_report(
            NodeReport(
                node=node.id,
                instance="a",
                sequence=sequence,
                observed_at_s=NOW_S,
                memory_bytes=node.memory_bytes,
                memory_used_bytes=len(readings),
                placement_generation=1,
                pods=tuple(readings),
                starts=len(readings),
                stops=0,
                overruns=0,
                forced_losses=0,
            )
        )
        loads = [
            PodLoad(model=r.model, phase=phase, ready_in_s=0.0, work_s=8.0, count=3, running=1, used_at_s=None)
            for r in readings
        ]
        keeper = KeeperState(
            node=node.id, instance="k", sequence=sequence, observed_at_s=NOW_S, speed=node.speed, pods=tuple(loads)
        )
        held = ModelCount(model="image", arrived=4, held=2, oldest_held_s=3.0, asked_at_s=NOW_S)
        await store.append_gateway_report(
            GatewayReport(
                gateway=node.id,
                instance="g",
                sequence=sequence,
                observed_at_s=NOW_S,
                site=sites.get(node.id),
                models=(held,) if node.id in sites else (),
                choices=(),
                samples=(),
                outcomes=(),
                keeper=keeper,
                table_generation=1,
            )
        )


async def test_a_cluster_is_ready_when_every_placed_pod_answers(city: Cluster) -> None:
    """Placement, table, all reporters, all pods by agent and keeper; readings from an earlier run do not count."""
    store = MemoryStore(VirtualClock(NOW_S))
    await store.replace_cluster(city)
    assert "agent of node-1" in await missing_report(store, city, NOW_S)
    assert await missing_pod(store, city, NOW_S) == "no placement yet"
    nodes = await decide(store, city)
    await report(store, city, nodes, "starting", 1)
    assert await missing_report(store, city, NOW_S) == ""
    assert "pods are starting" in await missing_pod(store, city, NOW_S)
    await report(store, city, nodes, "ready", 2)
    assert await missing_pod(store, city, NOW_S) == ""
    assert await missing_pod(store, city, NOW_S + 1.0) == "no placement yet"
    assert await missing_report(store, city, NOW_S + 1.0) != ""


def log_of(path: Path) -> ClientLog:
    """Write a client's log of one finished, one failed and one running request."""
    log = ClientLog(path)
    ends: tuple[End | None, ...] = ("finished", "failed", None)
    for at, end in enumerate(ends):
        ended_at_s = NOW_S + 30.0 if end else None
        record = ClientRecord(f"r{at}", "image", "site-1", NOW_S, NOW_S, None, ended_at_s, end, "", 1)
        log.sent(record)
        if end is not None:
            log.ended(record)
    return log


def test_the_client_log_is_followed_while_it_grows(tmp_path: Path, city: Cluster) -> None:
    """Counts are of the whole run; a line that is half written is taken when it is whole."""
    path = tmp_path / "client.jsonl"
    tail = ClientTail(path, city)
    assert tail.look(NOW_S).arrived == 0
    log_of(path).close()
    with path.open("ab") as file:
        file.write(b'{"event":"ended","id":"r2","at_s":')
    seen = tail.look(NOW_S + 60.0)
    assert (seen.arrived, seen.finished, seen.failed, seen.open) == (3, 1, 1, 1)
    assert seen.mean_s == pytest.approx((30 + 60 + 60) / 3)
    with path.open("ab") as file:
        file.write(b'1000090.0,"end":"finished","reason":"","sends":1}\n')
    assert tail.look(NOW_S + 100.0).finished == 2
    assert tail.look(NOW_S + 10_000.0).mean_s is None
    tail.close()


async def test_a_picture_shows_nodes_pods_queues_and_decisions(tmp_path: Path, city: Cluster) -> None:
    """The line for a log and the drawing for a terminal tell the same."""
    store = MemoryStore(VirtualClock(NOW_S))
    await store.replace_cluster(city)
    nodes = await decide(store, city)
    await report(store, city, nodes, "ready", 1)
    log_of(tmp_path / "client.jsonl").close()
    tail = ClientTail(tmp_path / "client.jsonl", city)
    clients = tail.look(NOW_S + 60.0)
    tail.close()
    picture = await take(store, city, clients, Moment(NOW_S + 60.0, NOW_S, 2.0, 2, 1))
    assert picture.held == 6
    assert all(pod.waiting == 2 and pod.running == 1 for node in picture.nodes for pod in node.pods)
    said = line(picture)
    assert "3 arrived, 1 finished, 1 failed" in said
    assert "last decision slot-1 by fallback" in said
    drawn = draw(picture)
    for word in ("node-7", "image", "slot-1", "1 failed", "1 restarts"):
        assert word in drawn


async def test_agents_are_shown_where_a_language_model_is_configured(tmp_path: Path, city: Cluster) -> None:
    """A line each: the mode of now, the last answer, shares, tokens, and why the fallback acts."""
    store = MemoryStore(VirtualClock(NOW_S))
    await store.replace_cluster(city)
    tail = ClientTail(tmp_path / "client.jsonl", city)
    clients = tail.look(NOW_S)
    tail.close()
    moment = Moment(NOW_S, NOW_S, 2.0, 2, 0)
    await store.put_agent_status(example.status("planner", llm="none", endpoints=()))
    picture = await take(store, city, clients, moment)
    assert picture.agents == ()
    assert "tokens" not in draw(picture) + line(picture)
    await store.put_agent_status(example.status(why="mode shadow [/]"))
    await store.put_mode(Mode(agent="slot-agent", mode="assist", by="ann", at_s=NOW_S), if_revision=0)
    picture = await take(store, city, clients, moment)
    drawn = next(row for row in draw(picture).splitlines() if "slot-agent" in row)
    for word in ("assist", "ok", "12", "40%", "100%", "12510", "fallback: mode shadow [/]"):
        assert word in drawn
    assert "slot-agent assist: 10 dialogues, 4 accepted, 10 on the fallback, 12510 tokens" in line(picture)
    await store.put_agent_status(
        example.status(dialogues=0, accepted=0, fallbacks=0, endpoints=(), acting="llm", why="")
    )
    picture = await take(store, city, clients, moment)
    assert "slot-agent assist: 0 dialogues, 12510 tokens" in line(picture)
    assert "llm" in draw(picture)


def draw(picture: Picture) -> str:
    """Return what the live view draws."""
    console = Console(width=160, record=True, file=io.StringIO())
    view = LiveView("Fairlead", console)
    view.tell("a line")
    view.show(picture)
    console.print(view.drawn())
    return console.export_text()
