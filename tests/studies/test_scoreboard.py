"""The scoreboard's figures come from this version of the code, and its page from them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from docs.generate import SCOREBOARD
from docs.scoreboard import with_asked
from fairlead.contracts.tuning import PolicySettings
from fairlead.studies.ablation import PLACEBO, STAND_IN, WITHOUT, ablations, additions, words_of
from fairlead.studies.cells import Cell, CellResult, ScenarioAt, run_cell
from fairlead.studies.scoreboard import (
    ORACLE,
    Column,
    Scoreboard,
    Section,
    Table,
    departures,
    document,
    read,
    sample,
    sections,
    tables_of,
)
from fairlead.studies.scoreboard_goals import GOALS, Goal, paired
from fairlead.studies.scoreboard_limits import Limit, columns, figures, limited, limits_of
from fairlead.studies.scoreboard_page import page
from fairlead.twin.play import policy_at
from fairlead.twin.scenarios import scenario

SAMPLED = 4
"""Runs of city7 that are played again: a few seconds each in the reference engine."""

SECTION = Section("city7-rotating", (0.8,), ("sed-static@fresh", "lru@fresh"), 2, warm_up_s=60.0, run_s=400.0)


@pytest.fixture(scope="module")
def board() -> Scoreboard:
    """Return the scoreboard of this version."""
    return read(SCOREBOARD.read_text("utf-8"))


@pytest.fixture(scope="module")
def results() -> dict[Cell, CellResult]:
    """Return short runs of two policies with two seeds."""
    return {cell: run_cell(cell) for cell in SECTION.cells()}


def scored(code: str, results: dict[Cell, CellResult], *extra: Column) -> Scoreboard:
    """Return the scoreboard of the short runs."""
    tables = tables_of([SECTION], results, {("city7-rotating", 0.8): extra})
    return Scoreboard(code=code, tables=tables, ablations=tables[:0])


def column(policy: str, mean_s: tuple[float, ...], seeds: tuple[int, ...] = (1, 2)) -> Column:
    """Return figures of which only the mean latency matters."""
    return Column(
        policy=policy,
        engine="reference",
        seeds=seeds,
        mean_s=mean_s,
        p95_s=mean_s,
        p99_s=mean_s,
        x1=tuple(0.5 for _ in seeds),
        service_ratio=tuple(1.0 for _ in seeds),
        starts_per_hour=tuple(3.0 for _ in seeds),
    )


def test_a_sample_of_its_runs_gives_the_same_figures_again(board: Scoreboard) -> None:
    """Which runs these are depends on the version of the code that the page was played by."""
    with_agents = board.model_copy(update={"tables": (), "ablations": ()})
    cells = {*sample(board, SAMPLED, "city7-"), *sample(with_agents, 1, "city7-")}
    assert len(cells) >= SAMPLED
    assert [departures(board, cell, run_cell(cell)) for cell in sorted(cells, key=str)] == [()] * len(cells)


def test_it_has_every_policy_scenario_and_load_that_it_says_it_has(board: Scoreboard) -> None:
    """Each with the seeds 1 to the same number; in every table one of the policies is the reference."""
    seeds = len(board.tables[0].columns[0].seeds)
    for section in sections(seeds):
        for load in section.loads:
            table = board.table(section.scenario, load)
            assert table is not None, f"{section.scenario} at {load} was not played"
            for policy in section.policies:
                found = table.column(policy)
                assert found is not None, f"{policy} did not play {section.scenario} at {load}"
                assert found.seeds == tuple(range(1, section.seeds + 1))
    assert [tuple(one.policy for one in table.columns) for table in board.ablations] == [
        section.policies for section in ablations(seeds)
    ]
    for table, section in zip(board.agents, additions(seeds), strict=bool(board.agents)):
        assert (table.scenario, table.load) == (section.scenario, *section.loads)
        assert [(one.policy, one.seeds) for one in table.columns] == [
            (policy, tuple(range(1, section.seeds + 1))) for policy in section.policies
        ]


def test_what_is_asked_for_is_played() -> None:
    """Each row of CONTROL §6 names a section, a load and policies of it."""
    policies = {(one.scenario, load): one for one in sections(10) for load in one.loads}
    added = {(one.scenario, load): one for one in additions(10) for load in one.loads}
    for goal in GOALS:
        known = added if goal.agents else policies
        section = known[goal.scenario, goal.load]
        assert goal.policy in section.policies
        other = known[goal.against_in or goal.scenario, goal.load]
        limits = {one.kind for one in limits_of([other]) if one.source.load == goal.load}
        assert goal.against in (None, *other.policies, *limits)


def test_every_section_can_be_played() -> None:
    """Its scenario and its policies are known."""
    for section in (*sections(2), *ablations(2), *additions(2)):
        assert scenario(section.scenario).name == section.scenario
        assert {str(policy_at(one)) for one in section.policies} == set(section.policies)
        assert len(tuple(section.cells())) == 2 * len(section.loads) * len(section.policies)


def test_an_ablation_says_what_it_takes_away_and_what_that_costs() -> None:
    """Against the whole policy, which stands first; each setting is another than the default."""
    whole = column("marginal-dpp@fresh", (2.0, 4.0))
    table = Table(scenario="s", load=0.8, columns=(whole, column("marginal-dpp[fit_ratio=0]@fresh", (3.0, 6.0))))
    text = page(Scoreboard(code="c", tables=(), ablations=(table,)))
    row = "| rule 2: nothing is started each slot | `fit_ratio=0` | 1.500 [1.500, 1.500] | 0.0000 [0.0000, 0.0000] |"
    assert row in text
    assert words_of("marginal-dpp@fresh") == "marginal-dpp@fresh"
    for one in WITHOUT:
        assert policy_at(one.policy("fresh")).settings() != PolicySettings()


def test_what_agents_add_stands_beside_the_fallback() -> None:
    """Mean latency, the minutes after a change and F, as ratios; what was not measured is left empty."""
    near, cost = {"after_change_s": (8.0, 8.0)}, {"objective": (0.2, 0.2)}
    whole = column("marginal-dpp@5s", (2.0, 4.0)).model_copy(update=near | cost)
    ours = column(STAND_IN, (1.0, 2.0)).model_copy(update={"after_change_s": (6.0, 6.0), "objective": (0.1, 0.1)})
    table = Table(scenario="s", load=0.6, columns=(whole, ours, column(PLACEBO, (2.0, 4.0))))
    text = page(Scoreboard(code="c", tables=(), agents=(table,)))
    assert "mean latency 3.00 [-9.71, 15.71] s, 8.00 [8.00, 8.00] s after a change, 3.0 [3.0, 3.0] starts" in text
    ratios = "0.500 [0.500, 0.500] | 0.750 [0.750, 0.750] | 0.500 [0.500, 0.500] | 3.0 [3.0, 3.0]"
    assert f"| {words_of(STAND_IN)} | `{STAND_IN}` | 1 to 2 | {ratios} |" in text
    assert f"| {words_of(PLACEBO)} | `{PLACEBO}` | 1 to 2 | 1.000 [1.000, 1.000] |  |  | 3.0 [3.0, 3.0] |" in text


def test_a_language_model_stands_there_as_it_was_measured() -> None:
    """Once for each scenario: what was measured later takes the place of what was before."""
    told = {
        "llm": "local",
        "mode": "auto",
        "scenario": "s",
        "load": 0.8,
        "warm_up_s": 300.0,
        "duration_s": 600.0,
        "llm_seconds": None,
        "seeds": [1, 2],
        "gain": {"value": -0.001, "low": -0.002, "high": 0.0},
        "ratio": {"mean": {"value": 1.0, "low": 0.9, "high": 1.1}},
        "malformed_ratio": 0.75,
        "unanswered_ratio": 0.1,
        "fallback_ratio": 1.0,
        "dialogues": 10,
        "questions": 20,
        "tokens": 41_000,
        "money": 0.0,
        "took_s": 52.0,
        "runs": [],
    }
    before = with_asked(Scoreboard(code="c", tables=()), json.dumps(told | {"tokens": 1, "llm_seconds": 4.0}))
    made = with_asked(before, json.dumps(told))
    assert len(made.llms) == 1
    assert read(document(made)) == made
    row = "| local, auto | `s` at 0.8, 600 s after 300 s | 1 to 2 | 10, 20 | -0.0010 [-0.0020, 0.0000] |"
    assert f"{row} 1.000 [0.900, 1.100] | 75% | 10% | 100% | 4100 | 0.0000 | 5.2 |" in page(made)
    assert "| 5.2, 4 s given |" in page(before)


def test_figures_of_runs_come_back_from_the_file(results: dict[Cell, CellResult]) -> None:
    """Grouped by scenario, load and policy, in order of seed; read again they are the same."""
    made = scored("c0de", results, column("lp", (1.0,), (1,)))
    (table,) = made.tables
    assert [(one.policy, one.seeds) for one in table.columns] == [
        ("sed-static@fresh", (1, 2)),
        ("lru@fresh", (1, 2)),
        ("lp", (1,)),
    ]
    assert read(document(made)) == made
    assert json.loads(document(made))["code"] == "c0de"
    assert table.column("dpp@fresh") is None
    assert made.table("city7-rotating", 0.9) is None


def test_a_figure_that_is_another_one_is_named(results: dict[Cell, CellResult]) -> None:
    """So is a run that the board does not have."""
    made = scored("c0de", results)
    (cell, result), *_ = results.items()
    assert departures(made, cell, result) == ()
    assert result.mean_s is not None
    (found,) = departures(made, cell, result.model_copy(update={"mean_s": result.mean_s + 0.001}))
    assert "mean_s is" in found
    for other in (Cell(cell.source, "dpp@fresh", 1), Cell(cell.source, cell.policy, 9)):
        assert departures(made, other, result) == (f"{other}: not on the scoreboard",)


def test_another_version_is_tested_by_other_runs(results: dict[Cell, CellResult]) -> None:
    """The same version always by the same ones; bounds are no runs."""
    bound = Column(policy="lp", engine="highs", seeds=(1,), mean_s=(1.0,))
    drawn = {tuple(map(str, sample(scored(code, results, bound), 2))) for code in "abcdefgh"}
    assert len(drawn) > 1
    assert tuple(map(str, sample(scored("a", results, bound), 2))) in drawn
    assert len(sample(scored("a", results, bound), 9)) == len(results)
    assert sample(scored("a", results, bound), 9, "catalogue") == ()


def test_ratios_are_paired_by_seed() -> None:
    """Over the seeds that both have; there is none where they share none."""
    found = paired(column("a", (2.0, 4.0, 9.0), (1, 2, 3)), column("b", (4.0, 8.0), (1, 2)))
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert paired(column("a", (2.0,), (1,)), column("b", (4.0,), (2,))) is None


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (Goal("s", 0.8, "a@fresh", 0.5, "", "b@fresh"), 0.5, True),
        (Goal("s", 0.8, "a@fresh", 0.49, "", "b@fresh"), 0.5, False),
        (Goal("s", 0.8, "a@fresh", 0.5, "", figure="x1", at_least=True), 0.5, True),
        (Goal("s", 0.8, "a@fresh", 0.6, "", figure="x1", at_least=True), 0.5, False),
        (Goal("s", 0.8, "agents:a@5s", 0.75, "", "b@5s", "after_change_s", agents=True), 0.75, True),
        (Goal("s", 0.8, "agents:a@5s", 0.6, "", "b@5s", "objective", at_least=True, agents=True), 0.5, False),
        (Goal("s", 0.8, "a@fresh", 3.0, "", figure="starts_per_hour"), 3.0, True),
    ],
)
def test_a_goal_is_reached_from_its_own_side(goal: Goal, value: float, *, reached: bool) -> None:
    """Latency and starts from above, fairness from below."""
    table = Table(scenario="s", load=0.8, columns=(column("a@fresh", (2.0, 4.0)), column("b@fresh", (4.0, 8.0))))
    near, cost = {"after_change_s": (3.0, 3.0)}, {"after_change_s": (4.0, 4.0), "objective": (0.2, 0.2)}
    added = (
        column("agents:a@5s", (1.0, 1.0)).model_copy(update=near | {"objective": (0.1, 0.1)}),
        column("b@5s", (1.0, 1.0)).model_copy(update=cost),
    )
    agents = Table(scenario="s", load=0.8, columns=added)
    found = goal.measured(Scoreboard(code="c", tables=(table,), agents=(agents,)))
    assert found is not None
    assert found.value == value
    assert goal.reached(found) is reached


def test_a_goal_that_was_not_played_is_said_to_be_so() -> None:
    """Scenario, policy, or the other one missing."""
    columns = (column("marginal-dpp@5s", (2.0, 4.0)),)
    made = Scoreboard(code="c", tables=(Table(scenario="city7-rotating", load=0.6, columns=columns),))
    assert [goal.measured(made) for goal in GOALS] == [None] * len(GOALS)
    assert "| `city7-rotating` | 0.6 | `marginal-dpp@5s` / `sed-static@5s` | ≤ 0.94 (0.949) | not played |  |" in page(
        made
    )


def test_the_page_has_intervals_references_and_the_bound() -> None:
    """What is not measured is left empty."""
    columns = (
        column("sed-static@fresh", (4.0, 8.0)),
        column("lru@fresh", (2.0, 4.0)),
        column("lru@5s", (3.0, 3.0)),
        Column(policy="lp", engine="highs", seeds=(2,), mean_s=(2.0,)),
    )
    text = page(Scoreboard(code="c", tables=(Table(scenario="s", load=0.8, columns=columns),)))
    assert "Seeds 1 to 2, played by the reference engine. Mean / `lp` over seeds 2." in text
    assert "| `sed-static@fresh` | 6.00 [-19.41, 31.41] | reference | 6.0 | 6.0 |" in text
    assert "| `lru@fresh` | 3.00 [-9.71, 15.71] | 0.500 [0.500, 0.500] | 3.0 | 3.0 |" in text
    assert "| 2.000 |" in text
    assert "| `lru@5s` | 3.00 [3.00, 3.00] | reference |" in text


def test_bounds_and_the_clairvoyant_are_kept_and_not_made_again(tmp_path: Path) -> None:
    """A file each; a bound is below what a policy reaches in the same run, and so is written beside it."""
    section = replace(SECTION, seeds=1, bounded=1)
    told: list[tuple[int, int]] = []
    found = [limited(limits_of([section]), 1, tmp_path, lambda done, of: told.append((done, of))) for _ in range(2)]
    assert found[0] == found[1]
    assert told == [(0, 1), (1, 1), (1, 1)]
    (bound,) = found[0]["city7-rotating", 0.8]
    best_s = run_cell(next(section.cells())).mean_s
    assert best_s is not None
    assert 0.0 < bound.mean_s[0] < best_s
    assert bound.x1 == ()


def test_the_clairvoyant_stands_beside_the_policies_with_all_figures() -> None:
    """Over its own seeds; what could not be had is left out."""
    asked = limits_of([replace(SECTION, seeds=3, foreseen=2, foreseen_at=(0.8,))])
    assert [(one.kind, one.source.load, one.seed) for one in asked] == [(ORACLE, 0.8, 1), (ORACLE, 0.8, 2)]
    short = Limit(ORACLE, ScenarioAt("city7-rotating", 0.8, 30.0, 100.0), 1)
    (column_,) = columns([(short, figures(short)), (replace(short, seed=2), {})])["city7-rotating", 0.8]
    assert (column_.policy, column_.seeds) == (ORACLE, (1,))
    assert all(len(values) == 1 for values in (column_.mean_s, column_.p99_s, column_.x1, column_.starts_per_hour))
