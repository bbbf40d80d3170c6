"""Jain's index, the four readings and the objective (CONTROL §1)."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fairlead.contracts.tuning import Weights
from fairlead.policy.fairness import ModelStats, jain, normalised_jain, readings
from fairlead.policy.objective import Measured, objective

SHARES = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), max_size=8)


def stats(
    model: str, arrived: int, judged: int, timely: int, finished: int, unloaded_s: float = 2.0, sum_s: float = 0.0
) -> ModelStats:
    """Return what happened to one model."""
    return ModelStats(model, arrived, judged, timely, finished, unloaded_s, sum_s)


@given(SHARES)
def test_invariant_11_indices_lie_between_zero_and_one(xs: list[float]) -> None:
    """Raw and normalised; the normalised one is never above the raw one."""
    assert 0.0 <= normalised_jain(xs) <= jain(xs) + 1e-12 <= 1.0 + 1e-12


@given(SHARES, st.floats(1e-6, 1e6), st.randoms(use_true_random=False))
def test_invariant_11_scaling_and_reordering_change_nothing(
    xs: list[float], factor: float, order: random.Random
) -> None:
    """J'(kx) = J'(x), in whatever order."""
    scaled = [x * factor for x in xs]
    order.shuffle(scaled)
    assert normalised_jain(scaled) == pytest.approx(normalised_jain(xs), abs=1e-9)


@pytest.mark.parametrize(
    ("xs", "raw", "normalised"),
    [
        ([], 1.0, 1.0),
        ([0.7], 1.0, 1.0),
        ([0.0], 0.0, 0.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([1.0, 0.0], 0.5, 0.0),
        ([1.0, 1.0, 1.0], 1.0, 1.0),
        ([3.0, 1.0], 0.8, 0.6),
    ],
)
def test_known_values(xs: list[float], raw: float, normalised: float) -> None:
    """Nobody asked: 1; everybody asked and nobody got anything: 0; one alone: 1, or 0 if it got nothing."""
    assert jain(xs) == pytest.approx(raw)
    assert normalised_jain(xs) == pytest.approx(normalised)


def test_the_four_readings() -> None:
    """Models without arrivals are in none, those that are not judged yet not in x1."""
    found = readings(
        [
            stats("a", 10, 8, 8, 10, 2.0, 40.0),
            stats("b", 10, 8, 4, 5, 2.0, 40.0),
            stats("late", 1, 0, 0, 0, 2.0, 4.0),
            stats("silent", 0, 0, 0, 0, 2.0, 0.0),
        ]
    )
    assert found.x1 == pytest.approx(normalised_jain([1.0, 0.5]))
    assert found.x2 == pytest.approx(normalised_jain([1.0, 0.5, 0.0]))
    assert (found.x3, found.x4) == (1.0, 1.0)


def test_an_answer_in_no_time_has_no_slowdown() -> None:
    """Two models, one at its unloaded latency and one at 0 s: equally good."""
    assert readings([stats("a", 1, 1, 1, 1, 2.0, 2.0), stats("b", 1, 1, 1, 1, 2.0, 0.0)]).x3 == 1.0


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    """Each term lies between 0 and its weight."""
    found = objective(Measured(30.0, 60.0, 0.9, 7.0, 28.0, 0.5), Weights())
    assert [found.latency, found.fairness, found.churn, found.service] == pytest.approx([0.25, 0.05, 0.0125, 0.25])
    assert found.total == pytest.approx(0.5625)
    assert objective(Measured(600.0, 60.0, 0.0, 99.0, 28.0, 0.0), Weights()).total == pytest.approx(1.55)
