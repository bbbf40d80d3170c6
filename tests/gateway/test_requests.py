"""Requests through one gateway: shapes, errors in OpenAI's envelope, headers, holding, streams."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import GatewaySettings
from tests.gateway.scene import CHAT, model, scene, small_cluster
from tests.waiting import until


async def test_a_request_is_answered_by_the_pod_with_fairleads_headers(tmp_path: Path) -> None:
    """The pod's bytes come back with node, decision and wait, and one outcome is logged."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        status, headers, body = await s.asked(request="r-1")
        assert (status, json.loads(body)) == (200, {"id": "r-1", "by": pod.url})
        assert headers["x-request-id"] == "r-1"
        assert headers["x-fairlead-node"] == "n0"
        assert headers["x-fairlead-decision"] == "none"
        assert float(headers["x-fairlead-wait"]) >= 0
        outcome = s.outcome("r-1")
        assert (outcome.status, outcome.attempts, outcome.node) == ("finished", 1, "n0")
        assert outcome.response_bytes == len(body)


async def test_a_request_without_an_id_gets_one(tmp_path: Path) -> None:
    """The pod and the client see the same id."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        _, headers, _ = await s.asked()
        assert pod.began == [headers["x-request-id"]]


async def test_models_are_listed(tmp_path: Path) -> None:
    """In OpenAI's shape, all of the cluster, one by its id, 404 for others."""
    async with scene(tmp_path, small_cluster(models=(model("alpha"), model("beta", kind="image")))) as s:
        await s.gateway("n0", "s0")
        async with s.client.get(s.url("s0") + "/v1/models") as answer:
            assert [(m["id"], m["object"]) for m in (await answer.json())["data"]] == [
                ("alpha", "model"),
                ("beta", "model"),
            ]
        async with s.client.get(s.url("s0") + "/v1/models/beta") as answer:
            assert (await answer.json())["id"] == "beta"
        async with s.client.get(s.url("s0") + "/v1/models/gamma") as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        (CHAT, b"{", {}, 400, "bad_json"),
        (CHAT, b"[1]", {}, 400, "model_missing"),
        (CHAT, b'{"model": 3}', {}, 400, "model_missing"),
        (CHAT, b'{"model": "gamma"}', {}, 404, "model_not_found"),
        (CHAT, b'{"model": "beta"}', {}, 400, "wrong_endpoint"),
        ("/v1/images/generations", b'{"model": "alpha"}', {}, 400, "wrong_endpoint"),
        (CHAT, b'{"model": "alpha"}', {"x-request-id": "a b"}, 400, "bad_request_id"),
        (
            CHAT,
            b'{"model":"alpha","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}',
            {},
            400,
            "image_not_supported",
        ),
        (CHAT, b'{"model": "alpha", "x": "' + b"a" * 2_000_000 + b'"}', {}, 413, "body_too_large"),
    ],
)
async def test_bad_input_gets_openais_error_envelope_and_is_no_arrival(
    tmp_path: Path, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Each refusal has its status and a stable code, and changes no count of arrivals."""
    async with scene(tmp_path, small_cluster(models=(model("alpha"), model("beta", kind="image")))) as s:
        gateway = await s.gateway("n0", "s0")
        async with s.client.post(s.url("s0") + path, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == status
            error = (await answer.json())["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code
        assert not gateway.ledger.arrived


async def test_a_chunked_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    """The limit holds without a content-length, too."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"a" * 65_536

        async with s.client.post(s.url("s0") + CHAT, data=pieces()) as answer:
            assert answer.status == 413


async def test_an_id_in_flight_is_refused_a_second_time(tmp_path: Path) -> None:
    """The second gets 409, the first its answer, the pod one request."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        pod.gate.clear()
        first = asyncio.create_task(s.asked(request="twin"))
        await until(lambda: pod.running == 1)
        status, _, body = await s.asked(request="twin")
        assert (status, json.loads(body)["error"]["code"]) == (409, "duplicate_request_id")
        pod.gate.set()
        assert (await first)[0] == 200
        assert pod.began == ["twin"]
        assert (await s.asked(request="twin-2"))[0] == 200


async def test_more_open_requests_than_the_limit_get_429(tmp_path: Path) -> None:
    """With Retry-After; the one inside goes on."""
    async with scene(tmp_path, small_cluster()) as s:
        s.settings = s.settings.model_copy(update={"gateway": GatewaySettings(open_limit=1)})
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        pod.gate.clear()
        first = asyncio.create_task(s.asked())
        await until(lambda: pod.running == 1)
        status, headers, body = await s.asked()
        assert (status, json.loads(body)["error"]["code"]) == (429, "over_capacity")
        assert headers["retry-after"] == "1"
        pod.gate.set()
        assert (await first)[0] == 200


async def test_a_stream_reaches_the_client_piece_by_piece(tmp_path: Path) -> None:
    """The first event is there before the pod has made the second."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha", pieces=3, halt_after_first=True)
        pod.gate.clear()
        async with s.ask(request="st", stream=True) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-fairlead-node"] == "n0"
            assert await answer.content.readline() == b'data: {"n": 0}\n'
            assert s.gateways["n0"].ledger.places["running"] == 1
            pod.gate.set()
            rest = await answer.content.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        await until(lambda: len(s.outcomes()) == 1)
        assert s.outcome("st").status == "finished"


