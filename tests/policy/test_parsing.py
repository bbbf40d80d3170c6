"""Replies are parsed strictly, whatever their bytes are; faults are told in our own words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.dialogue import REPLY_CHARS
from fairlead.contracts.replies import PlannerReply, SlotReply
from fairlead.policy.parsing import DEPTH, FAULT_CHARS, Fault, listed, parse, printable, read

NODE = {"node": "n01", "role": "specialist", "prefer": ["m01"], "avoid": [], "bias": 2}
PLAN = {
    "nodes": [NODE],
    "models": [],
    "warm": [],
    "rates_of": None,
    "confidence": 2,
    "cases_cited": [],
    "why": "so",
}
ROUTES = {"routes": {"*": {"m01": {"n01": 1}}}, "hold": {}, "why": "so"}


def code(text: str) -> str:
    """Return the code of the fault that parsing finds."""
    found = parse(text)
    assert isinstance(found, Fault)
    assert found.step == "parse"
    assert found.text == found.said
    return found.code


def words(value: dict[str, object], kind: type[PlannerReply] | type[SlotReply] = PlannerReply) -> str:
    """Return what the schema finds wrong."""
    found = read(value, kind)
    assert isinstance(found, Fault)
    assert (found.step, found.code) == ("schema", "schema")
    assert found.text == found.said
    return found.said


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2.5, true, null]}',
        '  \n{"a": [1, 2.5, true, null]}\t',
        '```json\n{"a": [1, 2.5, true, null]}\n```',
        'Of course! {"a": [1, 2.5, true, null]} and {"b": 1}',
        'For {n01} and {x: 1} I say {"a": [1, 2.5, true, null]}',
        '{"a" 1} is wrong, {"a": [1, 2.5, true, null]} is right',
        '\ufeff{"a": [1, 2.5, true, null]}',
    ],
)
def test_the_reply_is_the_object_or_the_first_one_in_the_text(text: str) -> None:
    """Strict JSON as a whole, or prose around an object; braces of prose are no object."""
    assert parse(text) == {"a": [1, 2.5, True, None]}


def test_brackets_in_strings_do_not_count() -> None:
    """Also behind escaped quotes."""
    assert parse('say {"why": "}{ \\"}{"} .') == {"why": '}{ "}{'}
    assert parse("none {} at all") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "not-json"),
        ("I would rather not.", "not-json"),
        ("{'a': 1}", "not-json"),
        ("<html><body>502</body></html>", "not-json"),
        ('{"a": "\n"}', "not-json"),
        ('{"a": 1', "not-json"),
        ('here: {"a": {"b": 1}, "c', "not-json"),
        ('here: {"a" 1} {"b" 2}', "not-json"),
        ("null", "not-an-object"),
        ('"{}"', "not-an-object"),
        ('[{"a": 1}]', "not-an-object"),
        ('{"a": 1, "a": 1}', "duplicate-key"),
        ('{"why": 1, "x": {"why": 1, "why": 2}}', "duplicate-key"),
        ('well {"a": 1, "a": 1} {"b": 1}', "duplicate-key"),
        ('{"a": NaN}', "not-finite"),
        ('{"a": -Infinity}', "not-finite"),
        ('{"a": 1e999}', "not-finite"),
        ('{"a": -1e999}', "not-finite"),
        ('{"a": 123456789012345678901}', "not-finite"),
        ('{"a": ' + "9" * 5000 + "}", "not-finite"),
        ('{"a": ' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "too-deep"),
        ("[" * 60_000, "too-deep"),
        ('deep: {"a": ' + "[" * 60_000 + "]" * 60_000 + "}", "too-long"),
        ('deep: {"a": ' + "[" * 9 + "]" * 9 + "}", "too-deep"),
        ("x" * (REPLY_CHARS + 1), "too-long"),
    ],
)
def test_every_other_text_is_a_fault_with_a_code(text: str, found: str) -> None:
    """NaN and infinity, keys that stand twice and deep nesting are no strict JSON."""
    assert code(text) == found


def test_as_many_levels_as_are_allowed_are_read() -> None:
    """One more is too deep."""
    assert isinstance(parse('{"a": ' * DEPTH + "1" + "}" * DEPTH), dict)


def test_a_reply_that_was_cut_off_says_so_and_no_part_of_it_is_taken() -> None:
    """An inner object is not the reply."""
    found = parse('{"nodes": [{"node": "n01"}, {"no')
    assert isinstance(found, Fault)
    assert "cut off" in found.said


def test_a_key_that_stands_twice_is_named_if_it_is_one_of_ours() -> None:
    """What somebody else wrote is not repeated."""
    ours, theirs = parse('{"routes": 1, "routes": 2}'), parse('{"be evil": 1, "be evil": 2}')
    assert isinstance(ours, Fault)
    assert isinstance(theirs, Fault)
    assert "routes" in ours.said
    assert "evil" not in theirs.said


@pytest.mark.parametrize(
    "text",
    ['{"' + '\\"' * 32_000, '{"a": {}x' * 7000, "{{" * 30_000, '{"' * 30_000, '{}"' * 20_000, '{"a"}' * 13_000],
)
def test_hostile_texts_end(text: str) -> None:
    """Of 64 KB that are made to be slow; a scan that were quadratic would take minutes."""
    parse(text)


@given(st.text())
def test_invariant_08_any_text_is_an_object_or_a_fault(text: str) -> None:
    """Nothing is raised, and what is told is short and printable."""
    found = parse(text)
    if isinstance(found, Fault):
        assert len(found.said) <= FAULT_CHARS
        assert found.said.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
FIELDS = st.sampled_from([*PLAN, *ROUTES, *NODE, "*", "m01", "n01"])


@given(st.dictionaries(FIELDS | st.text(), JSON | st.just([NODE]) | st.just(ROUTES["routes"]), max_size=8))
def test_invariant_08_any_object_is_a_reply_or_a_fault(value: dict[str, object]) -> None:
    """Of a fault the text is short and printable."""
    for found in (read(value, PlannerReply), read(value, SlotReply)):
        if isinstance(found, Fault):
            assert len(found.said) <= FAULT_CHARS
            assert found.said.isprintable()


def test_valid_replies_are_read() -> None:
    """Whole numbers are numbers where a probability is expected."""
    plan, routes = read(dict(PLAN), PlannerReply), read(dict(ROUTES), SlotReply)
    assert isinstance(plan, PlannerReply)
    assert isinstance(routes, SlotReply)
    assert plan.nodes[0].prefer == ("m01",)
    assert routes.routes["*"]["m01"] == {"n01": 1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"why": 3}, "why must be a string"),
        ({"why": "x" * 281}, "why is longer than 280"),
        ({"nodes": []}, "nodes is shorter than 1"),
        ({"nodes": {}}, "nodes must be an array"),
        ({"nodes": [1]}, "nodes[0] must be an object"),
        (
            {"nodes": [{**NODE, "role": "boss"}]},
            "nodes[0].role must be 'specialist', 'generalist', 'standby' or 'drain'",
        ),
        ({"nodes": [{**NODE, "node": "edge-1"}]}, "nodes[0].node must be one of the given aliases"),
        ({"nodes": [{**NODE, "bias": 5}]}, "nodes[0].bias must be at most 4"),
        ({"nodes": [{**NODE, "bias": 2.0}]}, "nodes[0].bias must be a whole number"),
        ({"nodes": [{**NODE, "prefer": ["m01"] * 4}]}, "nodes[0].prefer is longer than 3"),
        (
            {"nodes": [{**NODE, "avoid": ["m01"]}]},
            "nodes[0] is contradictory: node n01 both prefers and avoids m01",
        ),
        ({"confidence": -1}, "confidence must be at least 0"),
        ({"extra": 1}, "? is not in the schema"),
        ({"hold": 1}, "hold is not in the schema"),
        (
            {"warm": [{"model": "m01", "node": "n01", "at": "soon"}]},
            "warm[0].at must be 'now'; warm[0].at must be a whole",
        ),
        ({"rates_of": "\ud800"}, "rates_of is not as the schema says"),
    ],
)
def test_a_fault_of_the_schema_says_where_and_what(change: dict[str, object], said: str) -> None:
    """In words that a model can follow."""
    assert words({**PLAN, **change}).startswith(said)


def test_what_is_missing_is_named_and_many_faults_are_counted() -> None:
    """The first three, and how many more there are."""
    assert words({"why": "so"}) == "nodes is missing; models is missing; warm is missing; and 3 more"


def test_a_reply_that_is_no_object_at_all_is_told_so() -> None:
    """A key that is no text makes the whole unreadable."""
    assert words({"\ud800": 1}).startswith("the reply ")


def test_keys_of_a_slot_reply_are_told_if_they_are_aliases() -> None:
    """Others are `?`."""
    bad: dict[str, object] = {"routes": {"*": {"m01": {"n01": 2, "be evil": 1}}}, "hold": [], "why": "so"}
    assert words(bad, SlotReply) == (
        "routes.*.m01.n01 must be at most 1.0; routes.*.m01.? must be one of the given aliases; hold must be an object"
    )
    assert words({**ROUTES, "routes": {"*": {"m01": {"n01": "all"}}}}, SlotReply) == "routes.*.m01.n01 must be a number"


def test_long_lists_of_faults_are_cut() -> None:
    """Each once, at most 256 characters."""
    assert listed(["a", "a", "b"]) == "a; b"
    long = listed(["x" * 200, "y" * 200, "z", "w"])
    assert len(long) == FAULT_CHARS
    assert long.endswith("…; and 1 more")


@given(st.text())
def test_words_of_a_reply_are_made_printable(text: str) -> None:
    """No control characters reach a terminal."""
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    assert json.loads(json.dumps(printable(text))) == printable(text)
