"""An OpenAI-shaped server on loopback that says byte for byte what a test tells it to, and keeps what it was asked."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.waiting import until

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: Any


Behaviour = Callable[["LlmServer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def http(
    body: bytes | str, *, status: int = 200, content_type: str = "application/json", headers: str = ""
) -> Behaviour:
    """Answer whole, in HTTP."""
    content = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(content)}\r\n{headers}\r\n"
    return raw(head.encode() + content)


def raw(words: bytes) -> Behaviour:
    """Say these bytes."""

    async def say(_: "LlmServer", __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()

    return say


def reply(text: str | None, *, usage: Any = USAGE, finish: str = "stop", **message: Any) -> Behaviour:
    """Answer as a completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    document = {"id": "x", "object": "chat.completion", "choices": [choice]}
    return http(json.dumps(document if usage is None else {**document, "usage": usage}))


def fails(status: int, message: str = "no", *, headers: str = "", **error: Any) -> Behaviour:
    """Answer with an error in OpenAI's shape."""
    return http(json.dumps({"error": {"message": message, **error}}), status=status, headers=headers)


async def hangs(server: "LlmServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client has gone."""
    server.waiting += 1
    try:
        await reader.read()
    except ConnectionError:
        pass
    finally:
        server.waiting -= 1
        server.left += 1


async def resets(server: "LlmServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break off in the midst of the answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()


def endless(piece: bytes, *, every_s: float = 0.0) -> Behaviour:
    """Say the same piece over and over until the client has gone."""

    async def say(server: "LlmServer", _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(piece)
                server.said_bytes += len(piece)
                await writer.drain()
                await asyncio.sleep(every_s)
        except ConnectionError:
            pass
        server.left += 1

    return say


class LlmServer:
    """Behaves as told, one request after another, `usual` when nothing is left to do."""

    def __init__(self, *script: Behaviour, usual: Behaviour | None = None, models: Behaviour | None = None) -> None:
        self.script = deque(script)
        self.usual = usual or reply('{"a":1}')
        self.models = models or http('{"object":"list","data":[{"id":"small","object":"model"}]}')
        self.asked: list[Asked] = []
        self.listings = 0
        self.waiting = 0
        """Requests that hang now."""
        self.left = 0
        """Requests whose client has gone."""
        self.said_bytes = 0
        self.open = 0
        self.url = ""

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            asked = await self._read(reader)
            if asked.line.startswith("GET"):
                self.listings += 1
                await self.models(self, reader, writer)
            else:
                self.asked.append(asked)
                await (self.script.popleft() if self.script else self.usual)(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rows = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(line, headers, json.loads(body) if body else None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LlmServer"]:
        """Listen until the end; every request has its connection, which ends with the answer."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self
            await until(lambda: self.open == 0, "all clients have gone")
