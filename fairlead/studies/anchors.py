"""Small cases in which memory and start delays decide, and how low a mean latency can be there.

The program is that of `bound_program` for each node by itself, with whole numbers more: c, 1 where a node's memory is
claimed for a pod of a model at an instant, every few bins.

- What is claimed fits: Σ memory · c ≤ the node's memory, at each of these instants.
- Who serves has started: a pod that is ready at some time inside a bin claims its memory since its start began, a
  start delay ago or more: x ≤ bin · c for each instant that is not after the bin's beginning and not more than a start
  delay before its end. What is claimed at the window's beginning may have been there all along.

Both hold of any run, whoever decides, so that the bound holds. HiGHS searches a tree of linear programs; what it has
proved when its time ends is a bound too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairlead.contracts.cluster import Cluster, Kind, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.errors import InputError
from fairlead.policy.measuring import Window
from fairlead.studies.bound_case import Case, Grid, case_of
from fairlead.studies.bound_program import Columns, program
from fairlead.studies.linear import Program, Rows, Status, Whole, solve_mixed
from fairlead.twin.requests import Arrival, at_once
from fairlead.twin.streams import stream
from fairlead.twin.subjects import Subject

MOST_NODES, MOST_MODELS = 3, 3
"""Larger cases are not solved to anything useful within minutes (CONTROL §4)."""

EVERY = 5
"""Bins from one instant at which memory is looked at to the next: bins of a second for what waits, and as few whole
numbers as starts of ten seconds and more allow."""

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Mixed:
    """No policy's mean latency is below `mean_s`, memory and starts considered."""

    subject: str
    requests: int
    mean_s: float
    status: Status
    """`time-out`: the bound holds, and might be tighter with more time."""
    gap_ratio: float
    """How far the best solution that was found is above the bound, of it."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A small case: nodes of 4 GB, and models of which not all fit together."""

    name: str
    speeds: tuple[float, ...]
    models: tuple[tuple[str, float, float, float], ...]
    """Id, memory in GB, work in s, start in s."""
    regimes: tuple[tuple[float, ...], ...]
    """Requests per second of each model, in turn."""
    regime_s: float


ANCHORS = (
    Anchor("one-node", (1.0,), (("a", 2.5, 4.0, 10.0), ("b", 2.5, 6.0, 15.0)), ((0.12, 0.01), (0.01, 0.08)), 150.0),
    Anchor(
        "two-nodes",
        (1.0, 1.0),
        (("a", 2.0, 4.0, 10.0), ("b", 3.0, 8.0, 20.0)),
        ((0.25, 0.05), (0.05, 0.15)),
        150.0,
    ),
    Anchor(
        "three-nodes",
        (0.6, 1.0, 1.4),
        (("a", 1.5, 2.0, 12.0), ("b", 2.5, 6.0, 20.0), ("c", 3.5, 12.0, 30.0)),
        ((0.4, 0.08, 0.05), (0.1, 0.2, 0.03), (0.2, 0.05, 0.1)),
        120.0,
    ),
)
"""Own choice: the smallest cases in which a node cannot hold what it would like to, at loads from 0.5 to 0.75."""

BY_NAME = MappingProxyType({one.name: one for one in ANCHORS})


def anchor(name: str, seed: int) -> Subject:
    """Return an anchor with Poisson arrivals; raises `InputError` where there is none of that name."""
    if name not in BY_NAME:
        raise InputError(f"no anchor is named {name[:64]!r}: there are {', '.join(BY_NAME)}")
    one = BY_NAME[name]
    shape = _cluster(one)
    end_s = one.regime_s * len(one.regimes)
    return Subject(name, shape, at_once(shape), _demand(one, seed), Window(0.0, end_s))


def mixed_bound(subject: Subject, bin_s: float, limit_s: float) -> Mixed:
    """Return a lower bound on the mean latency of a small subject, memory and start delays considered.

    Raises `InputError` where it is too large, or nobody asks for anything in its window.
    """
    nodes, models = len(subject.cluster.nodes), len(subject.cluster.models)
    if nodes > MOST_NODES or models > MOST_MODELS:
        raise InputError(
            f"{subject.name} has {nodes} nodes and {models} models: a mixed program is for {MOST_NODES} and "
            f"{MOST_MODELS} at most; use the linear one"
        )
    case = case_of(subject)
    whole, chosen = _program(case, bin_s)
    solved = solve_mixed(whole, chosen, limit_s)
    if solved.value is None:
        raise InputError(f"{subject.name}: nothing was proved in {limit_s:g} s: allow more time or coarser bins")
    mean_s = (solved.bound + case.network_s(answered=False)) / case.requests
    gap_ratio = (solved.value - solved.bound) / max(solved.bound, 1e-9)
    return Mixed(subject.name, case.requests, mean_s, solved.status, gap_ratio)


