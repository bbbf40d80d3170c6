"""Emulated pods over real HTTP, forked from a real warm parent at speed 30."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from fairlead.adapters import process_table
from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import Kind, Launch, ModelSpec, NodeSpec
from fairlead.contracts.errors import PodFault
from fairlead.contracts.ports import PodOrder
from node_agent.launchers import Launched, WarmParentClient
from testbed.emulated_answers import png
from tests.node_agent.pods import kill, warm_parent
from tests.waiting import until

SPEED = 30.0
WORK_S = 6.0

SLACK_S = 150.0
"""Domain seconds (5 s of the wall) that a busy machine may add: the exact shares are the shared clock's own tests."""


def spec(name: str, kind: Kind = "text", concurrency: int = 1, start_s: float = 3.0) -> ModelSpec:
    """Return an emulated model."""
    return ModelSpec(
        id=name,
        kind=kind,
        memory_bytes=1_000,
        work_s=WORK_S,
        start_delay_s=start_s,
        concurrency=concurrency,
        launch=Launch(launcher="warm-parent", command=("emulated",)),
    )


@dataclass
class Emulation:
    """A warm parent, and pods that a test has forked from it."""

    client: WarmParentClient
    http: aiohttp.ClientSession
    clock: ScaledClock = field(default_factory=lambda: ScaledClock(SPEED))
    pods: list[Launched] = field(default_factory=list)

    async def fork(self, model: ModelSpec, node: str = "n1", speed: float = 1.0, memory: int = 10_000) -> str:
        """Fork a pod and return where it will answer."""
        where = NodeSpec(id=node, memory_bytes=memory, speed=speed, keeper_url="http://127.0.0.1:1")
        order = PodOrder(node, model, f"{node}-{model.id}-{len(self.pods)}")
        pod = await self.client.fork(order, where, self.clock.now_s())
        self.pods.append(pod)
        return f"http://127.0.0.1:{pod.port}"

    async def ready(self, model: ModelSpec, node: str = "n1", speed: float = 1.0) -> str:
        """Fork a pod and wait until it is ready."""
        url = await self.fork(model, node, speed)
        end_s = time.monotonic() + 20
        while await self.health(url) != 200:
            assert time.monotonic() < end_s, "never ready"
            await asyncio.sleep(0.005)
        return url

    async def health(self, url: str) -> int | None:
        """Return the status of the health check; None if nobody listens."""
        try:
            async with self.http.get(f"{url}/health") as answer:
                return answer.status
        except aiohttp.ClientConnectorError:
            return None

    async def ask(self, url: str, path: str = "/v1/chat/completions", **body: object) -> tuple[int, bytes, float]:
        """Return status and body of an answer, and the domain seconds that it took."""
        call = {"messages": [{"role": "user", "content": "hello"}], **body}
        begun_s = time.monotonic()
        async with self.http.post(url + path, json=call) as answer:
            content = await answer.read()
            return answer.status, content, (time.monotonic() - begun_s) * SPEED


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one warm parent for all tests here."""
    with warm_parent(tmp_path_factory.mktemp("warm"), SPEED) as path:
        yield path


@pytest.fixture
async def emulation(parent: str) -> AsyncIterator[Emulation]:
    """Give the parent to a test; its pods are gone afterwards."""
    async with aiohttp.ClientSession() as http:
        one = Emulation(WarmParentClient(parent), http)
        yield one
    for pod in one.pods:
        kill(pod.pid)
    for node in ("n1", "n2"):
        end_s = time.monotonic() + 20
        while await one.client.pods(node):
            assert time.monotonic() < end_s, "pods are left"
            await asyncio.sleep(0.005)


async def test_a_pod_starts_in_stages_and_takes_its_time(emulation: Emulation) -> None:
    """First nobody listens, then 503, then 200, a start delay after the order."""
    begun_s = emulation.clock.now_s()
    url = await emulation.fork(spec("a", start_s=30.0))
    seen: list[int | None] = []
    while not seen or seen[-1] != 200:
        status = await emulation.health(url)
        if not seen or seen[-1] != status:
            seen.append(status)
        if status == 503:
            answer = (await emulation.ask(url))[0]
            assert answer == 503 or await emulation.health(url) == 200
        await asyncio.sleep(0.002)
        assert emulation.clock.now_s() < begun_s + 600
    assert seen == [None, 503, 200]
    assert 30.0 <= emulation.clock.now_s() - begun_s <= 30.0 + SLACK_S


async def test_text_is_answered_whole_and_in_pieces(emulation: Emulation) -> None:
    """In OpenAI's shapes; a stream has an event a token and arrives over time."""
    url = await emulation.ready(spec("a"))
    status, body, took_s = await emulation.ask(url, max_tokens=7, model="a")
    answer = json.loads(body)
    assert status == 200
    assert len(answer["choices"][0]["message"]["content"].split()) == 7
    assert answer["usage"]["completion_tokens"] == 7
    assert WORK_S <= took_s <= WORK_S + SLACK_S
    begun_s, arrivals, events = time.monotonic(), [], b""
    call = {"messages": [], "stream": True, "max_tokens": 40}
    async with emulation.http.post(url + "/v1/chat/completions", json=call) as stream:
        assert stream.content_type == "text/event-stream"
        async for piece in stream.content.iter_any():
            arrivals.append((time.monotonic() - begun_s) * SPEED)
            events += piece
    lines = [line[6:] for line in events.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    tokens = [json.loads(line)["choices"][0]["delta"].get("content") for line in lines[:-1]]
    assert len([t for t in tokens if t]) == 40
    assert WORK_S <= arrivals[-1] <= WORK_S + SLACK_S
    assert arrivals[0] < arrivals[-1]
    status, body, _ = await emulation.ask(url, "/v1/completions", prompt="x", max_tokens=3)
    assert (status, len(json.loads(body)["choices"][0]["text"].split())) == (200, 3)
    async with emulation.http.get(url + "/v1/models") as listing:
        assert [m["id"] for m in (await listing.json())["data"]] == ["a"]


async def test_a_picture_is_a_png_of_the_size_that_was_asked_for(emulation: Emulation) -> None:
    """Decoded by hand: signature, chunks with their checksums, and all pixels."""
    url = await emulation.ready(spec("i", "image"))
    status, body, _ = await emulation.ask(url, "/v1/images/generations", prompt="x", size="40x30")
    assert status == 200
    assert size(base64.b64decode(json.loads(body)["data"][0]["b64_json"])) == (40, 30)
    assert size(png(1, 1, "é…")) == (1, 1)


def size(picture: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, every chunk checked."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        name, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack(">I", picture[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    assert list(chunks) == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    return width, height


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/images/generations", {}, 404, "unsupported"),
        ("/v1/chat/completions", {"messages": "x"}, 400, "bad-messages"),
        ("/v1/chat/completions", {"model": "other"}, 404, "model_not_found"),
        ("/v1/chat/completions", {"max_tokens": 0}, 400, "bad-tokens"),
        ("/v1/chat/completions", {"metadata": {"work_s": "much"}}, 400, "bad-work"),
        ("/v1/chat/completions", {"metadata": {"work_s": "nan"}}, 400, "bad-work"),
        ("/v1/nothing", {}, 404, "unsupported"),
    ],
)
async def test_a_bad_request_is_refused_at_once(
    emulation: Emulation, path: str, body: dict[str, object], status: int, code: str
) -> None:
    """With OpenAI's error object; the connection goes on."""
    url = await emulation.ready(spec("a"))
    got, content, _ = await emulation.ask(url, path, **body)
    assert (got, json.loads(content)["error"]["code"]) == (status, code)
    assert (await emulation.ask(url, metadata={"work_s": "0.1"}))[0] == 200


