"""An emulated model server: one pod in its own small process, answering over HTTP/1.1 on a loopback port.

It computes nothing. When a request's turn comes it asks the node's shared clock for the work, and sends the answer
piece by piece as the clock says that the work is done. HTTP is spoken by hand on an asyncio protocol because a pod's
own processor time would be latency that the emulated node does not have: at speed 30 a millisecond is 30 ms.
"""

import asyncio
import collections
import contextlib
import itertools
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.ports import Clock
from testbed.emulated_answers import Answer, Asked, BadRequest, answer, error, models

LOAD_SHARE = 0.9
"""Share of the start delay spent before the port listens; the rest answers 503. Own choice: each stage is seen."""

STOP_S = 1.0
"""Domain seconds that a stop takes (CONTROL §4)."""

PIECE_S = 0.1
"""Wall seconds of work between two pieces of a stream: ten a second look continuous to a reader."""

MOST_PIECES = 8
"""Pieces of one stream at most: each costs a wake-up of pod, clock, keeper, ingress and client."""

BODY_BYTES = 64_000_000
"""A larger body is refused; three times what a gateway lets in by default."""

HEAD_BYTES = 65_536
"""A longer head is refused, as most servers do."""

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 411: "Length Required", 413: "Content Too Large"}


class Compute(Protocol):
    """The node's shared clock as a pod reaches it; says by `reached(request, mark)` what is done."""

    def begin(self, request: int, marks: tuple[float, ...]) -> None:
        """Begin the work of a request; `marks` rise."""

    def cancel(self, request: int) -> None:
        """Give up the rest of it."""


@dataclass(slots=True)
class Job:
    """A request that waits or runs."""

    number: int
    answer: Answer
    send: Callable[[bytes, bool], None]
    """Sends a piece; the flag says that it is the last."""


