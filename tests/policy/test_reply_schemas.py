"""JSON Schemas of replies: the common subset, the aliases of the question, nothing else passes."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.base import Message
from fairlead.contracts.replies import PlannerReply, SlotReply
from fairlead.policy.aliases import Aliases, case_aliases, named
from fairlead.policy.reply_schemas import planner_schema, slot_schema
from tests.policy.prompt_scenes import SIZES, questions, texts

COMMON = {"type", "enum", "anyOf", "$ref", "properties", "required", "additionalProperties", "items"}
BOUNDS = {"minItems", "maxItems", "maxLength"}
"""Keywords that OpenAI's strict structured outputs (since 2025-05) and llama.cpp's grammars both know."""

ALIASES = Aliases(nodes=named("n", [["a"], ["b"]]), models=named("m", [["x"], ["y"]]), cases=case_aliases(["k", "l"]))

PLAN: dict[str, Any] = {
    "nodes": [
        {"node": "n01", "role": "specialist", "prefer": ["m02"], "avoid": [], "bias": 2},
        {"node": "n02", "role": "generalist", "prefer": ["m01"], "avoid": ["m02"], "bias": 1},
    ],
    "models": [{"model": "m02", "priority": 3, "expected": "rising"}],
    "warm": [{"model": "m02", "node": "n01", "at": "now"}, {"model": "m01", "node": "n02", "at": 90}],
    "rates_of": "c1",
    "rates_at": "now",
    "confidence": 3,
    "cases_cited": ["c1"],
    "why": "as in c1 demand for m02 rises",
}
ROUTES: dict[str, Any] = {
    "routes": {"*": {"m01": {"n01": 0.7, "n02": 0.3}, "m02": {"n01": 0, "n02": 1}}},
    "hold": {"m02": 0.5},
    "why": "n02 has more work waiting",
}


def changed(reply: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return a copy of a reply in which the value at `path` is another one."""
    copy: dict[str, Any] = json.loads(json.dumps(reply))
    inner: Any = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def is_valid(schema: str, reply: object) -> bool:
    """Tell whether a reply is valid by a schema, as an independent validator says."""
    return bool(jsonschema_rs.validator_for(json.loads(schema)).is_valid(reply))


def check_subset(schema: dict[str, Any], definitions: set[str]) -> None:
    """Raise `AssertionError` where `schema` leaves the subset, or an object is open or has an optional property."""
    assert set(schema) <= COMMON | BOUNDS, sorted(schema)
    if "$ref" in schema:
        assert schema["$ref"].removeprefix("#/$defs/") in definitions
    if "enum" in schema:
        assert schema["enum"]
    if schema.get("type") == "object":
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if inner is not None:
            check_subset(inner, definitions)


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_schemas_stay_in_the_common_subset(nodes: int, models: int) -> None:
    """Closed objects, nothing optional, no keyword that a server does not know; canonical bytes."""
    for question in questions(nodes, models):
        schema = json.loads(question.ask.reply_schema)
        definitions = schema.pop("$defs")
        for one in (schema, *definitions.values()):
            check_subset(one, set(definitions))
        assert schema["type"] == "object"
        assert "\n" not in question.ask.reply_schema
        assert question.ask.reply_schema.isascii()


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_schemas_name_all_aliases_of_the_question_and_no_others(nodes: int, models: int) -> None:
    """Of the planner all nodes, models and cases; of the slot agent the rows that are asked for."""
    planner, slot = questions(nodes, models)
    schema = json.loads(planner.ask.reply_schema)
    for name, pairs in (("node", planner.aliases.nodes), ("model", planner.aliases.models)):
        assert schema["$defs"][name]["enum"] == [alias for alias, _ in pairs]
    assert schema["$defs"]["case"]["enum"] == [s.alias for s in planner.shown]
    count = len(planner.aliases.nodes)
    assert (schema["properties"]["nodes"]["minItems"], schema["properties"]["nodes"]["maxItems"]) == (count, count)
    rows = json.loads(slot.ask.reply_schema)["properties"]["routes"]["properties"]["*"]["properties"]
    assert f"\nAnswer: {' '.join(rows)}\n" in slot.ask.user


def test_the_examples_of_the_prompts_are_valid_replies() -> None:
    """They show what is asked for; a model that copies them is at least understood."""
    planner, slot = (next(x for x in prompt.system.splitlines() if x.startswith("{")) for prompt in texts())
    assert PlannerReply.from_json(planner).to_document() == json.loads(planner)
    assert SlotReply.from_json(slot).to_document() == json.loads(slot)
    assert is_valid(planner_schema(ALIASES, 10, 30.0), json.loads(planner))
    assert is_valid(slot_schema({"m01": ("n01", "n02"), "m02": ("n01", "n02")}, ()), json.loads(slot))


