"""As much of a Kubernetes API server as a node agent needs, in this process: objects in memory, lists, watches.

Watches tell what their selectors tell, as the real one does: an object that leaves a selection vanishes there. A pod
that is deleted is marked first, then removed. `troubled` has paths that answer with a status instead.
"""

import asyncio
import contextlib
import copy
import itertools
import json
from collections.abc import AsyncIterator

from aiohttp import web

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import Access
from fairlead.adapters.kubernetes_api import NODES, PODS, KubernetesApi, Object
from fairlead.adapters.kubernetes_mirror import Mirror, Wanted
from fairlead.contracts.containers import MANAGED_BY, MANAGED_BY_LABEL, NODE_LABEL
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import PodFeed
from node_agent.pod_objects import Place
from tests.node_agent.pods import node

NAMESPACE = "models"
PODS_PATH = PODS.path(NAMESPACE)


class ApiStub:
    """The server's state, and what tests do to it."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {NODES.path(None, "node-1"): {"metadata": {"uid": "node-uid"}}}
        """By path."""
        self.troubled: dict[str, int] = {}
        """Status of the answer by the beginning of a path; 429 comes with `Retry-After: 86400`."""
        self.garbled: dict[str, list[object]] = {"GET": [], "WATCH": []}
        """What the next lists and watches of pods are answered instead."""
        self.silent = False
        """Whether it takes calls and never answers."""
        self.asked: list[tuple[str, str]] = []
        """Method and path of each call, watches as `WATCH`, with their query."""
        self.graces: list[int | None] = []
        """Seconds that each deletion leaves."""
        self.url = ""
        self._numbers = itertools.count(1)
        self._version = 0
        self._log: list[tuple[str, Object | None, Object | None]] = []
        """List, object before and after, of each version from 1 on."""
        self._news = asyncio.Event()

    def put(self, path: str, fresh: Object | None) -> None:
        """Have an object be this, or be gone."""
        before = self.objects.pop(path, None)
        self._version += 1
        if fresh is not None:
            fresh = self.objects[path] = copy.deepcopy(fresh)
            fresh["metadata"]["resourceVersion"] = f"{self._version}"
            fresh["metadata"].setdefault("uid", f"uid-{next(self._numbers)}")
        self._log.append((path.rpartition("/")[0], before, copy.deepcopy(fresh)))
        news, self._news = self._news, asyncio.Event()
        news.set()

    def change(self, path: str, **metadata: object) -> None:
        """Change the metadata of an object; labels are added, those of None removed."""
        fresh = copy.deepcopy(self.objects[path])
        labels = {**(fresh["metadata"].get("labels") or {}), **metadata.pop("labels", {})}  # type: ignore[dict-item]
        fresh["metadata"] |= {"labels": {k: v for k, v in labels.items() if v is not None}, **metadata}
        self.put(path, fresh)

    def become(self, path: str, **status: object) -> None:
        """Give a pod a status."""
        self.put(path, {**self.objects[path], "status": status})

    def ready(self, path: str) -> None:
        """Have a pod be ready."""
        self.become(path, phase="Running", podIP="10.0.0.1", conditions=[{"type": "Ready", "status": "True"}])

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one call."""
        watching = "watch" in request.query
        method = "WATCH" if watching else request.method
        self.asked.append((method, request.path_qs))
        if self.silent:
            await asyncio.Event().wait()
        for path, status in self.troubled.items():
            if request.path.startswith(path):
                said = {"retry-after": "86400"} if status == 429 else {}
                return web.json_response({"message": "in trouble"}, status=status, headers=said)
        if request.path == PODS_PATH and self.garbled.get(method):
            return web.Response(body=json.dumps(self.garbled[method].pop(0)).encode() + b"\n")
        if watching:
            return await self._watched(request)
        match request.method:
            case "GET" if request.path == PODS_PATH:
                found = [o for p, o in self.objects.items() if p.startswith(request.path) and _selected(request, o)]
                return web.json_response({"metadata": {"resourceVersion": f"{self._version}"}, "items": found})
            case "GET":
                return self._answer(request.path)
            case "POST":
                return self._created(await request.json())
            case "DELETE":
                return self._deleted(request.path, await request.json())
        fresh = await request.json()
        if request.path in self.objects:
            self.change(request.path, labels=fresh["metadata"]["labels"])
        else:
            self.put(request.path, fresh)
        return self._answer(request.path)

    def _answer(self, path: str) -> web.Response:
        if path not in self.objects:
            return web.json_response({"message": f"{path} not found"}, status=404)
        return web.json_response(self.objects[path])

    def _created(self, pod: Object) -> web.Response:
        path = f"{PODS_PATH}/{pod['metadata']['name']}"
        if path in self.objects:
            return web.json_response({"message": "already exists"}, status=409)
        self.put(path, pod)
        return self._answer(path)

    def _deleted(self, path: str, options: Object) -> web.Response:
        self.graces.append(options.get("gracePeriodSeconds"))
        if path not in self.objects:
            return web.json_response({"message": f"{path} not found"}, status=404)
        uid = options.get("preconditions", {}).get("uid")
        if uid not in (None, self.objects[path]["metadata"]["uid"]):
            return web.json_response({"message": "another uid"}, status=409)
        self.change(path, deletionTimestamp="2026-01-01T00:00:00Z")
        answer = self._answer(path)
        self.put(path, None)
        return answer

    async def _watched(self, request: web.BaseRequest) -> web.StreamResponse:
        out = web.StreamResponse()
        await out.prepare(request)
        version = int(request.query["resourceVersion"])
        while True:
            news = self._news
            while version < len(self._log):
                path, before, after = self._log[version]
                version += 1
                event = _event(request, path, before, after)
                if event is not None:
                    event["object"]["metadata"]["resourceVersion"] = f"{version}"
                    await out.write(json.dumps(event).encode() + b"\n")
            await news.wait()


