"""How alike two situations are: a kernel over the features of CONTROL §3, many cases at once.

K = exp(−½ Σ_g d_g²) over groups g of features, each distance d_g in units of its own scale: 1 is a difference that
matters. Scales lie between what chance alone makes of a steady demand (given beside each; slots of 30 s, an epoch of
10) and the smallest change that a scenario of CONTROL §5 makes. Where a group has a value per model, its d² is the mean
over the models, each weighing half its share of the requests and half 1/M: the many and the heavy rare ones both count,
whatever their number.

Nodes are compared at their place in the order by capacity, as the features give them. Situations of different nodes or
models are not alike: K = 0.
"""

import hashlib
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cases import Case, CaseFeatures, ModelFeatures
from fairlead.policy.arrays import Flags, Floats

Compact = NDArray[np.float32]
"""Half the memory of float64: a case of 1000 nodes and 100 models takes 27 KB."""
Words = NDArray[np.uint64]
Marks = NDArray[np.uint32]

SLOT_WORK_S = 30.0
"""A backlog is small or large against the work of a slot at speed 1 (DESIGN §1)."""

RATE_SCALE = 0.39
"""½ ln 2.2: two regimes of `rotating`, in which one model is asked for 2.2 times as often, are two scales apart in it.
The learned rate of 0.2 requests/s has a sampling error of 0.12, one of 0.03/s of 0.3."""

TREND_SCALE = 0.69
"""ln 2, a slot with twice what was learned; sampling error 0.35 at six requests a slot."""

DISPERSION_SCALE = 0.47
"""In ln(1 + index), twice the sampling error √(2/9)/2 of ten Poisson slots; a burst × 3 for four slots is 1 to 2."""

BACKLOG_SCALE = 0.69
"""ln 2 in ln(1 + work/30 s): nothing waits, or a slot's work does."""

PRICE_SCALE = 1.0
"""A factor e in ln(1 + price): near saturation, the 12 % error of a rate is 30 to 50 % of the price."""

SLOWDOWN_SCALE = 0.69
"""ln 2: latency twice as long; sampling error 0.1 with a hundred requests."""

MODEL_SCALES = (TREND_SCALE, DISPERSION_SCALE, BACKLOG_SCALE, PRICE_SCALE, SLOWDOWN_SCALE)

UP_SCALE = 1 / 7
"""Share of the nodes that are up in one of the two only: `node-loss` takes one of seven."""

FREE_SCALE = 0.25
"""Share of a node's memory: a quarter is one model more or less on nodes that hold two to four."""

SPEED_SCALE = 0.35
"""½ ln 2: `slow-node` at half speed is two scales away; completions move a learned speed by a tenth."""

WORK_SCALE = 0.69
"""As the backlog's, per node."""

PLACEMENT_SCALE = 0.5
"""Jaccard distance of the sets of (node, model) awake: half of the pods are elsewhere."""

FAILURE_SCALE = 0.69
"""ln 2 in ln(1 + failures): none against one."""

DAY_SCALE = 0.25
"""Six hours: morning is not evening, and whatever else the hour brings is in the other features."""


SHORT = 64
"""Terms from which on numpy's own sum over the last axis is the faster (measured 2026-11)."""

BLOCK = 16_384
"""Keys compared at once: what is computed on the way stays in a processor's cache, half the time (measured 2026-11)."""

DIGITS = 6
"""Of a likeness, rounded so that an order does not hang on the last bits of a sum, which differ between machines."""

OUT_OF_REACH = -2.0 * math.log(0.5 * 10.0**-DIGITS)
"""d² from which on a likeness is 0."""

BOUND = 1e6
"""Features are cut here, far beyond all measurements: what an imported case says must not overflow a float32."""


@dataclass(frozen=True, slots=True)
class Key:
    """The features of one case in units of their scales; m models, n nodes, shapes in brackets."""

    shape: bytes
    """Digest of its models and nodes in their order: keys that differ in it are not compared."""
    share: Compact
    """[m] of the requests."""
    rate: Compact
    """[m]"""
    more: Compact
    """[m, 5] in the order of `MODEL_SCALES`."""
    up: Flags
    """[n]"""
    state: Compact
    """[n, 3] free memory, speed, work."""
    awake: Words
    """Placement bitmap [n, m], 64 to a word."""
    failures: float
    day: float


