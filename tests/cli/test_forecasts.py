"""`fairlead forecast`, and the forecast in `decisions show`."""

import json

import pytest

from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.forecasts import Coming, Forecast, RateForecast
from tests.adapters import store_examples as some
from tests.cli.conftest import System
from tests.cli.test_agents import said
from tests.cli.test_decisions import journaled

FORECAST = Forecast(
    made_at_s=1007.0,
    until_s=1607.0,
    method="timetable",
    rates=(
        RateForecast(site="s1", model="m1", from_s=1007.0, until_s=1200.0, per_s=0.1, low_per_s=0.05, high_per_s=0.15),
    ),
    error=0.214,
    plain_error=0.54,
    regime="r2",
    since_s=600.0,
    coming=Coming(at_s=1200.0, low_at_s=1170.0, high_at_s=1230.0, regime="r3", seen=4, missed=1),
)


def slot(forecast: Forecast | None) -> DecisionRecord:
    """Return a slot's decision that was told a forecast."""
    record = some.slot_record(7)
    return record.model_copy(update={"input": record.input.model_copy(update={"forecast": forecast})})


def test_before_a_slot_is_decided_nothing_is_forecast(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and programs get null."""
    assert said(capsys, "forecast") == "nothing is forecast yet: no slot has been decided\n"
    assert json.loads(said(capsys, "forecast", "--json")) is None


def test_the_newest_forecast_is_shown_with_its_error(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    """How, how well, which regime is and which comes, and a line for each rate."""
    journaled(system, slot(FORECAST))
    words = said(capsys, "forecast")
    for part in (
        "forecast: by timetable, error 0.21 of an epoch's arrivals; the plain rate's is 0.54\n",
        "  demand is steady since 1970-01-01 00:10:00; r2 is recognised\n",
        "  r3 is expected at 1970-01-01 00:20:00, between 1970-01-01 00:19:30 and 1970-01-01 00:20:30: "
        "kept 4 times, missed 1\n",
        "m1     s1    1970-01-01 00:16:47  1970-01-01 00:20:00  6.00      3.00 to 9.00",
    ):
        assert part in words
    assert Forecast.model_validate(json.loads(said(capsys, "forecast", "--json")), strict=False) == FORECAST


def test_a_decision_is_shown_with_the_forecast_that_it_was_told(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a change or a regime it says what is known."""
    plain = FORECAST.model_copy(
        update={"method": "plain", "error": None, "regime": "", "since_s": None, "coming": None}
    )
    journaled(system, slot(plain))
    words = said(capsys, "decisions", "show", "slot-7")
    assert "forecast: by plain, error - of" in words
    assert "  demand is steady as far back as was seen; no remembered regime is recognised\n" in words
    assert "is expected at" not in words
