"""Pods as a keeper reaches them: HTTP on a loopback port, one exchange a request, answers passed on as they come."""

import asyncio
import io
from collections.abc import AsyncGenerator

import aiohttp
from yarl import URL

from fairlead.contracts.errors import foreign
from fairlead.contracts.tickets import Failed, Head, Returned

LARGE_BYTES = 1_000_000
"""A larger body is sent in pieces, so that it does not hold the loop up (aiohttp warns from 1 MiB)."""

UNKNOWN_TYPE = "application/octet-stream"
"""Content type of an answer that names none (RFC 9110 §8.3)."""


def sendable(body: bytes) -> bytes | io.BytesIO:
    """Return a body in the form in which aiohttp sends it best."""
    return body if len(body) <= LARGE_BYTES else io.BytesIO(body)


class HttpPods:
    """The port `PodPort` over aiohttp; connections are kept and used again."""

    def __init__(self, *, connect_timeout_s: float = 2.0, silence_s: float = 600.0) -> None:
        """Wait `connect_timeout_s` wall seconds for a connection and `silence_s` between two pieces of an answer."""
        self._limit = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=silence_s)
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[tuple[str, str], URL] = {}

    def ask(self, url: str, path: str, body: bytes, request: str) -> "HttpExchange":
        """Return the exchange that posts `body` to a pod once its answer is read."""
        target = self._urls.get((url, path))
        if target is None:
            target = self._urls[url, path] = URL(url + path)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("accept", "accept-encoding", "user-agent"),
                timeout=self._limit,
            )
        headers = {"content-type": "application/json", "x-request-id": request}
        return HttpExchange(self._session, target, body, headers)

    def forget(self, url: str) -> None:
        """Drop what was remembered of a pod that is gone."""
        for key in [k for k in self._urls if k[0] == url]:
            del self._urls[key]

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class HttpExchange:
    """One POST to a pod."""

    __slots__ = ("_aborted", "_body", "_headers", "_response", "_scope", "_session", "_url")

    def __init__(self, session: aiohttp.ClientSession, url: URL, body: bytes, headers: dict[str, str]) -> None:
        self._session = session
        self._url = url
        self._body = body
        self._headers = headers
        self._scope: asyncio.Timeout | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._aborted = False

    async def answer(self) -> AsyncGenerator[Head | bytes | Failed | Returned, None]:
        """Yield the head and the bytes; ends with `Failed` or `Returned` where it is not complete."""
        opened = await self._open()
        if not isinstance(opened, aiohttp.ClientResponse):
            yield opened
            return
        self._response = opened
        seen = False
        try:
            yield Head(status=opened.status, content_type=opened.headers.get("content-type", UNKNOWN_TYPE)[:256])
            content = opened.content
            while piece := await content.readany():
                seen = True
                yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            yield Failed(phase="body" if seen else "head", reason=self._words(error))
        finally:
            self._response = None
            opened.close()

    def abort(self) -> None:
        """Break the exchange off, whatever it waits for."""
        self._aborted = True
        if self._response is not None:
            self._response.close()
        elif self._scope is not None:
            self._scope.reschedule(0)

    async def _open(self) -> aiohttp.ClientResponse | Failed | Returned:
        if self._aborted:
            return Returned(reason="pod-lost")
        try:
            async with asyncio.timeout(None) as self._scope:
                data = sendable(self._body)
                return await self._session.post(self._url, data=data, headers=self._headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Returned(reason="pod-lost")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Failed(phase="connect", reason=self._words(error))
        finally:
            self._scope = None

    def _words(self, error: BaseException) -> str:
        return "the pod is gone" if self._aborted else foreign(f"{type(error).__name__}: {error}")