def test_a_planner_schema_lets_through_what_is_asked_for_and_nothing_else() -> None:
    """Each wrong value is refused by an independent validator."""
    schema = planner_schema(ALIASES, 10, 30.0)
    assert is_valid(schema, PLAN)
    assert PlannerReply.model_validate(PLAN)
    wrong: tuple[tuple[tuple[str | int, ...], object], ...] = (
        (("nodes", 0, "node"), "n03"),
        (("nodes", 0, "role"), "boss"),
        (("nodes", 0, "bias"), 5),
        (("nodes", 0, "bias"), 1.5),
        (("nodes", 0, "prefer"), ["m01", "m01", "m01", "m01"]),
        (("nodes", 0, "avoid"), ["x"]),
        (("nodes", 0, "more"), 1),
        (("nodes",), PLAN["nodes"][:1]),
        (("models", 0, "model"), "m03"),
        (("models",), PLAN["models"] * 3),
        (("models", 0, "expected"), "huge"),
        (("warm", 0, "at"), "later"),
        (("warm", 0, "at"), 91),
        (("warm", 0, "at"), 300),
        (("rates_of",), "c3"),
        (("cases_cited",), ["c9"]),
        (("confidence",), True),
        (("why",), "x" * 281),
        (("why",), None),
    )
    for path, value in wrong:
        assert not is_valid(schema, changed(PLAN, path, value)), (path, value)
    assert is_valid(schema, changed(PLAN, ("rates_of",), None))


def test_without_cases_none_can_be_cited() -> None:
    """The fields stay, because the contract has them; `warm` in an epoch of one slot knows its begin only."""
    schema = planner_schema(Aliases(nodes=ALIASES.nodes, models=ALIASES.models), 1, 30.0)
    bare = changed(changed(PLAN, ("rates_of",), None), ("cases_cited",), [])
    assert not is_valid(schema, PLAN)
    assert not is_valid(schema, bare)
    bare = changed(bare, ("warm", 1, "at"), 0)
    assert is_valid(schema, bare)
    assert not is_valid(schema, changed(bare, ("cases_cited",), ["c1"]))
    assert PlannerReply.model_validate(bare)


def test_a_slot_schema_lets_through_what_is_asked_for_and_nothing_else() -> None:
    """Each row in full, in steps of 0.05; `hold` of held models."""
    schema = slot_schema({"m01": ("n01", "n02"), "m02": ("n01", "n02")}, ("m02",))
    assert is_valid(schema, ROUTES)
    wrong: tuple[tuple[tuple[str | int, ...], object], ...] = (
        (("routes", "*", "m03"), {"n01": 1}),
        (("routes", "*", "m01"), {"n01": 1}),
        (("routes", "*", "m01", "n03"), 0),
        (("routes", "*", "m01", "n01"), 0.33),
        (("routes", "*", "m01", "n01"), -0.05),
        (("routes", "*", "m01", "n01"), 1.05),
        (("routes", "z01"), {}),
        (("routes",), {}),
        (("hold",), {}),
        (("hold", "m01"), 0),
        (("why",), "x" * 141),
        (("more",), 1),
    )
    for path, value in wrong:
        assert not is_valid(schema, changed(ROUTES, path, value)), (path, value)
    assert is_valid(slot_schema({"m01": ("n01",)}, ()), {"routes": {"*": {"m01": {"n01": 1}}}, "hold": {}, "why": ""})


@given(st.sampled_from([s for s in SIZES if s[0] < 100]), st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_is_valid_by_the_schema_is_valid_by_the_contract(size: tuple[int, int], data: st.DataObject) -> None:
    """Drawn from the narrowed schema itself: every such reply reads back, but for what no schema can say."""
    contracts: tuple[type[Message], ...] = (PlannerReply, SlotReply)
    for question, contract in zip(questions(*size), contracts, strict=True):
        schema = json.loads(question.ask.reply_schema)
        reply = data.draw(instances(schema, schema["$defs"]))
        assert is_valid(question.ask.reply_schema, reply)
        for node in reply.get("nodes", ()):
            node["avoid"] = [m for m in node["avoid"] if m not in node["prefer"]]
        assert contract.model_validate(reply).to_document()


def instances(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for values that are valid by `schema`."""
    match schema:
        case {"$ref": where}:
            return instances(definitions[where.removeprefix("#/$defs/")], definitions)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"anyOf": options}:
            return st.one_of([instances(o, definitions) for o in options])
        case {"type": "null"}:
            return st.none()
        case {"type": "string"}:
            return st.text(st.characters(codec="utf-8"), max_size=schema.get("maxLength"))
        case {"type": "array", "items": items}:
            return st.lists(
                instances(items, definitions), min_size=schema.get("minItems", 0), max_size=schema["maxItems"]
            )
        case _:
            return st.fixed_dictionaries({k: instances(v, definitions) for k, v in schema["properties"].items()})
