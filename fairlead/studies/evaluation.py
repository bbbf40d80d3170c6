"""What a language model is worth: its agents in the twin against the fallback on equal demand, and what they cost."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.errors import InputError
from fairlead.studies import statistics
from fairlead.studies.asking import taking
from fairlead.studies.cells import Cell, CellResult, ScenarioAt, game_of, playable, result_of, run_cell
from fairlead.studies.references import recorded_reference_s
from fairlead.studies.replay import FIGURES
from fairlead.studies.statistics import Interval
from fairlead.twin.play import Game, play
from fairlead.twin.talking import Counsel, TalkFigures

FALLBACK, AGENTS, STAND_IN = "marginal-dpp@fresh", "agents@fresh", "agents:stand-in@fresh"

DEADLINE_S: float = ModelSpec.model_fields["deadline_s"].default
"""What latencies are divided by where no Lref is fixed (CONTROL §1: live, the deadline)."""

Playing = Callable[[int], AbstractContextManager[Game]]
"""Gives the game of a seed, with whom its agents ask."""

Tell = Callable[[int, float], None]
"""Told the seed that is played, and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Run:
    """One seed, played twice."""

    seed: int
    fallback: CellResult
    agents: CellResult
    talks: TalkFigures


@dataclass(frozen=True, slots=True)
class Named:
    """What is asked, as it is told."""

    llm: str
    mode: str
    seconds: float | None = None
    """What every answer takes on the virtual clock; as measured without."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All seeds."""

    source: ScenarioAt
    named: Named
    runs: tuple[Run, ...]

    def pairs(self, figure: str) -> list[tuple[float | None, float | None]]:
        """Return a figure of agents and fallback by seed; None where a seed has none, as without an arrival."""
        source = ScenarioAt(self.source.name, self.source.load)
        value, reference_s = FIGURES[figure], recorded_reference_s(source) or DEADLINE_S
        return [(value(run.agents, reference_s), value(run.fallback, reference_s)) for run in self.runs]

    def values(self, figure: str) -> tuple[list[float], list[float]]:
        """Return a figure of agents and fallback, a value a seed; seeds that have none are left out."""
        known = [(ours, theirs) for ours, theirs in self.pairs(figure) if ours is not None and theirs is not None]
        return [ours for ours, _ in known], [theirs for _, theirs in known]

    def gain(self) -> Interval:
        """Return F(fallback) − F(agents), paired by seed: above 0 the agents are better."""
        ours, theirs = self.values("objective")
        return statistics.difference(theirs, ours)

    def ratio(self, figure: str) -> Interval | None:
        """Return the ratio of means of a figure, agents over fallback, paired by seed; None where no seed has it."""
        ours, theirs = self.values(figure)
        return statistics.ratio(ours, theirs) if ours else None

    def total(self, name: str) -> float:
        """Return a figure of the dialogues, summed over the seeds."""
        return float(sum(getattr(run.talks, name) for run in self.runs))


def evaluated(source: ScenarioAt, seeds: Sequence[int], playing: Playing, named: Named, tell: Tell) -> Evaluation:
    """Play agents and fallback on the same demand, seed by seed.

    Raises `InputError` where the scenario cannot be played or nobody asks for anything in it, `ConfigError` where the
    model cannot be asked.
    """
    fallbacks = [run_cell(Cell(source, FALLBACK, seed)) for seed in seeds]
    if not any(one.arrived for one in fallbacks):
        raise InputError(
            f"no request arrives in {source.name} at load {source.load:g} with any of {len(seeds)} seeds: "
            "measure longer, such as --duration 4800"
        )
    runs = []
    for seed, fallback in zip(seeds, fallbacks, strict=True):
        with playing(seed) as game:
            runs.append(_run(Cell(source, AGENTS, seed), game, fallback, tell))
    return Evaluation(source, named, tuple(runs))


def _run(cell: Cell, game: Game, fallback: CellResult, tell: Tell) -> Run:
    played = play(game, lambda done: tell(cell.seed, done))
    assert played.talks is not None  # somebody was asked
    return Run(cell.seed, fallback, result_of(cell, game.subject, played, 0.0), played.talks)


@contextmanager
def asking(source: ScenarioAt, seed: int, counsel: AbstractContextManager[Counsel]) -> Generator[Game]:
    """Give the game of a seed in which planner and slot agent ask a language model."""
    game = game_of(Cell(source, FALLBACK, seed))
    with counsel as asked:
        yield replace(game, policy=replace(game.policy, asks=True), counsel=asked)


@contextmanager
def standing_in(source: ScenarioAt, seed: int, seconds: float | None = None) -> Generator[Game]:
    """Give the game of a seed in which a rule answers in place of a language model.

    Its answers take so many `seconds` of virtual time; without, what they take in every run.
    """
    with playable(Cell(source, STAND_IN, seed)) as game:
        assert game.counsel is not None  # the rule's
        ask = game.counsel.ask if seconds is None else taking(game.counsel.ask, seconds)
        yield replace(game, counsel=replace(game.counsel, ask=ask))


def share(part: float, whole: float) -> float | None:
    """Return a share; None of nothing."""
    return part / whole if whole else None


def document(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON values."""
    dialogues, questions = found.total("dialogues"), found.total("questions")
    replies = questions - found.total("unanswered")
    ratios = {name: found.ratio(name) for name in ("mean", "p95", "p99", "after_change", "objective")}
    return {
        "scenario": found.source.name,
        "load": found.source.load,
        "warm_up_s": found.source.warm_up_s,
        "duration_s": found.source.run_s - found.source.warm_up_s,
        "llm": found.named.llm,
        "mode": found.named.mode,
        "llm_seconds": found.named.seconds,
        "seeds": [run.seed for run in found.runs],
        "intervals": {"confidence": statistics.CONFIDENCE, "method": statistics.method(len(found.runs))},
        "gain": found.gain().document(),
        "ratio": {name: None if one is None else one.document() for name, one in ratios.items()},
        "malformed_ratio": share(found.total("malformed"), replies),
        "unanswered_ratio": share(found.total("unanswered"), questions),
        "fallback_ratio": share(dialogues - found.total("acting"), dialogues),
        "dialogues": int(dialogues),
        "questions": int(questions),
        "tokens": int(found.total("tokens")),
        "money": found.total("money"),
        "took_s": found.total("took_s"),
        "runs": [
            {
                "seed": run.seed,
                "objective": {"agents": ours, "fallback": theirs},
                "mean_s": {"agents": run.agents.mean_s, "fallback": run.fallback.mean_s},
                **asdict(run.talks),
            }
            for run, (ours, theirs) in zip(found.runs, found.pairs("objective"), strict=True)
        ],
    }
