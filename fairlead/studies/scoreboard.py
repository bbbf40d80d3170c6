"""The scoreboard: which runs it is made of, and their figures as they are kept in `docs/scoreboard.json`.

Every figure of the page comes from a run of one seed that anybody can play again; `sample` names some of them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.contracts.base import Count, Many, Message, Name, Ratio, Seconds, Text
from fairlead.studies.cells import Cell, CellResult, ScenarioAt
from fairlead.studies.references import recorded_reference_s
from fairlead.studies.replay import FIGURES
from fairlead.studies.statistics import Interval
from fairlead.twin.scenarios import RUN_S, WARM_UP_S

DIGITS = 4
"""Of figures in the file, after the point: seconds, ratios and starts an hour."""

FINE_DIGITS = 6
"""Of F, which is some thousandths where Lref is twenty minutes."""

TOLERANCE = 2.0 * 10.0**-DIGITS
"""How far a figure that is played again may be from the file's: rounding, and the last bits of the other engine."""

BOUND: Final = "lp"
"""Name of the lower bound among the policies."""

ORACLE: Final = "rollout-oracle@fresh"
"""Name of the clairvoyant (`fairlead.studies.oracle`)."""

ADAPTIVE = ("marginal-dpp", "bmw-dpp", "dpp", "lru")
PLAIN = ("round-robin", "least-loaded-slot", "random-static", "random-dynamic")


@dataclass(frozen=True, slots=True)
class Section:
    """A scenario at some loads, and who plays it."""

    scenario: str
    loads: tuple[float, ...]
    policies: tuple[str, ...]
    seeds: int
    """1 to this."""
    bounded: int = 0
    """For so many of the seeds there is a lower bound,"""
    bounded_at: tuple[float, ...] = (0.8,)
    """at these loads."""
    foreseen: int = 0
    """For so many of the seeds the clairvoyant plays too,"""
    foreseen_at: tuple[float, ...] = ()
    """at these loads."""
    warm_up_s: float = WARM_UP_S
    run_s: float = RUN_S
    """With the warm-up; the scoreboard's own are CONTROL §5's."""

    def cells(self) -> Iterator[Cell]:
        """Yield its runs."""
        for load in self.loads:
            for policy in self.policies:
                for seed in range(1, self.seeds + 1):
                    yield Cell(ScenarioAt(self.scenario, load, self.warm_up_s, self.run_s), policy, seed)


def at(state: str, *policies: str) -> tuple[str, ...]:
    """Return policies with a state: `5s` or `fresh`."""
    return tuple(f"{policy}@{state}" for policy in policies)


CITY7 = (0.6, 0.8, 0.9, 1.0)
CATALOGUE = (0.6, 0.75)
MAIN = (*at("5s", "sed-static", "marginal-dpp"), *at("fresh", "sed-static", "marginal-dpp"))
ALL = (*MAIN, *at("fresh", *ADAPTIVE[1:], *PLAIN))
SOME = (*MAIN, *at("fresh", "lru", "random-static"))
ON_DEMAND = (*at("5s", "lru", "marginal-dpp"), *at("fresh", "lru", "marginal-dpp", "bmw-dpp", "random-static"))


FEW = 3
"""Seeds where a run takes ten seconds."""


