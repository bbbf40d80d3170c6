"""Kubernetes objects as plain documents: their names, what we write into them, and whether what is there will do."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from fairlead.adapters.kubernetes_api import BUDGETS
from fairlead.contracts.containers import API_GROUP, API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL, NODE_LABEL
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.resources import ModelRoutes

Document: TypeAlias = dict[str, Any]

GENERATION = f"{API_GROUP}/table-generation"
"""Annotation of a route: the routing table whose weights it carries."""

ZONE = f"{API_GROUP}/zone"
"""Annotation of a route: the zone of its row, `*` for all."""

CURRENT = "current"
"""Name of the one `EdgePlan`."""

SERVICE_PORT = 80

MODEL_HEADER = "x-fairlead-model"
"""By it the cluster's gateway tells requests of one model from another's: a route cannot look into a body."""

SITE_HEADER = "x-fairlead-site"
"""By it rows of a zone are told from those for all; of two routes that fit the one with more headers wins (Gateway API
v1, `HTTPRouteRule.matches`)."""

PATH = "/v1"
"""Where OpenAI-shaped endpoints begin."""

DIGEST_CHARS = 8
READABLE_CHARS = 44


def name_of(*ids: str) -> str:
    """Return the name of the object that is for these ids: a DNS label, the same each time, another for others."""
    digest = hashlib.sha256("/".join(ids).encode()).hexdigest()[:DIGEST_CHARS]
    readable = "-".join(one for one in ids if one != "*")[:READABLE_CHARS].rstrip("-")
    return f"{MANAGED_BY}-{readable}-{digest}"


def _head(kind: str, name: str, namespace: str, **labels: str) -> Document:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY, **labels}},
    }


def plan_object(plan: EpochPlan, namespace: str) -> Document:
    """Return the mirror of a plan."""
    return {**_head("EdgePlan", CURRENT, namespace), "spec": plan.to_document()}


def table_object(routes: ModelRoutes, namespace: str) -> Document:
    """Return the mirror of one model's rows."""
    head = _head("EdgeRoutingTable", routes.model, namespace, **{MODEL_LABEL: routes.model})
    return {**head, "spec": routes.to_document()}


def service_object(model: str, node: str, port: int, namespace: str) -> Document:
    """Return the service of one pod: what a route can name, without an address of its own (docs/adr/0027)."""
    labels = {MODEL_LABEL: model, NODE_LABEL: node}
    return {
        **_head("Service", name_of(model, node), namespace, **labels),
        "apiVersion": "v1",
        "spec": {
            "clusterIP": "None",
            "selector": labels,
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": port}],
        },
    }


def budget_object(model: str, namespace: str) -> Document:
    """Return the budget that keeps others from evicting the last ready pod of a model.

    Its name ends in a digest, as that of no object of the chart does: a model may be called `control`. What it may not
    have beside is named, so that it is taken off where somebody has put it.
    """
    labels = {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: model}
    return {
        **_head("PodDisruptionBudget", name_of(model), namespace, **{MODEL_LABEL: model}),
        "apiVersion": BUDGETS.version,
        "spec": {
            "minAvailable": 1,  # an integer: a share would need a controller that scales
            "maxUnavailable": None,
            "selector": {"matchLabels": labels},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def needless(budgets: Mapping[str, Document], models: Collection[str], pods: Collection[str]) -> list[Document]:
    """Return the budgets of models that are to go: of none of `models`, once it has no pod; or a second one.

    A second one, as former versions named them, makes Kubernetes refuse every eviction of the pods of both.
    """

    def goes(name: str, model: str) -> bool:
        second = name != name_of(model) and name_of(model) in budgets
        return second or (model not in models and model not in pods)

    return [found for name, found in budgets.items() if goes(name, found["metadata"]["labels"][MODEL_LABEL])]


def route_object(
    model: str, zone: str, weights: Mapping[str, int], generation: int, gateway: tuple[str, str], namespace: str
) -> Document:
    """Return the route of one row on the `Gateway` of (namespace, name): whole for a header, weighed by node."""
    headers = [{"type": "Exact", "name": MODEL_HEADER, "value": model}]
    if zone != "*":
        headers.append({"type": "Exact", "name": SITE_HEADER, "value": zone})
    head = _head("HTTPRoute", name_of(model, zone), namespace, **{MODEL_LABEL: model})
    head["metadata"]["annotations"] = {GENERATION: str(generation), ZONE: zone}
    backends = [
        {"name": name_of(model, node), "port": SERVICE_PORT, "weight": weight} for node, weight in weights.items()
    ]
    return {
        **head,
        "apiVersion": "gateway.networking.k8s.io/v1",
        "spec": {
            "parentRefs": [{"namespace": gateway[0], "name": gateway[1]}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": PATH}, "headers": headers}],
                    "backendRefs": backends,
                }
            ],
        },
    }


def covers(found: Any, wanted: Any) -> bool:
    """Return whether an object has what is wanted of it; fields that others or the server added do not count.

    Lists are compared item by item: an item more or less is a difference. So is a label more in a `selector`, by which
    it would select other pods.
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            found.get(key) == value if key == "selector" else covers(found.get(key), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(covers(a, b) for a, b in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def conditioned(found: Sequence[Document], wanted: Sequence[Document], now: str) -> list[Document]:
    """Return conditions as they are to be written: the instant of each is that of its last change of status."""
    before = {one.get("type"): one for one in found}
    made = []
    for one in wanted:
        old = before.get(one["type"], {})
        since = old.get("lastTransitionTime", now) if old.get("status") == one["status"] else now
        made.append({**one, "lastTransitionTime": since})
    return made


def condition(type_: str, status: bool | None, reason: str, message: str, generation: int) -> Document:
    """Return a condition but for its instant; None of `status` is Unknown."""
    return {
        "type": type_,
        "status": "Unknown" if status is None else str(status),
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }
