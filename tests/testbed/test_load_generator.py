"""The load generator sends when due, judges answers, sends again once, and leaves a log that tells of everything."""

import asyncio
import json
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import Cluster
from fairlead.twin.clusters import cluster
from fairlead.twin.demand import Demand
from testbed.client_log import ClientRecord, read_client_log
from testbed.load_generator import LoadGenerator, Setup
from testbed.openai_calls import STREAM_ONE_IN
from tests.testbed.small_gateway import SmallGateway, small_gateway

SPEED = 30.0
WAIT_S = 20.0


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def city7_at(*gateways: SmallGateway | str) -> Cluster:
    """Return city7 with its sites at the gateways, one after the other."""
    shape = cluster("city7", lambda _: 1)
    urls = [one if isinstance(one, str) else one.url for one in gateways]
    sites = [{**site.to_document(), "url": url} for site, url in zip(shape.sites[: len(urls)], urls, strict=True)]
    return Cluster.model_validate({**shape.to_document(), "sites": sites})


def setup(shape: Cluster, log: Path, grace_s: float = WAIT_S) -> Setup:
    """Return a setup that starts now at speed 30."""
    clock = ScaledClock(SPEED)
    return Setup(
        cluster=shape,
        clock=clock,
        log=log,
        run="t",
        start_at_s=clock.now_s(),
        grace_s=grace_s,
        answer_timeout_s=WAIT_S,
        token="secret",
    )


def demand(count: int, site: str = "site-1", model: str = "small-text", every_s: float = 0.3) -> list[Demand]:
    """Return `count` requests at even distances."""
    return [Demand(at * every_s, site, model, 2.5, 40, 20) for at in range(count)]


async def played(shape: Cluster, log: Path, requests: list[Demand]) -> tuple[ClientRecord, ...]:
    """Play requests and check that the log says what the generator says."""
    records = await LoadGenerator(setup(shape, log)).play(requests)
    assert read_client_log(log) == records
    return records


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return where the client's log goes."""
    return tmp_path / "logs" / "client.jsonl"


async def test_every_kind_is_asked_for_in_its_shape_and_finishes(log: Path) -> None:
    """Text, streamed and not, vision-language with an image part, image; the work goes along as a string."""
    models = ("small-text", "large-text", "vision-language", "image")
    async with small_gateway() as gateway:
        requests = [Demand(at * 0.3, "site-1", models[at % 4], 2.5, 40, 20) for at in range(16)]
        records = await played(city7_at(gateway), log, requests)
    assert [(record.end, record.reason, record.sends) for record in records] == [("finished", "", 1)] * 16
    assert [record.id for record in records] == [f"t-{at:06d}" for at in range(1, 17)]
    assert {one for one, _ in gateway.seen} == {record.id for record in records}
    bodies = [body for _, body in sorted(gateway.seen, key=lambda seen: seen[0])]
    assert [body["model"] for body in bodies] == list(models) * 4
    assert all(body["metadata"] == {"work_s": "2.5"} for body in bodies)
    assert sum(body.get("stream") is True for body in bodies) == sum(
        at % STREAM_ONE_IN == 0 and models[(at - 1) % 4].endswith("text") for at in range(1, 17)
    )
    assert "image_url" in json.dumps(bodies[2])
    assert bodies[3]["response_format"] == "b64_json"
    for record in records:
        assert record.first_byte_at_s is not None
        assert record.ended_at_s is not None
        assert record.due_at_s <= record.sent_at_s <= record.first_byte_at_s <= record.ended_at_s


async def test_requests_are_sent_when_due_whatever_became_of_those_before(log: Path) -> None:
    """Nobody answers, and yet all are sent; once let go, all finish."""
    async with small_gateway("hang") as gateway:
        generator = LoadGenerator(setup(city7_at(gateway), log))
        playing = asyncio.create_task(generator.play(demand(20)))
        async with asyncio.timeout(WAIT_S):
            while len(gateway.seen) < 20:
                await asyncio.sleep(0.01)
        assert generator.progress().open == 20
        gateway.release.set()
        records = await playing
    assert [record.end for record in records] == ["finished"] * 20
    assert all(record.sent_at_s >= record.due_at_s for record in records)
    progress = generator.progress()
    assert (progress.sent, progress.finished, progress.failed, progress.open) == (20, 20, 0, 0)


async def test_a_connection_that_breaks_before_any_byte_is_sent_again_to_another_site(log: Path) -> None:
    """Under the same id, once, and answered there."""
    async with small_gateway("break-before") as broken, small_gateway() as sound:
        records = await played(city7_at(broken, sound), log, demand(5))
    assert [(record.end, record.sends, record.site) for record in records] == [("finished", 2, "site-1")] * 5
    assert sorted(one for one, _ in sound.seen) == sorted(one for one, _ in broken.seen)


async def test_a_site_where_nobody_listens_is_passed_over(log: Path) -> None:
    """A refused connection is one that broke before any byte."""
    async with small_gateway() as sound:
        records = await played(city7_at(f"http://127.0.0.1:{free_port()}", sound), log, demand(3))
    assert [(record.end, record.sends) for record in records] == [("finished", 2)] * 3


