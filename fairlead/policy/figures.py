"""Numbers as a prompt shows them: two digits, or whole from ten on; a digit is a token to many models."""

ABSENT = "-"
"""Stands where there is no reading: absent is not zero (DESIGN §8, invariant 10)."""

MINUTE_S = 60.0
"""Rates are shown per minute: λ of an edge is some hundredths a second."""

LARGEST = 99_999.0
"""Larger figures, either way, are shown as this one."""


def figure(value: float | None) -> str:
    """Return `value` in at most six characters: 0.037, 0.37, 3.7, 37, 371; below 0.0005 it is 0."""
    if value is None:
        return ABSENT
    size = min(abs(value), LARGEST)
    digits = 0 if size >= 9.95 else 1 if size >= 0.995 else 2 if size >= 0.0995 else 3
    words = f"{size:.{digits}f}"
    words = words.rstrip("0").rstrip(".") if digits else words
    return f"-{words}" if value < 0.0 and words != "0" else words


def probability(value: float) -> str:
    """Return a probability with two digits behind the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
