"""Demand has the rates it is asked for, the figures it cites, and the same bytes for the same seed."""

import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.twin.clusters import cluster, default_ports, total_speed
from fairlead.twin.courses import Span
from fairlead.twin.demand import WORK_CV, Demand, Shape, draw, gap, lognormal_work, profile, until
from fairlead.twin.scenarios import scenario
from fairlead.twin.streams import stream
from tests.hash_seeds import run_under

CITY7 = cluster("city7", default_ports("city7"))

DIGEST = "from tests.twin.test_demand import digest; print(digest(7))"


def drawn(name: str, load: float, seed: int, end_s: float, shape: Shape | None = None) -> list[Demand]:
    """Return the requests of a scenario up to `end_s`."""
    chosen = scenario(name)
    where = cluster(chosen.cluster, default_ports(chosen.cluster))
    return list(until(draw(chosen.spans(where, load, seed), where, seed, shape), end_s))


def digest(seed: int) -> str:
    """Return a hash of demand of two scenarios."""
    both = [
        drawn(name, 0.8, seed, 3000, Shape("bursty", "lognormal")) for name in ("city7-rotating", "catalogue-roomy")
    ]
    return hashlib.sha256(repr(both).encode()).hexdigest()


def test_invariant_07_the_same_seed_gives_the_same_bytes_under_any_hash_seed() -> None:
    """Two interpreters with different hash seeds draw what this one draws; another seed draws something else."""
    for hash_seed in ("0", "1"):
        assert run_under(hash_seed, "-c", DIGEST).decode().strip() == digest(7)
    assert digest(8) != digest(7)


def test_a_change_to_one_draw_shifts_no_other() -> None:
    """Arrivals, sites and lengths are the same whether or not work is drawn: policies see common numbers."""
    plain = drawn("city7-rotating", 0.8, 3, 3000)
    noisy = drawn("city7-rotating", 0.8, 3, 3000, Shape(work="lognormal"))
    assert [(d.at_s, d.site, d.model, d.output_tokens) for d in plain] == [
        (d.at_s, d.site, d.model, d.output_tokens) for d in noisy
    ]
    assert [d.work_s for d in plain] != [d.work_s for d in noisy]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), load=st.floats(0.2, 1.0), bursty=st.booleans())
def test_requests_come_in_order_inside_their_spans_from_every_site(seed: int, load: float, bursty: bool) -> None:
    """Times never go back, ids are the cluster's, lengths are at least one token."""
    requests = drawn("city7-redraw", load, seed, 2400, Shape("bursty" if bursty else "poisson"))
    assert all(before.at_s <= after.at_s for before, after in itertools.pairwise(requests))
    assert {d.model for d in requests} <= {model.id for model in CITY7.models}
    assert {d.site for d in requests} <= {site.id for site in CITY7.sites}
    assert all(0 <= d.at_s < 2400 and d.prompt_tokens >= 1 and d.output_tokens >= 1 for d in requests)


@pytest.mark.parametrize("arrivals", ["poisson", "bursty"])
def test_the_offered_work_is_the_load(arrivals: str) -> None:
    """Over a long time, within five standard errors of the count of each model."""
    end_s = 240_000.0
    requests = drawn("city7-rotating", 0.8, 5, end_s, Shape("bursty" if arrivals == "bursty" else "poisson"))
    expected = dict(next(iter(scenario("city7-stationary").spans(CITY7, 0.8, 5))).rates)
    for model in CITY7.models:
        own = sum(d.model == model.id for d in requests)
        cv = profile(model).cv if arrivals == "bursty" else 1.0
        mean = 0.0
        for span in itertools.takewhile(lambda s: s.start_s < end_s, scenario("city7-rotating").spans(CITY7, 0.8, 5)):
            mean += dict(span.rates)[model.id] * (min(span.end_s, end_s) - span.start_s)
        assert abs(own - mean) < 5 * cv * math.sqrt(mean)
        assert expected[model.id] > 0
    assert sum(d.work_s for d in requests) / end_s / total_speed(CITY7) == pytest.approx(0.8, rel=0.05)


def test_a_poisson_stream_has_exponential_gaps() -> None:
    """Mean 1/rate and a coefficient of variation of 1."""
    spans = iter([Span(0.0, math.inf, (("small-text", 2.0),))])
    times = np.array([d.at_s for d in itertools.islice(draw(spans, CITY7, 1), 20_000)])
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.5, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("cv", [1.0, 1.7, 2.9])
def test_gaps_have_mean_one_and_the_cv_asked_for(cv: float) -> None:
    """Gamma inter-arrival times of ServeGen's CVs."""
    one = gap(cv, stream(1, "gap"))
    gaps = np.array([one() for _ in range(100_000)])
    assert gaps.mean() == pytest.approx(1.0, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_lognormal_work_keeps_its_mean() -> None:
    """Mean as given, cv 0.5."""
    draws = stream(1, "work")
    work = np.array([lognormal_work(8.0, WORK_CV, draws) for _ in range(50_000)])
    assert work.mean() == pytest.approx(8.0, rel=0.02)
    assert work.std() / work.mean() == pytest.approx(WORK_CV, rel=0.03)


@pytest.mark.parametrize("model", CITY7.models, ids=lambda model: model.id)
def test_lengths_have_the_published_percentiles(model: object) -> None:
    """Median and 95 % quantile of prompts are the cited ones."""
    one = profile(model)  # type: ignore[arg-type]
    draws = stream(1, "lengths")
    lengths = np.array([one.prompt.draw(draws) for _ in range(20_000)])
    p50, p95 = np.percentile(lengths, (50, 95))
    assert p50 == pytest.approx(one.prompt.p50, rel=0.06)
    assert p95 == pytest.approx(min(one.prompt.p95, one.prompt.most), rel=0.08)
    assert lengths.max() <= one.prompt.most


def test_models_that_are_never_asked_for_do_not_hold_up_the_others() -> None:
    """Sixteen of the catalogue's models are silent in a roomy regime, some for ever in a cycle."""
    assert len(drawn("catalogue-roomy-cycle", 0.6, 1, 7200)) > 1000
