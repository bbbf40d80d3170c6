"""Which cases are shown to a model (CONTROL §3).

A case is worth showing by K × recency × worth. Worth says how well its decision did: the lower bound of its advantage
over the fallback where our twin has said it. Where it has not, a case counts at most as the fallback does, by its rank
in realised F among the cases that are like the question, so that an easy hour is not taken for a good plan; an imported
one counts half of that, whatever it says of itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.contracts.cases import Case, CaseFeatures
from fairlead.policy.arrays import Floats
from fairlead.policy.cases_kernel import Key, agreement, encoded, likeness, same_demand, within_reach
from fairlead.policy.cases_shelf import Rows, Shelf, remembered, shelf

HALF_LIFE_S = 7 * 86_400.0
"""A case a week old counts half: demand of people comes back by the week, models and machines change by the month."""

ADVANTAGE_SCALE = 0.08
"""An advantage whose lower bound is this counts full: what knowing the next five minutes is worth (CONTROL §2)."""

LIKE_FALLBACK = 0.5
"""Worth of an advantage of 0."""

UNPROVEN = 0.25
"""Worth of the worst case of which the twin has said nothing; the best one's is the fallback's."""

IMPORTED = 0.5
"""Share of its worth that an imported case counts."""

DUPLICATE_SHARE = 0.9
"""A case that is like one already chosen and says the same loses up to this share of its score; the tenth that is left
lets it fill a place that nothing else can."""

SHORTLIST = 32
"""Diversity is judged among so many of the best scores: eight times what a prompt shows by default."""

BAD_SHARE = 3
"""The worst third by realised F is bad (CONTROL §3: always one bad case)."""

RANK_STEP = 0.001
"""Of F, within which two count as equal: a tenth of what the twin's gate lets pass (CONTROL §3). Sorting a hundred
thousand would take half the time of a whole choice (measured 2026-11)."""

RANK_MOST = 10.0
"""F from which on all are equal: that of ten deadlines of mean latency."""

PLACES = 3
"""From so many places on, one is for the fallback's own result (CONTROL §3): beside a good one and a bad one."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A case that is to be shown."""

    id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Scored:
    """The cases that a choice is made among; shapes in brackets."""

    shelf: Shelf
    rows: Rows
    """[r] on the shelf: none in quarantine, and all that are like the question, if that are enough."""
    similar: Floats
    """[r]"""
    score: Floats
    """[r] rounded to nine digits: an order shall not hang on the last bits of a sum."""


def retrieve(
    features: CaseFeatures, cases: Sequence[Case], *, now_s: float, k: int = 4
) -> tuple[tuple[Case, float], ...]:
    """Return the cases to show for a situation, with how similar each is; as `select`."""
    by_id = {c.id: c for c in cases}
    shape = encoded(features).shape
    among = shelf(one for one in map(remembered, by_id.values()) if one.key.shape == shape)
    hits = select(features, among, now_s=now_s, k=k) if among is not None else ()
    return tuple((by_id[h.id], h.similarity) for h in hits)


def select(features: CaseFeatures, among: Shelf, *, now_s: float, k: int = 4) -> tuple[Hit, ...]:
    """Return at most `k` cases, best first and the bad one last.

    Those with the highest scores, each in turn losing by what it has in common with those before it; the last of them
    gives way to the most similar of the fallback's own, unless one is there or there are fewer than `PLACES`; then the
    most similar of the bad ones, unless it is among them already or `k` is 1. Quarantined cases are left out, so are
    cases of other nodes or models. Equal scores go by id.
    """
    key = encoded(features)
    if k < 1 or key.shape != among.shape:
        return ()
    usable = np.nonzero(~among.columns.quarantined)[0]
    if not len(usable):
        return ()
    scored = _scored(key, among, usable, now_s, max(SHORTLIST, k))
    bad = _bad(scored, usable, key) if k > 1 else None
    chosen = _diverse(scored, bad, k if bad is None else k - 1)
    own = _fallbacks(scored, bad)
    if k >= PLACES and own is not None and among.columns.said[chosen].all():
        chosen[-1:] = [own]
    if bad is not None:
        chosen.append(bad)
    similar = likeness(key, among.keys.some(np.array(chosen, dtype=np.intp)))
    return tuple(Hit(among.ids[row], float(alike)) for row, alike in zip(chosen, similar, strict=True))


def _scored(key: Key, among: Shelf, usable: Rows, now_s: float, least: int) -> Scored:
    """Return the scores of those whose rates alone leave something of their likeness, of all if those are too few."""
    near = usable[within_reach(key, among.keys)[usable]]
    rows = near if len(near) >= least else usable
    similar = likeness(key, among.keys if len(rows) == len(among) else among.keys.some(rows))
    score = similar * _recency(among, rows, now_s) * _worth(among, rows, similar)
    return Scored(among, rows, similar, np.round(score, 9))


