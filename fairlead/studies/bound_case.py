"""What a bound is computed of: a subject's requests by model, and its nodes bin by bin."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.contracts.cluster import ModelSpec, NodeSpec
from fairlead.contracts.errors import InputError
from fairlead.studies.bound_program import Batch, Sort
from fairlead.studies.linear import Floats
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost, SpeedTurned
from fairlead.twin.requests import Arrival
from fairlead.twin.subjects import Subject

BATCHES = 2
"""Into how many batches the requests of a model are parted by their work where it differs. On the first quarter of an
hour of `city7-stationary-cv` at load 0.8, seed 1, bins of 4 s: 1, 2, 3 and 5 batches give 6.94, 7.08, 7.15 and (in
bins of 8 s) 7.23 s, and take 1.5, 4, 6 and 97 s."""


@dataclass(frozen=True, slots=True)
class Part:
    """The requests of one model."""

    model: ModelSpec
    at_s: Floats
    """When each could be at a node, from the window's start, sorted."""
    work_s: Floats
    there_s: Floats
    """How long each is under way to a node at least, as far as that is inside the window."""
    back_s: Floats
    """How long its answer is under way to the client at least."""


@dataclass(frozen=True, slots=True)
class Case:
    """A subject as it is bounded."""

    subject: Subject
    parts: tuple[Part, ...]
    """By model, those that nobody asks for left out."""

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(len(one.at_s) for one in self.parts)

    def network_s(self, answered: bool) -> float:
        """Return the seconds that requests are under way; their answers too where all are `answered`."""
        return sum(float(one.there_s.sum() + (one.back_s.sum() if answered else 0.0)) for one in self.parts)

    def service_s(self, answered: bool) -> float:
        """Return the seconds of service that requests need by themselves, each on the fastest node."""
        subject, total_s = self.subject, 0.0
        for part in self.parts:
            fit = [node.id for node in subject.cluster.nodes if fits(part.model, node)]
            turned = [what.speed for _, what in subject.mishaps if isinstance(what, SpeedTurned) and what.node in fit]
            fastest = max(*(node.speed for node in subject.cluster.nodes if node.id in fit), 0.0, *turned)
            needed_s = part.work_s / fastest
            total_s += float((needed_s if answered else np.minimum(needed_s, _for_s(subject) - part.at_s)).sum())
        return total_s

    def grid(self, bin_s: float, drain_s: float | None) -> "Grid":
        """Return bins of at most `bin_s` from the window's start to its end, or to the drain's."""
        for_s = _for_s(self.subject) + (drain_s or 0.0)
        bins = math.ceil(for_s / bin_s)
        return Grid(for_s / bins, bins)

    def batches(self) -> list[tuple[ModelSpec, Batch]]:
        """Return requests of about the same work together; all of a model where it does not differ."""
        return [(part.model, batch) for part in self.parts for batch in _batches(part)]

    def nodes(self, models: Sequence[ModelSpec], grid: "Grid", alike: bool) -> list[Sort]:
        """Return the nodes in order of id, or those that are `alike` as one; `models` are those of the batches."""
        found: dict[tuple[object, ...], Sort] = {}
        for node in self.subject.cluster.nodes:
            course = tuple(_course(node, self.subject.mishaps, self.subject.window.start_at_s))
            have = tuple(fits(model, node) for model in models)
            key = (course, have) if alike else (node.id,)
            before = found.get(key)
            speed, seconds = _speeds(course, grid) if before is None else (before.speed, before.seconds)
            found[key] = Sort(speed, seconds, 1 if before is None else before.count + 1, have)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Grid:
    """Bins of one length."""

    bin_s: float
    bins: int


def case_of(subject: Subject) -> Case:
    """Return a subject's case; raises `InputError` where nobody asks for anything in the window."""
    window = subject.window
    demand = [one for one in subject.demand() if window.start_at_s <= one.at_s < window.end_at_s]
    if not demand:
        raise InputError(f"{subject.name}: no request arrives in the window, so there is no latency to bound")
    return Case(subject, tuple(_parts(subject, demand)))


def fits(model: ModelSpec, node: NodeSpec) -> bool:
    """Tell whether a pod of a model fits on a node by itself."""
    return model.memory_bytes <= node.memory_bytes


def _parts(subject: Subject, demand: Sequence[Arrival]) -> list[Part]:
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
            parts.append(Part(model, (sent_s + there_s)[order], work_s[order], there_s[order], ways[order, 1]))
    return parts


def _for_s(subject: Subject) -> float:
    return subject.window.end_at_s - subject.window.start_at_s


def _ways_s(subject: Subject, model: ModelSpec, site: str) -> tuple[float, float]:
    """Return the least seconds from a client to a node that can have the model, and back."""
    network = subject.network
    nearest_s = min(network.between_s[site][node.id] for node in subject.cluster.nodes if fits(model, node))
    return network.up_s[model.id] + nearest_s, network.down_s[model.id] + nearest_s


def _batches(part: Part) -> list[Batch]:
    """Return requests of about the same work together; all of them where it does not differ."""
    edges = np.unique(np.quantile(part.work_s, np.linspace(0.0, 1.0, BATCHES + 1)[1:-1]))
    number = np.searchsorted(edges, part.work_s, side="left")
    inside = [number == one for one in np.unique(number)]
    return [Batch(part.at_s[those], part.work_s[those], part.model.concurrency) for those in inside]


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


def _speeds(course: Sequence[tuple[float, float]], grid: Grid) -> tuple[Floats, Floats]:
    """Return the highest speed in each bin, and the seconds at that speed that make up for all of it."""
    starts = np.arange(grid.bins) * grid.bin_s
    speed, work_s = np.zeros(grid.bins), np.zeros(grid.bins)
    for (from_s, one), (until_s, _) in zip(course, (*course[1:], (math.inf, 0.0)), strict=True):
        inside_s = np.clip(np.minimum(starts + grid.bin_s, until_s) - np.maximum(starts, from_s), 0.0, None)
        speed = np.where(inside_s > 0.0, np.maximum(speed, one), speed)
        work_s += inside_s * one
    return speed, np.divide(work_s, speed, out=np.zeros(grid.bins), where=speed > 0.0)