@dataclass(frozen=True, slots=True)
class Keys:
    """Many keys of the same nodes and models, stacked; k keys lead each shape of `Key`."""

    share: Compact
    rate: Compact
    more: Compact
    up: Flags
    state: Compact
    awake: Words
    failures: Compact
    day: Compact

    def some(self, rows: NDArray[np.intp] | slice) -> "Keys":
        """Return those at `rows`."""
        return Keys(
            self.share[rows],
            self.rate[rows],
            self.more[rows],
            self.up[rows],
            self.state[rows],
            self.awake[rows],
            self.failures[rows],
            self.day[rows],
        )

    def one(self, row: int, shape: bytes) -> Key:
        """Return the key at `row`; `shape` is that of all."""
        return Key(
            shape,
            self.share[row],
            self.rate[row],
            self.more[row],
            self.up[row],
            self.state[row],
            self.awake[row],
            float(self.failures[row]),
            float(self.day[row]),
        )


def encoded(features: CaseFeatures) -> Key:
    """Return the key of these features; models sorted by id, nodes as they stand."""
    models = sorted(features.models, key=lambda m: m.model)
    at = {m.model: column for column, m in enumerate(models)}
    rates = _bounded(m.log_rate for m in models)
    shares = np.exp(rates - rates.max()) if models else rates
    more = _bounded(value for m in models for value in _more(m)).reshape(len(models), len(MODEL_SCALES))
    free = _bounded(n.free_ratio for n in features.nodes) / FREE_SCALE
    speed = np.log(_bounded(n.speed for n in features.nodes)) / SPEED_SCALE
    work = np.log1p(_bounded(n.work_s for n in features.nodes) / SLOT_WORK_S) / WORK_SCALE
    awake = np.zeros((len(features.nodes), len(models)), dtype=np.bool_)
    for row, node in enumerate(features.nodes):
        awake[row, [at[m] for m in node.awake if m in at]] = True
    return Key(
        shape=_digest((at, [n.node for n in features.nodes])),
        share=_compact(shares / shares.sum() if models else shares),
        rate=_compact(rates / RATE_SCALE),
        more=_compact(more / np.array(MODEL_SCALES)),
        up=np.array([n.up for n in features.nodes], dtype=np.bool_),
        state=_compact(np.stack([free, speed, work], axis=1)),
        awake=_words_of(awake),
        failures=math.log1p(min(features.failures, BOUND)) / FAILURE_SCALE,
        day=features.day_ratio / DAY_SCALE,
    )


def _words_of(flags: Flags) -> Words:
    packed = np.packbits(flags)
    words: Words = np.pad(packed, (0, -len(packed) % 8)).view(np.uint64)
    return words


def _digest(ids: Iterable[Iterable[str]]) -> bytes:
    return hashlib.sha256("\n".join(" ".join(some) for some in ids).encode()).digest()


def _bounded(values: Iterable[float]) -> Floats:
    return np.clip(np.array(list(values), dtype=np.float64), -BOUND, BOUND)


def _compact(values: Floats) -> Compact:
    return values.astype(np.float32)


def _more(model: ModelFeatures) -> tuple[float, ...]:
    """Return the features of a model but its rate, on scales where equal differences mean as much; price has a sign."""
    return (
        model.trend,
        math.log1p(model.dispersion),
        math.log1p(model.backlog_s / SLOT_WORK_S),
        math.copysign(math.log1p(abs(model.price_s)), model.price_s),
        math.log(model.slowdown),
    )


def stacked(keys: Sequence[Key]) -> Keys:
    """Return `keys` together; they are of the same nodes and models, and at least one."""
    return Keys(
        share=np.stack([k.share for k in keys]),
        rate=np.stack([k.rate for k in keys]),
        more=np.stack([k.more for k in keys]),
        up=np.stack([k.up for k in keys]),
        state=np.stack([k.state for k in keys]),
        awake=np.stack([k.awake for k in keys]),
        failures=np.array([k.failures for k in keys], dtype=np.float32),
        day=np.array([k.day for k in keys], dtype=np.float32),
    )


def similarity(a: CaseFeatures, b: CaseFeatures) -> float:
    """Return how alike two situations are, 0 to 1; 1 for equal ones, 0 for those of different nodes or models."""
    first, second = encoded(a), encoded(b)
    if first.shape != second.shape:
        return 0.0
    return float(likeness(first, stacked([second]))[0])


