"""The one door to numba: what it compiles runs uncompiled, and slowly, where it is not installed."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar, cast

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def installed() -> bool:
    """Tell whether there is a compiler."""
    return find_spec("numba") is not None


def native(function: Compiled) -> Compiled:
    """Return `function` compiled at its first call and kept on disk from then on.

    Numbers are IEEE doubles in the order written: nothing is reassociated, and a division by 0 gives inf as numpy's.
    """
    if not installed():
        return function
    from numba import njit

    return cast(Compiled, njit(cache=True, error_model="numpy")(function))
