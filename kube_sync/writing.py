"""Writes Kubernetes objects: what is there already is left alone, what others changed is put right and told."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.adapters.kubernetes_mirror import Mirror
from fairlead.contracts.errors import Conflict, KubernetesRefused, NotFound, foreign
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import Document, conditioned, covers

LAG_S = 3.0
"""Wall seconds for which the answer to a write counts before the watch has told of it; a watch lags by milliseconds."""

AT_ONCE = 8
"""Calls under way at the same time; 100 routes that change in one slot take a second at 80 ms a call."""


class Writer:
    """Makes objects of a namespace as they are to be. Raises `KubernetesUnavailable`; refusals are counted and told."""

    def __init__(self, api: KubernetesApi, namespace: str, metrics: SyncMetrics) -> None:
        self._api = api
        self._namespace = namespace
        self._metrics = metrics
        self._written: dict[tuple[str, str], Document] = {}
        """What was written last; a difference from it is somebody else's doing."""
        self._answers: dict[tuple[str, str], tuple[Document, float]] = {}
        """What the API answered to a write, and when, monotonic: the watch comes after."""
        self._log = structlog.get_logger("kube-sync")

    def current(self, kind: Kind, mirror: Mirror) -> dict[str, Document]:
        """Return the objects of a mirror by name; what was written a moment ago counts where the watch lags behind."""
        there = {one["metadata"]["name"]: one for one in mirror.objects.values()}
        for (name_of_kind, name), (answer, at_s) in tuple(self._answers.items()):
            if name_of_kind != kind.name:
                continue
            if time.monotonic() - at_s > LAG_S:
                del self._answers[name_of_kind, name]
            elif name not in there or _version(there[name]) < _version(answer):
                there[name] = answer
        return there

    def vanished(self, kind: str, found: Document) -> None:
        """Take note that an object is no more: what was answered to the last write of it counts no longer."""
        name = found["metadata"]["name"]
        if (kind, name) in self._answers and self._answers[kind, name][0]["metadata"]["uid"] == found["metadata"][
            "uid"
        ]:
            del self._answers[kind, name]

    async def put(self, kind: Kind, wanted: Iterable[Document], found: dict[str, Document]) -> None:
        """Write each object that is not as it is to be."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def write(document: Document) -> None:
            name = document["metadata"]["name"]
            async with limit:
                if await self._apply(kind, name, None, document):
                    self._written[kind.name, name] = document

        async with asyncio.TaskGroup() as group:
            for document in wanted:
                if self._differs(kind, document, found):
                    group.create_task(write(document))

    def _differs(self, kind: Kind, wanted: Document, found: dict[str, Document]) -> bool:
        """Return whether an object is not as it is to be; tell where that is somebody else's doing."""
        name = wanted["metadata"]["name"]
        if covers(found.get(name), wanted):
            self._written[kind.name, name] = wanted
            return False
        if self._written.get((kind.name, name)) == wanted:
            self._metrics.healed.labels(kind.name).inc()
            self._log.warning(
                "somebody changed an object of ours: it is put right", kind=kind.name, object=name, by=_by(found, name)
            )
        return True

    async def tell(self, kind: Kind, found: Document, status: Document) -> None:
        """Write an object's status unless it is so already; its conditions get their instants here."""
        before = found.get("status") or {}
        if "conditions" in status:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            status = {**status, "conditions": conditioned(before.get("conditions") or (), status["conditions"], now)}
        if covers(before, status):
            return
        name = found["metadata"]["name"]
        head = {"apiVersion": kind.version, "kind": kind.name, "metadata": {"name": name}}
        await self._apply(kind, name, "status", {**head, "status": status})

    async def finalizers(self, kind: Kind, found: Document, names: list[str]) -> None:
        """Put the finalizers of an object, unless somebody has changed it meanwhile: then the next pass does."""
        meta = found["metadata"]
        body = {"metadata": {"finalizers": names, "resourceVersion": meta["resourceVersion"]}}
        try:
            answer = await self._api.merge(kind.path(self._namespace, meta["name"]), body)
            self._answers[kind.name, meta["name"]] = answer, time.monotonic()
            self._metrics.writes.labels(kind.name, "patch").inc()
        except (Conflict, NotFound):
            return

    async def delete(self, kind: Kind, objects: Iterable[Document]) -> None:
        """Delete these very objects."""
        for one in objects:
            name = one["metadata"]["name"]
            self._written.pop((kind.name, name), None)
            self._answers.pop((kind.name, name), None)
            try:
                await self._api.delete(kind.path(self._namespace, name), uid=one["metadata"]["uid"])
                self._metrics.writes.labels(kind.name, "delete").inc()
            except (NotFound, Conflict):
                continue

    async def _apply(self, kind: Kind, name: str, part: str | None, document: Document) -> bool:
        """Return whether it was taken."""
        try:
            answer = await self._api.apply(kind.path(self._namespace, name, part), document, force=True)
        except (KubernetesRefused, NotFound, Conflict) as error:
            self._metrics.refusals.labels(kind.name).inc()
            self._log.warning("an object is not taken", kind=kind.name, object=name, error=foreign(error))
            return False
        self._answers[kind.name, name] = answer, time.monotonic()
        self._metrics.writes.labels(kind.name, "apply").inc()
        return True


def _by(found: dict[str, Document], name: str) -> str:
    """Return who changed an object last, as it says itself; "deleted" where it is gone."""
    if name not in found:
        return "deleted"
    fields = found[name]["metadata"].get("managedFields") or ()
    newest: Document = max(fields, key=lambda one: str(one.get("time", "")), default={})
    return str(newest.get("manager", "unknown"))


def _version(found: Document) -> int:
    """Return the version of an object; they can be compared (Kubernetes, "Resource versions", 1.35 and later)."""
    return int(found["metadata"]["resourceVersion"])
