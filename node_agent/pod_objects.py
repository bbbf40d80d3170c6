"""The Kubernetes objects that a node agent writes, as plain values: pods of models.

Names follow from node and model alone, so that the API server itself refuses a second pod of the same model on the
same node, whoever asks for it and however often.
"""

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fairlead.contracts.cluster import ModelSpec, NodeSpec
from fairlead.contracts.containers import (
    INSTANCE_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MODEL_LABEL,
    NODE_LABEL,
    Container,
    Toleration,
    WeightsVolume,
)
from fairlead.contracts.errors import PodFault
from fairlead.contracts.ports import PodOrder

Object = dict[str, Any]

ORDERED_AT = "fairlead.dev/ordered-at-s"
START_DELAY = "fairlead.dev/start-delay-s"
MEMORY = "fairlead.dev/memory-bytes"
"""Annotations that a successor of the agent reads: domain instant, domain seconds, bytes."""

CONTAINER = "model"
"""Name of the container that serves; others in a pod of ours are somebody else's, put there as it was made."""

STEM_CHARS = 24
"""Of the model's and the node's id each that a name shows; with its digest it stays a DNS label of 63."""

START_LEAST_S = 60.0
START_FACTOR = 10.0
"""Wall seconds, and multiples of the expected start, after which a container that never answered is ended: as the
process runtime has no such limit, wide enough that a cold disk or a pull beside it does not reach it."""

WITHDRAWN_S = 5
"""Wall seconds that a pod to which routes lead serves on after its deletion, half of its grace at most: by then the
gateway knows that the endpoint is withdrawn. Own choice: slices and gateways follow within a second or two."""

LOST_TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
    for taint in ("not-ready", "unreachable")
)
"""A node that the API server does not hear serves on; by default its pods would be evicted after five minutes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where pods of an agent go."""

    namespace: str
    node: NodeSpec
    service_account: str | None
    tolerations: tuple[Toleration, ...] = ()
    """Of the taints of the node, beside those by which it would be left while it is not heard."""
    routed: bool = False
    """Routes are exported: the cluster's own gateway may send pods here requests that no keeper counts."""

    @property
    def kubernetes_node(self) -> str:
        """Return the name that Kubernetes has for the node."""
        return self.node.kubernetes_node or self.node.id


def pod_name(model: str, node: str) -> str:
    """Return the one name that a pod of a model on a node can have."""
    digest = hashlib.sha256(f"{model}/{node}".encode()).hexdigest()[:8]
    return f"{model[:STEM_CHARS].rstrip('-')}-{node[:STEM_CHARS].rstrip('-')}-{digest}"


def labels_of(model: str, node: str, instance: str) -> dict[str, str]:
    """Return the labels of a pod of ours."""
    return {MANAGED_BY_LABEL: MANAGED_BY, NODE_LABEL: node, MODEL_LABEL: model, INSTANCE_LABEL: instance}


def pod_of(order: PodOrder, place: Place, node_uid: str, ordered_at_s: float) -> Object:
    """Return the pod that an order asks for. Raises `PodFault` where its model has a launch alone."""
    model, container = order.model, order.model.container
    if container is None:
        raise PodFault(
            f"{model.id} on {order.node} has a launch and no container: give the model a container, or let "
            "node_agent.runtime be process"
        )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(model.id, order.node),
            "namespace": place.namespace,
            "labels": labels_of(model.id, order.node, order.instance),
            "annotations": {
                ORDERED_AT: repr(ordered_at_s),
                START_DELAY: repr(model.start_delay_s),
                MEMORY: str(model.memory_bytes),
            },
            "ownerReferences": owners_of(place, node_uid),
        },
        "spec": {
            "restartPolicy": "Never",
            "affinity": bound_to(place.kubernetes_node),
            "tolerations": tolerations_of(place),
            "terminationGracePeriodSeconds": grace_of(container),
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,  # an account is for what it may pull; a model server needs no API
            **({} if place.service_account is None else {"serviceAccountName": place.service_account}),
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(container, model, place)],
            "volumes": [] if container.weights is None else [{"name": "weights", **_volume(container.weights)}],
        },
    }


