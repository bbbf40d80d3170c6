"""A lower bound on the mean latency of a subject, whoever decides: CONTROL §4's linear program, its status checked.

The figure that it bounds is the scoreboard's: requests of the window, what is unfinished at its end counted with its
age. With `Limits.drain_s` it is another one: every request of the window is served, and counts until it is.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fairlead.contracts.cluster import ModelSpec, NodeSpec
from fairlead.contracts.errors import InputError
from fairlead.studies.bound_program import Batch, Sort, program
from fairlead.studies.linear import Floats, Program, Status, solve
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost, SpeedTurned
from fairlead.twin.requests import Arrival
from fairlead.twin.subjects import Subject

Source = Literal["program", "coarser-program", "service"]

BATCHES = 5
"""Into how many batches the requests of a model are parted by their work where it differs. On `city7-rotating-cv` at
load 0.8, seed 1, see docs/bounds.md."""

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
    window = subject.window
    demand = [one for one in subject.demand() if window.start_at_s <= one.at_s < window.end_at_s]
    if not demand:
        raise InputError(f"{subject.name}: no request arrives in the window, so there is no latency to bound")
    parts, answered = _parts(subject, demand), chosen.drain_s is not None
    network_s = _network_s(parts, answered)
    attempts: list[Attempt] = []
    for bin_s, drain_s in _finest_first(chosen, attempts):
        solved = solve(_program(subject, parts, bin_s, drain_s), chosen.time_limit_s)
        attempts.append(Attempt(bin_s, drain_s, solved.status))
        if solved.value is not None:
            mean_s = (solved.bound + network_s) / len(demand)
            gap_ratio = (solved.value - solved.bound) / max(solved.value, 1e-9)
            source: Source = "program" if bin_s == chosen.bin_s else "coarser-program"
            return Bound(subject.name, len(demand), mean_s, source, gap_ratio, tuple(attempts))
    mean_s = (_service_s(subject, parts, answered) + network_s) / len(demand)
    return Bound(subject.name, len(demand), mean_s, "service", None, tuple(attempts))


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


@dataclass(frozen=True, slots=True)
class _Part:
    """The requests of one model."""

    model: ModelSpec
    at_s: Floats
    """When each could be at a node, from the window's start, sorted."""
    work_s: Floats
    there_s: Floats
    """How long each is under way to a node at least, as far as that is inside the window."""
    back_s: Floats
    """How long its answer is under way to the client at least."""


def _parts(subject: Subject, demand: Sequence[Arrival]) -> list[_Part]:
    parts = []
    start_s, for_s = subject.window.start_at_s, _for_s(subject)
    for model in subject.cluster.models:
        own = [one for one in demand if one.model == model.id]
        if own:
            least = {site.id: _ways_s(subject, model, site.id) for site in subject.cluster.sites}
            ways = np.array([least[one.site] for one in own])
            sent_s = np.array([one.at_s for one in own]) - start_s
            there_s = np.minimum(ways[:, 0], for_s - sent_s)
            order = np.argsort(sent_s + there_s, kind="stable")
            work_s = np.array([one.work_s for one in own])
            parts.append(_Part(model, (sent_s + there_s)[order], work_s[order], there_s[order], ways[order, 1]))
    return parts


def _for_s(subject: Subject) -> float:
    return subject.window.end_at_s - subject.window.start_at_s


def _ways_s(subject: Subject, model: ModelSpec, site: str) -> tuple[float, float]:
    """Return the least seconds from a client to a node that can have the model, and back."""
    network = subject.network
    nearest_s = min(network.between_s[site][node.id] for node in subject.cluster.nodes if _fits(model, node))
    return network.up_s[model.id] + nearest_s, network.down_s[model.id] + nearest_s


def _fits(model: ModelSpec, node: NodeSpec) -> bool:
    return model.memory_bytes <= node.memory_bytes


