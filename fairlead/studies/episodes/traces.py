"""Traces of real services as streams of rows: what all kinds have in common.

Rates of public traces far exceed an edge cluster, or fall short of it. Rows are kept with a fixed probability from a
seeded stream; where a trace has too few, stretches of it that follow one another are laid over each other. Time is
never compressed; a trace that is shorter than what is asked for begins again.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fairlead.contracts.errors import TraceError


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a trace."""

    at_s: float
    """Seconds since the trace's first row."""
    prompt_tokens: int | None
    output_tokens: int | None
    size: float | None
    """What its work is in proportion to: tokens that are generated, seconds of execution; None where not known."""


class Trace(Protocol):
    """A trace that requests can be taken from."""

    @property
    def kind(self) -> str:
        """`azure`, `servegen`, …."""

    @property
    def file(self) -> str:
        """Name of its file."""

    @property
    def lasts_s(self) -> float:
        """Length, after which it begins again."""

    @property
    def mean_size(self) -> float | None:
        """Mean of `Row.size`; None where it is not known."""

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that were chosen, where it has clients and not all were taken."""

    def expected(self, from_s: float, for_s: float) -> tuple[float, ...]:
        """Return how many rows there are in each stretch of `for_s` that follow one another from `from_s` on."""

    def kept(
        self, from_s: float, for_s: float, bounds: Sequence[float], draws: np.random.Generator
    ) -> Iterator[tuple[Row, int]]:
        """Yield a sample of the rows of a stretch, with times from its begin.

        Each row draws a number; it is yielded with the index of the first of `bounds` above it, if there is one.
        """


@dataclass(frozen=True, slots=True)
class FileTrace:
    """A file with a row for each request, which was read through once and is sound."""

    kind: str
    path: Path
    rows: Callable[[Path], Iterator[Row]]
    count: int
    lasts_s: float
    """From the first row to the last, and one mean gap more."""
    mean_size: float | None
    clients: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of its file."""
        return self.path.name

    def rate_per_s(self) -> float:
        """Return the mean rate."""
        return self.count / self.lasts_s

    def expected(self, from_s: float, for_s: float) -> tuple[float, ...]:
        """Return how many rows there are in each whole stretch, over one length of the trace."""
        if for_s >= self.lasts_s:
            return (self.rate_per_s() * for_s,)
        counts = [0] * int(self.lasts_s // for_s)
        for row in self.rows(self.path):
            at = int(((row.at_s - from_s) % self.lasts_s) // for_s)
            if at < len(counts):
                counts[at] += 1
        return tuple(float(one) for one in counts)

    def kept(
        self, from_s: float, for_s: float, bounds: Sequence[float], draws: np.random.Generator
    ) -> Iterator[tuple[Row, int]]:
        """Yield a sample of the rows of a stretch, beginning again where the trace ends."""
        turn = int(from_s // self.lasts_s)
        while turn * self.lasts_s < from_s + for_s:
            for row in self.rows(self.path):
                at_s = turn * self.lasts_s + row.at_s - from_s
                if at_s >= for_s:
                    break
                if at_s >= 0 and (chosen := bisect.bisect_right(bounds, draws.random())) < len(bounds):
                    yield Row(at_s, row.prompt_tokens, row.output_tokens, row.size), chosen
            turn += 1


def surveyed(kind: str, path: Path, rows: Callable[[Path], Iterator[Row]]) -> FileTrace:
    """Read a file through once and return it as a trace; raises `TraceError` at the first bad line."""
    count, sized, last_s, size = 0, 0, 0.0, 0.0
    for row in rows(path):
        if row.at_s < 0 or row.at_s < last_s:
            raise AssertionError(f"{path.name}: rows of kind {kind} went back in time")
        count, last_s = count + 1, row.at_s
        if row.size is not None:
            sized, size = sized + 1, size + row.size
    if count < 2 or last_s <= 0:
        raise TraceError(f"{path.name} has {count} rows over {last_s:g} s: at least two at different times are needed")
    return FileTrace(kind, path, rows, count, last_s * count / (count - 1), size / sized if sized else None)


def found(path: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the files of a data set at `path`: itself, or those of `names` that a directory has."""
    if not path.is_dir():
        return (path,)
    there = tuple(path / name for name in names if (path / name).is_file())
    if not there:
        raise TraceError(f"directory {path} has none of {', '.join(names)}: give one of them, or where they are")
    return there