def _bad(scored: Scored, usable: Rows, key: Key) -> int | None:
    """Return the most similar of the worst third by realised F; None where none is worse than the best."""
    values = scored.shelf.columns.objective
    third = -(-len(usable) // BAD_SHARE)
    limit = np.partition(values[usable], len(usable) - third)[len(usable) - third]
    best = values[usable].min()
    bad = (values[scored.rows] >= limit) & (values[scored.rows] > best)
    if bad.any():
        return _first(scored.shelf, scored.rows[bad], scored.similar[bad])
    others = usable[(values[usable] >= limit) & (values[usable] > best)]
    return _first(scored.shelf, others, same_demand(key, scored.shelf.keys.some(others))) if len(others) else None


def _fallbacks(scored: Scored, bad: int | None) -> int | None:
    """Return the most similar of the fallback's own cases; None where there is none but the bad one."""
    own = (scored.shelf.columns.said[scored.rows] == 0) & (scored.rows != (-1 if bad is None else bad))
    return _first(scored.shelf, scored.rows[own], scored.similar[own]) if own.any() else None


def _first(among: Shelf, rows: Rows, value: Floats) -> int:
    """Return the row of the highest value, of equal ones that of the least id."""
    best = rows[value == value.max()]
    return int(min(best, key=lambda row: among.ids[row]))


def _recency(among: Shelf, rows: Rows, now_s: float) -> Floats:
    """Return ½^(age / a week); a case of a clock that is ahead is as if it were new."""
    recency: Floats = 0.5 ** (np.maximum(0.0, now_s - among.columns.began_at_s[rows]) / HALF_LIFE_S)
    return recency


def _worth(among: Shelf, rows: Rows, similar: Floats) -> Floats:
    """Return how well each case's decision did, 0 to 1; `LIKE_FALLBACK` is no better than the fallback."""
    columns = among.columns
    worth = UNPROVEN + (LIKE_FALLBACK - UNPROVEN) * _rank(columns.objective[rows], similar)
    low = columns.advantage_low[rows]
    said = ~np.isnan(low)
    worth[said] = LIKE_FALLBACK * (1.0 + np.clip(low[said], -ADVANTAGE_SCALE, ADVANTAGE_SCALE) / ADVANTAGE_SCALE)
    worth[columns.imported[rows]] *= IMPORTED
    return worth


def _rank(objective: Floats, weight: Floats) -> Floats:
    """Return for each the share of the weight that is of higher F, of equal F half; by steps, for want of a sort."""
    at = (np.minimum(objective, RANK_MOST) / RANK_STEP).astype(np.intp)
    mass = np.bincount(at, weights=weight)
    total = float(mass.sum())
    if total <= 0.0:
        return np.full(len(objective), 0.5)
    rank: Floats = (total - np.cumsum(mass) + 0.5 * mass)[at] / total
    return rank


def _diverse(scored: Scored, bad: int | None, count: int) -> list[int]:
    """Return `count` rows, or all but `bad` if they are fewer: the best, then whatever adds most to what is chosen.

    A case is the duplicate of another as far as situation and plan are alike: the same situation under another plan is
    what a model can learn from.
    """
    listed, score = _shortlist(scored, bad, max(SHORTLIST, count))
    among = scored.shelf
    left = among.keys.some(listed)
    marks = [among.columns.marks[row, : among.columns.said[row]] for row in listed]
    kept = np.ones(len(listed))
    taken = np.zeros(len(listed), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(count, len(listed)):
        best = int(np.argmax(np.where(taken, -1.0, np.round(score * kept, 9))))
        taken[best] = True
        chosen.append(int(listed[best]))
        same = np.array([agreement(marks[best], one) for one in marks])
        kept = np.minimum(kept, 1.0 - DUPLICATE_SHARE * same * likeness(left.one(best, among.shape), left))
    return chosen


def _shortlist(scored: Scored, bad: int | None, most: int) -> tuple[Rows, Floats]:
    """Return the rows of the best scores with these, best first, of equal ones the least id first; `bad` is none."""
    good = np.nonzero(scored.rows != (-1 if bad is None else bad))[0]
    score = scored.score[good]
    if len(good) > most:
        limit = np.partition(score, len(good) - most)[len(good) - most]
        good = good[score >= limit]
    ids = scored.shelf.ids
    order = sorted(good, key=lambda at: (-scored.score[at], ids[scored.rows[at]]))[:most]
    found = np.array(order, dtype=np.intp)
    return scored.rows[found], scored.score[found]