@dataclass(slots=True)
class ModelServer:
    """One pod: a queue, first come first served, in front of `concurrency` places."""

    model: ModelSpec
    node_speed: float
    clock: Clock
    compute: Compute
    ready: bool = False
    stage: str = "load"
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _waiting: "collections.deque[Job]" = field(default_factory=collections.deque)
    _running: dict[int, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.idle.set()

    def ask(self, path: str, body: bytes, send: Callable[[str], Callable[[bytes, bool], None]]) -> int:
        """Take a request and return its number; `send(content_type)` begins the answer. Raises `BadRequest`."""
        number = next(self._numbers)
        asked = Asked(path, body, number, self.clock.now_s())
        alone_s = self.model.work_s / self.node_speed / self.clock.speed
        found = answer(self.model, asked, min(MOST_PIECES, max(2, int(alone_s / PIECE_S))))
        self._waiting.append(Job(number, found, send(found.content_type)))
        self.idle.clear()
        self._serve()
        return number

    def give_up(self, number: int) -> None:
        """Forget a request: its client has gone."""
        if self._running.pop(number, None) is not None:
            self.compute.cancel(number)
        else:
            self._waiting = collections.deque(j for j in self._waiting if j.number != number)
        self._serve()

    def reached(self, number: int, mark: int) -> None:
        """Send the piece that belongs to a mark."""
        job = self._running.get(number)
        if job is None:
            return
        last = mark == len(job.answer.pieces) - 1
        if last:
            del self._running[number]
        job.send(job.answer.pieces[mark], last)
        if last:
            self._serve()

    def _serve(self) -> None:
        while self._waiting and len(self._running) < self.model.concurrency:
            job = self._waiting.popleft()
            self._running[job.number] = job
            self.compute.begin(job.number, tuple(job.answer.work_s * share for share in job.answer.shares))
        if not self._running and not self._waiting:
            self.idle.set()


class Connection(asyncio.Protocol):
    """One connection of a client; requests come one after the other and are answered in turn."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: tuple[str, str, int] | None = None
        self._keep = True
        self._number: int | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where answers go."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what the client asked for."""
        self._transport = None
        if self._number is not None:
            self._server.give_up(self._number)
            self._number = None

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        """Handle the next request if all of it is there and none is under way."""
        while self._transport is not None and self._number is None:
            if self._head is None and not self._read_head():
                return
            assert self._head is not None
            method, path, length = self._head
            if len(self._buffer) < length:
                return
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._head = None
            self._handle(method, path, body)

    def _read_head(self) -> bool:
        """Return whether a head was read; answers what cannot be taken and closes."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                self._refuse(400, "bad-head", "the head of the request is too long")
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = lines[0].split(" ")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = fields.get("content-length", "0")
        if len(words) != 3 or not length.isdecimal():
            self._refuse(400, "bad-head", "the head of the request cannot be read")
            return False
        if "transfer-encoding" in fields:
            self._refuse(411, "length-required", "send the body with a content-length")
            return False
        if int(length) > BODY_BYTES:
            self._refuse(413, "body-too-large", f"a body may have {BODY_BYTES} bytes")
            return False
        self._keep = fields.get("connection", "").lower() != "close" and words[2] == "HTTP/1.1"
        if fields.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head = (words[0], words[1].partition("?")[0], int(length))
        return True

    def _handle(self, method: str, path: str, body: bytes) -> None:
        server = self._server
        match method, path:
            case "GET", "/health" if server.ready:
                self._whole(200, b'{"status":"ok"}')
            case "GET", "/health":
                self._whole(503, f'{{"status":"starting","stage":"{server.stage}"}}'.encode())
            case "GET", "/v1/models":
                self._whole(200, models(server.model, server.clock.now_s()))
            case "POST", _ if not server.ready:
                self._whole(503, error("starting", f"{server.model.id} is not ready"))
            case "POST", _:
                try:
                    self._begun = False
                    number = server.ask(path, body, self._answering)
                except BadRequest as refusal:
                    self._whole(refusal.status, error(refusal.code, str(refusal)))
                else:
                    self._number = number
            case _:
                self._whole(404, error("not-found", f"there is no {method} {path}"))

    def _answering(self, content_type: str) -> Callable[[bytes, bool], None]:
        return lambda piece, last: self._piece(content_type, piece, last)

    def _piece(self, content_type: str, piece: bytes, last: bool) -> None:
        if self._transport is None:
            return
        if last and not self._begun:
            self._number = None
            self._whole(200, piece, content_type)
        else:
            head = b"" if self._begun else _head(200, content_type, self._keep, None)
            self._begun = True
            self._transport.write(
                b"".join((head, b"%x\r\n" % len(piece), piece, b"\r\n0\r\n\r\n" if last else b"\r\n"))
            )
            if last:
                self._number = None
                self._close_unless_kept()
        if last:
            self._advance()

    def _whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        if self._transport is not None:
            self._transport.write(_head(status, content_type, self._keep, len(body)) + body)
            self._close_unless_kept()

    def _refuse(self, status: int, code: str, text: str) -> None:
        self._keep = False
        self._whole(status, error(code, text))

    def _close_unless_kept(self) -> None:
        if not self._keep and self._transport is not None:
            self._transport.close()
            self._transport = None


def _head(status: int, content_type: str, keep: bool, length: int | None) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    rest = "" if keep else "connection: close\r\n"
    reason = REASONS.get(status, "Service Unavailable")
    return f"HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n{size}\r\n{rest}\r\n".encode()


async def serve(server: ModelServer, listener: socket.socket, ordered_at_s: float) -> None:
    """Start in stages, serve until SIGTERM, then finish what runs and take the time that a stop takes."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    starting = asyncio.create_task(_start(server, listener, ordered_at_s))
    await ended.wait()
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        listening = await starting
        listening.close()
    server.ready = False
    await server.idle.wait()
    await server.clock.sleep_for(STOP_S)


async def _start(server: ModelServer, listener: socket.socket, ordered_at_s: float) -> asyncio.Server:
    """Load, listen, become ready `start_delay_s` after the order."""
    loop = asyncio.get_running_loop()
    await server.clock.sleep_until(ordered_at_s + LOAD_SHARE * server.model.start_delay_s)
    listening = await loop.create_server(lambda: Connection(server), sock=listener, backlog=256)
    server.stage = "probe"
    await server.clock.sleep_until(ordered_at_s + server.model.start_delay_s)
    server.ready = True
    return listening
