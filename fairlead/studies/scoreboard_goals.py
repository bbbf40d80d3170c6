"""What CONTROL §6 asks of the policies, measure by measure, and what the scoreboard says to it."""

from dataclasses import dataclass
from typing import Literal

from fairlead.studies.ablation import CITY7, CROWDED_CYCLE, CYCLE, FALLBACK, HOSTILE, PLACEBO, RANDOM, STAND_IN
from fairlead.studies.scoreboard import BOUND, ORACLE, Column, Scoreboard
from fairlead.studies.statistics import Interval, mean, ratio

Figure = Literal["mean_s", "after_change_s", "objective", "x1", "starts_per_hour"]


@dataclass(frozen=True, slots=True)
class Goal:
    """One number that is asked for."""

    scenario: str
    load: float
    policy: str
    limit: float
    prototype: str
    """What CONTROL's own simulator reached."""
    against: str | None = None
    """The figure relative to this policy's; None for the figure itself."""
    figure: Figure = "mean_s"
    against_in: str | None = None
    """Scenario that the other one played; None for the same."""
    at_least: bool = False
    """More is better."""
    agents: bool = False
    """Stands in the tables of what agents add."""

    def measured(self, board: Scoreboard) -> Interval | None:
        """Return what it is on a board; None where it was not played."""
        table = board.table(self.scenario, self.load, agents=self.agents)
        ours = None if table is None else table.column(self.policy)
        if table is None or ours is None:
            return None
        if self.against is None:
            return mean(getattr(ours, self.figure))
        other = table if self.against_in is None else board.table(self.against_in, self.load)
        theirs = None if other is None else other.column(self.against)
        return None if theirs is None else paired(ours, theirs, self.figure)

    def reached(self, found: Interval) -> bool:
        """Tell whether a value is what is asked for."""
        return found.value >= self.limit if self.at_least else found.value <= self.limit


def paired(ours: Column, theirs: Column, figure: Figure = "mean_s") -> Interval | None:
    """Return the ratio of means of a figure over the seeds that both have it of; None where they share none."""
    mine, other = ours.by_seed(figure), theirs.by_seed(figure)
    both = [seed for seed in mine if seed in other]
    return ratio([mine[seed] for seed in both], [other[seed] for seed in both]) if both else None


def _latency(
    scenario: str, load: float, limit: float, prototype: str, states: str = "5s/5s", base: str = "sed-static"
) -> Goal:
    ours, theirs = states.split("/")
    return Goal(scenario, load, f"marginal-dpp@{ours}", limit, prototype, f"{base}@{theirs}")


def _fair(scenario: str, load: float, limit: float, prototype: str) -> Goal:
    return Goal(scenario, load, "marginal-dpp@fresh", limit, prototype, figure="x1", at_least=True)


def _added(
    scenario: str, load: float, policy: str, limit: float, figure: Figure = "mean_s", *, at_least: bool = False
) -> Goal:
    return Goal(scenario, load, policy, limit, "", FALLBACK, figure, at_least=at_least, agents=True)


def _bounded(load: float, limit: float, prototype: str) -> Goal:
    return Goal("city7-rotating", load, "marginal-dpp@fresh", limit, prototype, BOUND)


