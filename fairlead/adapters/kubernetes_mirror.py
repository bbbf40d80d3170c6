"""What is there of one kind of Kubernetes object, kept current: one list, then a watch that resumes where it stood.

A list is asked for at the beginning and after 410 alone; what vanished meanwhile is told as vanished. A watch that
breaks off resumes at the version that was seen last, bookmarks included.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from fairlead.adapters.kubernetes_api import Bookmark, Expired, Kind, KubernetesApi, Object, Put, Vanished
from fairlead.contracts.errors import FairleadError, foreign

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
"""Wall seconds between attempts to reach a server that is away, with jitter: at most a sixth of a slot of 30 s."""

GARBLED = (LookupError, TypeError, ValueError, AttributeError)
"""What comes of JSON that is none of Kubernetes, such as a proxy's word for its trouble."""


@dataclass(frozen=True, slots=True)
class Current:
    """Everything that a list had has been told."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which objects to follow."""

    kind: Kind
    namespace: str | None
    labels: str = ""
    fields: str = ""
    watch_s: float = 300.0
    """Wall seconds after which a watch is renewed at the latest, at half of them at the earliest: those who begin
    together do not renew together."""


class Mirror:
    """Follows objects; `objects` has those that are there, by uid."""

    def __init__(self, api: KubernetesApi, wanted: Wanted, *, seed: str = "") -> None:
        self.objects: dict[str, Object] = {}
        self.lists = 0
        """How often everything was listed."""
        self._api = api
        self._wanted = wanted
        self._path = wanted.kind.path(wanted.namespace)
        self._version: str | None = None
        self._jitter = random.Random(f"{seed}/{self._path}")
        self._log = structlog.get_logger().bind(kind=wanted.kind.name)

    async def follow(self) -> AsyncGenerator[Put | Vanished | Current, None]:
        """Yield what is there, `Current`, then what changes, for ever; an API that is away is waited for."""
        failures = 0
        while True:
            try:
                async with aclosing(self._once()) as changes:
                    async for change in changes:
                        failures = 0
                        if not isinstance(change, Bookmark):
                            yield change
                await asyncio.sleep(RETRY_FIRST_S)  # a server that ends each watch at once is not asked all the time
            except (FairleadError, *GARBLED) as error:
                if not failures:
                    self._log.warning("the Kubernetes API is not followed for now", error=foreign(repr(error)))
                if isinstance(error, GARBLED):
                    self._version = None  # what it was about is learnt from a list
                ceiling_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(failures, 30))
                failures += 1
                await asyncio.sleep(ceiling_s * (0.5 + 0.5 * self._jitter.random()))

    async def _once(self) -> AsyncGenerator[Put | Vanished | Current | Bookmark, None]:
        """Yield the changes of one list, if one is needed, and of one watch."""
        if self._version is None:
            found, version = await self._api.items(self._path, labels=self._wanted.labels, fields=self._wanted.fields)
            self.lists += 1
            now = {one["metadata"]["uid"]: one for one in found}
            gone = [one for uid, one in self.objects.items() if uid not in now]
            self.objects = now
            self._version = version
            for one in gone:
                yield Vanished(one)
            for one in found:
                yield Put(one)
            yield Current()
        watch = self._api.watch(
            self._path,
            self._version,
            labels=self._wanted.labels,
            fields=self._wanted.fields,
            last_s=self._wanted.watch_s * (0.5 + 0.5 * self._jitter.random()),
        )
        async with aclosing(watch) as changes:
            async for change in changes:
                match change:
                    case Expired():
                        self._log.info("the watch is too old and is begun anew")
                        self._version = None
                        return
                    case Bookmark(version):
                        self._version = version
                    case Put(one):
                        self._version = one["metadata"]["resourceVersion"]
                        self.objects[one["metadata"]["uid"]] = one
                    case Vanished(one):
                        self._version = one["metadata"]["resourceVersion"]
                        self.objects.pop(one["metadata"]["uid"], None)
                yield change
