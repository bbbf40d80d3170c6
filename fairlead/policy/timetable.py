"""The timetable: which regime follows which, after how long, learned from the changes that were noticed.

Two habits are known: a regime that lasts about as long each time and is followed by the same one (a cycle), and a
regime that begins at about the same time of day. Each says how often it was kept and how often it was not.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.contracts.forecasts import Change, Coming

DAY_S = 86_400.0

LEAST_SEEN = 2
"""A habit is one from its second time on."""

LEAST_SHARE = 0.6
"""Share of the times at which a habit must have been kept to be expected again."""

SPREAD_MOST = 0.1
"""Lengths of a regime that differ by more than this share of their median are no habit."""

DAY_SPREAD_S = 900.0
"""A regime that begins at the same time of day does so within a quarter of an hour."""

LATE_RATIO = 0.1
"""A change that has not come by this share of its regime's length after its time is not waited for any more."""


@dataclass(frozen=True, slots=True)
class Habit:
    """A change as it has come several times."""

    after: str
    """The regime that begins."""
    median_s: float
    """Of the length of the regime that ends, or of the time of day."""
    low_s: float
    high_s: float
    seen: int
    missed: int


def cycle(changes: Sequence[Change], regime: str) -> Habit | None:
    """Return what follows `regime` and after how long; None where there is no habit."""
    ended = [c for c in changes if c.before == regime]
    follows = Counter(c.after for c in ended)
    if not follows:
        return None
    after, _ = min(follows.items(), key=lambda one: (-one[1], one[0]))
    lasted = [c.at_s - c.began_at_s for c in ended if c.after == after and c.began_at_s is not None]
    return _habit(after, lasted, len(ended), None)


def daily(changes: Sequence[Change], now_s: float) -> tuple[Habit, ...]:
    """Return which regimes begin at a time of day, and when; in order of regime.

    A regime had a chance to begin on each day since it first did. Times are seconds after a midnight of UTC; those of a
    habit about midnight stand on one side of it.
    """
    found = []
    for after in sorted({c.after for c in changes}):
        came = [c.at_s for c in changes if c.after == after]
        days_ago = [round((came[-1] - at_s) / DAY_S) for at_s in came]
        times = sorted(at_s + k * DAY_S - came[-1] + came[-1] % DAY_S for at_s, k in zip(came, days_ago, strict=True))
        chances = 1 + int((now_s - came[0]) // DAY_S)
        habit = _habit(after, times, max(chances, len(times)), DAY_SPREAD_S)
        if habit is not None and len(set(days_ago)) >= LEAST_SEEN:
            found.append(habit)
    return tuple(found)


def coming(changes: Sequence[Change], regime: str, since_s: float | None, now_s: float) -> Coming | None:
    """Return the next change, with `regime` in force since `since_s`; None where nothing is expected within a day."""
    found = []
    if since_s is not None and (habit := cycle(changes, regime)) is not None:
        patience_s = max(habit.high_s - habit.median_s, LATE_RATIO * habit.median_s)
        if now_s <= since_s + habit.median_s + patience_s:
            found.append(_at(habit, since_s, now_s))
    for habit in daily(changes, now_s):
        if habit.after != regime:
            midnight_s = DAY_S * math.ceil((now_s - DAY_SPREAD_S - habit.median_s) / DAY_S)
            found.append(_at(habit, midnight_s, now_s))
    return min(found, key=lambda one: (one.at_s, one.regime), default=None)


def _at(habit: Habit, from_s: float, now_s: float) -> Coming:
    """Return when a habit is kept next; what is overdue is expected at once."""
    return Coming(
        at_s=max(now_s, from_s + habit.median_s),
        low_at_s=from_s + habit.low_s,
        high_at_s=max(now_s, from_s + habit.high_s),
        regime=habit.after,
        seen=habit.seen,
        missed=habit.missed,
    )


def _habit(after: str, times_s: Sequence[float], of: int, spread_s: float | None) -> Habit | None:
    """Return the habit that `times_s` show of `of` chances; None where they differ too much or are too few."""
    if len(times_s) < LEAST_SEEN:
        return None
    median_s = statistics.median(times_s)
    most_s = SPREAD_MOST * median_s if spread_s is None else spread_s
    kept = sorted(one for one in times_s if abs(one - median_s) <= most_s)
    if len(kept) < LEAST_SEEN or len(kept) < LEAST_SHARE * of:
        return None
    return Habit(after, median_s, kept[0], kept[-1], len(kept), of - len(kept))