async def test_broken_http_is_refused(emulation: Emulation) -> None:
    """A head that cannot be read, a body without a length, one that is too long, one that is not JSON."""
    url = await emulation.ready(spec("a"))
    port = int(url.rpartition(":")[2])
    post = b"POST /v1/completions HTTP/1.1\r\n"
    for sent, status in (
        (b"nonsense\r\n\r\n", b"400"),
        (post + b"content-length: x\r\n\r\n", b"400"),
        (b"x" * 70_000, b"400"),
        (post + b"transfer-encoding: chunked\r\n\r\n", b"411"),
        (post + b"content-length: 99999999\r\n\r\n", b"413"),
        (post + b"content-length: 3\r\nconnection: close\r\n\r\n{]}", b"400"),
        (b"DELETE /health HTTP/1.0\r\n\r\n", b"404"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await reader.readline()).split()[1] == status
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_body_may_wait_for_leave(emulation: Emulation) -> None:
    """`Expect: 100-continue`, as curl sends with large bodies."""
    url = await emulation.ready(spec("a"))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    body = b'{"prompt": "x", "metadata": {"work_s": "0.1"}}'
    writer.write(b"POST /v1/completions HTTP/1.1\r\nexpect: 100-continue\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(body))
    assert b"100" in await reader.readline()
    await reader.readline()
    writer.write(body)
    assert b"200" in await reader.readline()
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_separate_pods_share_their_node_and_not_another(emulation: Emulation) -> None:
    """Two busy pods of one node take twice as long; one of a node of half the speed, too."""
    first, second = await emulation.ready(spec("a")), await emulation.ready(spec("b"))
    other = await emulation.ready(spec("a"), "n2", 0.5)
    times = [took for _, _, took in await asyncio.gather(*(emulation.ask(u) for u in (first, second, other)))]
    for took_s in times:
        assert 2 * WORK_S - 0.5 <= took_s <= 2 * WORK_S + SLACK_S


async def test_a_pod_serves_first_come_first_served_within_its_concurrency(emulation: Emulation) -> None:
    """One after the other at concurrency 1; together at 2."""
    one = await emulation.ready(spec("a"))
    times = sorted(took for _, _, took in await asyncio.gather(emulation.ask(one), emulation.ask(one)))
    assert WORK_S <= times[0] <= WORK_S + SLACK_S
    assert 2 * WORK_S - 0.5 <= times[1] <= 2 * WORK_S + SLACK_S
    two = await emulation.ready(spec("c", concurrency=2))
    for _, _, took_s in await asyncio.gather(emulation.ask(two), emulation.ask(two)):
        assert 2 * WORK_S - 0.5 <= took_s <= 2 * WORK_S + SLACK_S


async def test_a_client_that_leaves_frees_its_share(emulation: Emulation) -> None:
    """Running or waiting: the next one does not wait for what nobody wants."""
    url = await emulation.ready(spec("a"))
    leaving = [asyncio.create_task(emulation.ask(url, metadata={"work_s": "9000"})) for _ in range(2)]
    await asyncio.sleep(0.1)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert (await emulation.ask(url))[2] <= WORK_S + SLACK_S


async def test_sigterm_lets_running_requests_finish(emulation: Emulation) -> None:
    """No new connection is taken, what runs gets its answer, then the process ends and its claim is free."""
    url = await emulation.ready(spec("a"))
    (pod,) = emulation.pods
    running = asyncio.create_task(emulation.ask(url, metadata={"work_s": "20"}))
    await asyncio.sleep(0.1)
    os.kill(pod.pid, signal.SIGTERM)
    assert (await running)[0] == 200
    await until(lambda: not process_table.is_alive(pod.pid, pod.start_ticks), "the pod has ended")
    assert await emulation.health(url) is None


async def test_invariant_02_a_fork_beyond_the_nodes_memory_is_refused(emulation: Emulation) -> None:
    """Until what claims it has ended."""
    await emulation.fork(spec("a"), memory=1_500)
    with pytest.raises(PodFault, match="stop a pod first"):
        await emulation.fork(spec("b"), memory=1_500)
    kill(emulation.pods[0].pid)
    await until(lambda: not process_table.is_alive(emulation.pods[0].pid, emulation.pods[0].start_ticks), "it ended")
    await emulation.fork(spec("b"), memory=1_500)


async def test_the_parent_survives_nonsense(parent: str) -> None:
    """And says what is wrong."""
    reader, writer = await asyncio.open_unix_connection(parent)
    for sent in (
        b"{half\n",
        b"[]\n",
        b'{"op": "dance"}\n',
        b'{"op": "fork"}\n',
        b'{"op": "fork", "node": 1, "model": 2}\n',
    ):
        writer.write(sent)
        assert json.loads(await reader.readline())["ok"] is False
    writer.close()
    await writer.wait_closed()


async def test_pods_end_with_their_parent(tmp_path: Path) -> None:
    """By its SIGTERM all of them; they cannot tell time slices without it."""
    with contextlib.ExitStack() as stack:
        client = WarmParentClient(stack.enter_context(warm_parent(tmp_path, SPEED)))
        async with aiohttp.ClientSession() as http:
            emulation = Emulation(client, http)
            await emulation.fork(spec("a"))
            await emulation.ready(spec("b"))
    for pod in emulation.pods:
        assert not process_table.is_alive(pod.pid, pod.start_ticks)
