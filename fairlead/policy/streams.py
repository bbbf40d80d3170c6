"""Chance for policies: numbers that depend on a seed and a place alone, the same on every machine and numpy.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np

from fairlead.policy.arrays import Whole

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed(value: int) -> int:
    """Return the 64 bits that SplitMix64 makes of `value`."""
    z = (value + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def seeded(*parts: int) -> int:
    """Return one 64-bit state made of several numbers, such as a seed, a purpose and a slot."""
    state = 0
    for part in parts:
        state = mixed(state ^ (part & MASK))
    return state


def unit(state: int) -> float:
    """Return the number in [0, 1) that 64 random bits amount to: their upper 53."""
    return (state >> 11) * 2.0**-53


def shuffled(count: int, state: int) -> Whole:
    """Return 0 … count − 1 in the random order that `state` fixes."""
    keys = np.array([mixed(state ^ mixed(k)) for k in range(count)], dtype=np.uint64)
    return np.argsort(keys, kind="stable").astype(np.int64)