GOALS = (
    _latency("city7-rotating", 0.6, 0.94, "0.949"),
    _latency("city7-rotating", 0.8, 0.92, "0.934"),
    _latency("city7-rotating", 0.9, 0.86, "0.877"),
    _latency("city7-rotating", 0.8, 0.90, "0.917", "fresh/fresh"),
    _latency("city7-rotating", 0.9, 0.80, "0.819", "fresh/fresh"),
    _latency("city7-rotating", 0.8, 0.83, "0.846", "fresh/5s"),
    _latency("city7-rotating", 0.9, 0.76, "0.773", "fresh/5s"),
    _latency("city7-stationary", 0.8, 0.89, "0.894", "fresh/5s"),
    _latency("city7-node-loss", 0.8, 0.84, "0.852", "fresh/5s"),
    _latency("city7-slow-node", 0.8, 0.88, "0.887", "fresh/5s"),
    _latency("city7-burst", 0.8, 0.92, "0.922", "fresh/5s"),
    _latency("city7-burst", 0.9, 0.88, "0.890", "fresh/5s"),
    _latency("city7-redraw", 0.8, 0.54, "0.549 ± 0.15", "fresh/5s"),
    _fair("city7-rotating", 0.8, 0.998, "0.999"),
    _fair("city7-rotating", 0.9, 0.985, "0.987"),
    _fair("city7-node-loss", 0.9, 0.97, "0.944"),
    _fair("city7-slow-node", 0.9, 0.97, "0.949"),
    _fair("city7-burst", 0.9, 0.92, "0.84"),
    _bounded(0.6, 1.35, "1.30–1.40"),
    _bounded(0.8, 1.6, "1.56–1.58"),
    _bounded(0.9, 1.8, "1.58–1.89"),
    Goal("city7-rotating", 0.8, "marginal-dpp@fresh", 1.06, "1.061", ORACLE),
    Goal("city7-rotating", 0.8, "marginal-dpp@fresh", 12.0, "9", figure="starts_per_hour"),
    Goal("city7-redraw", 0.8, "marginal-dpp@fresh", 45.0, "41", figure="starts_per_hour"),
    _latency("catalogue-crowded", 0.6, 0.82, "0.841", "fresh/fresh", "lru"),
    _latency("catalogue-crowded", 0.75, 0.77, "0.803", "fresh/fresh", "lru"),
    _latency("catalogue-roomy", 0.6, 0.78, "0.798", "fresh/fresh", "lru"),
    _latency("catalogue-roomy", 0.75, 0.74, "0.764", "fresh/fresh", "lru"),
    Goal("city7-rotating-pausing", 0.8, "marginal-dpp@fresh", 0.80, "", "sed-static@5s", against_in="city7-rotating"),
    Goal("city7-rotating-pausing", 0.9, "marginal-dpp@fresh", 0.72, "", "sed-static@5s", against_in="city7-rotating"),
    _latency("catalogue-crowded-sleeping", 0.6, 0.62, "0.626", "fresh/fresh", "lru"),
    _latency("catalogue-crowded-sleeping", 0.75, 0.59, "0.595", "fresh/fresh", "lru"),
    _latency("catalogue-roomy-sleeping", 0.6, 0.70, "0.711", "fresh/fresh", "lru"),
    _latency("catalogue-roomy-sleeping", 0.75, 0.61, "0.623", "fresh/fresh", "lru"),
    _fair("catalogue-crowded", 0.6, 0.90, ""),
    _fair("catalogue-crowded", 0.75, 0.79, ""),
    _fair("catalogue-roomy", 0.6, 0.97, ""),
    _fair("catalogue-roomy", 0.75, 0.93, ""),
    _added(CYCLE, 0.6, STAND_IN, 0.92),
    _added(CYCLE, 0.6, STAND_IN, 0.75, "after_change_s"),
    _added(CYCLE, 0.6, PLACEBO, 1.0, at_least=True),
    _added(CROWDED_CYCLE, 0.6, STAND_IN, 1.02),
    _added(CITY7, 0.8, STAND_IN, 1.02),
    _added(CITY7, 0.8, HOSTILE, 1.02, "objective"),
    _added(CITY7, 0.8, RANDOM, 1.01, "objective"),
)
"""The rows of CONTROL §6 on policies and agents; `stationary`, `node-loss`, `slow-node`, `burst`: "same" is read as the
row before it there, fresh state against `sed-static@5s`; `pausing` against `sed-static@5s` on nodes that do not pause;
`sleeping` against `lru` with the same host memory; agents against the fallback with the same state, rules in place of a
language model, "nowhere worse" where agents play, "cost" is the objective F."""
