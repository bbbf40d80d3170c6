"""A remote keeper as an ingress reaches it: HTTP over aiohttp, one exchange a ticket.

    POST /keeper/v1/offers                                the offer's JSON in `x-fairlead-offer`, a small body inside
         ← frames [kind: 1 byte][length: 4 bytes, big endian][payload]: `J` an update's JSON, `B` bytes of the answer
    PUT  /keeper/v1/offers/{request}/{attempt}/body       the body of a larger request, after its grant
    POST /keeper/v1/offers/{request}/{attempt}:withdraw   the offer's JSON → `Withdrawal`
    PUT  /keeper/v1/pods                                  `PodSet` → `PodUses`
    GET  /keeper/v1/state                                 lines of `KeeperState`, on change

A connection that breaks means that the keeper is lost: `KeeperUnavailable`. One that cannot be made means that nothing
of the offer is there: `Refused`.
"""

import asyncio
import io
import struct
from collections.abc import AsyncGenerator
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from fairlead.adapters.http_post import Answer as Posted
from fairlead.adapters.http_post import Poster, Target, Unreached
from fairlead.contracts.base import Message
from fairlead.contracts.errors import KeeperUnavailable, foreign
from fairlead.contracts.ports import Clock
from fairlead.contracts.readings import KeeperState
from fairlead.contracts.tickets import (
    Done,
    Failed,
    Granted,
    Offer,
    PodSet,
    PodUses,
    Refused,
    Returned,
    Update,
    Withdrawal,
)

Answer = TypeVar("Answer", bound=Message)

ROOT = "/keeper/v1"
OFFER_HEADER = "x-fairlead-offer"
UPDATE, BYTES = b"J", b"B"
HEADER = struct.Struct(">cI")

UPDATES: TypeAdapter[Update] = TypeAdapter(Update)
"""Reads any update."""

LAST = (Done, Failed, Refused, Returned)
"""Updates after which nothing follows."""

SILENCES = 2
"""Times in a row that a keeper's state falls silent before its requests are given up: once may be a stall of this very
process, after which its timers come before what has arrived meanwhile."""

LINE_LIMIT_BYTES = 1_000_000
"""Longest line of state: a node with 1000 pods takes 200 KB."""


def frame(piece: Update | bytes) -> bytes:
    """Return an update or a piece of an answer as it crosses the wire."""
    if type(piece) is bytes:
        return HEADER.pack(BYTES, len(piece)) + piece
    payload = piece.model_dump_json().encode()  # type: ignore[union-attr]  # bytes are gone
    return HEADER.pack(UPDATE, len(payload)) + payload


def frames(buffer: bytearray) -> list[Update | bytes]:
    """Return the whole frames at the front of `buffer` and take them off it; raises `ValueError` for a wrong kind."""
    found: list[Update | bytes] = []
    at = 0
    while len(buffer) - at >= HEADER.size:
        kind, length = HEADER.unpack_from(buffer, at)
        end = at + HEADER.size + length
        if len(buffer) < end:
            break
        payload = bytes(memoryview(buffer)[at + HEADER.size : end])
        if kind == BYTES:
            found.append(payload)
        elif kind == UPDATE:
            found.append(UPDATES.validate_json(payload))
        else:
            raise ValueError(f"a frame is of kind {kind!r}, known are {UPDATE!r} and {BYTES!r}")
        at = end
    del buffer[:at]
    return found


def ticket_path(offer: Offer) -> str:
    """Return the path of a ticket below `ROOT`, percent-encoded."""
    return f"/offers/{quote(offer.ticket.request, safe='')}/{offer.ticket.attempt}"


