"""Every message: its JSON reads back the same, its bytes are canonical, and nothing loose gets in."""

import functools
import json
import math
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fairlead.contracts.base import Message
from fairlead.contracts.plans import PlanDraft
from tests.contracts.strategies import MESSAGES, a_message

EACH = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
FEW = settings(max_examples=4, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


def test_there_are_messages() -> None:
    """The list that the other tests run over is not empty by accident."""
    assert len(MESSAGES) > 40


@EACH
@FEW
@given(data=st.data())
def test_json_reads_back_the_same(kind: type[Message], data: st.DataObject) -> None:
    """Equal messages have equal bytes, which read back as the same message and satisfy the published JSON Schema."""
    message = data.draw(a_message(kind))
    text = message.to_json()
    assert kind.from_json(text) == message
    assert kind.from_json(text).to_json() == text
    assert kind.model_validate(message.to_document()) == message
    _schema(kind).validate(json.loads(text))


@EACH
@settings(FEW, max_examples=2)
@given(data=st.data())
def test_nothing_loose_gets_in(kind: type[Message], data: st.DataObject) -> None:
    """Unknown keys, numbers as text, NaN and infinity are refused; a message cannot be changed."""
    message = data.draw(a_message(kind))
    document = message.to_document()
    with pytest.raises(ValidationError, match="Extra inputs"):
        kind.model_validate({**document, "unknown_key": 1})
    for name, value in document.items():
        for wrong in _wrong(value):
            with pytest.raises(ValidationError):
                kind.model_validate({**document, name: wrong})
        with pytest.raises(ValidationError):
            setattr(message, name, value)


@functools.cache
def _schema(kind: type[Message]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(kind.model_json_schema(mode="serialization"))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["intents", "priorities", "warm", "why", "node", "role", "other"]),
                    inner,
                    max_size=4,
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_invariant_08_any_bytes_are_a_sound_draft_or_refused(reply: bytes) -> None:
    """Whatever somebody sends as a draft of a plan, it is one that reads back the same or a validation error."""
    try:
        draft = PlanDraft.from_json(reply)
    except ValidationError:
        return
    assert PlanDraft.from_json(draft.to_json()) == draft


def _wrong(value: Any) -> list[Any]:
    """Return values that are almost `value` and must not be taken for it."""
    if isinstance(value, bool):
        return ["true", 1]
    if isinstance(value, int):
        return [str(value), value + 0.5, True, math.nan]
    if isinstance(value, float):
        return [str(value), math.nan, math.inf, -math.inf]
    if isinstance(value, str):
        return [0.5, b"bytes", ["list"]]
    if isinstance(value, list):
        return ["not a list", {"a": 1}]
    return []


@EACH
def test_units_end_the_names(kind: type[Message]) -> None:
    """Durations and sizes are in base units, and the name says which."""
    assert kind.__doc__
    for name in kind.model_fields:
        assert not name.endswith(("_ms", "_seconds", "_minutes", "_mb", "_kb")), f"{kind.__name__}.{name}"
