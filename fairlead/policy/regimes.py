"""Regimes of demand: when the rates change, and which remembered ones they have changed to.

A change is noticed by the generalised likelihood ratio of two Poisson samples, before and since, over windows of
several lengths (Basseville and Nikiforov, "Detection of Abrupt Changes", 1993, chapter 2.4.3); a regime is recognised
by the evidence of the counts since, each rate having a Gamma distribution by what was seen of it (Gelman et al.,
"Bayesian Data Analysis", 3rd edition, chapter 2.6: the predictive distribution is negative binomial).
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.contracts.forecasts import Regime
from fairlead.contracts.plans import Rate
from fairlead.policy.arrays import Floats

WINDOWS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Slots that may have passed since a change that is looked for: half a minute to eight."""

LEAST_BEFORE = 6
"""Slots that must have been seen before a change: of less, the rates before are hardly known."""

HALF_COUNT = 0.5
"""Added to each count: without it one request of a model that was silent would be proof (Jeffreys' prior of a Poisson
rate)."""

THRESHOLD_P = 2e-5
"""Chance that one look exceeds the threshold if the statistic were χ² distributed. Looks overlap: what they come to in
false alarms a day is measured by `make bench BENCH=regimes` (docs/forecast.md)."""

BEFORE_MOST = 480
"""Slots of the stretch before that are kept in sums: four hours; older ones fade."""

SWITCH_WINDOWS = (0, 1, 2)
"""Whole slots that may have passed since a change to a remembered regime: a later one the other rule finds too."""

SWITCH_P = 1e-4
"""The chance that one look takes steady demand for another remembered regime is at most this (Ville's inequality: the
likelihood ratio of the wrong one has mean 1)."""

SURE = 0.95
"""Posterior probability from which a regime counts as recognised."""

NEW_LEAST = 0.1
"""A regime that was never seen is taken to be at least a tenth as likely as each that was. Own choice."""

FADE_S = 600.0
"""A remembered rate is known as well as ten minutes of it would tell, however long it was seen: regimes that come back
come back a little different."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A change that was noticed."""

    slots: float
    """How long ago it was, slots, as well as it can be told."""
    statistic: float
    """2 ln of the likelihood ratio."""
    threshold: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """How well counts go with what is remembered."""

    regime: str
    """The likeliest; empty where they go with none."""
    probability: float
    """Of that regime, or of none, among all of them and a new one."""


@dataclass(frozen=True, slots=True)
class Known:
    """Rates as far as they are known: each has a Gamma distribution."""

    shape: Floats
    """[m] arrivals that were seen, and a half."""
    seen_s: float

    def evidence(self, counts: Floats, for_s: float) -> float:
        """Return ln of the chance of these arrivals in `for_s`, without n!."""
        return sum(
            evidence(n, for_s, a, self.seen_s) for n, a in zip(counts.tolist(), self.shape.tolist(), strict=True)
        )


class Detector:
    """Looks for a change since the last one, slot after slot."""

    def __init__(self, models: int) -> None:
        """Begin with nothing seen; counts come in one fixed order of `models` models."""
        self._before = np.zeros(models)
        """Arrivals of the steady stretch, without those of the newest slots."""
        self._before_slots = 0.0
        self._newest: deque[Floats] = deque(maxlen=WINDOWS[-1])
        self.threshold = chi_square(max(1, models), THRESHOLD_P)

    def seen(self, counts: Floats) -> Alarm | None:
        """Take the arrivals of a slot that has ended; tell whether demand has changed."""
        if len(self._newest) == WINDOWS[-1]:
            keep = min(1.0, BEFORE_MOST / (self._before_slots + 1.0))
            self._before = keep * (self._before + self._newest[0])
            self._before_slots = keep * (self._before_slots + 1.0)
        self._newest.append(counts)
        return self.look(np.zeros_like(counts), 0.0)

    def look(self, counts: Floats, slots: float) -> Alarm | None:
        """Tell whether demand has changed, with the arrivals of a slot of which the share `slots` has passed."""
        newest = np.array((*self._newest, np.zeros_like(counts)))
        since = np.cumsum(newest[::-1], axis=0) + counts
        everything = self._before + since[-1]
        length = self._before_slots + len(self._newest) + slots
        best = Alarm(0.0, 0.0, self.threshold)
        for window in (0, *WINDOWS):
            after = window + slots
            if after == 0 or window > len(self._newest) or length - after < LEAST_BEFORE:
                continue
            statistic = ratio(everything - since[window], length - after, since[window], after)
            if statistic > best.statistic:
                best = Alarm(after, statistic, self.threshold)
        return best if best.statistic > self.threshold else None

    def restart(self, counts: Iterable[Floats]) -> None:
        """Begin a new stretch with these slots, oldest first, after a change."""
        self._before[:], self._before_slots = 0.0, 0.0
        self._newest.clear()
        self._newest.extend(counts)


