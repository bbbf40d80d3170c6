"""Images of models that a plan may start on this node, pulled before anybody waits for them.

Kubernetes has no call for it: a Pod that runs `true` in the image makes the kubelet pull it, whether the image has such
a program or not, and is removed as soon as the kubelet says that it has gone beyond pulling.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import aclosing, suppress

import structlog

from fairlead.adapters.kubernetes_api import NODES, PODS, KubernetesApi, Object, Vanished
from fairlead.adapters.kubernetes_mirror import Current, Mirror, Wanted
from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.containers import MANAGED_BY, MANAGED_BY_LABEL
from fairlead.contracts.errors import Conflict, KubernetesRefused, NotFound, foreign
from fairlead.contracts.plans import EpochPlan
from node_agent.pod_objects import Place, bound_to, owners_of, tolerations_of
from node_agent.pod_reading import sign_of

PULL_LABEL = "fairlead.dev/pull"
"""On a pod that pulls: the node that it pulls for."""

PULL_S = 3600
"""Wall seconds after which a pull has failed: 40 GB at 10 MB/s."""


def expected(plan: EpochPlan, node: str) -> tuple[str, ...]:
    """Return the models that a plan may start on a node: those to be warm there, soonest first, then the preferred."""
    warm = [one.model for one in sorted(plan.warm, key=lambda w: (w.at_s, w.model)) if one.node == node]
    preferred = [model for one in plan.intents if one.node == node and one.role != "drain" for model in one.prefer]
    return tuple(dict.fromkeys((*warm, *preferred)))


class ImagePuller:
    """The port `ImagePort` on one node of a cluster: one image at a time, each once."""

    def __init__(self, place: Place, api: KubernetesApi, stuck_s: float) -> None:
        """Give a pull up that the kubelet has had trouble with for `stuck_s` wall seconds."""
        self.pulled: set[str] = set()
        """Images that are on the node, or were."""
        self._place = place
        self._api = api
        self._stuck_s = stuck_s
        self._path = PODS.path(place.namespace)
        self._swept = False
        self._log = structlog.get_logger().bind(node=place.node.id)

    async def expect(self, models: Sequence[ModelSpec]) -> None:
        """Have the images of these models be on the node; one that cannot be pulled is told and left."""
        images = tuple(dict.fromkeys(m.container.image for m in models if m.container is not None))
        if not self._swept:
            await self._sweep(frozenset(_name(image, self._place) for image in images))
            self._swept = True
        for image in images:
            if image not in self.pulled:
                await self._pull(image)

    async def _sweep(self, expected: frozenset[str]) -> None:
        """Remove the pods that a former agent left; one of an image that is expected now pulls on."""
        try:
            left, _ = await self._api.items(self._path, labels=f"{PULL_LABEL}={self._place.node.id}")
            for name in (pod["metadata"]["name"] for pod in left):
                if name not in expected:
                    await self._remove(name)
        except KubernetesRefused as error:
            self._log.warning("pods that pulled images could not be removed", reason=foreign(error))

    async def _pull(self, image: str) -> None:
        """Pull one image; an agent that ends meanwhile leaves the pod to its successor."""
        try:
            node = await self._api.get(NODES.path(None, self._place.kubernetes_node))
            pod = _pod(image, self._place, node["metadata"]["uid"])
            with suppress(Conflict):  # one that was left behind pulls as well
                await self._api.create(self._path, pod)
        except (KubernetesRefused, NotFound) as error:
            self._log.warning("an image could not be pulled beforehand", image=image, reason=foreign(error))
            return
        reason = await self._outcome(pod["metadata"]["name"])
        await self._remove(pod["metadata"]["name"])
        if reason:
            self._log.warning("an image could not be pulled beforehand", image=image, reason=reason)
        else:
            self.pulled.add(image)
            self._log.info("an image was pulled beforehand", image=image)

    async def _remove(self, name: str) -> None:
        with suppress(NotFound):
            await self._api.delete(f"{self._path}/{name}", grace_s=1)

    async def _outcome(self, name: str) -> str:
        """Return why an image cannot be had; empty once the kubelet has it."""
        wanted = Wanted(PODS, self._place.namespace, fields=f"metadata.name={name}")
        reason, loop = "", asyncio.get_running_loop()
        end_s, seen = loop.time() + PULL_S, False
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end_s) as limit, aclosing(Mirror(self._api, wanted).follow()) as changes:
                async for change in changes:
                    if isinstance(change, Vanished) or (isinstance(change, Current) and not seen):
                        return "somebody removed the pod that pulls it"
                    if isinstance(change, Current):
                        continue
                    if _has_image(change.object):
                        return ""
                    seen, before, reason = True, reason, sign_of(change.object).reason
                    if bool(reason) != bool(before):
                        limit.reschedule(loop.time() + self._stuck_s if reason else end_s)
        return reason or f"not within {PULL_S} s"


def _has_image(pod: Object) -> bool:
    """Tell whether the kubelet has gone beyond pulling: the container runs, has run, or could not be made."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        state = one.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason", "")
        if state.get("running") or state.get("terminated") or waiting in ("CreateContainerError", "RunContainerError"):
            return True
    return False


def _name(image: str, place: Place) -> str:
    """Return the one name that a pod which pulls an image for a node can have."""
    return f"pull-{hashlib.sha256(f'{image}/{place.node.id}'.encode()).hexdigest()[:12]}"


def _pod(image: str, place: Place, node_uid: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": _name(image, place),
            "namespace": place.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, PULL_LABEL: place.node.id},
            "ownerReferences": owners_of(place, node_uid),
        },
        "spec": {
            "restartPolicy": "Never",
            "affinity": bound_to(place.kubernetes_node),
            "tolerations": tolerations_of(place),
            "activeDeadlineSeconds": PULL_S,
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            **({} if place.service_account is None else {"serviceAccountName": place.service_account}),
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "pull",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["true"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
