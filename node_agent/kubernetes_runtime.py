"""The runtime `kubernetes`: a pod of ours is a Pod of the cluster, bound to its node, without a Deployment over it.

What is there is known from a watch alone; orders are calls that go on until the API server has taken them. A Pod's name
follows from node and model and it is made by `create`, so that a second one is refused by the server whatever was lost
on the way; it is deleted by its uid, so that nobody else's is. While the API is away nothing is concluded, pods serve.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import structlog

from fairlead.adapters.kubernetes_api import NODES, PODS, KubernetesApi, Object, Put, Vanished
from fairlead.adapters.pod_statuses import PodStatuses
from fairlead.contracts.errors import Conflict, FairleadError, KubernetesUnavailable, NotFound, PodFault, foreign
from fairlead.contracts.ports import Clock, PodOrder, PodStatus
from node_agent.ended_pods import EndedPods
from node_agent.image_pulls import PULL_S
from node_agent.orders import Orders
from node_agent.pod_feed import PodFeed
from node_agent.pod_objects import MEMORY, ORDERED_AT, START_DELAY, Place, labels_of, pod_name, pod_of
from node_agent.pod_reading import PodSign, annotated, grace_in, instance_of, model_of, sign_of

GIVE_UP_GRACE_S = 1
"""Of a pod that never served; 0 would forget it without the kubelet's word."""


@dataclass(slots=True)
class _Live:
    """A pod that exists or is about to."""

    model: str
    instance: str
    status: PodStatus
    grace_s: int
    """Wall seconds that it has to end, as its model says."""
    uid: str | None = None
    task: asyncio.Task[None] | None = None
    """The order that is being carried out: a start, a stop, or a look at what vanished."""
    patience: asyncio.TimerHandle | None = None
    limit_s: float | None = None
    """What `patience` was begun with."""
    ordered_stop: bool = False
    given_up: str = ""
    """Why its start was ended before it was ready."""
    to_look_for: bool = False
    """A look at it is ordered and has not begun."""
    hint: str = ""
    """What an order waits for, as its status says."""


