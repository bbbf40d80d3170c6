"""The definitions of the custom resources, read off the messages that are their specs.

A schema of Kubernetes is a *structural* one: references are written out, `null` is a flag, and an object is closed
by pruning, not by a keyword (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources, 1.36).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from fairlead.contracts.base import Message
from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.containers import API_GROUP, API_VERSION
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.resources import ModelRoutes

NOTE = "# Written by `make docs` from the code; edit it there.\n"

LEFT_OUT = frozenset(("$defs", "title", "additionalProperties", "default", "discriminator"))
"""Keywords that a structural schema has no use for. Defaults stay in the code, so that an object does not pin them."""

AS_THEY_ARE = frozenset(
    (
        *("type", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
        *("enum", "format", "nullable", "required"),
    )
)

OBSERVED = {"type": "integer", "format": "int64", "description": "metadata.generation that this status speaks of."}

CONDITIONS: dict[str, Any] = {
    "type": "array",
    "description": "In the shape of metav1.Condition, so that `kubectl wait --for=condition=…` works.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    type: str
    path: str
    wide: bool = False
    """Shown with `-o wide` alone."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One custom resource."""

    kind: str
    plural: str
    short: str
    spec: type[Message]
    text: str
    left_out: tuple[str, ...]
    """Fields of the message that an object has no use for, or may not have."""
    status: Mapping[str, Any]
    columns: tuple[Column, ...]
    required: tuple[str, ...] = ()
    """Fields that the message can do without and an object cannot."""
    rules: tuple[tuple[str, str], ...] = ()
    """What must hold of the object, in CEL, and what is said where it does not."""


def _counted(text: str) -> dict[str, Any]:
    return {"type": "integer", "format": "int64", "minimum": 0, "description": text}


AGE = Column("Age", "date", ".metadata.creationTimestamp")

