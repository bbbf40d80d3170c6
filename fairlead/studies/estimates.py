"""Service times and failures by model and node, from what a run has recorded, each with its 95 % interval.

Two questions, which differ where routing looks at state: what requests took that were sent to a node, and what all
requests of the model would have taken there. The first is a plain mean. The second weights each request by one over
the probability with which its ingress sent it there (self-normalised inverse propensities: Hájek 1971); it can be
answered only where each of them might have gone there, which shows: the mean of the weights over all requests of the
model is then 1, and is below it otherwise. Where that is not so, or too few were sent, it is not identifiable.

Only what one request does at one node is estimated so. Waiting depends on where all others went: weights are biased for
it (CONTROL §4: −23 %, and a wrong ranking), which is why whole policies are compared in the calibrated twin alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fairlead.contracts.readings import Outcome
from fairlead.studies.services import Service, read_log, services_of
from fairlead.studies.statistics import CONFIDENCE, Interval

LEAST_REQUESTS = 10.0
"""With fewer, or an effective sample below it, nothing is said: Student's t for ten is already 2.3 standard errors, and
service times have tails."""

SUPPORT_FROM = 0.9
"""The mean of the weights must be known to be above this, and not to be below 1: a tenth that could not have gone there
moves a mean by less than the intervals of some hundred requests."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one model on one node."""

    model: str
    node: str
    requests: int
    """That ended there, with or without their answer; those that moved between nodes left out."""
    service_s: Interval | None
    """From when the pod had a request until its last byte, of those sent there; None where too few were."""
    alone_s: Interval | None
    """The same with the sharing of the node taken out."""
    failed_ratio: Interval | None
    """Share that ended without their answer, by Wilson's interval."""
    support: Interval | None
    """Mean of the weights over all requests of the model; None where propensities are not known."""
    all_alone_s: Interval | None
    """`alone_s` had all requests of the model gone there; None where that is not identifiable."""
    all_failed_ratio: Interval | None
    """`failed_ratio` had all gone there; None where that is not identifiable."""
    why: str
    """Why something is None; empty where all is known."""


def estimates(path: Path) -> tuple[Found, ...]:
    """Return what an episode of a run says of each model on each node; raises `TraceError` where the file is wrong."""
    log = read_log(path)
    outcomes = [one.outcome for one in log.requests if one.outcome is not None]
    served = {one.request: one for one in services_of(log.header, outcomes)}
    found = []
    for model in log.header.cluster.models:
        own = [one for one in outcomes if one.model == model.id and one.node is not None and one.attempts == 1]
        chosen = [one for one in own if one.status in ("finished", "failed")]
        found += [_found(model.id, node.id, chosen, served) for node in log.header.cluster.nodes]
    return tuple(found)


def _found(model: str, node: str, chosen: Sequence[Outcome], served: dict[str, Service]) -> Found:
    here = [one for one in chosen if one.node == node]
    finished = [one for one in here if one.status == "finished" and one.request in served]
    weights = _weights(here)
    support = None if weights is None else _support(weights, len(chosen))
    why = _why(weights, support, len(here))
    known = not why
    alone = np.array([served[one.request].attained_s for one in finished])
    failed = np.array([float(one.status == "failed") for one in here])
    of_finished = _weights(finished) if known else None
    return Found(
        model=model,
        node=node,
        requests=len(here),
        service_s=_mean(one.service_s or 0.0 for one in finished),
        alone_s=_mean(alone),
        failed_ratio=weighted_share(failed, np.ones(len(here))),
        support=support,
        all_alone_s=None if of_finished is None else weighted_mean(alone, of_finished),
        all_failed_ratio=weighted_share(failed, weights) if known and weights is not None else None,
        why=why,
    )


def _why(weights: Floats | None, support: Interval | None, count: int) -> str:
    """Return why what all would have taken is not identifiable; empty where it is."""
    if count < LEAST_REQUESTS:
        return f"{count} requests were sent there: too few"
    if weights is None or support is None:
        return "not identifiable: it is not known how likely they were sent there"
    if _effective(weights) < LEAST_REQUESTS:
        return f"not identifiable: {_effective(weights):.1f} requests carry all the weight"
    if support.high is not None and support.high < 1.0:
        return f"not identifiable: {1.0 - support.value:.0%} of the requests could not have gone there"
    if support.low is None or support.low < SUPPORT_FROM:
        return "not identifiable: too few requests to tell whether all could have gone there"
    return ""


def _weights(those: Sequence[Outcome]) -> Floats | None:
    """Return one over the probabilities; None where one is not known or nobody is there."""
    known = [one.propensity for one in those if one.propensity]
    return 1.0 / np.array(known) if known and len(known) == len(those) else None


def _support(weights: Floats, everyone: int) -> Interval:
    """Return the mean of the weights, which are 0 for those who went elsewhere."""
    value = float(weights.sum()) / everyone
    variance = (float((weights**2).sum()) - everyone * value * value) / max(1, everyone - 1)
    by = _t(everyone) * math.sqrt(max(0.0, variance) / everyone)
    return Interval(value, max(0.0, value - by), value + by)


def _effective(weights: Floats) -> float:
    """Return how many equally weighted requests say as much (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def _mean(values: Iterable[float]) -> Interval | None:
    sample = np.array(list(values))
    return weighted_mean(sample, np.ones(len(sample)))


def weighted_mean(values: Floats, weights: Floats) -> Interval | None:
    """Return a weighted mean, its error linearised (Cochran, Sampling Techniques, §6.3); None where too few."""
    count = _effective(weights)
    if count < LEAST_REQUESTS:
        return None
    value = float(weights @ values / weights.sum())
    error = math.sqrt(float(((weights * (values - value)) ** 2).sum())) / float(weights.sum())
    by = _t(count) * error * math.sqrt(count / (count - 1.0))
    return Interval(value, max(0.0, value - by), value + by)


def weighted_share(failed: Floats, weights: Floats) -> Interval | None:
    """Return a weighted share by Wilson's interval with the effective number of requests; None where too few."""
    count = _effective(weights)
    if count < LEAST_REQUESTS:
        return None
    share, z = float(weights @ failed / weights.sum()), float(stats.norm.ppf((1.0 + CONFIDENCE) / 2.0))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    by = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Interval(share, min(share, max(0.0, middle - by)), max(share, min(1.0, middle + by)))


def _t(count: float) -> float:
    return float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, max(1.0, count - 1.0)))