async def test_a_pods_own_error_is_passed_on_and_counts_as_failed(tmp_path: Path) -> None:
    """Status and body are the pod's, the outcome says so."""
    async with scene(tmp_path, small_cluster()) as s:
        await s.gateway("n0", "s0")
        await s.pod("n0", "alpha", status=500)
        status, _, _ = await s.asked(request="bad")
        assert status == 500
        assert (s.outcome("bad").status, s.outcome("bad").reason) == ("failed", "pod-status-500")


async def test_a_request_without_any_pod_is_held_wakes_once_and_is_served_when_one_appears(tmp_path: Path) -> None:
    """However many wait there is one wake, and they are served in their order."""
    async with scene(tmp_path, small_cluster(), refresh_s=100.0) as s:
        gateway = await s.gateway("n0", "s0")
        held = [asyncio.create_task(s.asked(request=f"h-{i}")) for i in range(5)]
        await until(lambda: gateway.ledger.places["held"] == 5)
        await until(lambda: len(s.control.wakes) == 1)
        assert (s.control.wakes[0].model, s.control.wakes[0].reason) == ("alpha", "missing")
        counts = gateway.ledger.models(gateway.clock.now_s())
        assert (counts[0].held, counts[0].arrived) == (5, 5)
        pod = await s.pod("n0", "alpha")
        assert {(await one)[0] for one in held} == {200}
        assert pod.began == [f"h-{i}" for i in range(5)]
        assert len(s.control.wakes) == 1


async def test_a_held_request_waits_in_the_queue_of_a_starting_pod(tmp_path: Path) -> None:
    """It moves from the ingress to the keeper before the pod is ready."""
    async with scene(tmp_path, small_cluster()) as s:
        gateway = await s.gateway("n0", "s0")
        held = asyncio.create_task(s.asked())
        await until(lambda: gateway.ledger.places["held"] == 1)
        await s.pod("n0", "alpha", phase="starting")
        await until(lambda: gateway.ledger.places["queued"] == 1)
        await s.declare("n0", "alpha", "ready")
        assert (await held)[0] == 200


async def test_hold_timeout_gives_503_with_stage_and_eta(tmp_path: Path) -> None:
    """Retry-After is the start delay without a pod, the time left with a starting one."""
    async with scene(tmp_path, small_cluster(), hold_timeout_s=0.3) as s:
        await s.gateway("n0", "s0")
        status, headers, body = await s.asked(request="late")
        error = json.loads(body)["error"]
        assert (status, error["code"], error["stage"]) == (503, "model_not_ready", "no-pod")
        assert headers["retry-after"] == "4"  # the model's start delay
        assert (s.outcome("late").status, s.outcome("late").reason) == ("refused", "hold-timeout")
        await s.pod("n0", "alpha", phase="starting")
        now_s = s.gateways["n0"].clock.now_s()
        await s.declare("n0", "alpha", "starting", ready_at_s=now_s + 7.0)
        status, headers, body = await s.asked()
        assert (status, json.loads(body)["error"]["stage"]) == (503, "starting")
        assert 6 <= int(headers["retry-after"]) <= 7


