"""Models that are declared as `EdgeModel` objects: read, judged, and what is told about them."""

import json
from collections.abc import Collection
from dataclasses import dataclass

import pydantic

from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.containers import API_GROUP, MODEL_LABEL, NODE_LABEL
from fairlead.contracts.errors import foreign
from kube_sync.objects import Document, condition

FINALIZER = f"{API_GROUP}/model"
"""Keeps a deleted declaration until the model has been taken out of the store, so that none is forgotten there."""

NO_LAUNCH = (
    "a declared model runs as a container, and has no launch: that is a command which a node agent would run on the "
    "machine; models with one are made by the control API"
)


@dataclass(frozen=True, slots=True)
class Declared:
    """One declaration."""

    name: str
    generation: int
    """Of the object; its status says which one it speaks of."""
    spec: ModelSpec | None
    """None where it is no model."""
    refusal: str
    """Why not; else empty."""
    leaving: bool
    """It has been deleted and waits for its finalizers."""
    finalizers: tuple[str, ...]


def declared(found: Document) -> Declared:
    """Return what an `EdgeModel` declares: never a command of the machine itself, whoever may write such objects."""
    meta = found["metadata"]
    spec, refusal = None, ""
    try:
        made = ModelSpec.from_json(json.dumps({**found.get("spec", {}), "id": meta["name"]}))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        refusal = foreign(f"{where}: {first['msg']}" if where else first["msg"])
    else:
        if made.container is None or made.launch is not None:
            refusal = NO_LAUNCH
        else:
            spec = made
    return Declared(
        name=meta["name"],
        generation=meta.get("generation", 0),
        spec=spec,
        refusal=refusal,
        leaving="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers", ())),
    )


@dataclass(frozen=True, slots=True)
class Pods:
    """On how many nodes a model has pods."""

    ready: frozenset[str]
    """Nodes where one is ready and is not being deleted."""
    there: frozenset[str]


NO_PODS = Pods(frozenset(), frozenset())


def pods_by_model(pods: Collection[Document]) -> dict[str, Pods]:
    """Return on which nodes each model has pods of ours."""
    ready: dict[str, set[str]] = {}
    there: dict[str, set[str]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        model, node = labels.get(MODEL_LABEL), labels.get(NODE_LABEL)
        if model and node:
            there.setdefault(model, set()).add(node)
            if _serves(pod):
                ready.setdefault(model, set()).add(node)
    return {model: Pods(frozenset(ready.get(model, ())), frozenset(nodes)) for model, nodes in there.items()}


def _serves(pod: Document) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def told(one: Declared, taken: ModelSpec | None, refusal: str, pods: Pods) -> Document:
    """Return the status of a declaration, but for the instants of its conditions.

    `taken` is the model as the store has it now; None where it has none.
    """
    status: Document = {"observedGeneration": one.generation, "ready": len(pods.ready), "pods": len(pods.there)}
    if refusal:
        accepted = condition("Accepted", False, "Refused", refusal, one.generation)
    else:
        accepted = condition("Accepted", True, "Declared", "the store has the model as it is declared", one.generation)
    if taken is not None:
        status["revision"] = taken.revision
    return {**status, "conditions": [accepted]}