async def test_it_is_sent_again_only_once(log: Path) -> None:
    """Two broken connections are a failure, and the third site never hears of it."""
    async with small_gateway("break-before") as one, small_gateway("break-before") as two, small_gateway() as three:
        records = await played(city7_at(one, two, three), log, demand(2))
    assert [(record.end, record.reason, record.sends) for record in records] == [("failed", "connection-lost", 2)] * 2
    assert three.seen == []


async def test_the_only_site_gets_a_second_chance(log: Path) -> None:
    """With no other site the same one is tried again."""
    async with small_gateway("break-before") as gateway:
        records = await played(city7_at(gateway), log, demand(1))
    assert [(record.end, record.sends) for record in records] == [("failed", 2)]
    assert len(gateway.seen) == 2


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("break-after", "answer-broken"),
        ("cut-stream", "answer-no-json"),
        ("refuse", "http-503"),
        ("other-model", "answer-other-model"),
        ("garbage", "answer-no-json"),
    ],
)
async def test_an_answer_that_is_not_full_and_sane_is_a_failure_and_not_sent_again(
    log: Path, manner: str, reason: str
) -> None:
    """After the first byte a loss is failed (DESIGN §3)."""
    async with small_gateway(manner) as gateway, small_gateway() as sound:
        records = await played(city7_at(gateway, sound), log, demand(1))
    assert [(record.end, record.reason, record.sends) for record in records] == [("failed", reason, 1)]
    assert sound.seen == []


@pytest.mark.parametrize(
    ("manner", "reason"),
    [("cut-stream", "stream-not-ended"), ("double-stream", "stream-ended-twice"), ("break-after", "answer-broken")],
)
async def test_a_stream_must_end_exactly_once(log: Path, manner: str, reason: str) -> None:
    """A stream without its end, or with two, is no full answer."""
    async with small_gateway(manner) as gateway:
        records = await LoadGenerator(setup(city7_at(gateway), log)).play(demand(STREAM_ONE_IN))
    assert records[-1].end == "failed"
    assert records[-1].reason == reason


async def test_what_still_runs_after_the_grace_is_open(log: Path) -> None:
    """Neither finished nor failed, and the log says so."""
    async with small_gateway("hang") as gateway:
        generator = LoadGenerator(setup(city7_at(gateway), log, grace_s=0.2))
        records = await generator.play(demand(3))
    assert [(record.end, record.reason) for record in records] == [("open", "left")] * 3
    assert read_client_log(log) == records
    assert generator.progress().open == 3


async def test_stopping_sends_no_more_and_waits_out_the_grace(log: Path) -> None:
    """An endless demand ends when told; what was sent is answered."""
    async with small_gateway() as gateway:
        generator = LoadGenerator(setup(city7_at(gateway), log))
        playing = asyncio.create_task(generator.play(demand(100_000)))
        async with asyncio.timeout(WAIT_S):
            while len(gateway.seen) < 5:
                await asyncio.sleep(0.01)
        generator.stop()
        records = await playing
    assert 5 <= len(records) < 100_000
    assert {record.end for record in records} == {"finished"}


async def test_a_cancelled_run_leaves_a_full_log(log: Path) -> None:
    """Cancellation writes an end for all that was sent."""
    async with small_gateway("hang") as gateway:
        playing = asyncio.create_task(LoadGenerator(setup(city7_at(gateway), log)).play(demand(3)))
        async with asyncio.timeout(WAIT_S):
            while len(gateway.seen) < 3:
                await asyncio.sleep(0.01)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
    assert [record.end for record in read_client_log(log)] == ["open"] * 3


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
async def test_as_a_process_it_logs_whole_lines_and_prints_progress(tmp_path: Path, ended_by: signal.Signals) -> None:
    """SIGTERM ends it with the grace; after kill -9 the log still has every request that was sent."""
    log = tmp_path / "client.jsonl"
    async with small_gateway() as gateway:
        document = {"cluster": city7_at(gateway).to_document(), "speed": SPEED, "clock_origin_s": time.time()}
        (tmp_path / "fairlead.yaml").write_text(json.dumps(document))
        options = ["--config", str(tmp_path / "fairlead.yaml"), "--scenario", "city7-rotating", "--load", "0.8"]
        options += ["--seed", "7", "--log", str(log), "--grace", "10"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "testbed.load_generator", *options, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                while len(gateway.seen) < 20:
                    await asyncio.sleep(0.01)
                first = json.loads(await process.stdout.readline())
        finally:
            process.send_signal(ended_by)
        rest = (await process.stdout.read()).splitlines()
        await process.wait()
    records = read_client_log(log)
    assert first["progress"]["sent"] > 0
    assert {one for one, _ in gateway.seen} <= {record.id for record in records}
    if ended_by == signal.SIGTERM:
        assert process.returncode == 0
        assert json.loads(rest[-1])["done"] is True
        assert {record.end for record in records} == {"finished"}
