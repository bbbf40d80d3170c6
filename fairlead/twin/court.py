"""Where proposals are judged: candidates and the fallback meet the same demands, and what is played is counted.

What a branch takes is measured by whoever plays it (`Means.left`): the situation is laid out, a slot of it is played,
then the fallback on its first demand, which is needed in any case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fairlead.twin.branching import Branch, Candidate, Demand, Situation, objective_of
from fairlead.twin.requests import Network
from fairlead.twin.scenes import Outlook, scene

USUAL_NODES = 7
"""Of `city7`: in a cluster of twice as many a request costs twice as much, for each decision looks at all nodes."""

Left = Callable[[], float | None]
"""Tells how many more requests of the cluster in question may be played; None before any was."""


@dataclass(frozen=True, slots=True)
class Means:
    """What proposals are judged with."""

    branch: Branch
    left: Left | None = None
    """By the clock; without one `GateSettings.requests_most` counts, so that the same is played again."""
    network: Network | None = None
    """Of the cluster in question; None is `twin.network`'s, which takes a second to draw for 1000 nodes."""
    fresh: bool = True
    """Whether ingresses and slot agent know of each change at once; else every few seconds."""


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one demand."""

    objective: float
    """F."""
    latency_s: float


@dataclass(slots=True)
class World:
    """Demand of one outlook, and what the fallback makes of it; nothing is drawn or played twice."""

    given: Outlook
    demands: list[Demand] = field(default_factory=list)
    fallback: list[Score] = field(default_factory=list)


@dataclass(slots=True)
class Contender:
    """A candidate, and what came of it on the demands that it was played on."""

    name: str
    candidate: Candidate
    world: World | None
    """What it expects, where the forecast would be surprised by that."""
    plain: list[Score] = field(default_factory=list)
    hoped: list[Score] = field(default_factory=list)
    """In its own world."""


@dataclass(slots=True)
class Court:
    """What all candidates are played in."""

    situation: Situation
    base: Candidate
    until_s: float
    means: Means
    plain: World
    most: float
    """Requests that may be played without a clock."""
    played: int = 0
    """Requests."""
    cut_short: bool = False
    """Whether candidates were to be played on more demands than there was time for."""

    def play_on(self, contenders: Sequence[Contender], times: int, least: int) -> bool:
        """Play these on so many further demands while there is time, on `least` in any case; tell whether on all."""
        for k in range(times):
            if k >= least and self.times(contenders) < 1.0:
                self.cut_short = True
                return False
            for one in contenders:
                self._play(one.candidate, self.plain, one.plain)
                if one.world is not None:
                    self._play(one.candidate, one.world, one.hoped)
        return True

    def measure(self) -> None:
        """Lay the situation out and play a slot of it, where it is not known what playing takes."""
        if self._left() is None:
            slot_s, now_s = self.situation.settings.slot_s, self.situation.now_s
            demand = tuple(one for one in self._demand(self.plain, 0) if one.at_s < now_s + slot_s)
            self.means.branch(self.situation, self.base, (), now_s)
            self.means.branch(self.situation, self.base, demand, now_s + slot_s)

    def times(self, contenders: Sequence[Contender]) -> float:
        """Return on how many further demands these, and the fallback, can be played."""
        return (self._left() or 0.0) / (self.requests() * (1 + sum(weight(one) for one in contenders)))

    def requests(self) -> float:
        """Return how many requests there are in a branch, about."""
        models = self.situation.snapshot.models
        pods = sum(pod.count for node in self.situation.snapshot.nodes for pod in node.pods)
        return max(1.0, float(self.plain.given.expected.sum()) + sum(one.held for one in models) + pods)

    def begin(self) -> None:
        """Play the fallback on the first demand: what that takes, the others will."""
        if not self.plain.fallback:
            self._meet(self.plain)

    def _left(self) -> float | None:
        return self.most - self.played if self.means.left is None else self.means.left()

    def _play(self, candidate: Candidate, world: World, found: list[Score]) -> None:
        """Play a candidate on one more demand, and the fallback where it was not yet."""
        if len(found) == len(world.fallback):
            self._meet(world)
        found.append(self._score(candidate, world.demands[len(found)]))

    def _meet(self, world: World) -> None:
        """Draw one more demand, and play the fallback on it."""
        world.demands.append(self._demand(world, len(world.demands)))
        world.fallback.append(self._score(self.base, world.demands[-1]))

    def _demand(self, world: World, k: int) -> Demand:
        # worlds of one situation differ in their rates alone, so that what chance there is they share
        return scene(world.given, self.situation.seed, int(self.situation.now_s), k)

    def _score(self, candidate: Candidate, demand: Demand) -> Score:
        found = self.means.branch(self.situation, candidate, demand, self.until_s)
        self.played += found.arrived
        weights = self.situation.settings.weights
        return Score(objective_of(found, self.situation.cluster, weights).total, found.latency_s)


def weight(one: Contender) -> int:
    """Return how many branches a demand of a candidate takes: of one that is judged twice, and the fallback there."""
    return 1 if one.world is None else 3
