"""An API server's bad days: a proxy before it that can be away, silent, slow, busy, cut off, or lose answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import aiohttp
from aiohttp import web

from fairlead.adapters.kubernetes_access import Access

Mood = Literal["well", "away", "silent", "slow", "busy", "lossy", "forgetful", "cut"]
"""`away` resets connections, `silent` never answers, `slow` takes `SLOW_S` a call, `busy` answers 429, `lossy` does
what it is asked and never says so, `forgetful` answers each watch 410. `cut` lets nothing through in either direction,
of watches that stand neither; afterwards all of it arrives late, as what TCP sends again, also of those who gave up."""

Whom = Callable[[int], bool]
"""Tells by its port whether a client meets the mood; the others are well."""

SLOW_S = 2.0
BUSY_S = 1
"""Wall seconds that a busy server asks to be spared."""

APART_S = 10.0
"""Wall seconds within which a proxy in a thread of its own does what it is told."""

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
        self._whom: Whom | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: dict[asyncio.Task[object], int] = {}
        """Calls that are under way, and the ports of their clients."""

    def become(self, mood: Mood, whom: Whom | None = None) -> None:
        """Change the mood, for all clients or for some.

        A server that goes away, or falls silent, breaks off its watches; one that is silent no more breaks off what it
        was asked meanwhile.
        """
        if self.mood == "silent":
            self._break_off()
        self.mood, self._whom = mood, whom
        if mood in ("away", "silent", "forgetful"):
            self._break_off()
        if mood == "cut":
            self._flowing.clear()
        else:
            self._flowing.set()

    def _break_off(self) -> None:
        for task, port in list(self._open.items()):
            if self._is_met_by(port):
                task.cancel()

    def _is_met_by(self, port: int) -> bool:
        return self._whom is None or self._whom(port)

    async def _flows(self, port: int) -> None:
        """Wait until something can pass between a client and the server."""
        if self.mood == "cut" and self._is_met_by(port):
            await self._flowing.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        self.calls += 1
        port = 0 if request.transport is None else request.transport.get_extra_info("peername")[1]
        mood: Mood = self.mood if self._is_met_by(port) else "well"
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
        self._open[task] = port
        try:
            if mood == "silent":
                await asyncio.Event().wait()
            return await self._pass(request, port, lost=mood == "lossy" and request.method != "GET")
        except asyncio.CancelledError:
            if task.cancelling() and request.transport is not None:
                request.transport.abort()
            raise
        except ConnectionResetError:
            return _broken(request)  # who asked has gone
        finally:
            self._open.pop(task, None)

    async def _pass(self, request: web.Request, port: int, *, lost: bool) -> web.StreamResponse:
        await self._flows(port)
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
            await self._flows(port)
            await out.prepare(request)
            async for piece in answer.content.iter_any():
                await self._flows(port)
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


class Apart:
    """A proxy in the event loop of another thread, for those who have none."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.url = proxy.url
        self._proxy = proxy
        self._loop = loop

    def become(self, mood: Mood, whom: Whom | None = None) -> None:
        """Change the mood, and return once it has changed."""

        async def changed() -> None:
            self._proxy.become(mood, whom)

        asyncio.run_coroutine_threadsafe(changed(), self._loop).result(APART_S)


@contextlib.contextmanager
def proxied_apart(access: Access) -> Iterator[Apart]:
    """Give a proxy before an API server that runs beside the caller."""
    there: Future[tuple[Apart, Callable[[], object]]] = Future()

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        async with proxied(access) as proxy:
            there.set_result((Apart(proxy, loop), lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    with ThreadPoolExecutor(1, "proxy") as thread:
        serving = thread.submit(asyncio.run, serve())
        apart, end = there.result(APART_S)
        try:
            yield apart
        finally:
            end()
        serving.result(APART_S)
