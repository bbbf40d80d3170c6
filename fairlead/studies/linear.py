"""Linear programs by HiGHS, with a bound that does not rest on the solver's word.

Prices y of the rows, none below 0 where a row is "at most", give a bound from below: what they make of the right sides
and, for each unknown, the least of its reduced cost over its range (weak duality). It is computed here from the prices
that the solver returns: a wrong or loose answer makes the bound weaker, never wrong by more than a sum's rounding.
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

Status = Literal["optimal", "infeasible", "time-out", "failed"]

STATUS: dict[int, Status] = {0: "optimal", 1: "time-out", 2: "infeasible"}
"""What `scipy.optimize.linprog` says; any other number is `failed`."""

TOLERANCE = 1e-6
"""What HiGHS allows a row to be violated by (its `mip_feasibility_tolerance`); a mixed program's bound is taken so
much lower, relative to its own size and at least absolutely."""

METHODS = ("highs-ipm", "highs-ds")
"""In this order: interior points took 20 s where the simplex method took over 35 (`city7-rotating` at 0.8, bins of 2
and 4 s), but end now and then without an answer (status 4)."""

PRESOLVE = {"highs-ipm": False, "highs-ds": True}
"""HiGHS 1.12 solves our reduced programs, and fails as it leads the answer back to the whole one."""


@dataclass(frozen=True, slots=True)
class Program:
    """Least `besides` + `costs`·x for which `above` x ≤ `at_most`, `equal` x = `to` and 0 ≤ x ≤ `most`."""

    costs: Floats
    besides: float
    """What it costs in any case."""
    above: sparse.csr_array
    at_most: Floats
    equal: sparse.csr_array
    to: Floats
    most: Floats
    """Finite, and needed by the bound alone unless 0: rows and costs keep x below it by themselves."""


class Rows:
    """Rows of a sparse matrix while they are being written."""

    def __init__(self) -> None:
        self.count = 0
        self._row: list[Whole] = []
        self._column: list[Whole] = []
        self._value: list[Floats] = []
        self._right: list[Floats] = []

    def begin(self, right: Floats) -> Whole:
        """Return the numbers of new rows with these right sides."""
        rows = np.arange(self.count, self.count + len(right))
        self.count += len(right)
        self._right.append(right)
        return rows

    def put(self, rows: Whole, columns: Whole, values: Floats | float) -> None:
        """Write one coefficient for each of `rows`; a single row may have many columns."""
        shape = np.broadcast_shapes(rows.shape, columns.shape)
        self._row.append(np.broadcast_to(rows, shape))
        self._column.append(np.broadcast_to(columns, shape))
        self._value.append(np.broadcast_to(np.asarray(values, dtype=np.float64), shape))

    def matrix(self, columns: int) -> sparse.csr_array:
        """Return the rows written so far."""
        if not self._row:
            return sparse.csr_array((self.count, columns))
        entries = (np.concatenate(self._value), (np.concatenate(self._row), np.concatenate(self._column)))
        return sparse.csr_array(entries, shape=(self.count, columns))

    def right(self) -> Floats:
        """Return the right sides."""
        return np.concatenate(self._right) if self._right else np.zeros(0)


@dataclass(frozen=True, slots=True)
class Solved:
    """How a program was solved."""

    status: Status
    bound: float
    """No x costs less; −inf where the solver gave no prices."""
    value: float | None
    """What the solver's own x costs; None without one. `bound` is below it by the tolerances of the solver."""


def solve(program: Program, limit_s: float) -> Solved:
    """Solve a program within about `limit_s` seconds of this machine."""
    until_s = time.monotonic() + limit_s
    found = Solved("time-out", -np.inf, None)
    for method in METHODS:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return found
        found = _solve(program, method, left_s)
        if found.status != "failed":
            return found
    return found


def weak_dual(program: Program, above: Floats, equal: Floats) -> float:
    """Return a bound from below by the prices of both kinds of rows; those of "at most" count only where ≤ 0."""
    above = np.minimum(above, 0.0)
    reduced = program.costs - program.above.T @ above - program.equal.T @ equal
    right = float(above @ program.at_most) + float(equal @ program.to)
    return program.besides + right + float(np.minimum(reduced, 0.0) @ program.most)


def _solve(program: Program, method: str, limit_s: float) -> Solved:
    answer = linprog(
        program.costs,
        A_ub=program.above,
        b_ub=program.at_most,
        A_eq=program.equal,
        b_eq=program.to,
        bounds=np.stack([np.zeros_like(program.most), np.where(program.most > 0.0, np.inf, 0.0)], axis=1),
        method=method,
        options={"time_limit": limit_s, "presolve": PRESOLVE[method]},
    )
    status = STATUS.get(answer.status, "failed")
    if status != "optimal" or answer.x is None:
        return Solved("failed" if status == "optimal" else status, -np.inf, None)
    bound = weak_dual(program, np.asarray(answer.ineqlin.marginals), np.asarray(answer.eqlin.marginals))
    return Solved(status, bound, program.besides + float(answer.fun))


def solve_mixed(program: Program, whole: NDArray[np.bool_], limit_s: float) -> Solved:
    """Solve a program of which some unknowns are whole numbers, within about `limit_s` seconds of this machine.

    The bound is the solver's own, of its tree of linear programs: valid also where its time ends, but on its word.
    """
    answer = milp(
        program.costs,
        integrality=whole.astype(np.int64),
        bounds=Bounds(np.zeros_like(program.most), program.most),
        constraints=(
            LinearConstraint(program.above, -np.inf, program.at_most),
            LinearConstraint(program.equal, program.to, program.to),
        ),
        options={"time_limit": limit_s},
    )
    status = STATUS.get(answer.status, "failed")
    if answer.mip_dual_bound is None or answer.fun is None or not np.isfinite(answer.mip_dual_bound):
        return Solved("failed" if status == "optimal" else status, -np.inf, None)
    proved = float(answer.mip_dual_bound)
    lower = program.besides + proved - TOLERANCE * max(1.0, abs(proved))
    return Solved(status, lower, program.besides + float(answer.fun))
