"""A Kubernetes API as small as can be, that keeps what is applied and refuses objects by their names."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from fairlead.adapters.kubernetes_access import Access
from fairlead.adapters.kubernetes_api import KubernetesApi

TOGETHER_S = 0.02
"""Wall seconds that each call takes, so that calls meet."""


class PickyApi:
    """What was asked, and what is there."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        """Names that are answered 422."""
        self.asked: list[str] = []
        """Names, in the order of calls."""
        self.objects: dict[str, dict[str, Any]] = {}
        """By name."""
        self.listed: dict[str, list[dict[str, Any]]] = {}
        """What lists of a kind have, by its plural; nothing changes there."""
        self.most_at_once = 0
        self._at_once = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take an object, or not; tell what is there, and of a watch nothing."""
        if request.method == "GET":
            if "watch" in request.query:
                watch = web.StreamResponse()
                await watch.prepare(request)
                await asyncio.Event().wait()
            items = self.listed.get(request.path.rsplit("/", 1)[1], [])
            return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})
        name = request.path.removesuffix("/status").rsplit("/", 1)[1]
        self.asked.append(name)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(TOGETHER_S)
        self._at_once -= 1
        if name in self.refused:
            return web.json_response({"message": f"{name} is invalid"}, status=422)
        if request.method == "DELETE":
            return web.json_response(self.objects.pop(name))
        body = json.loads(await request.read())
        meta = {**body.get("metadata", {}), "uid": name, "resourceVersion": str(len(self.asked))}
        self.objects[name] = {**self.objects.get(name, {}), **body, "metadata": meta}
        return web.json_response(self.objects[name])


@asynccontextmanager
async def picky() -> AsyncIterator[tuple[PickyApi, KubernetesApi]]:
    """Serve one, and give a client of it."""
    one = PickyApi()
    server = web.Server(one.answer)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    client = KubernetesApi(Access(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", None), timeout_s=5.0)
    try:
        yield one, client
    finally:
        await client.close()
        listening.close()
        await server.shutdown(timeout=1.0)