async def test_a_client_that_leaves_gives_its_place_up(tmp_path: Path) -> None:
    """Waiting or running, its ticket is withdrawn and the outcome is cancelled."""
    async with scene(tmp_path, small_cluster()) as s:
        gateway = await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        pod.gate.clear()
        running = asyncio.create_task(s.asked(request="a"))
        await until(lambda: pod.running == 1)
        waiting = asyncio.create_task(s.asked(request="b"))
        await until(lambda: gateway.ledger.places["queued"] == 1)
        waiting.cancel()
        await until(lambda: gateway.ledger.places["queued"] == 0, "the waiting one left")
        running.cancel()
        await until(lambda: pod.cut == 1, "the pod was told")
        await until(lambda: not gateway.ledger.open)
        assert pod.began == ["a"]
        assert {s.outcome(r).status for r in "ab"} == {"cancelled"}
        assert gateway.keeper is not None
        await until(lambda: gateway.keeper is not None and gateway.keeper.running == 0)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome is cancelled, the pod is told, and the server logs no error."""
    async with scene(tmp_path, small_cluster()) as s:
        gateway = await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha", pieces=100_000)
        for turn in range(8):
            async with s.ask(request=f"r{turn}", stream=True) as answer:
                await answer.content.readline()
                answer.close()
        await until(lambda: len(gateway.ledger.ended) == 1 and not gateway.ledger.open)
        assert gateway.ledger.ended["alpha", "cancelled"] == 8
        await until(lambda: pod.running == 0)
    assert [r.getMessage() for r in caplog.records if r.name == "aiohttp.server"] == []


async def test_a_wait_longer_than_half_the_start_wakes(tmp_path: Path) -> None:
    """The control side hears of it before anybody is held."""
    cluster = small_cluster(models=(model("alpha", work_s=3.0, start_delay_s=4.0),))
    async with scene(tmp_path, cluster) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha")
        pod.gate.clear()
        first = asyncio.create_task(s.asked())
        await until(lambda: pod.running == 1)
        assert not s.control.wakes
        second = asyncio.create_task(s.asked())
        await until(lambda: bool(s.control.wakes))
        assert s.control.wakes[0].reason == "wait"
        assert 2.0 < s.control.wakes[0].wait_s <= 3.0
        pod.gate.set()
        assert [(await t)[0] for t in (first, second)] == [200, 200]


async def test_at_most_its_concurrency_is_inside_a_pod(tmp_path: Path) -> None:
    """Three of twenty at any time."""
    cluster = small_cluster(models=(model("alpha", concurrency=3),))
    async with scene(tmp_path, cluster) as s:
        await s.gateway("n0", "s0")
        pod = await s.pod("n0", "alpha", work_s=0.01)
        answers = await asyncio.gather(*[s.asked() for _ in range(20)])
        assert {status for status, _, _ in answers} == {200}
        assert pod.most_running == 3


async def test_health_and_metrics_on_both_ports(tmp_path: Path) -> None:
    """Each role answers /healthz and /metrics with the same books."""
    async with scene(tmp_path, small_cluster()) as s:
        gateway = await s.gateway("n0", "s0")
        await s.pod("n0", "alpha")
        await s.asked()
        for port in gateway.ports.values():
            async with s.client.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (await answer.json())["status"] == "ok"
            async with s.client.get(f"http://127.0.0.1:{port}/metrics") as answer:
                words = await answer.text()
            assert 'fairlead_gateway_requests_arrived_total{model="alpha",site="s0"} 1.0' in words
            assert 'fairlead_keeper_tickets_total{node="n0",result="done"} 1.0' in words


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """The error names role, address and what to do."""
    cluster = small_cluster()
    async with scene(tmp_path, cluster) as s:
        await s.gateway("n0", None)
        with pytest.raises(ConfigError, match="cannot listen on"):
            await s.gateway("n0", None)
