"""Which routes and services a routing table asks for, and what a gateway has said of those that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.containers import MODEL_LABEL, NODE_LABEL
from fairlead.contracts.errors import foreign
from fairlead.contracts.plans import RoutingTable, Row
from fairlead.contracts.resources import ModelRoutes, RouteBackend, RouteStage, RouteState
from fairlead.policy.route_weights import alike, weigh
from kube_sync.declared import NO_PODS, Pods
from kube_sync.objects import GENERATION, ZONE, Document, name_of, route_object

Gateway = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route as it is to be."""

    row: Row
    weights: Mapping[str, int]
    left_out: float
    generation: int
    document: Document


def routes_of(
    table: RoutingTable, pods: Mapping[str, Pods], found: Mapping[str, Document], gateway: Gateway, namespace: str
) -> tuple[Route, ...]:
    """Return the route of each row; where what is `found` (by name) is near enough, its weights and generation stay."""
    routes = []
    for row in table.rows:
        weighed = weigh(row.shares, pods.get(row.model, NO_PODS).ready)
        weights, generation = weighed.weights, table.generation
        old = found.get(name_of(row.model, row.zone))
        if old is not None:
            had = weights_in(old, row.model, weights)
            if had is not None and alike(had, weights):
                weights, generation = had, generation_in(old)
        document = route_object(row.model, row.zone, weights, generation, gateway, namespace)
        routes.append(Route(row, weights, weighed.left_out, generation, document))
    return tuple(routes)


def weights_in(route: Document, model: str, nodes: Mapping[str, int]) -> dict[str, int] | None:
    """Return the weights by node that a route has; None where a backend is none of these nodes."""
    by_name = {name_of(model, node): node for node in nodes}
    rules: Sequence[Document] = route["spec"].get("rules") or ({},)
    found: dict[str, int] = {}
    for backend in rules[0].get("backendRefs") or ():
        node = by_name.get(backend["name"])
        if node is None:
            return None
        found[node] = backend.get("weight", 1)
    return dict(sorted(found.items()))


def generation_in(route: Document) -> int:
    """Return the table whose weights a route says that it carries; 0 where it does not say."""
    said = (route["metadata"].get("annotations") or {}).get(GENERATION, "")
    return int(said) if said.isdecimal() else 0


def services_in(route: Document) -> frozenset[str]:
    """Return the names of the services that a route sends to."""
    rules = route["spec"].get("rules") or ()
    return frozenset(backend["name"] for rule in rules for backend in rule.get("backendRefs") or ())


def is_ours(service: Document) -> bool:
    """Return whether a service is one that we made for a pod."""
    labels = service["metadata"].get("labels") or {}
    return (
        MODEL_LABEL in labels
        and NODE_LABEL in labels
        and service["metadata"]["name"] == name_of(labels[MODEL_LABEL], labels[NODE_LABEL])
    )


def has_address(service: Document) -> bool:
    """Return whether the cluster has given a service an address of its own."""
    return bool(service["spec"].get("clusterIP", "None") != "None")


def said_of(route: Document, gateway: Gateway, *, answered_in_time: bool) -> tuple[RouteStage, str]:
    """Return what a gateway says of a route, and why if it does not take it.

    `answered_in_time`: it still has time to say something of what is written now.
    """
    parents = (route.get("status") or {}).get("parents") or ()
    ours = [one for one in parents if _is(one.get("parentRef") or {}, gateway, route["metadata"]["namespace"])]
    conditions = [one for parent in ours for one in parent.get("conditions") or ()]
    told = [one for one in conditions if one.get("type") in ("Accepted", "ResolvedRefs")]
    now = route["metadata"].get("generation", 0)
    if not any(one["type"] == "Accepted" for one in told):
        return "waiting", "" if answered_in_time else "no gateway has said anything: is its controller running?"
    old = [one for one in told if one.get("observedGeneration", 0) < now]
    if old:
        seen = min(one.get("observedGeneration", 0) for one in old)
        return ("waiting", "") if answered_in_time else ("stale", f"the gateway speaks of generation {seen}, not {now}")
    for one in told:
        if one.get("status") != "True":
            return "rejected", foreign(f"{one.get('reason', one['type'])}: {one.get('message', '')}")
    return "accepted", ""


def _is(parent: Document, gateway: Gateway, namespace: str) -> bool:
    return (parent.get("namespace", namespace), parent.get("name")) == gateway


def state_of(route: Route, stage: RouteStage, reason: str, since_at_s: float) -> RouteState:
    """Return a route as the API tells it."""
    return RouteState(
        route=route.document["metadata"]["name"],
        model=route.row.model,
        zone=route.document["metadata"]["annotations"][ZONE],
        table_generation=route.generation,
        backends=tuple(RouteBackend(node=node, weight=weight) for node, weight in route.weights.items()),
        left_out=min(1.0, route.left_out),
        stage=stage,
        reason=reason,
        since_at_s=since_at_s,
    )


def mirrored(table: RoutingTable, before: Mapping[str, ModelRoutes]) -> dict[str, ModelRoutes]:
    """Return the rows of each model; what was written `before` stays where a gateway could not tell the difference."""
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        rows.setdefault(row.model, []).append(row)
    made = {}
    for model, some in sorted(rows.items()):
        new = ModelRoutes(
            model=model,
            table_generation=table.generation,
            decision=table.decision,
            source=table.source,
            rows=tuple(sorted(some, key=lambda row: row.zone)),
        )
        old = before.get(model)
        made[model] = old if old is not None and _same(old, new) else new
    return made


def _same(old: ModelRoutes, new: ModelRoutes) -> bool:
    return (
        old.source == new.source
        and len(old.rows) == len(new.rows)
        and all(_same_row(a, b) for a, b in zip(old.rows, new.rows, strict=True))
    )


def _same_row(old: Row, new: Row) -> bool:
    """Return whether two rows differ in no more than their probabilities, and in those by little."""
    return old.model_copy(update={"shares": new.shares}) == new and alike(
        {s.node: s.probability for s in old.shares}, {s.node: s.probability for s in new.shares}
    )
