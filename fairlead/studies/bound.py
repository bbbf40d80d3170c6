"""A lower bound on the mean latency of a subject, whoever decides: CONTROL §4's linear program, its status checked.

The figure that it bounds is the scoreboard's: requests of the window, what is unfinished at its end counted with its
age. With `Limits.drain_s` it is another one: every request of the window is served, and counts until it is.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.errors import InputError
from fairlead.studies.bound_case import Case, case_of
from fairlead.studies.bound_program import program
from fairlead.studies.linear import Program, Status, solve
from fairlead.twin.subjects import Subject

Source = Literal["program", "coarser-program", "service"]

LARGEST_BIN_S = 60.0
"""Coarser bins than this say little more than `service` does: the largest work on our clusters is 24 s."""

LONGEST_DRAIN = 32
"""How many times the drain may double in all: as long as five windows from ten minutes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much effort a bound is worth."""

    bin_s: float = 2.0
    """Finer bins give a tighter bound and a larger program; doubled where it is not solved in time."""
    time_limit_s: float = 300.0
    """Wall seconds for one program."""
    drain_s: float | None = None
    """All must be served by then after the window, doubled where that cannot be; None: as the scoreboard counts."""

    def check(self) -> None:
        """Raise `InputError` unless all are above 0."""
        for name, value in (("bin", self.bin_s), ("time limit", self.time_limit_s), ("drain", self.drain_s)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} of {value:g} s: give a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One program that was tried."""

    bin_s: float
    drain_s: float | None
    status: Status


@dataclass(frozen=True, slots=True)
class Bound:
    """No policy's mean latency is below `mean_s`."""

    subject: str
    requests: int
    """Of the window."""
    mean_s: float
    source: Source
    """Which bound it is: of the program that was asked for, of one with coarser bins, or only what each request needs
    by itself on the fastest node, because no program was solved in time."""
    gap_ratio: float | None
    """How far the solver's own optimum is above what its prices prove, of it; None without a program."""
    attempts: tuple[Attempt, ...]


def lp_bound(subject: Subject, limits: Limits | None = None) -> Bound:
    """Return a lower bound on the mean latency of a subject, network included.

    Raises `InputError` where nobody asks for anything in the window, and where limits are none.
    """
    chosen = limits or Limits()
    chosen.check()
    case, answered = case_of(subject), chosen.drain_s is not None
    network_s = case.network_s(answered)
    attempts: list[Attempt] = []
    for bin_s, drain_s in _finest_first(chosen, attempts):
        solved = solve(_program(case, bin_s, drain_s), chosen.time_limit_s)
        attempts.append(Attempt(bin_s, drain_s, solved.status))
        if solved.value is not None:
            mean_s = (solved.bound + network_s) / case.requests
            gap_ratio = (solved.value - solved.bound) / max(solved.value, 1e-9)
            source: Source = "program" if bin_s == chosen.bin_s else "coarser-program"
            return Bound(subject.name, case.requests, mean_s, source, gap_ratio, tuple(attempts))
    mean_s = (case.service_s(answered) + network_s) / case.requests
    return Bound(subject.name, case.requests, mean_s, "service", None, tuple(attempts))


def _finest_first(limits: Limits, attempts: Sequence[Attempt]) -> Iterator[tuple[float, float | None]]:
    """Yield bins and drain to try, coarser or longer as the last of `attempts` needs it, while that makes sense."""
    bin_s, drain_s = limits.bin_s, limits.drain_s
    while bin_s <= max(LARGEST_BIN_S, limits.bin_s):
        yield bin_s, drain_s
        if attempts[-1].status != "infeasible":
            bin_s *= 2.0
        elif drain_s is not None and limits.drain_s is not None and drain_s < LONGEST_DRAIN * limits.drain_s:
            drain_s *= 2.0
        else:
            return


def _program(case: Case, bin_s: float, drain_s: float | None) -> Program:
    grid, batches = case.grid(bin_s, drain_s), case.batches()
    sorts = case.nodes([model for model, _ in batches], grid, alike=True)
    return program([batch for _, batch in batches], sorts, grid.bin_s, drained=drain_s is not None)
