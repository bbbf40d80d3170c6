"""An API server's bad days: a proxy before it that can be away, silent, slow, busy, or lose answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

import aiohttp
from aiohttp import web

from fairlead.adapters.kubernetes_access import Access

Mood = Literal["well", "away", "silent", "slow", "busy", "lossy", "forgetful"]
"""`away` resets connections, `silent` never answers, `slow` takes `SLOW_S` a call, `busy` answers 429, `lossy` does
what it is asked and never says so, `forgetful` answers each watch 410."""

SLOW_S = 2.0
BUSY_S = 1
"""Wall seconds that a busy server asks to be spared."""

HOP = ("host", "content-length", "transfer-encoding", "connection", "content-encoding")


class Proxy:
    """Passes calls on, in a mood."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self.mood: Mood = "well"
        self.calls = 0
        self.answered: set[tuple[str, str, int]] = set()
        """Method, `WATCH` for a watch, path and status of each answer that was passed on."""
        self.url = ""
        self._access = access
        self._session = session
        self._open: set[asyncio.Task[object]] = set()

    def become(self, mood: Mood) -> None:
        """Change the mood; a server that goes away, or falls silent, breaks off its watches.

        One that is silent no more breaks off what it was asked meanwhile.
        """
        before, self.mood = self.mood, mood
        if before == "silent" or mood in ("away", "silent", "forgetful"):
            for task in list(self._open):
                task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        self.calls += 1
        mood = self.mood
        watching = "watch" in request.query
        if mood == "slow":
            await asyncio.sleep(SLOW_S)
        if mood == "busy" and not watching:
            return web.json_response({"message": "too many requests"}, status=429, headers={"retry-after": f"{BUSY_S}"})
        if mood == "forgetful" and watching:
            return web.json_response({"code": 410, "message": "too old resource version"}, status=410)
        task = asyncio.current_task()
        if mood == "away" or task is None:
            return _broken(request)
        self._open.add(task)
        try:
            if mood == "silent":
                await asyncio.Event().wait()
            return await self._pass(request, lost=mood == "lossy" and request.method != "GET")
        except asyncio.CancelledError:
            if task.cancelling() and request.transport is not None:
                request.transport.abort()
            raise
        except ConnectionResetError:
            return _broken(request)  # who asked has gone
        finally:
            self._open.discard(task)

    async def _pass(self, request: web.Request, *, lost: bool) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        body = await request.read()
        url = self._access.server + request.rel_url.raw_path_qs
        limit = aiohttp.ClientTimeout(total=None)
        async with self._session.request(request.method, url, headers=headers, data=body, timeout=limit) as answer:
            method = "WATCH" if "watch" in request.query else request.method
            self.answered.add((method, request.path, answer.status))
            if lost:
                await answer.read()
                return _broken(request)
            passed = {k: v for k, v in answer.headers.items() if k.lower() not in HOP}
            out = web.StreamResponse(status=answer.status, headers=passed)
            await out.prepare(request)
            async for piece in answer.content.iter_any():
                await out.write(piece)
            await out.write_eof()
            return out


def _broken(request: web.Request) -> web.StreamResponse:
    """Break the connection off without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


@contextlib.asynccontextmanager
async def proxied(access: Access) -> AsyncIterator[Proxy]:
    """Give a proxy before an API server."""
    connector = aiohttp.TCPConnector(ssl=access.context or True, limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        proxy = Proxy(access, session)
        runner = web.ServerRunner(web.Server(proxy.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        proxy.url = f"http://127.0.0.1:{port}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
