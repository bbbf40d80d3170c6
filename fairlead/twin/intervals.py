"""Intervals of a mean of few differences: Student's t, without a library.

Gosset, "The probable error of a mean", Biometrika 6 (1908); the distribution with whole degrees of freedom is a finite
sum: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

HALVINGS = 60
"""Of the interval in which a quantile is searched: to the last bits of a float."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and where it surely lies."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], miss: float) -> Interval:
    """Return the mean of at least two values and an interval that misses the true one with probability `miss`."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = quantile(1.0 - 0.5 * miss, count - 1) * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half)


def quantile(chance: float, degrees: int) -> float:
    """Return what t with `degrees` degrees of freedom is below with probability `chance`, 0.5 ≤ chance < 1."""
    low, high = 0.0, 1.0
    while within(high, degrees) < 2.0 * chance - 1.0:
        low, high = high, 2.0 * high
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if within(middle, degrees) < 2.0 * chance - 1.0 else (low, middle)
    return high


def within(t: float, degrees: int) -> float:
    """Return the probability that t with `degrees` degrees of freedom is between −t and t."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = degrees % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= square * (k - 1) / k
        total += term
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total
