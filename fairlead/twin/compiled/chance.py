"""Draws of ingresses: `policy.streams`, compiled; whole numbers, so the same bits."""

import numpy as np

from fairlead.twin.compiled.native import native

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Constants of SplitMix64, as in `policy.streams`; typed, for a signed number among them would make a float."""


@native
def mixed(value: np.uint64) -> np.uint64:
    """Return the 64 bits that SplitMix64 makes of `value`."""
    z = value + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@native
def unit(state: np.uint64) -> float:
    """Return the number in [0, 1) that the upper 53 bits amount to."""
    return float(state >> np.uint64(11)) * 2.0**-53


@native
def draws(seed: np.uint64, stream: np.uint64, request: int, attempt: int) -> tuple[float, float]:
    """Return the two numbers that an ingress draws for a ticket from one of its streams."""
    state = mixed(mixed(seed) ^ stream)
    state = mixed(state ^ np.uint64(request))
    state = mixed(state ^ np.uint64(attempt))
    return unit(state), unit(mixed(state))