def _event(request: web.BaseRequest, path: str, before: Object | None, after: Object | None) -> Object | None:
    """Return what a watch tells of a change."""
    if path != request.path:
        return None
    was = before if before is not None and _selected(request, before) else None
    now = after if after is not None and _selected(request, after) else None
    if now is not None:
        return {"type": "ADDED" if was is None else "MODIFIED", "object": copy.deepcopy(now)}
    return None if was is None else {"type": "DELETED", "object": copy.deepcopy(was)}


def _selected(request: web.BaseRequest, found: Object) -> bool:
    labels = found["metadata"].get("labels") or {}
    for one in filter(None, request.query.get("labelSelector", "").split(",")):
        name, _, word = one.partition("=")
        if name not in labels or (word and labels[name] != word):
            return False
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    return name in ("", found["metadata"]["name"])


@contextlib.asynccontextmanager
async def stubbed(timeout_s: float = 5.0) -> AsyncIterator[tuple[ApiStub, KubernetesApi]]:
    """Give a server and a client of it."""
    stub = ApiStub()
    runner = web.ServerRunner(web.Server(stub.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    api = KubernetesApi(Access(stub.url, None), timeout_s=timeout_s)
    try:
        yield stub, api
    finally:
        await api.close()
        await runner.cleanup()


def stub_feed(api: KubernetesApi, id_: str | None = "n1") -> PodFeed:
    """Return the feed of a node's pods, or of all nodes'."""
    labels = f"{MANAGED_BY_LABEL}={MANAGED_BY},{NODE_LABEL}" + ("" if id_ is None else f"={id_}")
    return PodFeed(Mirror(api, Wanted(PODS, NAMESPACE, labels)))


def stub_runtime(
    api: KubernetesApi, feed: PodFeed | None = None, id_: str = "n1", *, routed: bool = False
) -> KubernetesRuntime:
    """Return the runtime of a node, which Kubernetes knows as `node-1`."""
    place = Place(NAMESPACE, node().model_copy(update={"id": id_}), None, routed=routed)
    return KubernetesRuntime(place, api, feed or stub_feed(api, id_), ScaledClock(), stuck_s=2.0)
