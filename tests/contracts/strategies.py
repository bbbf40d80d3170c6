"""Hypothesis strategies for every message, read off the types of its fields."""

import functools
import math
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
import hypothesis.strategies as st
from hypothesis import assume
from pydantic import StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from docs.generate import messages
from fairlead.contracts import cluster, episodes, plans
from fairlead.contracts.base import Message

MESSAGES: tuple[type[Message], ...] = messages()
"""All messages, by name."""

IDS = st.sampled_from(["a", "b2", "node-1", "small-text", "x" * 63])


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    """Return what the constraints in `metadata` say, flattened."""
    found: dict[str, Any] = {}
    for one in metadata:
        if isinstance(one, FieldInfo):
            found |= _bounds(one.metadata)
        elif isinstance(one, annotated_types.Ge):
            found["low"] = one.ge
        elif isinstance(one, annotated_types.Gt):
            found["low"], found["open"] = one.gt, True
        elif isinstance(one, annotated_types.Le):
            found["high"] = one.le
        elif isinstance(one, annotated_types.MinLen):
            found["min_size"] = one.min_length
        elif isinstance(one, annotated_types.MaxLen):
            found["max_size"] = one.max_length
        elif isinstance(one, StringConstraints):
            found |= {
                key: value
                for key, value in (
                    ("pattern", one.pattern),
                    ("min_size", one.min_length),
                    ("max_size", one.max_length),
                )
                if value is not None
            }
        elif getattr(one, "pattern", None) is not None:
            found["pattern"] = one.pattern
    return found


def _text(bounds: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" not in bounds:
        return st.text(
            st.characters(exclude_categories=["Cs"]),
            min_size=bounds.get("min_size", 0),
            max_size=bounds.get("max_size", 24),
        )
    if bounds["pattern"].startswith("^[a-z0-9]([a-z0-9-]"):
        return IDS
    # `$` lets a final line break through in Python's `re`, not in the engine that checks the messages.
    found = st.from_regex(bounds["pattern"], fullmatch=True).filter(lambda word: not word.endswith("\n"))
    return found.filter(lambda word: word.isascii() and len(word) <= bounds.get("max_size", 128))


def _number(kind: type, bounds: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = bounds.get("low"), bounds.get("high")
    if kind is int:
        return st.integers(math.floor(low) + bool(bounds.get("open")) if low is not None else -(10**6), high or 2**53)
    return st.floats(
        min_value=low, max_value=high, exclude_min=bool(bounds.get("open")), allow_nan=False, allow_infinity=False
    )


def _of(annotation: Any, metadata: list[Any], depth: int) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a field of type `annotation` under the constraints in `metadata`.

    The deeper inside the message that is drawn, the fewer items: each kind of message is drawn by itself too.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _of(inner, [*more, *metadata], depth)
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of([_of(one, [], depth) for one in get_args(annotation)])
    if origin is tuple:
        least = _bounds(metadata).get("min_size", 0)
        items = st.lists(_of(get_args(annotation)[0], [], depth), min_size=least, max_size=max(least, 2 - depth))
        return items.map(tuple)
    if origin is dict:
        keys, values = (_of(one, [], depth) for one in get_args(annotation))
        return st.dictionaries(keys, values, min_size=_bounds(metadata).get("min_size", 0), max_size=2)
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return _text(_bounds(metadata))
    if annotation in (int, float):
        return _number(annotation, _bounds(metadata))
    return a_message(annotation, min(2, depth + 1))


@st.composite
def _rows(draw: st.DrawFn) -> plans.Row:
    nodes = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    parts = [draw(st.floats(0.001, 1.0)) for _ in nodes]
    shares = tuple(
        plans.Share(node=node, probability=part / math.fsum(parts)) for node, part in zip(nodes, parts, strict=True)
    )
    return plans.Row(
        zone=draw(st.one_of(st.just("*"), IDS)),
        model=draw(IDS),
        rule=draw(st.sampled_from(get_args(plans.Rule))),
        prior_weight_s=draw(st.floats(0, 10)),
        explore=draw(st.floats(0, 1)),
        shares=shares,
    )


@st.composite
def _clusters(draw: st.DrawFn) -> cluster.Cluster:
    def some(kind: type[Message]) -> tuple[Any, ...]:
        found = draw(st.lists(a_message(kind), max_size=3, unique_by=lambda one: cast(Any, one).id))
        return tuple(sorted(found, key=lambda one: cast(Any, one).id))

    nodes, models, sites = some(cluster.NodeSpec), some(cluster.ModelSpec), some(cluster.SiteSpec)
    room = max((node.memory_bytes for node in nodes), default=0)
    known = {node.id for node in nodes}
    return cluster.Cluster(
        nodes=nodes,
        models=tuple(model for model in models if not nodes or model.memory_bytes <= room),
        sites=tuple(site for site in sites if site.node is None or site.node in known),
    )


@st.composite
def _headers(draw: st.DrawFn) -> episodes.EpisodeHeader:
    shape = draw(_clusters())
    seconds = st.floats(0, 100)
    pairs = [(site.id, node.id) for site in shape.sites for node in shape.nodes]
    distances = [episodes.Distance(site=site, node=node, one_way_s=draw(seconds)) for site, node in pairs]
    payloads = [episodes.Payload(model=m.id, up_s=draw(seconds), down_s=draw(seconds)) for m in shape.models]
    start_s = draw(seconds)
    return episodes.EpisodeHeader(
        name=draw(IDS),
        begins_at_s=draw(st.floats(0, 1e10)),
        window_start_s=start_s,
        window_end_s=start_s + draw(st.floats(1, 1e6)),
        cluster=shape,
        distances=tuple(distances),
        payloads=tuple(payloads),
        seed=draw(st.integers(0, 2**53)),
        sources=tuple(draw(st.lists(a_message(episodes.Thinned, 2), max_size=1))),
        recorded=draw(st.none() | a_message(episodes.Recorded, 2)),
    )


SPECIAL: dict[type[Message], Callable[[], st.SearchStrategy[Any]]] = {
    plans.Row: _rows,
    cluster.Cluster: _clusters,
    episodes.EpisodeHeader: _headers,
}
"""Messages whose own checks a blind draw would hardly ever pass."""


@functools.cache
def a_message(kind: type[Message], depth: int = 0) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of `kind`, `depth` levels inside another."""
    if kind is cluster.Cluster and depth:
        return st.just(cluster.Cluster(nodes=(), models=(), sites=()))
    if kind in SPECIAL:
        return SPECIAL[kind]()

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        values = {name: draw(_of(field.annotation, field.metadata, depth)) for name, field in kind.model_fields.items()}
        try:
            return kind(**values)
        except ValidationError:
            assume(False)
            raise

    return build()
