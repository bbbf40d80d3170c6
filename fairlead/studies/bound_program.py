"""The linear program whose optimum no policy's mean latency is below (CONTROL §4), as sparse matrices.

Time is cut into bins. Unknown are x, the seconds that nodes of one sort give to a batch of requests in a bin; u, the
work of a batch that is left at a bin's end, in units of its largest request; z and h, by how many request-seconds the
fluid of u falls short, in a bin and in all. Least is Σ (bin · u − early) + Σ h, where `early` is what u counts too much
because a bin's requests do not all come as it begins. What any policy does keeps every row:

- a node has its seconds once: Σ x ≤ bin · nodes, less where nodes are down;
- nobody is served before coming: u ≥ 0, where u = u before + what comes − Σ speed · x / largest;
- N(t), how many are there, is at least the work left, since no request is larger than the largest, and what is left of
  a bin's work at its end was left all the time since it came: ∫N ≥ bin · u − early;
- a pod that runs has a request: ∫N ≥ Σ x, so z ≥ Σ x − (bin · u − early), and h ≥ Σ z;
- someone in service counts whole though part of the work is done: over a whole service that is half its seconds or
  more on top of the work left: h ≥ ½ Σ x. Of a service that the end of time cuts short, with share f of its work
  done, the half is b/v · f(1 − f)/2 ≤ b/(8 v) too much: that is taken off, once for each place in a pod.

Start delays and memory beyond "fits alone" are left out, and so is all demand before the window: leaving them out only
helps a policy. Nodes of one sort are interchangeable, so that one unknown stands for their sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.studies.linear import Floats, Program, Rows, Whole


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests of one model with about as much work."""

    at_s: Floats
    """When each could be at a node, from the beginning of the first bin, sorted."""
    work_s: Floats
    """Of each, seconds of a node of speed 1."""
    concurrency: int

    @property
    def most_s(self) -> float:
        """The largest work among them."""
        return float(self.work_s.max())


@dataclass(frozen=True, slots=True)
class Sort:
    """Nodes that are alike to every batch."""

    speed: Floats
    """The highest in each bin; 0 where they are down for all of it."""
    seconds: Floats
    """What one of them does in each bin, in seconds at that speed."""
    count: int
    fits: tuple[bool, ...]
    """Whether it has the memory for a pod, for each batch."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which unknown stands where."""

    batches: int
    sorts: int
    bins: int

    def seconds(self, batch: int, sort: int) -> Whole:
        """Return the columns of x, one for each bin."""
        return np.arange(self.bins) + (batch * self.sorts + sort) * self.bins

    def left(self, batch: int) -> Whole:
        """Return the columns of u, one for each bin."""
        return np.arange(self.bins) + (self.batches * self.sorts + batch) * self.bins

    def over(self, batch: int) -> Whole:
        """Return the columns of z, one for each bin."""
        return np.arange(self.bins) + (self.batches * (self.sorts + 1) + batch) * self.bins

    def served(self, batch: int) -> Whole:
        """Return the column of h."""
        return np.array([self.batches * (self.sorts + 2) * self.bins + batch])

    @property
    def count(self) -> int:
        """How many unknowns there are."""
        return self.batches * ((self.sorts + 2) * self.bins + 1)


def program(batches: Sequence[Batch], sorts: Sequence[Sort], bin_s: float, drained: bool) -> Program:
    """Return the program of least request-seconds; `drained`: all must be served by the end of the last bin."""
    columns = Columns(len(batches), len(sorts), len(sorts[0].seconds))
    above, equal = Rows(), Rows()
    costs, most, early_s = np.zeros(columns.count), np.zeros(columns.count), 0.0
    for at, sort in enumerate(sorts):
        rows = above.begin(sort.count * sort.seconds)
        for number in range(len(batches)):
            above.put(rows, columns.seconds(number, at), 1.0)
            most[columns.seconds(number, at)] = sort.count * sort.seconds if sort.fits[number] else 0.0
    for number, batch in enumerate(batches):
        come, early = _come(batch, columns.bins, bin_s)
        pods_s = np.sum([sort.count * sort.seconds for sort in sorts if sort.fits[number]], axis=0)
        most[columns.left(number)] = np.cumsum(come)
        if drained:
            most[columns.left(number)[-1]] = 0.0
        most[columns.over(number)] = pods_s + early
        most[columns.served(number)] = (pods_s + early).sum()
        costs[columns.left(number)] = bin_s
        costs[columns.served(number)] = 1.0
        early_s += float(early.sum())
        _serve(equal, columns, number, come, [sort.speed / batch.most_s for sort in sorts])
        _count(above, columns, number, bin_s, early)
        _whole(above, columns, number, 0.0 if drained else _cut_short(number, batch, sorts))
    right = above.right(), equal.right()
    return Program(costs, -early_s, above.matrix(columns.count), right[0], equal.matrix(columns.count), right[1], most)


def _come(batch: Batch, bins: int, bin_s: float) -> tuple[Floats, Floats]:
    """Return what comes in each bin, in largest requests, and what it is less than if all came as the bin begins.

    The second is in request-seconds: each counts by how long after the bin's beginning it comes.
    """
    at = np.minimum((batch.at_s / bin_s).astype(np.intp), bins - 1)
    share = batch.work_s / batch.most_s
    come, early = np.zeros(bins), np.zeros(bins)
    np.add.at(come, at, share)
    np.add.at(early, at, share * (batch.at_s - at * bin_s))
    return come, early


def _cut_short(number: int, batch: Batch, sorts: Sequence[Sort]) -> float:
    """Return how much too long the halves of services that the end cuts short may be, request-seconds."""
    places = [sort for sort in sorts if sort.fits[number] and sort.speed.any()]
    each = sum(sort.count * batch.concurrency / float(sort.speed[sort.speed > 0].min()) for sort in places)
    return each * batch.most_s / 8.0


def _serve(equal: Rows, columns: Columns, number: int, come: Floats, rates: Sequence[Floats]) -> None:
    """Write u = u before + what comes − Σ speed · x / most."""
    rows, left = equal.begin(come), columns.left(number)
    equal.put(rows, left, 1.0)
    equal.put(rows[1:], left[:-1], -1.0)
    for at, rate in enumerate(rates):
        equal.put(rows, columns.seconds(number, at), rate)


def _count(above: Rows, columns: Columns, number: int, bin_s: float, early: Floats) -> None:
    """Write z ≥ Σ x − (bin · u − early)."""
    rows = above.begin(-early)
    above.put(rows, columns.left(number), -bin_s)
    above.put(rows, columns.over(number), -1.0)
    for at in range(columns.sorts):
        above.put(rows, columns.seconds(number, at), 1.0)


def _whole(above: Rows, columns: Columns, number: int, cut_s: float) -> None:
    """Write h ≥ Σ z and h ≥ ½ Σ x − what the end cuts short."""
    row = above.begin(np.zeros(1))
    above.put(row, columns.over(number), 1.0)
    above.put(row, columns.served(number), -1.0)
    row = above.begin(np.array([cut_s]))
    for at in range(columns.sorts):
        above.put(row, columns.seconds(number, at), 0.5)
    above.put(row, columns.served(number), -1.0)