def _program(case: Case, bin_s: float) -> tuple[Program, NDArray[np.bool_]]:
    """Return the program, and which of its unknowns are whole numbers."""
    grid, batches = case.grid(bin_s, None), case.batches()
    asked = [model for model, _ in batches]
    sorts = case.nodes(asked, grid, alike=False)
    fluid = program([batch for _, batch in batches], sorts, grid.bin_s, drained=False)
    columns, models = Columns(len(batches), len(sorts), grid.bins), [part.model for part in case.parts]
    claims, above = -(-grid.bins // EVERY), Rows()

    def claimed(node: int, model: ModelSpec) -> Whole:
        return np.arange(claims) + columns.count + (node * len(models) + models.index(model)) * claims

    for at, node in enumerate(case.subject.cluster.nodes):
        room = above.begin(np.ones(claims))
        for model in models:
            above.put(room, claimed(at, model), model.memory_bytes / node.memory_bytes)
        for number, (model, _) in enumerate(batches):
            bins, instants = _needed(grid, _start_s(model, node))
            rows = above.begin(np.zeros(len(bins)))
            above.put(rows, columns.seconds(number, at)[bins], 1.0)
            above.put(rows, claimed(at, model)[instants], -sorts[at].seconds[bins])
    total = columns.count + len(sorts) * len(models) * claims
    return _joined(fluid, above, total), np.arange(total) >= columns.count


def _start_s(model: ModelSpec, node: NodeSpec) -> float:
    """Return the least time that a start takes."""
    return model.wake_delay_s if node.host_memory_bytes else model.start_delay_s


def _needed(grid: Grid, start_s: float) -> tuple[Whole, Whole]:
    """Return pairs of a bin and an instant at which memory is claimed by who serves in that bin."""
    instants = np.arange(-(-grid.bins // EVERY))[None, :]
    bins = np.arange(grid.bins)[:, None]
    found = (instants * EVERY <= bins) & (instants * EVERY * grid.bin_s >= (bins + 1) * grid.bin_s - start_s)
    pairs = np.nonzero(found)
    return pairs[0], pairs[1]


def _joined(fluid: Program, above: Rows, total: int) -> Program:
    """Return the program with more unknowns, from 0 to 1, and more rows."""
    more = total - len(fluid.costs)
    wider = sparse.csr_array((fluid.above.shape[0], more))
    below = sparse.csr_array((fluid.equal.shape[0], more))
    return replace(
        fluid,
        costs=np.concatenate([fluid.costs, np.zeros(more)]),
        above=sparse.csr_array(sparse.vstack([sparse.hstack([fluid.above, wider]), above.matrix(total)])),
        at_most=np.concatenate([fluid.at_most, above.right()]),
        equal=sparse.csr_array(sparse.hstack([fluid.equal, below])),
        most=np.concatenate([fluid.most, np.ones(more)]),
    )


def _cluster(one: Anchor) -> Cluster:
    kind: Kind = "text"
    launch = Launch(launcher="warm-parent", command=("{python}",))
    return Cluster(
        nodes=tuple(
            NodeSpec(id=f"node-{at}", memory_bytes=4 * GB, speed=speed, keeper_url=f"http://127.0.0.1:{8710 + at}")
            for at, speed in enumerate(one.speeds, start=1)
        ),
        models=tuple(
            ModelSpec(
                id=name, kind=kind, memory_bytes=round(gb * GB), work_s=work_s, start_delay_s=start_s, launch=launch
            )
            for name, gb, work_s, start_s in one.models
        ),
        sites=(SiteSpec(id="site-1", node=None, url="http://127.0.0.1:8781"),),
    )


def _demand(one: Anchor, seed: int) -> Callable[[], Iterator[Arrival]]:
    def demand() -> Iterator[Arrival]:
        found = [arrival for at, model in enumerate(one.models) for arrival in _arrivals(one, seed, at, model[0])]
        yield from sorted(found, key=lambda arrival: arrival.at_s)

    return demand


def _arrivals(one: Anchor, seed: int, at: int, model: str) -> Sequence[Arrival]:
    """Return the requests of one model: Poisson, with the rate of the regime."""
    draws, found = stream(seed, "anchor", one.name, model), []
    for number, rates in enumerate(one.regimes):
        begin_s = number * one.regime_s
        count = int(draws.poisson(rates[at] * one.regime_s))
        instants = sorted(float(part) for part in draws.uniform(begin_s, begin_s + one.regime_s, count))
        found += [Arrival(at_s, "site-1", model, one.models[at][2]) for at_s in instants]
    return found
