"""Pods over HTTP: connections are used again, breaks have their phase, nothing waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from fairlead.adapters.http_post import Poster, Target, Unreached
from fairlead.adapters.memory_pods import MemoryPods
from fairlead.adapters.pod_http import HttpPods
from fairlead.contracts.tickets import Failed, Head, Returned
from tests.waiting import until

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
CLOSING = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE


class Server:
    """Says the same bytes to each request, then does what `after` says."""

    def __init__(self, words: bytes, after: str = "keep") -> None:
        self.words = words
        self.after = after
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self.words)
                if self.after == "abort":
                    break
                if self.after == "halt":
                    await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        """Listen until the end."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self
            await asyncio.sleep(0)


@asynccontextmanager
async def pods(silence_s: float = 20.0) -> AsyncIterator[HttpPods]:
    """Use the port over HTTP and close it."""
    one = HttpPods(connect_timeout_s=2.0, silence_s=silence_s)
    try:
        yield one
    finally:
        await one.close()


async def asked(port: HttpPods, url: str, body: bytes = b"{}") -> list[Head | bytes | Failed | Returned]:
    """Return all that a pod says to one request."""
    return [piece async for piece in port.ask(url, "/v1/completions", body, "r-1").answer()]


@pytest.mark.parametrize(("words", "connections"), [(WHOLE, 1), (CHUNKED, 1), (CONTINUED, 1), (CLOSING, 20)])
async def test_connections_are_used_again_unless_the_pod_closes_them(words: bytes, connections: int) -> None:
    """Twenty requests one after another: one connection, or one each where the answer says so."""
    async with Server(words).running() as server, pods() as port:
        for _ in range(20):
            head, *pieces = await asked(port, server.url)
            assert isinstance(head, Head)
            assert b"".join(p for p in pieces if isinstance(p, bytes)) == b"hello"
        assert server.connections == connections


async def test_the_request_is_whole_and_carries_its_id() -> None:
    """Line, host, length, id and body, also of a large one."""
    async with Server(WHOLE).running() as server, pods() as port:
        for body in (b"{}", b"a" * 3_000_000):
            await asked(port, server.url, body)
        assert server.requests[0].startswith(b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"x-request-id: r-1\r\n" in server.requests[0]
        assert [r.split(b"\r\n\r\n", 1)[1] for r in server.requests] == [b"{}", b"a" * 3_000_000]


async def test_a_pod_that_nobody_listens_for_gives_the_request_back() -> None:
    """Nothing was sent, so it never began."""
    async with Server(WHOLE).running() as server:
        url = server.url
    async with pods() as port:
        assert await asked(port, url) == [Returned(reason="pod-lost")]


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        (b"", "connect"),
        (b"nonsense\r\n\r\n", "connect"),
        (WHOLE[:-5], "head"),
        (WHOLE[:-2], "body"),
        (CHUNKED[:-5], "body"),
    ],
)
async def test_a_break_has_its_phase(words: bytes, phase: str) -> None:
    """Before the answer's head, before its first byte, or after."""
    async with Server(words, "abort").running() as server, pods() as port:
        last = (await asked(port, server.url))[-1]
        assert isinstance(last, Failed)
        assert last.phase == phase


@pytest.mark.parametrize(("words", "phase"), [(b"", "connect"), (WHOLE[:-5], "head"), (WHOLE[:-2], "body")])
async def test_a_silent_pod_times_out(words: bytes, phase: str) -> None:
    """Whatever it had said before."""
    async with Server(words, "halt").running() as server, pods(silence_s=0.05) as port:
        last = (await asked(port, server.url))[-1]
        assert isinstance(last, Failed)
        assert last.phase == phase


@pytest.mark.parametrize(("words", "phase"), [(b"", "connect"), (WHOLE[:-5], "head"), (WHOLE[:-2], "body")])
async def test_an_aborted_exchange_ends_at_once(words: bytes, phase: str) -> None:
    """Whatever it waited for; one that was aborted before it began never begins."""
    async with Server(words, "halt").running() as server, pods() as port:
        exchange = port.ask(server.url, "/v1/completions", b"{}", "r")
        heard: list[Head | bytes | Failed | Returned] = []

        async def listen() -> None:
            async for piece in exchange.answer():
                heard.append(piece)

        listening = asyncio.create_task(listen())
        wanted = {"connect": 0, "head": 1, "body": 2}[phase]
        await until(lambda: bool(server.requests) and len(heard) == wanted, f"the exchange stands at {phase}")
        exchange.abort()
        await asyncio.wait_for(listening, 20)
        assert heard[-1] == Failed(phase=phase, reason="the pod is gone")  # type: ignore[arg-type]
        early = port.ask(server.url, "/v1/completions", b"{}", "r")
        early.abort()
        assert [piece async for piece in early.answer()] == [Returned(reason="pod-lost")]


async def test_a_header_with_a_line_end_is_never_sent() -> None:
    """A value cannot smuggle in a header of its own."""
    poster = Poster(connect_timeout_s=1.0, silence_s=1.0)
    with pytest.raises(ValueError, match="line end"):
        await poster.post(Target(URL("http://127.0.0.1:9/x")), {"a": "b\r\nc: d"}, b"")
    with pytest.raises(Unreached):
        await poster.post(Target(URL("http://127.0.0.1:9/x")), {"a": "b"}, b"")
    await poster.close()


async def test_pods_in_memory_say_what_they_are_told() -> None:
    """The fake: head, bytes and end, or a break."""
    port = MemoryPods()
    exchange = port.ask("http://n0:1", "/v1/completions", b"{}", "r")
    head = Head(status=200, content_type="text/plain")
    exchange.say(head, b"hello", None)
    assert [piece async for piece in exchange.answer()] == [head, b"hello"]
    broken = port.ask("http://n0:1", "/v1/completions", b"{}", "r")
    broken.abort()
    assert [type(piece) async for piece in broken.answer()] == [Failed]
    assert port.open == ()
    await port.close()