class KubernetesRuntime:
    """The port `Runtime` on one node of a cluster."""

    def __init__(
        self, place: Place, api: KubernetesApi, feed: PodFeed, clock: Clock, stuck_s: float, made_s: float = PULL_S
    ) -> None:
        """Keep the pods of `place`; a start that hangs for `stuck_s` wall seconds is given up.

        So is one whose container is not made within `made_s`, though nobody says why: volumes are mounted, the network
        is set up and the image is pulled without a word in the pod.
        """
        self._place = place
        self._api = api
        self._feed = feed
        self._clock = clock
        self._stuck_s = stuck_s
        self._made_s = made_s
        self._live: dict[str, _Live] = {}
        self._statuses = PodStatuses(lambda: [live.status for live in self._live.values()])
        self._orders = Orders(place.node.id)
        self._ended = EndedPods(place, api, self._orders)
        self._log = structlog.get_logger().bind(node=place.node.id)

    async def adopt(self) -> tuple[PodStatus, ...]:
        """Take over the pods that are there; what has ended is removed. An API that is away is waited for."""
        for pod in await self._feed.join(self._place.node.id, self._changed):
            self._put(pod)
        return tuple(live.status for live in self._live.values())

    async def start(self, order: PodOrder) -> None:
        """Begin to start a pod. Raises `PodFault` if its model has no container, or has a pod here."""
        model = order.model
        if model.id in self._live:
            raise PodFault(f"{model.id} has a pod on {order.node} already: stop it first")
        now_s = self._clock.now_s()
        pod = pod_of(order, self._place, "", now_s)  # raises before anything is noted
        status = PodStatus(model.id, order.instance, "starting", "spawn", None, now_s, model.memory_bytes, "")
        live = self._live[model.id] = _Live(model.id, order.instance, status, grace_in(pod))
        self._say(live)
        live.task = self._orders.begin(self._create(live, order, now_s))

    async def stop(self, model: str, *, grace_s: float) -> None:
        """Have the pod deleted, its container ended after `grace_s` wall seconds; nothing if there is no pod.

        One to which routes lead has its model's own grace at least, for requests that no keeper has counted.
        """
        live = self._live.get(model)
        if live is None or live.ordered_stop or live.status.state == "stopping":
            return
        live.ordered_stop = True
        self._turn(live, state="stopping", stage="", since_at_s=self._clock.now_s(), reason="")
        least_s = live.grace_s if self._place.routed else 1
        self._remove(live, max(least_s, math.ceil(grace_s)))

    def watch(self) -> AsyncIterator[PodStatus]:
        """Yield the present status of each pod, then each change."""
        return self._statuses.watch()

    async def close(self) -> None:
        """Let go of the pods without stopping them."""
        await self._feed.leave(self._place.node.id)
        for live in self._live.values():
            self._calm(live)
        await self._orders.close()
        self._live.clear()

    # --- what the API server tells

    def _changed(self, change: Put | Vanished) -> None:
        match change:
            case Put(pod):
                self._put(pod)
            case Vanished(pod):
                self._vanished(pod)

    def _put(self, pod: Object) -> None:
        """Take what a pod says of itself."""
        if self._ended.is_swept(pod):
            return
        sign, live, model = sign_of(pod), self._known(pod), model_of(pod) or ""
        if live is None and (model in self._live or pod["metadata"]["name"] != pod_name(model, self._place.node.id)):
            return  # one that goes before ours can come, which `_create` deals with; or none of ours
        if sign.state == "ended":
            self._ended.sweep(pod)
            if live is not None:
                self._gone(live, live.given_up or ("" if live.ordered_stop else sign.reason))
            return
        found = live is None
        if live is None:
            live = self._found(model, pod)
        live.uid = pod["metadata"]["uid"]
        if live.ordered_stop or live.given_up:
            return  # what follows is our own doing
        if sign.state != "stopping" and not live.to_look_for and not self._labelled(pod, live):
            self._look(live)
        if sign.state == "ready" and live.status.state != "ready":
            self._calm(live)
            at_s = self._clock.now_s()
            if found:  # when, nobody has told: as expected, or now
                at_s = min(at_s, live.status.since_at_s + annotated(pod, START_DELAY, 0.0))
            self._turn(live, state="ready", stage="", url=sign.url, since_at_s=at_s, reason="")
        elif sign.state == "stopping" and live.status.state != "stopping":
            self._calm(live)
            self._log.warning("somebody else stops a pod of ours", model=model, reason=sign.reason)
            self._turn(live, state="stopping", stage="", since_at_s=self._clock.now_s(), reason=sign.reason)
        elif sign.state == "starting" and live.status.state == "starting":
            self._turn(live, stage=sign.stage, url=sign.url, reason=sign.reason)
            self._weigh(live, sign)

    def _vanished(self, pod: Object) -> None:
        """Take that a pod is gone, or that somebody took our labels from it."""
        self._ended.vanished(pod)
        live = self._known(pod)
        if live is None or live.uid is None:
            return
        if pod["metadata"].get("deletionTimestamp") or live.ordered_stop or live.given_up:
            self._gone(live, live.given_up or ("" if live.ordered_stop else live.status.reason or "deleted"))
        else:
            self._look(live)

    def _known(self, pod: Object) -> _Live | None:
        """Return what is known of a pod, whatever its labels say; by its instance until its uid has been heard."""
        uid, instance = pod["metadata"]["uid"], instance_of(pod)
        known = (one for one in self._live.values() if (one.uid or uid) == uid)
        return next((one for one in known if one.uid is not None or one.instance == instance), None)

    def _labelled(self, pod: Object, live: _Live) -> bool:
        """Tell whether our labels are on a pod."""
        labels = pod["metadata"].get("labels") or {}
        return labels_of(live.model, self._place.node.id, live.instance).items() <= labels.items()

    def _found(self, model: str, pod: Object) -> _Live:
        """Return a pod that this agent did not order: a former agent's, or one whose order's answer was lost."""
        ordered_at_s = annotated(pod, ORDERED_AT, self._clock.now_s())
        memory_bytes = round(annotated(pod, MEMORY, 0.0))
        status = PodStatus(model, instance_of(pod), "starting", "load", None, ordered_at_s, memory_bytes, "")
        live = self._live[model] = _Live(model, status.instance, status, grace_in(pod))
        self._say(live)
        return live

    def _weigh(self, live: _Live, sign: PodSign) -> None:
        """Give a start up that cannot succeed, at once or after a while."""
        if sign.patience == "none":
            self._give_up(live, sign.reason)
            return
        limit_s = self._stuck_s if sign.patience == "soon" else self._made_s if sign.stage == "spawn" else None
        if limit_s == live.limit_s:
            return
        self._calm(live)
        if limit_s is not None:
            late = f"its container was not made within {limit_s:g} s: `kubectl describe pod` may say why"
            loop = asyncio.get_running_loop()
            live.patience = loop.call_later(limit_s, lambda: self._give_up(live, live.status.reason or late))
            live.limit_s = limit_s

    def _give_up(self, live: _Live, reason: str) -> None:
        if live.given_up or live.ordered_stop or self._live.get(live.model) is not live:
            return
        live.given_up = reason
        self._log.warning("a start is given up", model=live.model, reason=reason)
        self._remove(live, GIVE_UP_GRACE_S)

    @staticmethod
    def _calm(live: _Live) -> None:
        if live.patience is not None:
            live.patience.cancel()
        live.patience = live.limit_s = None

    # --- what is asked of the API server

    async def _create(self, live: _Live, order: PodOrder, ordered_at_s: float) -> None:
        """Create the Pod once nothing is in its way; ends early when the order is taken back."""
        tries = 0
        while self._live.get(live.model) is live and not (live.ordered_stop or live.given_up):
            try:
                if await self._made(live, order, ordered_at_s):
                    self._carried_out(live)
                    return
            except KubernetesUnavailable as error:
                self._hint(live, foreign(error))
            except FairleadError as error:
                self._gone(live, foreign(error))
                return
            await self._orders.pause(tries)
            tries += 1

    async def _made(self, live: _Live, order: PodOrder, ordered_at_s: float) -> bool:
        """Try once to create the Pod; False where something is in its way."""
        node = await self._api.get(NODES.path(None, self._place.kubernetes_node))
        if live.ordered_stop:
            return False
        pod = pod_of(order, self._place, node["metadata"]["uid"], ordered_at_s)
        try:
            created = await self._api.create(PODS.path(self._place.namespace), pod)
        except Conflict:
            return await self._in_the_way(live)
        live.uid = created["metadata"]["uid"]
        return True

    async def _in_the_way(self, live: _Live) -> bool:
        """Look at who has the name; True where it is this very pod. One that is to be kept takes its place."""
        try:
            pod = await self._api.get(self._path(live.model))
        except NotFound:
            return False  # it has gone by itself
        if instance_of(pod) == live.instance:
            live.uid = pod["metadata"]["uid"]
            return True
        state = sign_of(pod).state
        if state == "stopping":
            self._hint(live, "the pod before it has not ended yet")
        elif state == "ended":
            self._ended.sweep(pod)
        else:
            pod = await self._relabel(pod, live.model, instance_of(pod))
            self._gone(live, f"a pod of {live.model} was there already: it is kept")
            self._put(pod)
        return False

    def _remove(self, live: _Live, grace_s: int) -> None:
        live.task = self._orders.begin(self._delete(live, grace_s, live.task))

    async def _delete(self, live: _Live, grace_s: int, before: asyncio.Task[None] | None) -> None:
        """Have a pod deleted; that it is gone is the watch's to say, or the answer that there is none."""
        if before is not None:
            await asyncio.wait((before,))  # a call that is under way may still create it
        tries = 0
        while self._live.get(live.model) is live:
            try:
                if live.uid is None:
                    pod = await self._api.get(self._path(live.model))
                    if instance_of(pod) != live.instance:
                        raise NotFound(f"the pod of {live.model} is another one")
                    live.uid = pod["metadata"]["uid"]
                await self._api.delete(self._path(live.model), uid=live.uid, grace_s=grace_s)
                return
            except (NotFound, Conflict):
                self._gone(live, live.given_up)
                return
            except FairleadError as error:
                self._hint(live, foreign(error))
            await self._orders.pause(tries)
            tries += 1

    def _look(self, live: _Live) -> None:
        live.to_look_for = True
        live.task = self._orders.begin(self._look_for(live, live.task))

    async def _look_for(self, live: _Live, before: asyncio.Task[None] | None) -> None:
        """Find out whether a pod is gone, or has our labels no more and gets them back."""
        if before is not None:
            await asyncio.wait((before,))
        live.to_look_for, tries = False, 0
        while self._live.get(live.model) is live and not (live.ordered_stop or live.given_up):
            try:
                pod = await self._api.get(self._path(live.model))
                if pod["metadata"]["uid"] != live.uid:
                    raise NotFound(f"the pod of {live.model} is another one")
                if not self._labelled(pod, live):
                    self._log.warning("somebody changed our labels on a pod: it gets them back", model=live.model)
                    self._hint(live, "somebody changed our labels on it: it gets them back")
                    await self._relabel(pod, live.model, live.instance)
                self._carried_out(live)
                return
            except NotFound:
                self._gone(live, "deleted")
                return
            except FairleadError as error:
                self._hint(live, foreign(error))
            await self._orders.pause(tries)
            tries += 1

    async def _relabel(self, pod: Object, model: str, instance: str) -> Object:
        """Have our labels be on a pod, whoever changed them."""
        labels = labels_of(model, self._place.node.id, instance)
        name = pod["metadata"]["name"]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}}
        return await self._api.apply(PODS.path(self._place.namespace, name), body, force=True)

    def _path(self, model: str) -> str:
        return PODS.path(self._place.namespace, pod_name(model, self._place.node.id))

    # --- what listeners hear

    def _hint(self, live: _Live, reason: str) -> None:
        """Say why an order takes so long."""
        if self._live.get(live.model) is live:
            self._turn(live, reason=reason)
            live.hint = live.status.reason

    def _carried_out(self, live: _Live) -> None:
        """Take back why an order took so long; what others have said since stays."""
        if live.hint and live.status.reason == live.hint and live.status.state != "stopping":
            self._hint(live, "")

    def _turn(self, live: _Live, **change: object) -> None:
        """Change a pod's status and say so, if it is a change."""
        fresh = replace(live.status, **change)  # type: ignore[arg-type]
        fresh = replace(fresh, reason=foreign(fresh.reason))
        if fresh != live.status:
            live.status = fresh
            self._say(live)

    def _gone(self, live: _Live, reason: str) -> None:
        """Say that a pod is gone, once."""
        if self._live.get(live.model) is not live:
            return
        del self._live[live.model]
        self._calm(live)
        now_s = self._clock.now_s()
        live.status = replace(
            live.status, state="gone", stage="", since_at_s=now_s, memory_bytes=0, reason=foreign(reason)
        )
        self._say(live)

    def _say(self, live: _Live) -> None:
        self._statuses.say(live.status)
