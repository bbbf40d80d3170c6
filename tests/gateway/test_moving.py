"""Waiting tickets move by price between real gateways: once each, never one that a pod has (CONTROL §2 rule 7)."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from fairlead.adapters.keeper_http import HttpKeeper
from gateway.moving import LOOK_S, rest_s
from tests.gateway.scene import Scene, TinyPod, free_port, model, scene, small_cluster
from tests.gateway.test_clusters import reaches, table
from tests.waiting import until

EVEN = {"n0": 0.5, "n1": 0.5}


async def halted(s: Scene) -> list[TinyPod]:
    """Start two nodes and one site, steered by a table over both; pods hold what they have until they are let go."""
    await s.gateway("n0", "s0")
    await s.gateway("n1", None)
    pods = [await s.pod(n, "alpha") for n in ("n0", "n1")]
    for pod in pods:
        pod.gate.clear()
    await until(lambda: reaches(s, "n0", "n0", "n1"))
    assert s.gateways["n0"].view.steer_by(table(1, EVEN, work_s=60.0))
    return pods


async def test_waiting_tickets_move_to_a_pod_that_has_room(tmp_path: Path) -> None:
    """Six wait for two pods; when one of these is quick, who waits for the other comes over, one after the other."""
    cluster = small_cluster(nodes=2, models=(model("alpha", work_s=60.0),))
    async with scene(tmp_path, cluster) as s:
        pods = await halted(s)
        asked = [asyncio.create_task(s.asked(request=f"r{i}")) for i in range(8)]
        await until(lambda: s.gateways["n0"].ledger.places["queued"] == 6)
        pods[1].gate.set()
        await until(lambda: len(pods[1].began) == 7)
        assert len(pods[0].began) == 1, "what the pod has does not move"
        pods[0].gate.set()
        answers = [await t for t in asked]
        assert [a[0] for a in answers] == [200] * 8
        assert s.gateways["n0"].ledger.moved["price"] >= 3
        assert sorted(pods[0].began + pods[1].began) == [f"r{i}" for i in range(8)]
        attempts = Counter(s.outcome(f"r{i}").attempts for i in range(8))
        assert attempts[1] < 8
        for one in (s.outcome(f"r{i}") for i in range(8)):
            assert one.queued_at_s is not None
            assert one.arrived_at_s <= one.queued_at_s <= one.arrived_at_s + one.wait_s
            assert one.attempts == 1 or one.queued_at_s - one.arrived_at_s > 0.0


async def test_without_moving_they_stay(tmp_path: Path) -> None:
    """The setting switches it off."""
    cluster = small_cluster(nodes=2, models=(model("alpha", work_s=60.0),))
    async with scene(tmp_path, cluster, moving=False) as s:
        pods = await halted(s)
        asked = [asyncio.create_task(s.asked()) for _ in range(8)]
        await until(lambda: s.gateways["n0"].ledger.places["queued"] == 6)
        pods[1].gate.set()
        await until(lambda: sum(t.done() for t in asked) == 4)
        clock = s.gateways["n0"].clock
        looked_at_s = clock.now_s() + 1.1 * LOOK_S
        await until(lambda: clock.now_s() >= looked_at_s)
        assert s.gateways["n0"].ledger.places == Counter(queued=3, running=1, transfer=0, held=0, new=0)
        pods[0].gate.set()
        assert {(await t)[0] for t in asked} == {200}


@pytest.mark.parametrize("stream", [False, True])
async def test_invariant_06_moves_under_load_lose_nothing_and_serve_nothing_twice(tmp_path: Path, stream: bool) -> None:
    """Two sites move their tickets over and over between three nodes, at any gain, while pods serve at random speed."""
    names = ("n0", "n1", "n2")
    draw = random.Random(7)
    async with scene(tmp_path, small_cluster(nodes=3, sites=2, models=(model("alpha", work_s=5.0),))) as s:
        for gateway in (("n0", "s0"), ("n1", "s1"), ("n2", None)):
            await s.gateway(*gateway)
        pods = [await s.pod(n, "alpha", work_s=w, pieces=3) for n, w in zip(names, (0.01, 0.03, 0.09), strict=True)]
        for site in ("n0", "n1"):
            await until(lambda site=site: reaches(s, site, *names))  # type: ignore[misc]
            assert s.gateways[site].view.steer_by(table(1, dict.fromkeys(names, 1 / 3), work_s=5.0))
        asked = []
        for k in range(150):
            asked.append(asyncio.create_task(s.asked(f"s{k % 2}", request=f"r{k}", stream=stream)))
            if draw.random() < 0.2:
                await _look(s)
        while not all(t.done() for t in asked):
            await _look(s)
        answers = [t.result() for t in asked]
        assert {a[0] for a in answers} == {200}
        if stream:
            assert {a[2].count(b"[DONE]") for a in answers} == {1}
        began = Counter(r for pod in pods for r in pod.began)
        assert began == Counter(f"r{k}" for k in range(150))
        assert sum(g.ledger.moved["price"] for g in s.gateways.values()) > 20


async def _look(s: Scene) -> None:
    """Let both sites move their tickets at once, whatever that gains."""
    await asyncio.gather(*(s.gateways[n].ingress.mover.look(0.0) for n in ("n0", "n1")))  # type: ignore[union-attr]
    await asyncio.sleep(0.005)


async def test_a_keeper_that_is_away_keeps_its_tickets(tmp_path: Path) -> None:
    """Nobody hears the withdrawal, or the node has left the cluster: the look is over, the tickets stay in force."""
    async with scene(tmp_path, small_cluster(nodes=2, models=(model("alpha", work_s=60.0),)), moving=False) as s:
        pods = await halted(s)
        asked = [asyncio.create_task(s.asked()) for _ in range(8)]
        ledger, ingress = s.gateways["n0"].ledger, s.gateways["n0"].ingress
        assert ingress is not None
        await until(lambda: ledger.places["queued"] == 6)
        pods[0].gate.set()
        await until(lambda: sum(t.done() for t in asked) == 4)
        nobody = HttpKeeper(
            f"http://127.0.0.1:{free_port()}",
            None,
            s.gateways["n0"].clock,
            inline_bytes=1000,
            connect_timeout_s=1.0,
            ack_timeout_s=1.0,
            silence_s=1.0,
        )
        keeper = ingress.keepers.pop("n1")
        await ingress.mover.look(0.0)
        ingress.keepers["n1"] = nobody
        await ingress.mover.look(0.0)
        await nobody.close()
        assert (ledger.places["queued"], ledger.moved["price"]) == (3, 0)
        ingress.keepers["n1"] = keeper
        await ingress.mover.look(0.0)
        await until(lambda: ledger.moved["price"] > 0)
        pods[1].gate.set()
        assert {(await t)[0] for t in asked} == {200}


@pytest.mark.parametrize(("yielding", "order"), [(True, ["r0", "r2", "r3", "r1"]), (False, ["r0", "r1", "r2", "r3"])])
async def test_a_late_request_lets_one_pass_that_can_be_on_time(
    tmp_path: Path, yielding: bool, order: list[str]
) -> None:
    """r1 is late when the pod is free, r2 has time left for its 0.5 s of work, r3 came after it and waits too."""
    timely = model("alpha", work_s=0.5).model_copy(update={"deadline_s": 2.0})
    async with scene(tmp_path, small_cluster(models=(timely,)), yielding=yielding) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        pod.gate.clear()
        gateway = s.gateways["n0"]
        asked = [asyncio.create_task(s.asked(request="r0"))]
        await until(lambda: pod.running == 1)
        asked.append(asyncio.create_task(s.asked(request="r1")))
        await until(lambda: gateway.ledger.places["queued"] == 1)
        late_at_s = gateway.clock.now_s() + 1.6
        await until(lambda: gateway.clock.now_s() >= late_at_s)
        for k in (2, 3):
            asked.append(asyncio.create_task(s.asked(request=f"r{k}")))
            await until(lambda k=k: gateway.ledger.places["queued"] == k)  # type: ignore[misc]
        pod.gate.set()
        assert {(await t)[0] for t in asked} == {200}
        assert pod.began == order


def test_sites_look_one_after_the_other() -> None:
    """Each at its own phase of a second; of many sites, or at high speed, less often."""
    for now_s in (100.0, 100.2, 100.9):
        nexts = [(now_s + rest_s(now_s, place, 3, 0.1, 1.0)) % 1.0 for place in range(3)]
        assert nexts == pytest.approx([0.0, 1 / 3, 2 / 3], abs=1e-9) or nexts[0] == pytest.approx(1.0)
        assert all(0.0 < rest_s(now_s, place, 3, 0.1, 1.0) <= 1.0 for place in range(3))
    assert rest_s(12.0, 0, 30, 0.1, 1.0) == pytest.approx(6.0)
    assert rest_s(12.0, 1, 2, 0.1, 40.0) == pytest.approx(1.0)
