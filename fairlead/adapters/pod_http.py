"""Pods as a keeper reaches them: HTTP on a loopback port, one exchange a request, answers passed on as they come."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
from yarl import URL

from fairlead.adapters.http_post import Answer, Poster, Target, Unreached
from fairlead.contracts.errors import foreign
from fairlead.contracts.tickets import Failed, Head, Returned

UNKNOWN_TYPE = "application/octet-stream"
"""Content type of an answer that names none (RFC 9110 §8.3)."""


REMEMBERED = 1024
"""Addresses that are kept prepared: far more than a node has pods."""


class HttpPods:
    """The port `PodPort` over HTTP/1.1; connections are kept and used again."""

    def __init__(self, *, connect_timeout_s: float = 2.0, silence_s: float = 600.0) -> None:
        """Wait `connect_timeout_s` wall seconds for a connection and `silence_s` between two pieces of an answer."""
        self._poster = Poster(connect_timeout_s=connect_timeout_s, silence_s=silence_s)
        self._targets: dict[tuple[str, str], Target] = {}

    def ask(self, url: str, path: str, body: bytes, request: str) -> "HttpExchange":
        """Return the exchange that posts `body` to a pod once its answer is read."""
        target = self._targets.get((url, path))
        if target is None:
            if len(self._targets) >= REMEMBERED:
                self._targets.clear()
            target = self._targets[url, path] = Target(URL(url + path))
        return HttpExchange(self._poster, target, body, request)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


class HttpExchange:
    """One POST to a pod."""

    __slots__ = ("_aborted", "_answer", "_body", "_headers", "_poster", "_scope", "_target")

    def __init__(self, poster: Poster, target: Target, body: bytes, request: str) -> None:
        self._poster = poster
        self._target = target
        self._body = body
        self._headers = {"content-type": "application/json", "x-request-id": request}
        self._scope: asyncio.Timeout | None = None
        self._answer: Answer | None = None
        self._aborted = False

    async def answer(self) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        """Yield the head and the bytes; ends with `Failed` or `Returned` where it is not complete."""
        opened = await self._open()
        if not isinstance(opened, Answer):
            yield opened
            return
        self._answer = opened
        seen = False
        try:
            yield Head(status=opened.status, content_type=(opened.content_type or UNKNOWN_TYPE)[:256])
            while piece := await opened.readany():
                seen = True
                yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            yield Failed(phase="body" if seen else "head", reason=self._words(error))
        finally:
            self._answer = None
            opened.close()

    def abort(self) -> None:
        """Break the exchange off, whatever it waits for."""
        self._aborted = True
        if self._answer is not None:
            self._answer.close()
        elif self._scope is not None:
            self._scope.reschedule(0)

    async def _open(self) -> Answer | Failed | Returned:
        if self._aborted:
            return Returned(reason="pod-lost")
        try:
            async with asyncio.timeout(None) as self._scope:
                return await self._poster.post(self._target, self._headers, self._body)
        except Unreached:
            return Returned(reason="pod-lost")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Failed(phase="connect", reason=self._words(error))
        finally:
            self._scope = None

    def _words(self, error: BaseException) -> str:
        return "the pod is gone" if self._aborted else foreign(f"{type(error).__name__}: {error}")
