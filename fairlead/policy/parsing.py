"""A reply's text becomes a value of the vocabulary, or a fault: gates 1 and 2 of CONTROL §3, parse and schema.

A fault is told in our own words: of the reply it repeats nothing but aliases, names of fields and places in arrays,
because its text goes back to the model and into the journal.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import pydantic

from fairlead.contracts.base import Message
from fairlead.contracts.dialogue import REPLY_CHARS
from fairlead.contracts.replies import GoalReply, LevelWish, ModelWish, NodeWish, PlannerReply, SlotReply, WarmWish

DEPTH = 8
"""Objects and arrays inside one another that are read: twice what a valid reply has (routes → zone → model → node)."""

DIGITS = 20
"""Digits of a whole number that is read; 2^64 has as many, and no number of the vocabulary more than five."""

FAULTS_SHOWN = 3
"""Of many faults so many are named: a short message is what a small model can follow."""

FAULT_CHARS = 256
"""Length of a message; what a `Step` carries."""

OPEN = -1
"""In place of where a bracket is closed: nowhere."""

TOO_DEEP = -2
"""In place of that: brackets stand in one another too deep to look for it."""

_OBJECT = re.compile(r'\{(?=\s*["}])')

_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)
"""A string, a bracket, or the quote of a string that never ends."""

DEEPER = {"{": 1, "[": 1, "}": -1, "]": -1}
"""What a bracket adds to the depth; a whole string adds nothing."""

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a reply does not pass a gate."""

    step: Literal["parse", "schema", "feasibility", "trust"]
    code: str
    text: str
    """For people; may name ids."""
    said: str
    """For the model: aliases, names of fields and numbers, nothing else."""


def fault(step: Literal["parse", "schema"], code: str, text: str) -> Fault:
    """Return a fault whose text holds nothing that a model may not be told."""
    return Fault(step, code, text, text)


def parse(text: str) -> dict[str, object] | Fault:
    """Return the JSON object that a reply is, or else the first one in its text; never raises.

    Strict: without NaN and infinity, keys that stand twice, and more than `DEPTH` levels. The first object is the
    first `{` before a key or `}`, up to where it is closed; one that is never closed ends the search, because what is
    inside a reply that was cut off is not the reply.
    """
    if len(text) > REPLY_CHARS:
        return fault("parse", "too-long", f"the reply has more than {REPLY_CHARS} characters")
    whole = text.strip()
    if whole.startswith(("{", "[")) and _closed_at(whole, 0) == TOO_DEEP:
        return _too_deep()
    found = _loaded(whole)
    if not isinstance(found, Fault):
        if isinstance(found, dict):
            return found
        return fault("parse", "not-an-object", "the reply is JSON, but not an object: answer with one JSON object")
    if found.code != "not-json":
        return found
    after = 0
    while begin := _OBJECT.search(whole, after):
        after = _closed_at(whole, begin.start())
        if after == OPEN:
            return fault("parse", "not-json", "the JSON object is not closed, the reply was cut off: answer shorter")
        if after == TOO_DEEP:
            return _too_deep()
        first = _loaded(whole[begin.start() : after])
        if isinstance(first, dict) or (isinstance(first, Fault) and first.code != "not-json"):
            return first
    return found


def _closed_at(text: str, begin: int) -> int:
    """Return the place after the bracket that closes the one at `begin`; `OPEN` if none, or `TOO_DEEP`."""
    depth = 0
    for mark in _MARK.finditer(text, begin):
        if mark[0] == '"':
            break  # all that follows is in a string that never ends
        depth += DEEPER.get(mark[0], 0)
        if depth > DEPTH:
            return TOO_DEEP
        if depth == 0:
            return mark.end()
    return OPEN


def _too_deep() -> Fault:
    return fault("parse", "too-deep", f"objects and arrays stand in one another more than {DEPTH} levels deep")


def _loaded(text: str) -> object | Fault:
    """Return the value that `text` is as strict JSON; it is not too deep."""
    faults: list[Fault] = []
    try:
        value: object = json.loads(
            text,
            parse_int=lambda digits: _whole(digits, faults),
            parse_float=lambda digits: _finite(float(digits), faults),
            parse_constant=lambda name: _finite(float(name), faults),
            object_pairs_hook=lambda pairs: _keyed(pairs, faults),
        )
    except ValueError:
        return fault("parse", "not-json", "the reply holds no JSON object: answer with one JSON object, nothing else")
    return faults[0] if faults else value


def _whole(digits: str, faults: list[Fault]) -> int:
    if len(digits) > DIGITS:
        faults.append(fault("parse", "not-finite", f"a number has more than {DIGITS} digits"))
        return 0
    return int(digits)


def _finite(value: float, faults: list[Fault]) -> float:
    if not math.isfinite(value):
        faults.append(fault("parse", "not-finite", "NaN, Infinity and numbers beyond 1e308 are not allowed"))
    return value


def _keyed(pairs: list[tuple[str, object]], faults: list[Fault]) -> dict[str, object]:
    keyed: dict[str, object] = {}
    for key, value in pairs:
        if key in keyed:
            faults.append(fault("parse", "duplicate-key", f"the key {_shown(key)} stands twice in one object"))
        keyed[key] = value
    return keyed


_FIELDS = frozenset(
    name
    for kind in (PlannerReply, SlotReply, GoalReply, NodeWish, ModelWish, WarmWish, LevelWish)
    for name in kind.model_fields
)

_ALIAS = re.compile(r"[nmz][0-9]{2,4}|c[0-9]|\*")


def _shown(key: str) -> str:
    """Return a key that is one of ours; `?` in place of another."""
    return key if key in _FIELDS or _ALIAS.fullmatch(key) else "?"


def read(value: dict[str, object], kind: type[Reply]) -> Reply | Fault:
    """Return the reply that an object is by its schema."""
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    return fault("schema", "schema", listed(f"{_path(e['loc'])} {_words(e['type'], e.get('ctx', {}))}" for e in found))


def listed(messages: Iterable[str]) -> str:
    """Return the first few of `messages`, each once, and how many more there are."""
    each = tuple(dict.fromkeys(messages))
    more = f"; and {len(each) - FAULTS_SHOWN} more" if len(each) > FAULTS_SHOWN else ""
    words = "; ".join(each[:FAULTS_SHOWN])
    room = FAULT_CHARS - len(more)
    return (words if len(words) <= room else words[: room - 1] + "…") + more


def printable(text: str) -> str:
    """Return words of a reply as they may stand in a journal and on a terminal: without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def _path(parts: Sequence[int | str]) -> str:
    """Return a place in the reply, such as `nodes[3].prefer`; parts that are none of ours are `?`."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]" and not part.startswith(("literal[", "constrained-")):  # pydantic's own marks
            path += f".{_shown(part)}"
    return path.removeprefix(".") or "the reply"


def _words(kind: str, context: Mapping[str, object]) -> str:
    """Return what pydantic has found, in our words."""
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not in the schema"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return "must be one of the given aliases"
        case "string_too_long" | "too_long":
            return f"is longer than {context['max_length']}"
        case "too_short":
            return f"is shorter than {context['min_length']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "value_error":
            return f"is contradictory: {context['error']}"
        case _:
            return _TYPES.get(kind, "is not as the schema says")


_TYPES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "tuple_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}
