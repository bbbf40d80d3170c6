"""JSON Schemas of the replies, generated from the contract types and narrowed to what this question allows.

Only keywords that both OpenAI's strict structured outputs and llama.cpp's grammars know: type, enum, anyOf, $ref,
properties, required, additionalProperties: false, items, minItems, maxItems, maxLength. Keys are sorted, but for those
of `properties`: a model writes them in that order, so the name of a thing comes before what is said of it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from fairlead.contracts.replies import (
    CaseAlias,
    GoalReply,
    ModelAlias,
    NodeAlias,
    PlannerReply,
    RatesAlias,
    SlotReply,
)
from fairlead.policy.aliases import Aliases, Named
from fairlead.policy.slot_tables import STEPS

Schema = dict[str, Any]
Tree = Mapping[str, "Tree | None"]
"""Keys of nested objects; None where a value stands."""

TIMES_MOST = 20
"""So many begins of slots inside an epoch may be named in `warm`: twice the ten of the default epoch."""

CHOICES_MOST = 100
"""An integer with more values than this is not spelled out: only the seconds of `warm` have more."""

TIME, SHARE = "time", "share"


def planner_schema(aliases: Aliases, epoch_slots: int, slot_s: float) -> str:
    """Return the schema of a `PlannerReply` about `aliases`; `warm` may name the begins of the epoch's slots."""
    schema = PlannerReply.model_json_schema()
    names = {
        _pattern(NodeAlias): "node",
        _pattern(ModelAlias): "model",
        _pattern(CaseAlias): "case",
        _pattern(RatesAlias): "rates",
    }
    made = _narrowed(schema, names)
    properties = made["properties"]
    properties["nodes"] |= {"minItems": len(aliases.nodes), "maxItems": len(aliases.nodes)}
    properties["models"] |= {"maxItems": len(aliases.models)}
    made["$defs"] = {name: _narrowed(one, names) for name, one in schema["$defs"].items()} | {
        "node": _words(aliases.nodes),
        "model": _words(aliases.models),
        TIME: {"type": "integer", "enum": sorted({int(k * slot_s) for k in range(min(epoch_slots, TIMES_MOST))})},
    }
    if rates := (*aliases.cases, *aliases.notes, *aliases.regimes):
        made["$defs"]["rates"] = _words(rates)
    else:
        properties["rates_of"] = {"type": "null"}
    if aliases.cases:
        made["$defs"]["case"] = _words(aliases.cases)
    else:
        properties["cases_cited"] = {"type": "array", "items": {"type": "string"}, "maxItems": 0}
    return _canonical(made)


def slot_schema(rows: Mapping[str, Sequence[str]], held: Sequence[str]) -> str:
    """Return the schema of a `SlotReply` with `rows` (model → nodes) , and `held` models; all in aliases."""
    schema = SlotReply.model_json_schema()
    made = _narrowed(schema, {})
    properties, contract = made["properties"], schema["properties"]
    zone: Tree = {"*": {model: dict.fromkeys(nodes) for model, nodes in rows.items()}}
    properties["routes"] = _spelled(contract["routes"], zone)
    properties["hold"] = _spelled(contract["hold"], dict.fromkeys(held))
    made["$defs"] = {SHARE: {"type": "number", "enum": [k / STEPS for k in range(1, STEPS)]}}
    made["$defs"][SHARE]["enum"] = [0, *made["$defs"][SHARE]["enum"], 1]
    return _canonical(made)


def goal_schema(models: Named) -> str:
    """Return the schema of a `GoalReply` about these aliases of models."""
    schema = GoalReply.model_json_schema()
    names = {_pattern(ModelAlias): "model"}
    made = _narrowed(schema, names)
    made["properties"]["models"] |= {"maxItems": len(models)}
    made["$defs"] = {name: _narrowed(one, names) for name, one in schema["$defs"].items()} | {"model": _words(models)}
    return _canonical(made)


def _narrowed(schema: Schema, names: Mapping[str, str]) -> Schema:
    """Return `schema` in the common subset; a string with a pattern becomes the definition that `names` gives it."""
    match schema:
        case {"$ref": where}:
            return {"$ref": where}
        case {"anyOf": options}:
            return {"anyOf": [_narrowed(one, names) for one in options]}
        case {"pattern": pattern}:
            return {"$ref": f"#/$defs/{names[pattern]}"}
        case {"const": value, "type": kind}:
            return {"type": kind, "enum": [value]}
        case {"type": "integer", "minimum": low, "maximum": high}:
            if high - low > CHOICES_MOST:
                return {"$ref": f"#/$defs/{TIME}"}
            return {"type": "integer", "enum": list(range(low, high + 1))}
        case {"type": "array", "items": items}:
            bounds = {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
            return {"type": "array", "items": _narrowed(items, names)} | bounds
        case {"type": "object", "properties": properties}:
            return _object({key: _narrowed(one, names) for key, one in properties.items()})
        case _:
            return {key: schema[key] for key in ("type", "enum", "maxLength") if key in schema}


def _spelled(schema: Schema, keys: Tree | None) -> Schema:
    """Return `schema`, an object of any keys of one pattern, with just `keys`; its numbers become shares."""
    if keys is None:
        return {"$ref": f"#/$defs/{SHARE}"}
    (inner,) = schema["patternProperties"].values()
    return _object({key: _spelled(inner, below) for key, below in keys.items()})


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _words(pairs: Named) -> Schema:
    return {"type": "string", "enum": [alias for alias, _ in pairs]}


def _pattern(alias: Any) -> str:
    return str(TypeAdapter(alias).json_schema()["pattern"])


def _canonical(schema: Schema) -> str:
    return json.dumps(_ordered(schema), separators=(",", ":"))


def _ordered(value: Any, *, properties: bool = False) -> Any:
    match value:
        case dict():
            keys = list(value) if properties else sorted(value)
            return {key: _ordered(value[key], properties=key == "properties" and not properties) for key in keys}
        case list():
            return [_ordered(one) for one in value]
        case _:
            return value
