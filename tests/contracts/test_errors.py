"""The error tree is the one that its docstring draws, and its codes are stable."""

import re

from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts import errors
from fairlead.contracts.errors import FOREIGN_CHARS, FairleadError, foreign


def _all(root: type[FairleadError]) -> list[type[FairleadError]]:
    return [root, *(below for child in root.__subclasses__() for below in _all(child))]


def test_tree_is_the_one_drawn() -> None:
    """Names and depths of the drawing are those of the classes."""
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)", line):
            drawn[found[2]] = len(found[1]) // 4
    depths = {one.__name__: len(one.__mro__) - FairleadError.__mro__.__len__() for one in _all(FairleadError)}
    assert {name: depth for name, depth in depths.items() if name in vars(errors)} == drawn


def test_codes_differ_and_are_names() -> None:
    """A code names one kind of error."""
    codes = [one.code for one in _all(FairleadError)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert all(400 <= one.status <= 599 for one in _all(FairleadError))


@given(st.text())
def test_foreign_text_is_bounded_and_on_one_line(text: str) -> None:
    """Whatever somebody else says fits a message of ours."""
    said = foreign(text)
    assert len(said) <= FOREIGN_CHARS
    assert "\n" not in said


def test_long_foreign_text_ends_with_an_ellipsis() -> None:
    """A cut is seen."""
    assert foreign("x" * 300) == "x" * 255 + "…"
    assert foreign("a\n  b") == "a b"
