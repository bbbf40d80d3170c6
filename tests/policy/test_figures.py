"""Numbers as prompts show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.policy.figures import ABSENT, LARGEST, figure, line, mean, plain, tokens_most, total


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ABSENT),
        (0.0, "0"),
        (-0.0001, "0"),
        (0.0004, "0"),
        (0.0371, "0.037"),
        (0.0999, "0.1"),
        (0.371, "0.37"),
        (0.999, "1"),
        (3.74, "3.7"),
        (9.96, "10"),
        (37.4, "37"),
        (100.0, "100"),
        (371.4, "371"),
        (1e300, "99999"),
        (-12.6, "-13"),
    ],
)
def test_a_figure_is_short(value: float | None, words: str) -> None:
    """Two digits below ten, whole from there."""
    assert figure(value) == words


@given(st.floats(-LARGEST, LARGEST))
def test_a_figure_is_near(value: float) -> None:
    """Within 6 % or 0.0005, in at most six characters."""
    words = figure(value)
    assert len(words) <= 6
    assert abs(float(words) - value) <= max(0.0005, 0.06 * abs(value))
    assert "e" not in words


def test_a_line_says_how_many_it_stands_for() -> None:
    """Behind the alias; nothing for one."""
    assert line("n01", ("a",), (1.0, None)) == "n01 1 -"
    assert line("n02", ("b", "c"), (0.5,)) == "n02 x2 0.5"


def test_absent_is_not_zero() -> None:
    """The mean of nothing and the sum of nothing known are absent (DESIGN §8, invariant 10)."""
    assert (mean([]), total([]), total([None])) == (None, None, None)
    assert (mean([1.0, 2.0]), total([None, 2.0, 3.0])) == (1.5, 5.0)
    assert (plain(0.5, 2), plain(10.0, 0), plain(0.0, 2)) == ("0.5", "10", "0")


def test_tokens_are_counted_by_words_digits_and_marks() -> None:
    """A word of up to six letters with the space before it is one; so is a digit, a mark, a space before a digit."""
    assert tokens_most("n01 x12 0.5") == 3 + 3 + 1 + 3
    assert tokens_most("specialist at") == 2 + 1
    assert tokens_most("") == 0
