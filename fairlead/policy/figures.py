"""Numbers as a prompt shows them: two digits, or whole from ten on; a digit is a token to many models."""

import re
from collections.abc import Iterable, Sequence

ABSENT = "-"
"""Stands where there is no reading: absent is not zero (DESIGN §8, invariant 10)."""

LARGEST = 99_999.0
"""Larger figures, either way, are shown as this one."""

MINUTE_S = 60.0
"""Rates are shown per minute: λ of an edge is some hundredths a second."""

PIECE = re.compile(r" ?[A-Za-z]+|\s|[^A-Za-z\s]")
"""What is at least one token: a run of letters with the space before it, any other character."""

PIECE_LETTERS = 6
"""A token for each so many letters of a run. Measured with the tokeniser of SmolLM2-135M, 2026-11-21: of the rendered
user parts from 7 × 4 to 1000 × 100 this counts 1 to 5 % too many tokens, of the system parts 17 to 24 %, nowhere too
few. It splits numbers into digits; tokenisers that do not need fewer tokens."""


def tokens_most(text: str) -> int:
    """Return how many tokens a prompt's text has at most; it is ASCII."""
    return sum(1 + max(0, len(piece.strip()) - 1) // PIECE_LETTERS for piece in PIECE.findall(text))


def figure(value: float | None) -> str:
    """Return `value` in at most six characters: 0.037, 0.37, 3.7, 37, 371; below 0.0005 it is 0."""
    if value is None:
        return ABSENT
    size = min(abs(value), LARGEST)
    digits = 0 if size >= 9.95 else 1 if size >= 0.995 else 2 if size >= 0.0995 else 3
    words = plain(size, digits)
    return f"-{words}" if value < 0.0 and words != "0" else words


def plain(value: float, digits: int) -> str:
    """Return `value` with at most `digits` digits behind the point, without zeros at its end."""
    words = f"{value:.{digits}f}"
    return words.rstrip("0").rstrip(".") if digits else words


def line(alias: str, ids: Sequence[str], columns: Iterable[float | None]) -> str:
    """Return a line of a table; where the alias stands for several, `x` and how many come behind it."""
    many = [f"x{len(ids)}"] if len(ids) > 1 else []
    return " ".join([alias, *many, *(figure(c) for c in columns)])


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return sum(values) / len(values) if values else None


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum of what is known; None where nothing is."""
    known = [v for v in values if v is not None]
    return sum(known) if known else None