def sections(seeds: int) -> tuple[Section, ...]:
    """Return what is played, with so many seeds each."""
    return (
        Section("city7-rotating", CITY7, ALL, seeds, bounded=2, bounded_at=CITY7, foreseen=2, foreseen_at=(0.8,)),
        Section("city7-stationary", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-cyclic", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-redraw", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-burst", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-node-loss", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-slow-node", CITY7, SOME, seeds, bounded=1, bounded_at=CITY7),
        Section("city7-maintenance", (0.8,), SOME, seeds, bounded=1),
        Section("city7-rotating-cv", CITY7, SOME, seeds),
        Section("catalogue-roomy", CATALOGUE, ON_DEMAND, seeds),
        Section("catalogue-crowded", CATALOGUE, ON_DEMAND, seeds),
        Section("city7-rotating-pausing", (0.8, 0.9), at("fresh", "sed-static", "marginal-dpp"), seeds),
        Section("catalogue-roomy-sleeping", CATALOGUE, at("fresh", "lru", "marginal-dpp"), seeds),
        Section("catalogue-crowded-sleeping", CATALOGUE, at("fresh", "lru", "marginal-dpp"), seeds),
    )


class Column(Message):
    """Figures of one policy, a value a seed."""

    policy: Text
    engine: Name
    seeds: Many[Count]
    mean_s: Many[Seconds]
    """Latency with what is unfinished at its age; so too the next two."""
    p95_s: Many[Seconds] = ()
    p99_s: Many[Seconds] = ()
    x1: Many[float] = ()
    """J' of timely service."""
    service_ratio: Many[float] = ()
    starts_per_hour: Many[float] = ()
    after_change_s: Many[Seconds] = ()
    """Mean latency within five minutes after demand changed; none where it does not."""
    objective: Many[float] = ()
    """F; none where no Lref is fixed."""

    def by_seed(self, figure: str) -> dict[int, float]:
        """Return a figure by seed; empty where there is none."""
        values: tuple[float, ...] = getattr(self, figure)
        return dict(zip(self.seeds, values, strict=True)) if values else {}


class Asked(Message):
    """What a language model was worth in the twin, and what it cost: `fairlead agents evaluate` has measured it."""

    llm: Text
    mode: Name
    scenario: Name
    load: float
    warm_up_s: Seconds
    duration_s: Seconds
    """Measured after the warm-up."""
    llm_seconds: Seconds | None
    """What every answer took on the virtual clock; None where that was measured too."""
    seeds: Many[Count]
    gain: Interval
    """F of the fallback less that with the model: above 0 it is better."""
    latency_ratio: Interval | None
    """Mean latency with the model over the fallback's."""
    malformed_ratio: Ratio | None
    """Of its replies."""
    unanswered_ratio: Ratio | None
    """Of the questions."""
    fallback_ratio: Ratio | None
    """Of the dialogues."""
    dialogues: Count
    questions: Count
    tokens: Count
    money: float
    took_s: Seconds
    """Of all dialogues together."""


class Table(Message):
    """A scenario at a load."""

    scenario: Name
    load: float
    columns: Many[Column]

    def column(self, policy: str) -> Column | None:
        """Return the figures of a policy; None where it did not play."""
        return next((one for one in self.columns if one.policy == policy), None)


class Scoreboard(Message):
    """All figures of the page."""

    code: Name
    """Digest of the code that played it (`fairlead.studies.store.code_digest`)."""
    tables: Many[Table]
    ablations: Many[Table] = ()
    """Tables of `fairlead.studies.ablation`: the first column is the whole policy."""
    agents: Many[Table] = ()
    """Tables of what agents add: the first column is the fallback."""
    llms: Many[Asked] = ()
    """Language models, each as it was measured: nobody can play that again."""

    def table(self, scenario: str, load: float, *, agents: bool = False) -> Table | None:
        """Return what was played in a scenario at a load, by agents or by policies; None if nothing was."""
        tables = self.agents if agents else self.tables
        return next((one for one in tables if (one.scenario, one.load) == (scenario, load)), None)


Extra = Mapping[tuple[str, float], Sequence[Column]]
"""By scenario and load: what no cell plays, the bound and the oracle."""


def tables_of(chosen: Sequence[Section], results: Mapping[Cell, CellResult], extra: Extra) -> tuple[Table, ...]:
    """Return the tables of sections whose cells are finished."""
    return tuple(table for section in chosen for table in _tables({c: results[c] for c in section.cells()}, extra))


def _tables(results: Mapping[Cell, CellResult], extra: Extra) -> Iterator[Table]:
    """Yield the tables of finished cells, in their order."""
    grouped: dict[tuple[str, float], dict[str, list[tuple[int, CellResult]]]] = {}
    for cell, result in results.items():
        assert isinstance(cell.source, ScenarioAt)
        columns = grouped.setdefault((cell.source.name, cell.source.load), {})
        columns.setdefault(cell.policy, []).append((cell.seed, result))
    for (scenario, load), columns in grouped.items():
        reference_s = recorded_reference_s(ScenarioAt(scenario, load))
        made = tuple(_column(policy, runs, reference_s) for policy, runs in columns.items())
        yield Table(scenario=scenario, load=load, columns=(*made, *extra.get((scenario, load), ())))


def _column(policy: str, runs: Sequence[tuple[int, CellResult]], reference_s: float | None) -> Column:
    results = [result for _, result in runs]
    return Column(
        policy=policy,
        engine="+".join(sorted({one.engine for one in results})),
        seeds=tuple(seed for seed, _ in runs),
        mean_s=rounded(one.mean_s for one in results),
        p95_s=rounded(one.p95_s for one in results),
        p99_s=rounded(one.p99_s for one in results),
        x1=rounded(one.x1 for one in results),
        service_ratio=rounded(one.service_ratio for one in results),
        starts_per_hour=rounded(one.starts_per_hour for one in results),
        after_change_s=rounded(one.after_change_s for one in results),
        objective=()
        if reference_s is None
        else rounded((FIGURES["objective"](one, reference_s) for one in results), FINE_DIGITS),
    )


def rounded(values: Iterator[float | None], digits: int = DIGITS) -> tuple[float, ...]:
    """Return figures as the file has them; there is none without a request in the window, which no scenario has."""
    return tuple(round(one, digits) for one in values if one is not None)


def sample(board: Scoreboard, count: int, scenarios: str = "") -> tuple[Cell, ...]:
    """Return some of the cells of scenarios whose name begins so, others for another version of the code."""

    def rank(cell: Cell) -> str:
        return hashlib.sha256(f"{board.code}/{cell}".encode()).hexdigest()

    cells = [
        Cell(ScenarioAt(table.scenario, table.load), column.policy, seed)
        for table in (*board.tables, *board.ablations, *board.agents)
        for column in table.columns
        for seed in column.seeds
        if column.policy not in (BOUND, ORACLE) and table.scenario.startswith(scenarios)
    ]
    return tuple(sorted(cells, key=rank)[:count])


def departures(board: Scoreboard, cell: Cell, result: CellResult) -> tuple[str, ...]:
    """Return which figures of a cell are not those of the board, in words; empty where it could have come from it."""
    assert isinstance(cell.source, ScenarioAt)
    place = (cell.source.name, cell.source.load)
    there = [one for one in (*board.tables, *board.ablations, *board.agents) if (one.scenario, one.load) == place]
    column = next((mine for one in there if (mine := one.column(cell.policy)) is not None), None)
    if column is None or cell.seed not in column.seeds:
        return (f"{cell}: not on the scoreboard",)
    again = _column(cell.policy, [(cell.seed, result)], None)
    found = []
    for name in ("mean_s", "p95_s", "p99_s", "x1", "service_ratio", "starts_per_hour", "after_change_s"):
        kept, new = (one.by_seed(name).get(cell.seed) for one in (column, again))
        if kept is not None and (new is None or abs(kept - new) > TOLERANCE):
            found.append(f"{cell}: {name} is {kept} on the scoreboard, {new} when it is played again")
    return tuple(found)


def document(board: Scoreboard) -> str:
    """Return the file: JSON with a line for each column."""
    parts = (
        f'"{name}": [\n{_lines(tables)}\n]'
        for name, tables in (("tables", board.tables), ("ablations", board.ablations), ("agents", board.agents))
    )
    llms = ",\n".join("  " + json.dumps(one.model_dump(mode="json")) for one in board.llms)
    return f'{{"code": {json.dumps(board.code)},\n' + ",\n".join((*parts, f'"llms": [\n{llms}\n]')) + "}\n"


def _lines(tables: Sequence[Table]) -> str:
    found = []
    for table in tables:
        columns = ",\n".join("   " + json.dumps(one.model_dump(mode="json")) for one in table.columns)
        head = f'  {{"scenario": {json.dumps(table.scenario)}, "load": {json.dumps(table.load)}, "columns": [\n'
        found.append(f"{head}{columns}\n  ]}}")
    return ",\n".join(found)


def read(text: str) -> Scoreboard:
    """Return the board that a file has; raises `ValidationError` for another one."""
    return Scoreboard.model_validate_json(text)