MODEL = Definition(
    kind="EdgeModel",
    plural="edgemodels",
    short="em",
    spec=ModelSpec,
    text="A model that Fairlead may run as a container, declared with kubectl or GitOps. The object's name is its id.",
    left_out=("id", "revision", "launch"),
    required=("container",),
    status={
        "observedGeneration": OBSERVED,
        "revision": _counted("Of the model in Fairlead's store once this declaration was taken."),
        "ready": _counted("Nodes where a pod of it is ready."),
        "pods": _counted("Nodes where a pod of it is there at all."),
        "conditions": CONDITIONS,
    },
    columns=(
        Column("Kind", "string", ".spec.kind"),
        Column("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status'),
        Column("Reason", "string", '.status.conditions[?(@.type=="Accepted")].reason'),
        Column("Ready", "integer", ".status.ready"),
        Column("Pods", "integer", ".status.pods"),
        Column("Memory", "integer", ".spec.memory_bytes", wide=True),
        AGE,
    ),
    rules=(
        (
            "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
            "the name is a model's id: a DNS label",
        ),
    ),
)

PLAN = Definition(
    kind="EdgePlan",
    plural="edgeplans",
    short="ep",
    spec=EpochPlan,
    text="The plan in force, as Fairlead has decided. A mirror: what is changed here is put right again.",
    left_out=(),
    status={
        "observedGeneration": OBSERVED,
        "placement_generation": _counted("Of the placement in force."),
        "table_generation": _counted("Of the routing table in force."),
    },
    columns=(
        Column("Generation", "integer", ".spec.generation"),
        Column("Source", "string", ".spec.source"),
        Column("Epoch", "integer", ".spec.epoch"),
        Column("Placement", "integer", ".status.placement_generation"),
        Column("Table", "integer", ".status.table_generation"),
        Column("Why", "string", ".spec.why", wide=True),
        AGE,
    ),
)

TABLE = Definition(
    kind="EdgeRoutingTable",
    plural="edgeroutingtables",
    short="ert",
    spec=ModelRoutes,
    text="Where requests of one model go, as Fairlead has decided. A mirror: what is changed here is put right again.",
    left_out=(),
    status={"observedGeneration": OBSERVED, "conditions": CONDITIONS},
    columns=(
        Column("Table", "integer", ".spec.table_generation"),
        Column("Source", "string", ".spec.source"),
        Column("Nodes", "string", ".spec.rows[0].shares[*].node"),
        Column("Routes", "string", '.status.conditions[?(@.type=="RoutesAccepted")].status'),
        Column("Reason", "string", '.status.conditions[?(@.type=="RoutesAccepted")].reason', wide=True),
        AGE,
    ),
)

DEFINITIONS = (MODEL, PLAN, TABLE)


def document(definition: Definition) -> dict[str, Any]:
    """Return the `CustomResourceDefinition`."""
    columns = [
        {"name": c.name, "type": c.type, "jsonPath": c.path, **({"priority": 1} if c.wide else {})}
        for c in definition.columns
    ]
    schema: dict[str, Any] = {
        "type": "object",
        "description": definition.text,
        "required": ["spec"],
        "properties": {
            "spec": spec(definition),
            "status": {"type": "object", "properties": dict(definition.status)},
        },
    }
    if definition.rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": text} for rule, text in definition.rules]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{definition.plural}.{API_GROUP}",
            "labels": {"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/part-of": "fairlead"},
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": [definition.short],
                "categories": ["fairlead"],
            },
            "versions": [
                {
                    "name": API_VERSION.rsplit("/", 1)[1],
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def spec(definition: Definition) -> dict[str, Any]:
    """Return the structural schema of a resource's spec."""
    full = definition.spec.model_json_schema(mode="validation")
    made = structural(full, full.get("$defs", {}))
    for name in definition.left_out:
        del made["properties"][name]
    made["required"] = [name for name in made["required"] if name not in definition.left_out]
    for name in definition.required:
        made["required"].append(name)
        made["properties"][name].pop("nullable", None)
    return made


def structural(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema of ours as a structural one; raises `ValueError` for a keyword that has no counterpart."""
    if "$ref" in schema:
        found = structural(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
        return {**found, **structural({k: v for k, v in schema.items() if k == "description"}, defs)}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "properties":
                made[key] = {name: structural(one, defs) for name, one in value.items()}
            case "items":
                made[key] = structural(value, defs)
            case "anyOf":
                made = {**_nullable(value, defs), **made}
            case "exclusiveMinimum" | "exclusiveMaximum":
                made[key] = True
                made["minimum" if key == "exclusiveMinimum" else "maximum"] = value
            case "description":
                made[key] = " ".join(value.split())
            case "const":
                made["enum"] = [value]
            case "additionalProperties" if isinstance(value, dict):
                made[key] = structural(value, defs)
            case _ if key in AS_THEY_ARE:
                made[key] = value
            case _ if key not in LEFT_OUT:
                raise ValueError(f"a structural schema has no {key!r}: say how {value!r} is to be written")
    return made


def _nullable(choices: list[Mapping[str, Any]], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one schema beside `null`; a type that may be two things has no structural schema."""
    others = [one for one in choices if one != {"type": "null"}]
    if len(others) != 1 or len(others) == len(choices):
        raise ValueError(f"a structural schema has one type, not one of {choices}")
    return {**structural(others[0], defs), "nullable": True}


def definition_files() -> Iterator[tuple[str, str]]:
    """Yield the name of each file of definitions and what it should hold, and the list of them for kustomize."""
    names = [f"{definition.plural}.yaml" for definition in DEFINITIONS]
    for name, definition in zip(names, DEFINITIONS, strict=True):
        yield name, NOTE + yaml.safe_dump(document(definition), sort_keys=False, allow_unicode=True, width=120)
    listed: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    listed["resources"] = names
    yield "kustomization.yaml", NOTE + yaml.safe_dump(listed, sort_keys=False)
