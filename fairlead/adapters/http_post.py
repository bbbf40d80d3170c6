"""POST over kept HTTP/1.1 connections for the data path: aiohttp's connections and parser, not its request machinery.

Redirects, cookies, proxies, compression and tracing are none of the data path's business; leaving them out takes 0.1 ms
of CPU off each request and hop (measured 2026-11 with `bench/gateway.py` on one core of a shared machine).
"""

import asyncio
from collections import deque
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

IDLE_S = 4.0
"""Wall seconds that an idle connection is kept: below the 5 s after which uvicorn and cpp-httplib close theirs."""

Origin = tuple[str, int, bool]
"""Host, port, whether TLS is spoken."""


class Unreached(ConnectionError):
    """No connection could be made: nothing was sent."""


class Target:
    """An address to post to, prepared once."""

    __slots__ = ("line", "origin", "words")

    def __init__(self, url: URL) -> None:
        self.origin: Origin = (
            url.host or "",
            url.port or (443 if url.scheme == "https" else 80),
            url.scheme == "https",
        )
        self.line = f"POST {url.raw_path} HTTP/1.1\r\nhost: {url.authority}\r\n"
        self.words = f"{url.scheme}://{url.authority}"


class Answer:
    """The answer to a post: its head is there, its bytes come by `readany`."""

    __slots__ = ("_connection", "_content", "_poster", "content_type", "status")

    def __init__(
        self,
        poster: "Poster",
        connection: ResponseHandler,
        origin: Origin,
        message: RawResponseMessage,
        body: StreamReader,
    ) -> None:
        self.status = message.code
        self.content_type = message.headers.get("content-type", "")
        self._poster = poster
        self._connection: ResponseHandler | None = connection
        self._content = body

        def whole() -> None:
            kept, self._connection = self._connection, None
            if kept is not None:
                poster.give_back(origin, kept, closes=message.should_close)

        body.on_eof(whole)

    async def readany(self) -> bytes:
        """Return what is there, at least a byte; nothing at the end. Raises `aiohttp.ClientError`, `OSError`."""
        return await self._content.readany()

    def close(self) -> None:
        """Let go of the answer; if it is not complete, its connection ends and a waiting reader is told."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._content.exception() is None:
                self._content.set_exception(aiohttp.ClientConnectionError("the connection was closed here"))
            connection.close()


class Poster:
    """Connections to any number of addresses, used again while they are young."""

    def __init__(self, *, connect_timeout_s: float, silence_s: float) -> None:
        """Wait `connect_timeout_s` wall seconds for a connection and `silence_s` between two pieces of an answer."""
        self._connect_timeout_s = connect_timeout_s
        self._silence_s = silence_s
        self._idle: dict[Origin, deque[tuple[float, ResponseHandler]]] = {}
        self._closed = False

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and return its answer. Raises `Unreached`, or `aiohttp.ClientError`, `OSError` later."""
        words = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if words.count("\n") != len(headers):
            raise ValueError(f"a header for {target.words} holds a line end")
        head = f"{target.line}{words}content-length: {len(body)}\r\n\r\n".encode("latin-1")
        connection = self._kept(target.origin)
        if connection is None:
            connection = await self._connect(target)
        try:
            connection.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=self._silence_s)
            transport = connection.transport
            if transport is None:
                raise aiohttp.ServerDisconnectedError()
            transport.write(head + body if len(body) < 65_536 else head)
            if len(body) >= 65_536:
                transport.write(body)
            connection.start_timeout()
            while True:
                message, content = await connection.read()
                if message.code >= 200:
                    return Answer(self, connection, target.origin, message, content)
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientPayloadError(f"{target.words} did not answer in HTTP: {error.message[:200]}") from error
        except BaseException:
            connection.close()
            raise

    def give_back(self, origin: Origin, connection: ResponseHandler, *, closes: bool) -> None:
        """Keep a connection whose answer is complete."""
        if closes or self._closed or connection.should_close:
            connection.close()
            return
        connection.read_timeout = None
        kept = self._idle.setdefault(origin, deque())
        now_s = asyncio.get_running_loop().time()
        kept.append((now_s, connection))
        while kept and kept[0][0] < now_s - IDLE_S:
            kept.popleft()[1].close()

    async def close(self) -> None:
        """Close the idle connections; those in use close when their answer ends."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for kept in idle.values():
            for _, connection in kept:
                connection.close()
        await asyncio.sleep(0)

    def _kept(self, origin: Origin) -> ResponseHandler | None:
        kept = self._idle.get(origin)
        while kept:
            since_s, connection = kept.pop()
            young = asyncio.get_running_loop().time() - since_s < IDLE_S
            if young and connection.is_connected() and not connection.should_close:
                return connection
            connection.close()
        return None

    async def _connect(self, target: Target) -> ResponseHandler:
        host, port, tls = target.origin
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: ResponseHandler(loop), host, port, ssl=True if tls else None
                )
        except (OSError, TimeoutError) as error:
            raise Unreached(f"no connection to {target.words} ({type(error).__name__}: {error})") from error
        return connection