class HttpKeeper:
    """The ports `KeeperPort` and `KeeperControl` over HTTP."""

    def __init__(
        self,
        url: str,
        token: str | None,
        clock: Clock,
        *,
        inline_bytes: int = 65_536,
        connect_timeout_s: float = 2.0,
        ack_timeout_s: float = 2.0,
        silence_s: float = 600.0,
    ) -> None:
        """Reach the keeper at `url`; time-outs in wall seconds, `silence_s` between two pieces of an answer."""
        self._root = URL(url.rstrip("/") + ROOT)
        self._offers = Target(self._root / "offers")
        self._poster = Poster(connect_timeout_s=connect_timeout_s, silence_s=silence_s)
        self._clock = clock
        self._inline_bytes = inline_bytes
        self._connect_timeout_s = connect_timeout_s
        self._ack_timeout_s = ack_timeout_s
        self._limit = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=silence_s)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None
        self._unbegun: set[Posted] = set()
        """Answers of which no byte has come."""
        self._silences = 0
        """Times in a row that the keeper's state fell silent."""

    async def offer(self, offer: Offer, body: bytes) -> AsyncGenerator[Update | bytes, None]:
        """Yield what becomes of an offer; closing the iterator gives the ticket up."""
        inline = len(body) <= self._inline_bytes
        headers = {**self._headers, OFFER_HEADER: offer.to_json()}
        try:
            async with asyncio.timeout(self._connect_timeout_s + self._ack_timeout_s):
                answer = await self._poster.post(self._offers, headers, body if inline else b"")
        except Unreached:
            yield Refused(reason="stopped")
            return
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._gone("an offer", error) from error
        self._unbegun.add(answer)
        try:
            if answer.status != 200:
                words = foreign((await answer.readany()).decode(errors="replace"))
                raise KeeperUnavailable(f"the keeper at {self._root} answered an offer with {answer.status}: {words}")
            buffer = bytearray()
            waiting = True
            while True:
                piece = await self._next(answer, offer if waiting else None)
                if not piece:
                    raise KeeperUnavailable(f"the keeper at {self._root} ended an offer without its last word")
                buffer += piece
                for update in frames(buffer):
                    if type(update) is bytes:
                        self._unbegun.discard(answer)
                    if type(update) is Granted:
                        waiting = False
                        if not inline:
                            await self._send_body(offer, body)
                    yield update
                    if type(update) is not bytes and isinstance(update, LAST):
                        return
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._gone("an offer", error) from error
        finally:
            self._unbegun.discard(answer)
            answer.close()

    async def withdraw(self, offer: Offer) -> Withdrawal:
        """Take a waiting ticket back; raises `KeeperUnavailable` also when no answer comes in time."""
        url = URL(f"{self._root}{ticket_path(offer)}:withdraw", encoded=True)
        content = await self._exchange("POST", url, offer.to_json(), "a withdrawal")
        return self._read(Withdrawal, content)

    async def declare(self, pods: PodSet) -> PodUses:
        """Tell the keeper all pods of its node."""
        return self._read(PodUses, await self._exchange("PUT", self._root / "pods", pods.to_json(), "a set of pods"))

    async def states(self, silence_s: float) -> AsyncGenerator[KeeperState, None]:
        """Yield the keeper's states until it is gone or says nothing for `silence_s` wall seconds.

        One that says nothing again is given up with all requests that it has and that have not begun to be answered: a
        machine without power breaks no connection.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s, sock_read=silence_s)
        try:
            async with self._client().get(self._root / "state", headers=self._headers, timeout=limit) as answer:
                if answer.status != 200:
                    raise KeeperUnavailable(f"the keeper at {self._root} refused its state with {answer.status}")
                rest = b""
                while piece := await answer.content.readany():
                    *lines, rest = (rest + piece).split(b"\n")
                    if lines:
                        self._silences = 0
                        yield KeeperState.from_json(lines[-1])
                    if len(rest) > LINE_LIMIT_BYTES:
                        raise ValueError(f"a line of state is longer than {LINE_LIMIT_BYTES} bytes")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, TimeoutError):
                self._fell_silent()
            raise self._gone("its state", error) from error

    def _fell_silent(self) -> None:
        self._silences += 1
        if self._silences >= SILENCES:
            for answer in tuple(self._unbegun):
                answer.close()  # who reads it is told

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _next(self, answer: Posted, waiting: Offer | None) -> bytes:
        """Return the next piece; a ticket that waits does so at most until its deadline and the time of a word."""
        if waiting is None:
            return await answer.readany()
        left_s = max(0.0, waiting.deadline_at_s - self._clock.now_s()) / self._clock.speed
        async with asyncio.timeout(left_s + self._ack_timeout_s):
            return await answer.readany()

    async def _send_body(self, offer: Offer, body: bytes) -> None:
        url = URL(f"{self._root}{ticket_path(offer)}/body", encoded=True)
        headers = {**self._headers, "x-fairlead-site": offer.site}
        async with self._client().put(url, data=io.BytesIO(body), headers=headers) as taken:
            if taken.status != 204:
                raise KeeperUnavailable(f"the keeper at {self._root} refused a body with {taken.status}")

    async def _exchange(self, method: str, url: URL, body: str, what: str) -> bytes:
        headers = {**self._headers, "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._connect_timeout_s + self._ack_timeout_s),
                self._client().request(method, url, data=body, headers=headers) as answer,
            ):
                content = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._gone(what, error) from error
        if status != 200:
            words = foreign(content.decode(errors="replace"))
            raise KeeperUnavailable(f"the keeper at {self._root} answered {what} with {status}: {words}")
        return content

    def _read(self, kind: type[Answer], content: bytes) -> Answer:
        try:
            return kind.from_json(content)
        except ValidationError as error:
            raise self._gone(kind.__name__, error) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("accept", "accept-encoding", "user-agent"),
                timeout=self._limit,
            )
        return self._session

    def _gone(self, what: str, error: BaseException) -> KeeperUnavailable:
        return KeeperUnavailable(
            f"the keeper at {self._root} did not see {what} through ({type(error).__name__}: {foreign(error)})"
        )
