"""Which cases are shown to a model, and which are forgotten (CONTROL §3).

A case is worth showing by K × recency × worth. Worth says how well its decision did: the lower bound of its advantage
over the fallback where the twin has said it, else its rank by realised F among the cases that are like the question,
so that an easy hour is not taken for a good plan.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cases import Case, CaseFeatures
from fairlead.policy.arrays import Flags, Floats
from fairlead.policy.cases_kernel import (
    Key,
    Keys,
    Marks,
    agreement,
    decision_marks,
    encoded,
    likeness,
    same_demand,
    stacked,
)

Rows = NDArray[np.intp]

HALF_LIFE_S = 7 * 86_400.0
"""A case a week old counts half: demand of people comes back by the week, models and machines change by the month."""

ADVANTAGE_SCALE = 0.08
"""An advantage whose lower bound is this counts full: what knowing the next five minutes is worth (CONTROL §2)."""

DUPLICATE_SHARE = 0.9
"""A case that is like one already chosen and says the same loses up to this share of its score; the tenth that is left
lets it fill a place that nothing else can."""

SHORTLIST = 32
"""Diversity is judged among so many of the best scores: eight times what a prompt shows by default."""

BAD_SHARE = 3
"""The worst third by realised F is bad (CONTROL §3: always one bad case)."""

SAME_REGIME = 0.6065
"""exp(−½): cases whose rates are less than one scale apart are of one regime."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A case as retrieval and forgetting need it: arrays in place of its message, 4 KB for one of city7 (2026-11)."""

    id: str
    began_at_s: float
    objective: float
    advantage_low: float | None
    """None until the twin has said it."""
    quarantined: bool
    key: Key
    marks: Marks


@dataclass(frozen=True, slots=True)
class Shelf:
    """Cases of one cluster, sorted by id; k of them, shapes in brackets."""

    cases: tuple[Remembered, ...]
    keys: Keys | None
    """None where there are no cases."""
    began_at_s: Floats
    """[k]"""
    objective: Floats
    """[k]"""
    advantage_low: Floats
    """[k] NaN where the twin has not said it."""
    quarantined: Flags
    """[k]"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A case that is to be shown."""

    id: str
    similarity: float


def remembered(case: Case) -> Remembered:
    """Return what is kept of a case in memory."""
    return Remembered(
        id=case.id,
        began_at_s=case.began_at_s,
        objective=case.realised.objective,
        advantage_low=case.advantage.low if case.advantage is not None else None,
        quarantined=case.quarantined,
        key=encoded(case.features),
        marks=decision_marks(case),
    )


def shelf(cases: Iterable[Remembered]) -> Shelf:
    """Return these cases, stacked; those that are not of the commonest nodes and models are left out.

    Cases of one digest agree in them; an imported one may say what it likes.
    """
    alike: dict[bytes, list[Remembered]] = {}
    for case in sorted(cases, key=lambda c: c.id):
        alike.setdefault(case.key.shape, []).append(case)
    kept = max((tuple(group) for group in alike.values()), key=len, default=())
    return Shelf(
        cases=kept,
        keys=stacked([c.key for c in kept]) if kept else None,
        began_at_s=np.array([c.began_at_s for c in kept]),
        objective=np.array([c.objective for c in kept]),
        advantage_low=np.array([np.nan if c.advantage_low is None else c.advantage_low for c in kept]),
        quarantined=np.array([c.quarantined for c in kept], dtype=np.bool_),
    )


def retrieve(
    features: CaseFeatures, cases: Sequence[Case], *, now_s: float, k: int = 4
) -> tuple[tuple[Case, float], ...]:
    """Return the cases to show for a situation, with how similar each is; as `select`."""
    by_id = {c.id: c for c in cases}
    shape = encoded(features).shape
    among = shelf(one for one in map(remembered, by_id.values()) if one.key.shape == shape)
    hits = select(features, among, now_s=now_s, k=k)
    return tuple((by_id[h.id], h.similarity) for h in hits)


def select(features: CaseFeatures, among: Shelf, *, now_s: float, k: int = 4) -> tuple[Hit, ...]:
    """Return at most `k` cases, best first and the bad one last.

    Those with the highest scores, each in turn losing by what it has in common with those before it, and the most
    similar of the bad ones, unless it is among them already or `k` is 1. Quarantined cases are left out, so are cases
    of other nodes or models. Equal scores go by id.
    """
    key = encoded(features)
    keys = among.keys
    if keys is None or k < 1 or key.shape != among.cases[0].key.shape:
        return ()
    usable = np.nonzero(~among.quarantined)[0]
    similar = likeness(key, keys)
    bad = _bad(among, usable, similar) if k > 1 else None
    good = usable if bad is None else usable[usable != bad]
    score = similar * _recency(among, now_s) * _worth(among, usable, similar)
    chosen = _diverse(among, keys, good, score, k if bad is None else k - 1)
    if bad is not None:
        chosen.append(bad)
    return tuple(Hit(among.cases[row].id, float(similar[row])) for row in chosen)


