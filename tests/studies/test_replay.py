"""Policies compared on the same seeds: the figures are those of the runs, pairs are by seed."""

import json

import pytest

from fairlead.contracts.errors import InputError
from fairlead.contracts.tuning import Weights
from fairlead.policy.objective import Measured, objective
from fairlead.studies.cells import Cell, CellResult, ModelFigures, ScenarioAt, run_cell
from fairlead.studies.references import REFERENCE, measured, recorded_reference_s, sources
from fairlead.studies.replay import Order, compared, document

SHORT = ScenarioAt("city7-rotating", 0.8, 100.0, 300.0)


def result(mean_s: float | None, x1: float = 1.0, starts: float = 0.0, service: float | None = 1.0) -> CellResult:
    """Return a result of city7 with these figures, two hundred requests of one model."""
    return CellResult(
        cell="city7-rotating load 0.8 lru@5s seed 1",
        engine="reference",
        arrived=200,
        finished=200,
        failed=0,
        refused=0,
        open=0,
        mean_s=mean_s,
        p50_s=mean_s,
        p95_s=mean_s,
        p99_s=mean_s,
        x1=x1,
        x2=1.0,
        x3=1.0,
        x4=1.0,
        service_ratio=service,
        starts_per_hour=starts,
        stops_per_hour=starts,
        pairs=28,
        models=(
            ModelFigures(
                model="text", arrived=200, judged=100, timely=50, finished=200, unloaded_s=2.0, latency_sum_s=800.0
            ),
        ),
        requests=300,
        decisions=10,
        took_s=1.0,
    )


def test_an_order_has_each_policy_with_each_seed_and_whom_lref_is_of() -> None:
    """`random-static@5s` is played once, whether somebody asked for it or not."""
    order = Order((SHORT,), ("lru", "marginal-dpp@fresh"), 2)
    named = [(cell.policy, cell.seed) for cell in order.cells()]
    assert named == [(policy, seed) for policy in ("lru@5s", "marginal-dpp@fresh", REFERENCE) for seed in (1, 2)]
    asked = Order((SHORT,), ("lru", "random-static"), 2)
    assert [cell.policy for cell in asked.cells()] == ["lru@5s", "lru@5s", REFERENCE, REFERENCE]


def test_a_policy_is_named_once() -> None:
    """Also where it is written in two ways."""
    with pytest.raises(InputError, match="named twice"):
        Order((SHORT,), ("lru", "lru@5s"), 2).cells()


def test_the_objective_is_that_of_control_with_lref_of_random_static() -> None:
    """L over Lref, fairness, starts and stops of an epoch of five minutes over all pairs, service."""
    order = Order((SHORT,), ("lru", "random-static"), 1)
    ours, theirs = order.cells()
    found = compared(order, {ours: result(10.0, 0.9, 12.0, 0.8), theirs: result(40.0)})
    (row, other) = found.rows
    assert row.reference_s == 40.0
    expected = objective(Measured(10.0, 40.0, 0.9, 2.0, 28.0, 0.8), Weights()).total
    assert row.values("objective") == [expected]
    assert expected == pytest.approx(0.5 / 4 + 0.5 * 0.1 + 0.05 * 2 / 28 + 0.5 * 0.2)
    assert (found.first(row), found.first(other)) == (row, row)


def test_what_is_printed_is_what_was_measured() -> None:
    """Means over seeds, ratios of means paired by seed, sums by model; `null` where nothing arrived."""
    order = Order((SHORT, ScenarioAt("city7-rotating", 0.9, 100.0, 300.0)), ("lru", "random-static"), 3)
    cells = order.cells()
    results = dict.fromkeys(cells, result(None, service=None))
    for cell in cells[:6]:
        results[cell] = result(10.0 + cell.seed if cell.policy == REFERENCE else 2.0 * (10.0 + cell.seed))
    found = document(compared(order, results))
    assert json.loads(json.dumps(found)) == found
    lru, static, busy = found["results"][0], found["results"][1], found["results"][2]
    assert (lru["policy"], lru["load"], lru["seeds"]) == ("lru", 0.8, 3)
    assert lru["latency_s"]["mean"]["value"] == 24.0
    assert lru["latency_s"]["mean"]["low"] < 24.0 < lru["latency_s"]["mean"]["high"]
    assert set(lru["fairness"]) == {"x1", "x2", "x3", "x4"}
    assert set(lru["starts_per_hour"]) == {"value", "low", "high"}
    assert static["paired"]["against"] == "lru"
    assert static["paired"]["latency_ratio"]["mean"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert static["paired"]["difference"]["x1"]["value"] == 0.0
    assert lru["models"] == [{"model": "text", "arrived": 600, "mean_s": 4.0, "timely_ratio": 0.5}]
    assert busy["load"] == 0.9
    assert busy["latency_s"]["mean"] is None
    assert busy["objective"] is None
    assert busy["paired"]["latency_ratio"]["mean"] is None
    assert found["intervals"]["method"] == "student-t"


def test_lref_is_fixed_for_a_scenario_in_full_length_only() -> None:
    """A shorter run, or a load that nobody measured, finds its own."""
    assert recorded_reference_s(SHORT) is None
    assert recorded_reference_s(ScenarioAt("city7-rotating", 0.123)) is None


def test_lref_is_measured_of_every_scenario_at_every_load_of_the_scoreboard() -> None:
    """The mean over seeds of random-static, to the millisecond; very large clusters and real models are left out."""
    names = {source.name for source in sources()}
    assert "city7-rotating" in names
    assert not names & {"home3", "nation1000"}
    found = measured((SHORT,), 2, 1, "reference")
    runs = [run_cell(Cell(SHORT, REFERENCE, seed, "reference")).mean_s or 0.0 for seed in (1, 2)]
    row = {"scenario": SHORT.name, "load": 0.8, "mean_s": pytest.approx(sum(runs) / 2, abs=1e-3)}
    assert found["references"] == [row]
