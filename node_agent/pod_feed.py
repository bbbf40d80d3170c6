"""The pods of one or of many nodes as the API server tells of them: one watch, shared by the runtimes of a process."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing

import structlog

from fairlead.adapters.kubernetes_api import PODS, KubernetesApi, Object, Put, Vanished
from fairlead.adapters.kubernetes_mirror import Current, Mirror, Wanted
from fairlead.contracts.containers import MANAGED_BY, MANAGED_BY_LABEL, NODE_LABEL
from fairlead.contracts.errors import foreign
from fairlead.contracts.settings import KubernetesSettings

Listener = Callable[[Put | Vanished], None]


def feed_of(api: KubernetesApi, settings: KubernetesSettings, node: str | None, seed: str) -> "PodFeed":
    """Return a feed of the pods of one node, or of all nodes where `node` is None."""
    labels = f"{MANAGED_BY_LABEL}={MANAGED_BY},{NODE_LABEL}" + ("" if node is None else f"={node}")
    return PodFeed(Mirror(api, Wanted(PODS, settings.namespace, labels, watch_s=settings.watch_s), seed=seed))


class PodFeed:
    """Tells each node's listener of its pods while somebody listens."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._listeners: dict[str, Listener] = {}
        self._nodes: dict[str, str] = {}
        """Whose a pod is, by its uid: what its label said at first, whoever changes it."""
        self._current = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def join(self, node: str, listener: Listener) -> tuple[Object, ...]:
        """Return the pods of a node once the API server has told them; from then on `listener` hears changes."""
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow())
        await self._current.wait()
        self._listeners[node] = listener
        return tuple(one for one in self._mirror.objects.values() if self._node_of(one) == node)

    async def leave(self, node: str) -> None:
        """Tell a node's listener no more; the watch ends with the last one."""
        self._listeners.pop(node, None)
        if not self._listeners and self._following is not None:
            following, self._following = self._following, None
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _follow(self) -> None:
        async with aclosing(self._mirror.follow()) as changes:
            async for change in changes:
                if isinstance(change, Current):
                    self._current.set()
                    continue
                try:
                    listener = self._listeners.get(self._node_of(change.object))
                    if isinstance(change, Vanished):
                        self._nodes.pop(change.object["metadata"]["uid"], None)
                    if listener is not None:
                        listener(change)
                except Exception as error:  # one node's trouble is not the others'
                    structlog.get_logger().exception("a pod's change was not understood", error=foreign(repr(error)))

    def _node_of(self, pod: Object) -> str:
        said = str((pod["metadata"].get("labels") or {}).get(NODE_LABEL, ""))
        return self._nodes.setdefault(pod["metadata"]["uid"], said)