def ratio(before: Floats, before_slots: float, after: Floats, after_slots: float) -> float:
    """Return 2 ln of the likelihood of two Poisson samples with rates of their own over that with one rate, [m]."""
    together = (before + after + HALF_COUNT) / (before_slots + after_slots)
    first = before + HALF_COUNT * before_slots / (before_slots + after_slots)
    second = after + HALF_COUNT * after_slots / (before_slots + after_slots)
    parts = first * np.log(first / (before_slots * together)) + second * np.log(second / (after_slots * together))
    return float(2.0 * parts.sum())


def chi_square(degrees: int, p: float) -> float:
    """Return the value that a χ² variable exceeds with probability `p` (Wilson and Hilferty, PNAS 17, 1931)."""
    spread = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - spread + _normal(p) * math.sqrt(spread)) ** 3


def _normal(p: float) -> float:
    """Return what a standard normal variable exceeds with probability `p` < 0.5 (Abramowitz and Stegun 26.2.23)."""
    t = math.sqrt(-2.0 * math.log(p))
    return t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))


def recognised(counts: Floats, for_s: float, known: Mapping[str, Known], new: Mapping[str, float]) -> Likeness:
    """Return which of the remembered regimes the arrivals [m] of `for_s` seconds go with.

    A new regime is one whose models each have any rate, of the order of the mean one: its evidence is what every
    remembered one has to beat. `new` says of each how much likelier a new one is beforehand.
    """
    usual = max(float(counts.sum()), 1.0) / (for_s * max(1, len(counts)))
    unknown = Known(np.full(len(counts), HALF_COUNT), HALF_COUNT / usual)
    scores = [
        (unknown.evidence(counts, for_s), ""),
        *((one.evidence(counts, for_s) - math.log(new[name]), name) for name, one in known.items()),
    ]
    best, name = max(scores)
    return Likeness(name, 1.0 / sum(math.exp(score - best) for score, _ in scores))


def novelty(visits: Sequence[int]) -> float:
    """Return how much likelier a regime is to be new than to be one that was seen, by how often each of them was.

    The chance of a new one is the share of visits to regimes that were visited once (Good, "The population frequencies
    of species and the estimation of population parameters", Biometrika 40, 1953); the rest is shared by those seen.
    Where every stretch was of its own kind so far, likeness to a remembered one is taken for chance far longer.
    """
    once = sum(count <= 1 for count in visits)
    new = (once + HALF_COUNT) / (sum(max(1, count) for count in visits) + 1.0)
    return max(NEW_LEAST, len(visits) * new / (1.0 - new))


def known(regime: Regime, models: Sequence[str]) -> Known:
    """Return what is known of a regime's rates; that it was seen for long makes them no surer than `FADE_S`."""
    rates, seen_s = {r.model: r.per_s for r in regime.rates}, min(regime.seen_s, FADE_S)
    return Known(np.array([rates.get(model, 0.0) * seen_s + HALF_COUNT for model in models]), seen_s)


def switched(
    newest: Sequence[Floats], partial: tuple[Floats, float], present: Known, others: Sequence[Known], slot_s: float
) -> Alarm | None:
    """Return the change to one of `others`, remembered regimes, that the newest slots show; None where they show none.

    `present` is what is known of the stretch with `newest` in it; `partial` are arrivals of the share of a slot.
    """
    threshold = -math.log(SWITCH_P)
    best = Alarm(0.0, 0.0, threshold)
    counts, share = partial
    for window in SWITCH_WINDOWS:
        slots = window + share
        if slots > 0 and window <= len(newest) and present.seen_s - window * slot_s >= LEAST_BEFORE * slot_s:
            since = sum(newest[len(newest) - window :], counts)
            before = Known(present.shape - since + counts, present.seen_s - window * slot_s)
            stays = before.evidence(since, slots * slot_s)
            for one in others:
                if (gain := one.evidence(since, slots * slot_s) - stays) > best.statistic:
                    best = Alarm(slots, gain, threshold)
    return best if best.statistic > threshold else None


def evidence(count: float, for_s: float, shape: float, seen_s: float) -> float:
    """Return ln of the chance of `count` arrivals in `for_s` where the rate is Gamma(`shape`, `seen_s`), without n!."""
    return (
        math.lgamma(shape + count)
        - math.lgamma(shape)
        + shape * math.log(seen_s / (seen_s + for_s))
        + count * math.log(for_s / (seen_s + for_s))
    )


def merged(regime: Regime, counts: Mapping[str, float], for_s: float) -> Regime:
    """Return a regime with what was seen of it this time."""
    seen_s = regime.seen_s + for_s
    rates = {r.model: r.per_s * regime.seen_s for r in regime.rates}
    for model, count in counts.items():
        rates[model] = rates.get(model, 0.0) + count
    return regime.model_copy(
        update={"seen_s": seen_s, "rates": rates_of({model: total / seen_s for model, total in rates.items()})}
    )


def rates_of(per_s: Mapping[str, float]) -> tuple[Rate, ...]:
    """Return rates in order of model, without those that are none."""
    return tuple(Rate(model=model, per_s=rate) for model, rate in sorted(per_s.items()) if rate > 0)