def grace_of(container: Container) -> int:
    """Return the wall seconds that a pod has to end, whoever stops it."""
    return math.ceil(container.stop_grace_s)


def owners_of(place: Place, node_uid: str) -> list[Object]:
    """Return the owner of a pod of ours: its Node, as its controller, without which `kubectl drain` refuses it."""
    return [{"apiVersion": "v1", "kind": "Node", "name": place.kubernetes_node, "uid": node_uid, "controller": True}]


def tolerations_of(place: Place) -> list[Object]:
    """Return the taints that do not keep a pod of ours away."""
    return [*LOST_TOLERATIONS, *(one.model_dump(exclude_none=True) for one in place.tolerations)]


def bound_to(kubernetes_node: str) -> Object:
    """Return the affinity that lets the scheduler take one node alone, as that of a DaemonSet's pods."""
    field = {"key": "metadata.name", "operator": "In", "values": [kubernetes_node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _container(container: Container, model: ModelSpec, place: Place) -> Object:
    words = {"port": str(container.port), "model": model.id, "node": place.node.id}
    answers = {"httpGet": {"path": container.ready_path, "port": container.port}}
    start_s = max(START_LEAST_S, START_FACTOR * model.start_delay_s)
    hook = _stop_hook(model.id, place.node, min(WITHDRAWN_S, grace_of(container) // 2) if place.routed else 0)
    return {
        "name": CONTAINER,
        "image": container.image,
        **({"command": [_filled(word, words) for word in container.command]} if container.command else {}),
        **({"args": [_filled(word, words) for word in container.args]} if container.args else {}),
        "env": [{"name": one.name, "value": _filled(one.value, words)} for one in container.environment],
        "ports": [{"name": "http", "containerPort": container.port}],
        "resources": _resources(container),
        "startupProbe": {**answers, "periodSeconds": 1, "failureThreshold": math.ceil(start_s)},
        "readinessProbe": {**answers, "periodSeconds": 5, "timeoutSeconds": 5},
        **({} if hook is None else {"lifecycle": {"preStop": hook}}),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": []
        if container.weights is None
        else [{"name": "weights", "mountPath": container.weights.mount_path, "readOnly": True}],
    }


def _resources(container: Container) -> Object:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if container.cpu is not None:
        requests["cpu"] = f"{math.ceil(container.cpu * 1000)}m"
    if container.host_memory_bytes is not None:
        requests["memory"] = limits["memory"] = str(container.host_memory_bytes)
    if container.gpu is not None:
        limits[container.gpu.resource] = str(container.gpu.count)
    return {"requests": requests, "limits": limits}


def _volume(weights: WeightsVolume) -> Object:
    match weights.source:
        case "claim":
            return {"persistentVolumeClaim": {"claimName": weights.name, "readOnly": True}}
        case "host-path":
            return {"hostPath": {"path": weights.name, "type": "Directory"}}
        case "image":
            return {"image": {"reference": weights.name, "pullPolicy": "IfNotPresent"}}


def _stop_hook(model: str, node: NodeSpec, pause_s: int) -> Object | None:
    """Return the question to the node's keeper that is answered once the pod is free of requests, after `pause_s`.

    The kubelet asks it from the machine's own network, so that a keeper which is named by the cluster's DNS cannot be
    asked: then there is the pause alone (Kubernetes 1.30 or later), or no hook where there is none, and the container
    gets its signal at once.
    """
    keeper = urlsplit(node.keeper_url)
    try:
        ipaddress.ip_address(keeper.hostname or "")
    except ValueError:
        return {"sleep": {"seconds": pause_s}} if pause_s else None
    port = keeper.port or (443 if keeper.scheme == "https" else 80)
    path = f"/keeper/v1/pods/{model}/drained" + (f"?after_s={pause_s}" if pause_s else "")
    return {"httpGet": {"host": keeper.hostname, "port": port, "path": path, "scheme": keeper.scheme.upper()}}


def _filled(word: str, words: dict[str, str]) -> str:
    """Replace `{port}`, `{model}` and `{node}`; other braces stay as they are."""
    for name, value in words.items():
        word = word.replace("{" + name + "}", value)
    return word
