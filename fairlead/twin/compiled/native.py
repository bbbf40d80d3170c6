"""The one door to numba: what it compiles runs uncompiled, and slowly, where it is not installed."""

from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from types import FunctionType
from typing import Any, TypeVar, cast

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

    made = njit(cache=True, error_model="numpy")(function)
    kept = cast(Any, made)._cache._cache_file
    kept._source_stamp = _stamp(kept._source_stamp, function.__globals__)
    return cast(Compiled, made)


def _stamp(own: bytes, names: dict[str, object]) -> bytes:
    """Return what tells whether a function on disk is still the one of its source.

    Numba's own stamp is that of the function's file; a change of what the file takes from others would go unseen
    ("Caching limitations" in its manual). So what stands in the module by now, all that is imported, goes into it:
    stamps of compiled functions, numbers, and where `tables` finds what.
    """
    digest = sha256(own)
    for name, value in sorted(names.items()):
        if isinstance(value, int | float):
            digest.update(f"{name}={value!r};".encode())
        elif hasattr(value, "_cache"):
            digest.update(name.encode() + cast(Any, value)._cache._cache_file._source_stamp)
        elif hasattr(value, "_defn"):
            digest.update(f"{name}={_made_of(value._defn)};".encode())
    return digest.digest()


def _made_of(function: FunctionType) -> str:
    """Return what a function made inside another one has taken from there: offsets and layouts of records."""
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    return ";".join(_made_of(one) if isinstance(one, FunctionType) else repr(one) for one in held)
