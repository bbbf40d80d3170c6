"""Demand that may come: what the twin's gate plays proposals on (CONTROL §3).

Slots of the recent past are drawn anew, each with all its counts together, so that demand is as bursty as it was; they
are thinned or laid over one another until their mean is what the forecast expects, which is itself drawn from its
interval. Demand of one number is the same for every candidate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.forecasts import Forecast, SlotArrivals
from fairlead.contracts.plans import Expected, PlanDraft, Rate
from fairlead.policy.arrays import Floats, Whole
from fairlead.twin.requests import Arrival
from fairlead.twin.streams import stream

RECENT_MOST = 20
"""Newest slots that demand is drawn from: two epochs of CONTROL §2, for older ones are of another mix."""

RECENT_LEAST = 4
"""Of fewer slots nothing is drawn again, arrivals are Poisson: four are what λ forgets half in (CONTROL §2)."""

LAYERS = 4
"""A pair whose rate is to be more than so many times its recent mean has Poisson arrivals: so few counts, laid over one
another, would bring bursts that nobody has seen."""

WORDS: dict[Expected, float] = {"silent": 0.0, "falling": 0.5, "same": 1.0, "rising": 1.5, "surging": 3.0}
"""What `expected` means as a factor on what is forecast: `surging` is the tripled demand of the issue's example, the
others are ours."""

LEARNED_S = 348.0
"""λ with a half-life of four slots of 30 s knows as much as the mean of (1 + w)/(1 − w) slots, w = 2^(−1/4)."""

Z80 = 1.2815515655446004
"""90 % quantile of the standard normal distribution: half the width of an 80 % interval."""

SURPRISE = 1.96
"""Standard deviations of the forecast from which on a told rate is another one: 5 %."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What demand is drawn from."""

    pairs: tuple[tuple[str, str], ...]
    """Site and model, sorted; axis p."""
    models: Whole
    """[p] number of the model in the cluster."""
    works_s: tuple[float, ...]
    """[p] mean work."""
    edges_s: Floats
    """[j + 1] begin and end of the slots that come, the first begins now."""
    expected: Floats
    """[j, p] arrivals."""
    spread: Floats
    """[j, p] standard deviation of the logarithm of that mean: what the forecast does not know."""
    recent: Whole
    """[r, p] counts of the recent slots, oldest first."""


def outlook(asked: SlotInput | EpochInput, until_s: float) -> Outlook:
    """Return what is expected from now until `until_s`: by the forecast, without one by the rates learned so far."""
    cluster = asked.cluster
    sites = [site.id for site in cluster.sites]
    pairs = tuple(sorted((site, model.id) for site in sites for model in cluster.models))
    number = {model.id: k for k, model in enumerate(cluster.models)}
    work = {model.id: model.work_s for model in cluster.models}
    now_s, slot_s = asked.now_s, asked.settings.slot_s
    edges = np.append(np.arange(now_s, until_s, slot_s), until_s)
    recent = _recent(asked.recent, {pair: p for p, pair in enumerate(pairs)})
    empty = Outlook(
        pairs=pairs,
        models=np.array([number[model] for _, model in pairs], dtype=np.int64),
        works_s=tuple(work[model] for _, model in pairs),
        edges_s=edges,
        expected=np.zeros((len(edges) - 1, len(pairs))),
        spread=np.zeros((len(edges) - 1, len(pairs))),
        recent=recent,
    )
    if asked.forecast is not None and asked.forecast.rates:
        return _forecast(empty, asked.forecast)
    rates = asked.state.rates if isinstance(asked, SlotInput) else asked.rates
    return _learned(empty, cluster, rates)


def _recent(counts: Sequence[SlotArrivals], at: dict[tuple[str, str], int]) -> Whole:
    """Return [r, p] the counts of the newest slots, those without any arrival among them."""
    if not counts:
        return np.zeros((0, len(at)), dtype=np.int64)
    last = max(one.slot for one in counts)
    first = max(min(one.slot for one in counts), last - RECENT_MOST + 1)
    found = np.zeros((last - first + 1, len(at)), dtype=np.int64)
    for one in counts:
        p = at.get((one.site, one.model))
        if p is not None and one.slot >= first:
            found[one.slot - first, p] += one.arrived
    return found


def _forecast(empty: Outlook, forecast: Forecast) -> Outlook:
    """Return an outlook with the rates of a forecast; where it ends before, its last ones go on."""
    at = {pair: p for p, pair in enumerate(empty.pairs)}
    begins, ends = empty.edges_s[:-1], empty.edges_s[1:]
    last_s = max(one.until_s for one in forecast.rates)
    expected, spread = empty.expected.copy(), empty.spread.copy()
    for one in forecast.rates:
        p = at.get((one.site, one.model))
        if p is None:
            continue
        until_s = np.inf if one.until_s == last_s else one.until_s
        within_s = np.clip(np.minimum(ends, until_s) - np.maximum(begins, one.from_s), 0.0, None)
        least = 1.0 / (empty.edges_s[-1] - empty.edges_s[0])  # an arrival more or less is no knowledge
        width = np.log((one.high_per_s + least) / (one.low_per_s + least)) / (2.0 * Z80)
        expected[:, p] += one.per_s * within_s
        spread[:, p] += one.per_s * within_s * width
    return replace(empty, expected=expected, spread=spread / np.where(expected > 0.0, expected, 1.0))