def likeness(key: Key, keys: Keys) -> Floats:
    """Return K of `key` with each of `keys`, which are of the same nodes and models; [k], rounded to `DIGITS`."""
    count = len(keys.failures)
    if count <= BLOCK:
        return _kernel(_squares(key, keys))
    blocks = (keys.some(slice(begin, begin + BLOCK)) for begin in range(0, count, BLOCK))
    return np.concatenate([_kernel(_squares(key, block)) for block in blocks])


def _squares(key: Key, keys: Keys) -> Floats:
    """Return d² summed over all groups."""
    weights = _weights(key, keys)
    squares = _per_model(weights, key.rate - keys.rate)
    squares += _summed(weights * _summed((keys.more - key.more) ** 2))
    squares += _nodes(key, keys)
    squares += (_jaccard(key.awake, keys.awake) / PLACEMENT_SCALE) ** 2
    squares += (keys.failures - key.failures).astype(np.float64) ** 2
    apart = np.abs(keys.day - key.day).astype(np.float64)
    squares += np.minimum(apart, 1.0 / DAY_SCALE - apart) ** 2
    return squares


def within_reach(key: Key, keys: Keys) -> Flags:
    """Tell of which keys the rates alone leave a likeness that is not rounded to 0; [k], a third of its work."""
    reach: Flags = _per_model(_weights(key, keys), key.rate - keys.rate) < OUT_OF_REACH
    return reach


def same_demand(key: Key, keys: Keys) -> Floats:
    """Return how alike the rates alone are, 0 to 1, [k]: what a regime of demand is."""
    return _kernel(_per_model(_weights(key, keys), key.rate - keys.rate))


def _kernel(squares: Floats) -> Floats:
    return np.round(np.exp(-0.5 * squares), DIGITS).astype(np.float64)


def _weights(key: Key, keys: Keys) -> Compact:
    """Return what each model weighs against each key, [k, m]; a row sums to 1."""
    return 0.25 * (keys.share + key.share) + np.float32(0.5 / max(1, len(key.rate)))


def _per_model(weights: Compact, difference: Compact) -> Floats:
    return _summed(weights * difference**2)


def _summed(values: NDArray[np.floating | np.integer | np.bool_]) -> Floats:
    """Return the sums over the last axis; short ones term by term, which takes a third of what `sum` does."""
    total: Floats
    if values.shape[-1] > SHORT:
        total = values.sum(axis=-1, dtype=np.float64)
        return total
    total = np.zeros(values.shape[:-1])
    for term in range(values.shape[-1]):
        total += values[..., term]
    return total


def _nodes(key: Key, keys: Keys) -> Floats:
    """Return d² of which nodes are up, and of free memory, speed and work of those that are up in both."""
    count = max(1, len(key.up))
    apart = _summed(keys.up != key.up) / count / UP_SCALE
    both = keys.up & key.up
    squares = _summed(both * _summed((keys.state - key.state) ** 2))
    total: Floats = apart**2 + squares / np.maximum(1.0, _summed(both))
    return total


def _jaccard(one: Words, many: Words) -> Floats:
    """Return 1 − |A ∩ B|/|A ∪ B| of bitmaps, [k]; 0 where both are empty."""
    common = _summed(np.bitwise_count(many & one))
    either = _summed(np.bitwise_count(many | one))
    distance: Floats = np.where(either == 0, 0.0, 1.0 - common / np.maximum(1.0, either))
    return distance


def decision_marks(case: Case) -> Marks:
    """Return a number for each thing that a case's plan says beyond the neutral one, sorted: none for the neutral."""
    return np.unique(np.array([zlib.crc32(word.encode()) for word in _words(case)], dtype=np.uint32))


def _words(case: Case) -> Iterable[str]:
    for intent in case.intents:
        if intent.role in ("standby", "drain"):
            yield f"{intent.role} {intent.node}"
        if intent.bias:
            yield from (f"prefer {intent.node} {model}" for model in intent.prefer)
            yield from (f"avoid {intent.node} {model}" for model in intent.avoid)
    for one in case.priorities:
        if (one.priority, one.expected) != (2, "same"):
            yield f"{one.priority} {one.expected} {one.model}"
    yield from (f"warm {warm.node} {warm.model}" for warm in case.warm)


def agreement(one: Marks, other: Marks) -> float:
    """Return the share of what two plans say that both say, 0 to 1; two neutral plans agree."""
    either = len(np.union1d(one, other))
    return 1.0 if either == 0 else (len(one) + len(other) - either) / either