def _network_s(parts: Sequence[_Part], answered: bool) -> float:
    """Return the seconds that requests are under way; their answers too where all are answered."""
    return sum(float(one.there_s.sum() + (one.back_s.sum() if answered else 0.0)) for one in parts)


def _service_s(subject: Subject, parts: Sequence[_Part], answered: bool) -> float:
    """Return the seconds of service that requests need by themselves, each on the fastest node."""
    total_s = 0.0
    for part in parts:
        fit = [node.id for node in subject.cluster.nodes if _fits(part.model, node)]
        turned = [what.speed for _, what in subject.mishaps if isinstance(what, SpeedTurned) and what.node in fit]
        fastest = max(*(node.speed for node in subject.cluster.nodes if node.id in fit), 0.0, *turned)
        needed_s = part.work_s / fastest
        total_s += float((needed_s if answered else np.minimum(needed_s, _for_s(subject) - part.at_s)).sum())
    return total_s


def _program(subject: Subject, parts: Sequence[_Part], bin_s: float, drain_s: float | None) -> Program:
    for_s = _for_s(subject) + (drain_s or 0.0)
    bins = math.ceil(for_s / bin_s)
    batches = [(part.model, batch) for part in parts for batch in _batches(part)]
    sorts = _sorts(subject, tuple(model for model, _ in batches), (for_s / bins, bins))
    return program([batch for _, batch in batches], sorts, for_s / bins, drained=drain_s is not None)


def _batches(part: _Part) -> list[Batch]:
    """Return requests of about the same work together; all of them where it does not differ."""
    edges = np.unique(np.quantile(part.work_s, np.linspace(0.0, 1.0, BATCHES + 1)[1:-1]))
    number = np.searchsorted(edges, part.work_s, side="left")
    inside = [number == one for one in np.unique(number)]
    return [Batch(part.at_s[those], part.work_s[those], part.model.concurrency) for those in inside]


def _sorts(subject: Subject, models: Sequence[ModelSpec], bins: tuple[float, int]) -> list[Sort]:
    """Return the nodes, those that are alike as one."""
    found: dict[tuple[object, ...], Sort] = {}
    for node in subject.cluster.nodes:
        course = tuple(_course(node, subject.mishaps, subject.window.start_at_s))
        fits = tuple(_fits(model, node) for model in models)
        before = found.get((course, fits))
        speed, seconds = _speeds(course, *bins) if before is None else (before.speed, before.seconds)
        found[course, fits] = Sort(speed, seconds, 1 if before is None else before.count + 1, fits)
    return list(found.values())


def _course(node: NodeSpec, mishaps: Iterable[tuple[float, Mishap]], start_at_s: float) -> list[tuple[float, float]]:
    """Return a node's speed from each instant on, from the window's start; 0 while it is down.

    Whatever else befalls a node takes from it: a bound may leave it out.
    """
    up, speed = True, node.speed
    course = [(0.0, speed)]
    for at_s, what in sorted((one for one in mishaps if one[1].node == node.id), key=lambda one: one[0]):
        match what:
            case NodeLost():
                up = False
            case NodeBack():
                up = True
            case SpeedTurned():
                speed = what.speed
        turn = (max(0.0, at_s - start_at_s), speed if up else 0.0)
        course = [*(one for one in course if one[0] < turn[0]), turn]
    return course


def _speeds(course: Sequence[tuple[float, float]], bin_s: float, bins: int) -> tuple[Floats, Floats]:
    """Return the highest speed in each bin, and the seconds at that speed that make up for all of it."""
    starts = np.arange(bins) * bin_s
    speed, work_s = np.zeros(bins), np.zeros(bins)
    for (from_s, one), (until_s, _) in zip(course, (*course[1:], (math.inf, 0.0)), strict=True):
        inside_s = np.clip(np.minimum(starts + bin_s, until_s) - np.maximum(starts, from_s), 0.0, None)
        speed = np.where(inside_s > 0.0, np.maximum(speed, one), speed)
        work_s += inside_s * one
    return speed, np.divide(work_s, speed, out=np.zeros(bins), where=speed > 0.0)
