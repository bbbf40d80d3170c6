"""Tables of a run by the address of its world: what is compiled is handed one number in place of thirty arrays.

Numba passes an array as seven arguments and counts who holds it; functions that pass all of a run to one another took
minutes to compile and most of the time of a run (measured 2026-11: 172 s, 45 µs a request). A record is a pointer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fairlead.twin.compiled.native import installed

At = Callable[..., Any]
"""Called with a world's address and one to three indices by what is compiled: the record, to be read and written."""


def table(world: np.dtype[Any], name: str, record: np.dtype[Any], *sizes: str) -> At:
    """Return how to come from the address of a `world` to a record of one of its tables.

    `name` is the field with the table's address; of a table with several indices `sizes` are the fields that say how
    long it is along the second and the third. Nothing looks whether an index is in the table.
    """
    if not installed():
        return _nothing
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba import from_dtype, types
    from numba.extending import intrinsic

    kind, word = from_dtype(record), ir.IntType(64)
    fields = world.fields
    assert fields is not None
    offsets = [int(fields[one][1]) for one in (name, *sizes)]

    def load(builder: Any, address: Any, offset: int) -> Any:
        where = builder.add(address, ir.Constant(word, offset))
        return builder.load(builder.inttoptr(where, word.as_pointer()))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row = args[1]
        for offset, index in zip(offsets[1:], args[2:], strict=True):
            row = builder.add(builder.mul(row, load(builder, args[0], offset)), index)
        bytes_in = builder.mul(row, ir.Constant(word, record.itemsize))
        where = builder.add(load(builder, args[0], offsets[0]), bytes_in)
        return builder.inttoptr(where, context.get_value_type(kind))

    def one(typing: Any, w: Any, i: Any) -> Any:
        return kind(types.int64, types.int64), codegen

    def two(typing: Any, w: Any, i: Any, j: Any) -> Any:
        return kind(types.int64, types.int64, types.int64), codegen

    def three(typing: Any, w: Any, i: Any, j: Any, k: Any) -> Any:
        return kind(types.int64, types.int64, types.int64, types.int64), codegen

    made: At = intrinsic((one, two, three)[len(sizes)])
    return made


def whole(world: np.dtype[Any]) -> At:
    """Return how to come from the address of a `world` to itself."""
    if not installed():
        return _nothing
    from numba import from_dtype, types
    from numba.extending import intrinsic

    kind = from_dtype(world)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    def itself(typing: Any, w: Any) -> Any:
        return kind(types.int64), codegen

    made: At = intrinsic(itself)
    return made


def _nothing(w: int, *indices: int) -> Any:
    raise RuntimeError("the compiled core needs numba: ask `native.installed` first, the reference engine serves")