def _learned(empty: Outlook, cluster: Cluster, rates: Sequence[Rate]) -> Outlook:
    """Return an outlook on which each model's λ goes on, spread over the sites as it was of late."""
    per_s = {rate.model: rate.per_s for rate in rates}
    counts = 1.0 + empty.recent.sum(axis=0)
    together = np.bincount(empty.models, weights=counts, minlength=len(cluster.models))
    rate = np.array([per_s.get(model, 0.0) for _, model in empty.pairs])
    expected = np.outer(np.diff(empty.edges_s), rate * counts / together[empty.models])
    return replace(
        empty, expected=expected, spread=np.broadcast_to(1.0 / np.sqrt(1.0 + LEARNED_S * rate), expected.shape)
    )


def believed(plain: Outlook, draft: PlanDraft, cluster: Cluster, from_s: float) -> Outlook | None:
    """Return what a draft expects from `from_s` on, for sure; None where the forecast would not be surprised by it.

    Rates that it names count, else the word that it has for a model; the sites share them as in the forecast.
    """
    told = {rate.model: rate.per_s for rate in draft.rates}
    words = {one.model: WORDS[one.expected] for one in draft.priorities if one.expected != "same"}
    later = 0.5 * (plain.edges_s[:-1] + plain.edges_s[1:]) >= from_s
    lengths_s = np.diff(plain.edges_s)
    expected, spread = plain.expected.copy(), plain.spread.copy()
    surprised = False
    for m, model in enumerate(cluster.models):
        own = np.nonzero(plain.models == m)[0]
        cells = np.ix_(later, own)
        before = plain.expected[cells]
        if model.id in told:
            part = plain.expected[:, own].sum(axis=0) + 1e-9
            after = np.outer(lengths_s[later] * told[model.id], part / part.sum())
        elif model.id in words:
            after = words[model.id] * before
        else:
            continue
        deviation = np.sqrt(before.sum() + float((plain.spread[cells] * before).sum()) ** 2 + 1.0)
        surprised |= bool(abs(after.sum() - before.sum()) > SURPRISE * deviation)
        expected[cells], spread[cells] = after, 0.0
    return replace(plain, expected=expected, spread=spread) if surprised else None


def scene(given: Outlook, seed: int, number: int, k: int) -> tuple[Arrival, ...]:
    """Return demand `k` of a decision: `seed` is the run's, `number` that of what is judged; in order of time."""
    draws = stream(seed, "scene", str(number), str(k))
    shift = draws.standard_normal(int(given.models.max(initial=0)) + 1)[given.models]
    mean = given.expected * np.exp(given.spread * shift - 0.5 * given.spread**2)
    counts = np.where(_bootable(given, mean), _redrawn(given, mean, draws), draws.poisson(mean))
    begins_s, lengths_s = given.edges_s[:-1], np.diff(given.edges_s)
    slots, pairs = np.nonzero(counts)
    times = counts[slots, pairs]
    slots, pairs = np.repeat(slots, times), np.repeat(pairs, times)
    at_s = begins_s[slots] + lengths_s[slots] * draws.random(len(slots))
    order = np.lexsort((pairs, at_s))
    return tuple(
        Arrival(at, given.pairs[p][0], given.pairs[p][1], given.works_s[p])
        for at, p in zip(at_s[order].tolist(), pairs[order].tolist(), strict=True)
    )


def _bootable(given: Outlook, mean: Floats) -> Floats:
    """Return [j, p] whether counts of the recent past can be made into this mean."""
    if len(given.recent) < RECENT_LEAST:
        return np.zeros(mean.shape, dtype=np.bool_)
    found: Floats = mean < LAYERS * given.recent.mean(axis=0)
    return found


def _redrawn(given: Outlook, mean: Floats, draws: np.random.Generator) -> Whole:
    """Return [j, p] counts of recent slots laid over one another, the last one thinned, so that this mean is theirs."""
    if len(given.recent) < RECENT_LEAST:
        return np.zeros(mean.shape, dtype=np.int64)
    own = given.recent.mean(axis=0)
    ratio = mean / np.where(own > 0.0, own, np.inf)
    rows = draws.integers(len(given.recent), size=(LAYERS, len(mean)))
    total = np.zeros(mean.shape, dtype=np.int64)
    for layer in range(LAYERS):
        total += draws.binomial(given.recent[rows[layer]], np.clip(ratio - layer, 0.0, 1.0))
    return total
