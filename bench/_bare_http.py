"""HTTP/1.1 of a few lines on asyncio protocols: a pod and a client that cost little beside what is measured."""

import asyncio
import time
from collections import deque
from typing import cast

ANSWER_BYTES = 1024
ANSWER_TIMEOUT_S = 30.0
"""Wall seconds after which the benchmark gives up."""


class BarePod(asyncio.Protocol):
    """Answers each POST at once with 1 KB of JSON."""

    BODY = b'{"id":"x","choices":[{"text":"' + b"a" * (ANSWER_BYTES - 34) + b'"}]}'
    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if self._transport is not None:
                self._transport.write(self.ANSWER)


class _Connection(asyncio.Protocol):
    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[bytes] | None = None
        self._buffer = b""
        self._ready = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(b"")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + 4 + length and self.answered is not None:
            whole, self._buffer = self._buffer, b""
            self.answered.set_result(whole)


class BareClient:
    """Posts to one address over connections that are kept."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: deque[_Connection] = deque()

    async def post(self, path: str, request: str, body: bytes) -> tuple[float, int]:
        """Return the wall seconds until the whole answer and its status."""
        began_s = time.perf_counter()
        connection = self._idle.pop() if self._idle else await self._open()
        assert connection.transport is not None
        connection.answered = asyncio.get_running_loop().create_future()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {request}\r\ncontent-type: application/json\r\n"
        connection.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await asyncio.wait_for(connection.answered, ANSWER_TIMEOUT_S)
        if answer:
            self._idle.append(connection)
        return time.perf_counter() - began_s, int(answer[9:12] or b"0")

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        _, connection = await loop.create_connection(lambda: _Connection(ready), *self._address)
        await ready
        return connection

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