def _bad(among: Shelf, usable: Rows, similar: Floats) -> int | None:
    """Return the most similar of the worst third by realised F; None where none is worse than the best."""
    ranked = usable[np.argsort(-among.objective[usable], kind="stable")]
    worst = ranked[: -(-len(ranked) // BAD_SHARE)]
    worst = np.sort(worst[among.objective[worst] > among.objective[usable].min(initial=np.inf)])
    return int(worst[np.argmax(similar[worst])]) if len(worst) else None


def _recency(among: Shelf, now_s: float) -> Floats:
    """Return ½^(age / a week); a case of a clock that is ahead is as if it were new."""
    recency: Floats = 0.5 ** (np.maximum(0.0, now_s - among.began_at_s) / HALF_LIFE_S)
    return recency


def _worth(among: Shelf, usable: Rows, similar: Floats) -> Floats:
    """Return how well each case's decision did, 0 to 1; ½ is like the fallback, or like most."""
    worth = np.full(len(among.cases), 0.5)
    worth[usable] = _rank(among.objective[usable], similar[usable])
    said = ~np.isnan(among.advantage_low)
    worth[said] = 0.5 + np.clip(among.advantage_low[said], -ADVANTAGE_SCALE, ADVANTAGE_SCALE) / (2.0 * ADVANTAGE_SCALE)
    return worth


def _rank(objective: Floats, weight: Floats) -> Floats:
    """Return for each the share of the weight that is of higher F, of equal F half."""
    values, at = np.unique(objective, return_inverse=True)
    mass = np.bincount(at, weights=weight, minlength=len(values))
    total = float(mass.sum())
    if total <= 0.0:
        return np.full(len(objective), 0.5)
    rank: Floats = (total - np.cumsum(mass) + 0.5 * mass)[at] / total
    return rank


def _diverse(among: Shelf, keys: Keys, good: Rows, score: Floats, count: int) -> list[int]:
    """Return `count` of `good`, or all if they are fewer: the best, then whatever adds most to what is chosen.

    A case is the duplicate of another as far as situation and plan are alike: the same situation under another plan is
    what a model can learn from.
    """
    listed = good[np.argsort(-np.round(score[good], 9), kind="stable")][: max(SHORTLIST, count)]
    left = keys.some(listed)
    kept = np.ones(len(listed))
    taken = np.zeros(len(listed), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(count, len(listed)):
        best = int(np.argmax(np.where(taken, -1.0, np.round(score[listed] * kept, 9))))
        taken[best] = True
        chosen.append(int(listed[best]))
        one = among.cases[chosen[-1]]
        same = np.array([agreement(one.marks, among.cases[row].marks) for row in listed])
        kept = np.minimum(kept, 1.0 - DUPLICATE_SHARE * same * likeness(one.key, left))
    return chosen


def forgettable(among: Shelf, capacity: int) -> tuple[str, ...]:
    """Return the ids of those to forget so that `capacity` are left, in order.

    The oldest of the regime that has most cases goes first, so that a rare regime outlives a common one; the best and
    the worst of a regime by realised F stay while it has others, for they are what a model shall imitate and avoid.
    """
    excess = len(among.cases) - capacity
    if excess <= 0 or among.keys is None:
        return ()
    regimes = _regimes(among, among.keys)
    forgotten = []
    for _ in range(excess):
        members = max(regimes, key=len)
        forgotten.append(members.pop(_dispensable(among, members)))
    return tuple(among.cases[row].id for row in forgotten)


def _regimes(among: Shelf, keys: Keys) -> list[list[int]]:
    """Return the rows of each regime, oldest first: each case joins the first regime whose oldest case is like it.

    Leader clustering (Hartigan, "Clustering algorithms", 1975, chapter 3) by the rates alone.
    """
    oldest_first = np.lexsort((np.arange(len(among.cases)), among.began_at_s))
    left = oldest_first
    regimes = []
    while len(left):
        alike = same_demand(among.cases[left[0]].key, keys.some(left)) >= SAME_REGIME
        regimes.append([int(row) for row in left[alike]])
        left = left[~alike]
    return regimes


def _dispensable(among: Shelf, members: Sequence[int]) -> int:
    """Return the position in a regime of its oldest case that is neither its best nor its worst, else of the oldest."""
    values = [among.objective[row] for row in members]
    best, worst = values.index(min(values)), values.index(max(values))
    return next((at for at in range(len(members)) if at not in (best, worst)), 0)
