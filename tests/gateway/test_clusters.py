"""Several gateways on loopback: fresh state, moves between nodes, losses, static stability."""

import asyncio
import json
from pathlib import Path

import aiohttp

from fairlead.contracts.plans import ModelWork, NodeSpeed, RoutingTable, Row, Rule, Share
from tests.gateway.scene import Scene, model, scene, small_cluster
from tests.waiting import until


def table(
    generation: int,
    shares: dict[str, float],
    *,
    expires_at_s: float = 4e9,
    rule: Rule = "marginal",
    work_s: float = 0.02,
) -> RoutingTable:
    """Return a table with one row for `alpha`."""
    return RoutingTable(
        generation=generation,
        placement_generation=1,
        plan_generation=1,
        slot=1,
        created_at_s=1.0,
        expires_at_s=expires_at_s,
        decision=f"slot-{generation}",
        source="fallback",
        rows=(
            Row(
                zone="*",
                model="alpha",
                rule=rule,
                prior_weight_s=0.0,
                explore=0.0,
                shares=tuple(Share(node=n, probability=p) for n, p in sorted(shares.items())),
            ),
        ),
        work=(ModelWork(model="alpha", work_s=work_s),),
        speeds=(NodeSpeed(node="n0", speed=1.0),),
    )


def reaches(s: Scene, site_gateway: str, *nodes: str) -> bool:
    """Return whether an ingress knows a ready pod on each node."""
    view = s.gateways[site_gateway].view
    loads = view.loads(s.gateways[site_gateway].clock.now_s())
    return all(n in loads and any(p.phase == "ready" for p in loads[n].pods) for n in nodes)


async def test_an_ingress_serves_through_remote_keepers_and_spreads_by_their_load(tmp_path: Path) -> None:
    """Nine long requests on three equal nodes: three each."""
    async with scene(tmp_path, small_cluster(nodes=3, models=(model("alpha", work_s=60.0),))) as s:
        for gateway in (("n0", "s0"), ("n1", None), ("n2", None)):
            await s.gateway(*gateway)
        pods = [await s.pod(n, "alpha") for n in ("n0", "n1", "n2")]
        await until(lambda: reaches(s, "n0", "n0", "n1", "n2"))
        for pod in pods:
            pod.gate.clear()
        asked = [asyncio.create_task(s.asked()) for _ in range(9)]
        await until(lambda: sum(p.running for p in pods) == 3)
        await until(lambda: s.gateways["n0"].ledger.places["queued"] == 6)
        for pod in pods:
            pod.gate.set()
        assert {(await t)[0] for t in asked} == {200}
        assert [len(p.began) for p in pods] == [3, 3, 3]


async def test_waiting_tickets_move_when_their_pod_drains(tmp_path: Path) -> None:
    """They are answered elsewhere as a second attempt, the running one where it was."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        first = await s.pod("n0", "alpha")
        first.gate.clear()
        asked = [asyncio.create_task(s.asked(request=f"r{i}")) for i in range(4)]
        await until(lambda: s.gateways["n0"].ledger.places["queued"] == 3)
        second = await s.pod("n1", "alpha")
        await until(lambda: reaches(s, "n0", "n1"))
        await s.declare("n0", "alpha", "draining")
        await until(lambda: len(second.began) == 3)
        first.gate.set()
        answers = [await t for t in asked]
        assert {a[0] for a in answers} == {200}
        assert [a[1]["x-fairlead-node"] for a in answers] == ["n0", "n1", "n1", "n1"]
        assert s.outcome("r1").attempts == 2
        assert first.began == ["r0"]


async def test_a_request_lost_before_its_first_byte_is_sent_again_exactly_once(tmp_path: Path) -> None:
    """A second loss is the end: 502, failed, and the third node never sees it."""
    async with scene(tmp_path, small_cluster(nodes=3)) as s:
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        await s.gateway("n2", None)
        pods = {}
        for node in ("n0", "n1", "n2"):
            pods[node] = await s.pod(node, "alpha")
            pods[node].gate.clear()
        await until(lambda: reaches(s, "n0", "n0", "n1", "n2"))
        asked = asyncio.create_task(s.asked(request="r"))
        for turn in range(2):
            await until(lambda: any(p.running for p in pods.values()))
            node = next(n for n, p in pods.items() if p.running)
            await pods.pop(node).die()
            if turn == 0:
                await until(lambda: s.gateways["n0"].ledger.moved["lost"] == 1)
        status, _, body = await asked
        assert (status, json.loads(body)["error"]["code"]) == (502, "pod_lost")
        assert (s.outcome("r").status, s.outcome("r").reason, s.outcome("r").attempts) == ("failed", "pod-lost", 2)
        assert [p.began for p in pods.values()] == [[]]


async def test_a_whole_answer_lost_midway_is_sent_again_for_its_client_saw_nothing(tmp_path: Path) -> None:
    """Its client gets one answer."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        pods = {n: await s.pod(n, "alpha") for n in ("n0", "n1")}
        for pod in pods.values():
            pod.gate.clear()
        await until(lambda: reaches(s, "n0", "n0", "n1"))
        asked = asyncio.create_task(s.asked(request="r"))
        await until(lambda: any(p.running for p in pods.values()))
        await next(p for p in pods.values() if p.running).die()
        for pod in pods.values():
            pod.gate.set()
        assert (await asked)[0] == 200
        assert s.outcome("r").attempts == 2


