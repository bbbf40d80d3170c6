"""Intervals hold the true figure about as often as they say, and say nothing where nothing is known."""

import numpy as np
import pytest

from fairlead.studies.statistics import BOOTSTRAP_FROM, Interval, difference, mean, method, ratio


def test_one_seed_has_no_interval() -> None:
    """The value alone."""
    assert mean([3.0]) == Interval(3.0, None, None)
    assert ratio([3.0], [4.0]) == Interval(0.75, None, None)
    assert (method(1), method(2), method(BOOTSTRAP_FROM)) == ("none", "student-t", "bootstrap-bca")


def test_few_seeds_have_students_interval() -> None:
    """Mean ± t·s/√n: of 1, 2, 3 it is 2 ± 4.303·1/√3 (t of 2 degrees of freedom: 4.303)."""
    found = mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert (found.low, found.high) == pytest.approx((2.0 - 2.4843, 2.0 + 2.4843), abs=1e-3)


@pytest.mark.parametrize("seeds", [4, 20])
def test_what_is_equal_in_all_seeds_is_certain(seeds: int) -> None:
    """A policy that starts nothing starts nothing; a policy that is always twice as slow is."""
    assert mean([0.0] * seeds) == Interval(0.0, 0.0, 0.0)
    values = [1.0 + k for k in range(seeds)]
    assert ratio([2.0 * one for one in values], values) == Interval(2.0, 2.0, 2.0)
    assert difference(values, values) == Interval(0.0, 0.0, 0.0)
    assert ratio(values, [0.0] * seeds) is None


def test_pairing_by_seed_narrows_a_ratio() -> None:
    """Seeds differ by a tenth, policies by a hundredth: the paired interval is far narrower than that of a mean."""
    draws = np.random.default_rng(1)
    base = draws.lognormal(2.0, 0.1, 20)
    ours = base * 0.9 * draws.lognormal(0.0, 0.01, 20)
    found = ratio(list(ours), list(base))
    plain = mean(list(ours))
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.9 < found.high
    assert plain.low is not None
    assert plain.high is not None
    assert (found.high - found.low) / found.value < 0.3 * (plain.high - plain.low) / plain.value


@pytest.mark.parametrize(("seeds", "least"), [(5, 0.90), (20, 0.86)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(seeds: int, least: float) -> None:
    """Of 200 samples; 95 of 100 are wanted, Student's has them and the bootstrap of 20 comes near."""
    draws = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        found = mean(list(draws.lognormal(0.0, 0.1, seeds)))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= np.exp(0.005) <= found.high
    assert held >= least * 200


def test_shares_stay_shares() -> None:
    """Of nineteen perfect runs and a bad one the interval does not exceed 1."""
    found = mean([1.0] * 19 + [0.5])
    assert found.high is not None
    assert found.high <= 1.0
    assert found == mean([1.0] * 19 + [0.5])
