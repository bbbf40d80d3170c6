"""Demand: requests in order of time, drawn from a scenario's rates; the same bytes for the same seed.

As on the scoreboard (CONTROL §5) arrivals are Poisson with the scenario's rates and work is deterministic unless said
otherwise. Burstiness and token lengths follow published figures of production services:

- Xiang et al., "ServeGen", arXiv 2505.09999: rate-weighted CV of inter-arrival times and token percentiles of the
  services `m-small`, `m-large` and `mm-image`, which stand for small text, large text and vision-language.
- Lin et al., "Understanding Diffusion Model Serving in Production", SoCC 2025 (GenTD26): image requests.

The Azure 2023 trace (Patel et al., "Splitwise", ISCA 2024) is not imitated but played: see `fairlead.studies`.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.twin.courses import Span
from fairlead.twin.streams import stream

Z95 = 1.6448536269514722
"""95 % quantile of the standard normal distribution."""

WORK_CV = 0.5
"""Of lognormal work: the `-cv` variants of CONTROL §5."""

LARGE_TEXT_WORK_S = 5.0
"""A text model with at least this much work counts as large: between small-text's 2 s and large-text's 8 s."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One request that is to be made."""

    at_s: float
    """Domain seconds from the demand's start."""
    site: str
    model: str
    work_s: float
    """Compute that it takes, in seconds of a node of speed 1."""
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How requests are drawn from rates."""

    arrivals: Literal["poisson", "bursty"] = "poisson"
    """`bursty`: gamma inter-arrival times with the published CV of the model's kind, in place of exponential ones."""
    work: Literal["deterministic", "lognormal"] = "deterministic"
    """`lognormal` keeps the mean and has cv `WORK_CV`."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """A lognormal distribution of token counts by two published percentiles, cut at a third."""

    p50: float
    p95: float
    most: int
    """The published 99 % quantile: longer ones are cut, so that a body stays below 20 KB."""

    def sigma(self) -> float:
        """Return the standard deviation of the logarithm."""
        return math.log(self.p95 / self.p50) / Z95

    def draw(self, draws: np.random.Generator) -> int:
        """Return one length, at least 1."""
        return max(1, min(self.most, round(self.p50 * math.exp(self.sigma() * draws.standard_normal()))))


@dataclass(frozen=True, slots=True)
class Profile:
    """What is published of the requests of one kind of model."""

    prompt: Lengths
    output: Lengths
    cv: float
    """Of inter-arrival times."""


SMALL_TEXT = Profile(prompt=Lengths(39, 515, 1456), output=Lengths(3, 69, 141), cv=2.6)
"""ServeGen `m-small`, rate-weighted over clients."""

LARGE_TEXT = Profile(prompt=Lengths(449, 2405, 3730), output=Lengths(140, 503, 755), cv=2.9)
"""ServeGen `m-large`."""

VISION_LANGUAGE = Profile(prompt=Lengths(126, 2391, 3111), output=Lengths(94, 341, 605), cv=1.7)
"""ServeGen `mm-image`: text tokens of the prompt, without those of its images."""

IMAGE = Profile(prompt=Lengths(13, 29, 58), output=Lengths(1, 1, 1), cv=math.sqrt(2.0))
"""GenTD26. The CV is the square root of the dispersion of 30 s counts, 2.0, as for a renewal process over a long time
(Cox 1962); prompts have 51 / 117 / 230 characters at the three percentiles, taken as four to a token."""

REAL_SMALL = Profile(prompt=Lengths(24, 64, 96), output=Lengths(24, 48, 64), cv=1.0)
"""For a real model on a shared core at 40 tokens/s (DESIGN §4): ours, kept so short that an answer takes seconds."""


def profile(model: ModelSpec) -> Profile:
    """Return the published figures that stand for `model`."""
    if model.launch is not None and model.launch.launcher == "exec":
        return REAL_SMALL
    match model.kind:
        case "text":
            return LARGE_TEXT if model.work_s >= LARGE_TEXT_WORK_S else SMALL_TEXT
        case "vision-language":
            return VISION_LANGUAGE
        case "image":
            return IMAGE


def draw(spans: Iterator[Span], cluster: Cluster, seed: int, shape: Shape | None = None) -> Iterator[Demand]:
    """Yield the requests of `spans` in order of time; without end if the spans have none.

    Arrivals are those of a renewal process of mean 1 in rescaled time Λ(t) = ∫ rate (Brown et al. 2002, §2), which
    for exponential gaps is the nonhomogeneous Poisson process. Ties go by the model's id.
    """
    sources = {model.id: _Source(model, cluster, seed, shape or Shape()) for model in cluster.models}
    for span in spans:
        inside = [sources[model].within(span, rate) for model, rate in span.rates if rate > 0]
        yield from heapq.merge(*inside, key=lambda one: one.at_s)


def until(requests: Iterator[Demand], end_s: float) -> Iterator[Demand]:
    """Yield those of `requests` that come before `end_s`."""
    for one in requests:
        if one.at_s >= end_s:
            return
        yield one


def gap(cv: float, draws: np.random.Generator) -> Callable[[], float]:
    """Return a draw of inter-arrival times of mean 1: exponential for a CV of 1, else gamma with shape 1/cv²."""
    if cv == 1.0:
        return lambda: float(draws.standard_exponential())
    shape = 1.0 / (cv * cv)
    return lambda: float(draws.standard_gamma(shape)) / shape


def lognormal_work(mean_s: float, cv: float, draws: np.random.Generator) -> float:
    """Return work of mean `mean_s` and coefficient of variation `cv`."""
    variance = math.log1p(cv * cv)
    return mean_s * math.exp(math.sqrt(variance) * draws.standard_normal() - variance / 2)


class _Source:
    """The requests of one model: its streams of chance, and what is left of the gap to its next arrival."""

    def __init__(self, model: ModelSpec, cluster: Cluster, seed: int, shape: Shape) -> None:
        self._model = model
        self._profile = profile(model)
        self._sites = tuple(site.id for site in cluster.sites)
        self._lognormal = shape.work == "lognormal"
        self._place = stream(seed, "site", model.id)
        self._lengths = stream(seed, "lengths", model.id)
        self._work = stream(seed, "work", model.id)
        cv = self._profile.cv if shape.arrivals == "bursty" else 1.0
        self._gap = gap(cv, stream(seed, "arrivals", model.id))
        self._left = self._gap()

    def within(self, span: Span, rate: float) -> Iterator[Demand]:
        """Yield the requests of a span; the gap that reaches beyond its end goes on in the next."""
        at_s = span.start_s
        while at_s + self._left / rate < span.end_s:
            at_s += self._left / rate
            self._left = self._gap()
            yield self._request(at_s)
        self._left -= (span.end_s - at_s) * rate

    def _request(self, at_s: float) -> Demand:
        model = self._model
        work_s = lognormal_work(model.work_s, WORK_CV, self._work) if self._lognormal else model.work_s
        return Demand(
            at_s=at_s,
            site=self._sites[int(self._place.integers(len(self._sites)))],
            model=model.id,
            work_s=work_s,
            prompt_tokens=self._profile.prompt.draw(self._lengths),
            output_tokens=self._profile.output.draw(self._lengths),
        )