async def test_a_stream_lost_after_its_first_byte_has_failed_and_its_client_sees_it(tmp_path: Path) -> None:
    """An error event, then a connection without its proper end; nothing is started anew."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        pods = {n: await s.pod(n, "alpha", pieces=2, halt_after_first=True) for n in ("n0", "n1")}
        for pod in pods.values():
            pod.gate.clear()
        await until(lambda: reaches(s, "n0", "n0", "n1"))
        async with s.ask(request="st", stream=True) as answer:
            assert await answer.content.readline() == b'data: {"n": 0}\n'
            await next(p for p in pods.values() if p.running).die()
            rest = b""
            try:
                while piece := await answer.content.readany():
                    rest += piece
                ended_properly = True
            except aiohttp.ClientPayloadError:
                ended_properly = False
        assert not ended_properly
        assert b'"code": "pod_lost"' in rest
        await until(lambda: len(s.outcomes()) == 1)
        assert (s.outcome("st").status, s.outcome("st").reason) == ("failed", "pod-lost")
        assert sum(len(p.began) for p in pods.values()) == 1


async def test_invariant_09_an_older_table_never_steers(tmp_path: Path) -> None:
    """Neither an older nor the same generation replaces the one in force."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        gateway = await s.gateway("n0", "s0")
        s.control.publish(table(7, {"n0": 1.0}))
        await until(lambda: gateway.view.table_generation == 7)
        assert not gateway.view.steer_by(table(6, {"n1": 1.0}))
        assert not gateway.view.steer_by(table(7, {"n1": 1.0}))
        assert gateway.view.table is not None
        assert gateway.view.table.rows[0].shares[0].node == "n0"
        assert gateway.view.older_tables == 2
        await s.pod("n0", "alpha")
        _, headers, _ = await s.asked(request="r")
        assert headers["x-fairlead-decision"] == "slot-7"
        assert s.outcome("r").table_generation == 7
        assert s.outcome("r").propensity == 1.0


async def test_an_expired_table_steers_three_slots_more_then_shortest_expected_delay_does(tmp_path: Path) -> None:
    """Without a control plane no request is refused for that."""
    async with scene(tmp_path, small_cluster(nodes=2), slot_s=0.5) as s:
        gateway = await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        await s.pod("n0", "alpha")
        await s.pod("n1", "alpha")
        await until(lambda: reaches(s, "n0", "n0", "n1"))
        s.control.publish(table(1, {"n1": 1.0}, expires_at_s=gateway.clock.now_s(), rule="strict"))
        await until(lambda: gateway.view.table_generation == 1)
        s.control.away = True
        _, headers, _ = await s.asked()
        assert headers["x-fairlead-decision"] == "slot-1"
        await until(lambda: gateway.view.steering(gateway.clock.now_s()) is None)
        status, headers, _ = await s.asked()
        assert (status, headers["x-fairlead-decision"]) == (200, "none")


async def test_without_any_control_plane_requests_are_served_and_reports_kept(tmp_path: Path) -> None:
    """The spool delivers them all, in order, once it is back."""
    async with scene(tmp_path, small_cluster()) as s:
        s.control.away = True
        await s.gateway("n0", "s0")
        await s.pod("n0", "alpha")
        assert (await s.asked(request="r"))[0] == 200
        await until(lambda: s.gateways["n0"]._spool.pending > 1)
        s.control.away = False
        await until(lambda: any(o.request == "r" for r in s.control.gateway_reports for o in r.outcomes))
        sequences = [r.sequence for r in s.control.gateway_reports]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_reports_carry_counts_choices_samples_and_the_keepers_state(tmp_path: Path) -> None:
    """One in a hundred choices is there in full."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        await s.pod("n0", "alpha")
        for i in range(101):
            await s.asked(request=f"r{i}")
        await until(lambda: sum(len(r.outcomes) for r in s.control.gateway_reports) == 101)
        last = s.control.gateway_reports[-1]
        assert (last.site, last.gateway) == ("s0", "n0")
        assert (last.models[0].arrived, last.models[0].held) == (101, 0)
        assert (last.choices[0].node, last.choices[0].chosen) == ("n0", 101)
        samples = [c for r in s.control.gateway_reports for c in r.samples]
        assert len(samples) == 1
        assert [p.node for p in samples[0].prices_s] == ["n0"]
        assert last.keeper is not None
        assert last.keeper.pods[0].model == "alpha"


async def test_a_stopped_node_is_left_out_and_its_tickets_move(tmp_path: Path) -> None:
    """A gateway that ends in order gives its waiting tickets back."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        far = await s.pod("n1", "alpha")
        far.gate.clear()
        await until(lambda: reaches(s, "n0", "n1"))
        asked = [asyncio.create_task(s.asked()) for _ in range(3)]
        await until(lambda: s.gateways["n0"].ledger.places["queued"] == 2)
        near = await s.pod("n0", "alpha")
        await s.stop("n1")
        assert {(await t)[0] for t in asked} == {200}
        assert len(near.began) == 3
        assert s.gateways["n0"].ledger.moved["lost"] <= 1


async def test_invariant_10_a_silent_keepers_word_is_not_used(tmp_path: Path) -> None:
    """A keeper that says nothing for three heartbeats may be anything: it is not priced."""
    async with scene(tmp_path, small_cluster(nodes=2)) as s:
        gateway = await s.gateway("n0", "s0")
        await s.gateway("n1", None)
        await s.pod("n1", "alpha")
        await until(lambda: reaches(s, "n0", "n1"))
        view = gateway.view
        view._silence_s = 0.0
        assert "n1" not in view.loads(gateway.clock.now_s())
        view._silence_s = 3.0
        assert "n1" in view.loads(gateway.clock.now_s())
