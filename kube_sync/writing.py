"""Writes Kubernetes objects: what is there already is left alone, what others changed is put right and told."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import structlog

from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.adapters.kubernetes_mirror import Mirror
from fairlead.contracts.errors import Conflict, FairleadError, KubernetesRefused, NotFound, foreign
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import Document, conditioned, covers

LAG_S = 3.0
"""Wall seconds for which the answer to a write counts before the watch has told of it; a watch lags by milliseconds."""

AT_ONCE = 8
"""Calls under way at the same time; 100 routes that change in one slot take a second at 80 ms a call."""

AGAIN_S = 60.0
"""Wall seconds after which what was refused is tried again as it is, two slots: a right or a webhook may have been
repaired. What has changed is tried at once."""

Send: TypeAlias = Callable[[], Awaitable[Document]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that the API did not take."""

    asked: Document
    reason: str
    until_s: float
    """Until when it is not asked again, monotonic."""


class Writer:
    """Makes objects of a namespace as they are to be.

    An object that the API does not take is counted, told and left for a while; the others are written all the same.
    Raises `KubernetesUnavailable`, in a group where several calls were under way.
    """

    def __init__(self, api: KubernetesApi, namespace: str, metrics: SyncMetrics) -> None:
        self._api = api
        self._namespace = namespace
        self._metrics = metrics
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._written: dict[tuple[str, str], Document] = {}
        """What was written last; a difference from it is somebody else's doing."""
        self._answers: dict[tuple[str, str], tuple[Document, float]] = {}
        """What the API answered to a write, and when, monotonic: the watch comes after."""
        self._refused: dict[tuple[str, str, str], Refusal] = {}
        """By kind, name and part."""
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

    def refusal(self, kind: Kind, name: str) -> str:
        """Return why an object is not taken now; else empty."""
        found = (one.reason for (of, name_, _), one in self._refused.items() if (of, name_) == (kind.name, name))
        return next(found, "")

    def count_refused(self) -> None:
        """Show how many objects are refused; those that nobody has asked for since their time was over are not."""
        now_s = time.monotonic()
        for key in [key for key, one in self._refused.items() if one.until_s <= now_s]:
            del self._refused[key]
        self._metrics.refused.set(len({key[:2] for key in self._refused}))

    async def put(self, kind: Kind, wanted: Iterable[Document], found: dict[str, Document]) -> None:
        """Write each object that is not as it is to be."""

        async def write(document: Document) -> None:
            name = document["metadata"]["name"]
            if await self._apply(kind, name, None, document, document):
                self._written[kind.name, name] = document

        async with asyncio.TaskGroup() as group:
            for document in wanted:
                name = document["metadata"]["name"]
                if not self._rests(kind, name, "", document) and self._differs(kind, document, found):
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
        before, full = found.get("status") or {}, status
        if "conditions" in status:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            full = {**status, "conditions": conditioned(before.get("conditions") or (), status["conditions"], now)}
        if covers(before, full):
            return
        name = found["metadata"]["name"]
        head = {"apiVersion": kind.version, "kind": kind.name, "metadata": {"name": name}}
        await self._apply(kind, name, "status", {**head, "status": full}, status)

    async def finalizers(self, kind: Kind, found: Document, names: list[str]) -> None:
        """Put the finalizers of an object, unless somebody has changed it meanwhile: then the next pass does."""
        meta = found["metadata"]
        body = {"metadata": {"finalizers": names, "resourceVersion": meta["resourceVersion"]}}
        path, asked = kind.path(self._namespace, meta["name"]), {"names": names, "of": meta.get("generation", 0)}
        with suppress(Conflict, NotFound):
            answer = await self._sent(kind, meta["name"], "finalizers", asked, lambda: self._api.merge(path, body))
            if answer is not None:
                self._answers[kind.name, meta["name"]] = answer, time.monotonic()
                self._metrics.writes.labels(kind.name, "patch").inc()

    async def delete(self, kind: Kind, objects: Iterable[Document]) -> None:
        """Delete these very objects."""

        async def remove(name: str, uid: str) -> None:
            path = kind.path(self._namespace, name)
            with suppress(Conflict, NotFound):
                asked = {"uid": uid}
                if await self._sent(kind, name, "deletion", asked, lambda: self._api.delete(path, uid=uid)) is not None:
                    self._metrics.writes.labels(kind.name, "delete").inc()

        async with asyncio.TaskGroup() as group:
            for one in objects:
                name = one["metadata"]["name"]
                self._written.pop((kind.name, name), None)
                self._answers.pop((kind.name, name), None)
                group.create_task(remove(name, one["metadata"]["uid"]))

    async def _apply(self, kind: Kind, name: str, part: str | None, document: Document, asked: Document) -> bool:
        """Return whether it was taken; `asked` is what of it counts as the same when it was refused."""
        path = kind.path(self._namespace, name, part)
        try:
            answer = await self._sent(
                kind, name, part or "", asked, lambda: self._api.apply(path, document, force=True)
            )
        except (NotFound, Conflict) as error:
            self._refuse(kind, name, error)
            return False
        if answer is None:
            return False
        self._answers[kind.name, name] = answer, time.monotonic()
        self._metrics.writes.labels(kind.name, "apply").inc()
        return True

    async def _sent(self, kind: Kind, name: str, part: str, asked: Document, send: Send) -> Document | None:
        """Return the answer to a call; None where it is refused, or was and it is too early to ask again."""
        if self._rests(kind, name, part, asked):
            return None
        key = kind.name, name, part
        try:
            async with self._turns:
                answer = await send()
        except KubernetesRefused as error:
            self._refused[key] = Refusal(asked, foreign(error), time.monotonic() + AGAIN_S)
            self._refuse(kind, name, error)
            return None
        self._refused.pop(key, None)
        return answer

    def _rests(self, kind: Kind, name: str, part: str, asked: Document) -> bool:
        """Return whether this very thing was refused a moment ago."""
        before = self._refused.get((kind.name, name, part))
        return before is not None and before.asked == asked and time.monotonic() < before.until_s

    def _refuse(self, kind: Kind, name: str, error: FairleadError) -> None:
        self._metrics.refusals.labels(kind.name).inc()
        self._log.warning("an object is not taken", kind=kind.name, object=name, error=foreign(error))


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
