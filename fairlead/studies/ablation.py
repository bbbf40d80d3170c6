"""What each rule of `marginal-dpp` is worth: the same runs with the rule taken away, or with another number in it.

And what forecast and agents add to it.
"""

from dataclasses import dataclass, replace

from fairlead.studies.scoreboard import FEW, Section


@dataclass(frozen=True, slots=True)
class Without:
    """A policy that lacks something."""

    words: str
    changes: str
    """Settings in place of the defaults, as `fairlead.twin.play.policy_at` reads them."""
    catalogue: bool = True
    """Whether it can matter where the models do not all fit."""

    def policy(self, state: str) -> str:
        """Return it with a state: `5s` or `fresh`."""
        return f"{BASE}[{self.changes}]@{state}"


BASE = "marginal-dpp"

NEVER = "1000000"
"""Starts or request-seconds that are never reached in a run."""

WITHOUT = (
    Without("rule 1: no second pod for a long wait", f"wait_starts={NEVER}"),
    Without("rule 1: a wait is long from a whole start on", "wait_starts=1"),
    Without("rule 1: busy pods are never taken", f"patience_starts={NEVER}"),
    Without("rule 1: busy pods after two starts", "patience_starts=2"),
    Without("rule 1: other busy pods do not count", "busy_share=0"),
    Without("rule 1: regret over 120 s", "event_horizon_s=120"),
    Without("rule 2: nothing is started each slot", "fit_ratio=0", catalogue=False),
    Without("rule 2: no hysteresis, η = 0", "eta=0", catalogue=False),
    Without("rule 2: η = 2", "eta=2", catalogue=False),
    Without("rule 2: any gain will do", "least_worth_s=0", catalogue=False),
    Without("rule 2: worth over 60 s", "slot_horizon_s=60", catalogue=False),
    Without("rule 2: worth over 240 s", "slot_horizon_s=240", catalogue=False),
    Without("rates: half-life of one slot", "rate_half_life_slots=1"),
    Without("rates: half-life of sixteen slots", "rate_half_life_slots=16"),
    Without("rule 6: shortest expected delay in place of d + e", "route=sed"),
    Without("rule 6: drawn from the table as it stands", "route=strict"),
    Without("rule 7: waiting tickets do not move by price", "moving=false"),
    Without("rule 7: they move for any gain", "move_saves_s=0"),
)

CITY7, CATALOGUE = "city7-rotating", "catalogue-crowded"

FALLBACK = f"{BASE}@5s"
STAND_IN, PLACEBO = "agents:stand-in@5s", "agents:placebo@5s"
HOSTILE, RANDOM = "agents:hostile@5s", "agents:random@5s"

AGENTS = {
    f"{BASE}[forecast=true]@5s": "with the forecast in place of λ",
    "agents:router@5s": "with a slot agent (by rule)",
    "agents:newcomer@5s": "with a planner (by rule) that has learned nothing before",
    STAND_IN: "with a planner (by rule) and its memory: timetable and regimes learned before",
    PLACEBO: "the same with another regime's rates",
}
"""What agents add to the fallback, step by step; rules stand in for a language model, and count for none."""

HARMFUL = {
    HOSTILE: "with agents that mean harm (by rule)",
    RANDOM: "with agents that say anything (by rule)",
}
"""What agents may take away from it at worst."""

CYCLE, CROWDED_CYCLE = "catalogue-roomy-cycle", "catalogue-crowded-cycle"

ADDITIONS = (
    Section(CYCLE, (0.6,), (FALLBACK, *AGENTS), 12),
    Section(CROWDED_CYCLE, (0.6,), (FALLBACK, STAND_IN, PLACEBO), 12),
    Section(CITY7, (0.8,), (FALLBACK, *AGENTS, *HARMFUL), 4),
)
"""Where there is something to know and room to act on it, no room, and next to nothing to know; a run that asks takes
ten to twenty-five seconds of a processor."""


def ablations(seeds: int) -> tuple[Section, ...]:
    """Return what is played, with so many seeds each; the first policy is the whole one."""
    cities = tuple(
        Section(CITY7, (0.8,), (f"{BASE}@{state}", *(one.policy(state) for one in WITHOUT)), seeds)
        for state in ("5s", "fresh")
    )
    some = tuple(one.policy("fresh") for one in WITHOUT if one.catalogue)
    return (*cities, Section(CATALOGUE, (0.6,), (f"{BASE}@fresh", *some), min(seeds, FEW)))


def additions(seeds: int) -> tuple[Section, ...]:
    """Return what is played to show what agents add, with so many seeds each at most; the fallback is the first."""
    return tuple(replace(one, seeds=min(seeds, one.seeds)) for one in ADDITIONS)


def words_of(policy: str) -> str:
    """Return what a policy of an ablation lacks, or what was added to it; its name where that is nothing."""
    added = AGENTS | HARMFUL
    if policy in added:
        return added[policy]
    changes = policy.partition("[")[2].partition("]")[0]
    return next((one.words for one in WITHOUT if one.changes == changes), policy)
