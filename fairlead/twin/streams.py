"""Seeded streams of chance, one per purpose, so that a change to one draw never shifts another."""

import hashlib

import numpy as np


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """Return the stream of `purpose` under `seed`: the same draws on any machine and under any hash seed."""
    digest = hashlib.sha256("/".join((str(seed), *purpose)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
