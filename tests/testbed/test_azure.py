"""The Azure trace as live demand: thinned to the load with a fixed seed, beside what the scenario draws."""

import itertools
from pathlib import Path

import pytest

from fairlead.contracts.errors import TraceError
from fairlead.twin.clusters import total_speed
from fairlead.twin.demand import until
from fairlead.twin.scenarios import RUN_S, mean_rates, scenario
from testbed.azure import mix, surveyed_at
from tests.studies.trace_files import CITY7, TRACES, azure_row, write_azure

ROTATING = scenario("city7-rotating")
REAL = TRACES / "azure-llm-2023"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace of two requests a second for ten minutes."""
    return write_azure(tmp_path / "trace.csv", [azure_row(at / 2) for at in range(1200)])


def test_nothing_is_played_from_a_trace_with_a_bad_line(tmp_path: Path) -> None:
    """It is read through once before."""
    path = write_azure(tmp_path / "broken.csv", [azure_row(0), azure_row(0.5), "nonsense", azure_row(2)])
    with pytest.raises(TraceError, match=r"broken\.csv line 4 column"):
        mix(path, ROTATING, CITY7, 0.8, 1)


def test_text_requests_come_from_the_trace_at_the_rate_of_the_load(trace: Path) -> None:
    """Kept rows are a seeded sample; the factors are reported; the other kinds are drawn as without a trace."""
    mixed = mix(trace, ROTATING, CITY7, 0.8, 1)
    requests = list(until(mixed.requests, 6000))
    assert requests == list(until(mix(trace, ROTATING, CITY7, 0.8, 1).requests, 6000))
    assert requests != list(until(mix(trace, ROTATING, CITY7, 0.8, 2).requests, 6000))
    assert all(before.at_s <= after.at_s for before, after in itertools.pairwise(requests))
    means = mean_rates(ROTATING.spans(CITY7, 0.8, 1), RUN_S)
    assert {share.model for share in mixed.shares} == {"small-text", "large-text"}
    for share in mixed.shares:
        assert share.wanted_per_s == share.offered_per_s == means[share.model]
        assert share.kept_ratio == pytest.approx(means[share.model] / 2.0)
        assert sum(d.model == share.model for d in requests) == pytest.approx(means[share.model] * 6000, rel=0.15)
    assert sum(d.work_s for d in requests) / 6000 / total_speed(CITY7) == pytest.approx(0.8, rel=0.15)
    text = [d for d in requests if d.model in ("small-text", "large-text")]
    assert all(round(d.at_s * 2, 6).is_integer() for d in text), "times are the trace's own"


def test_a_trace_with_too_few_rows_is_not_stretched(tmp_path: Path) -> None:
    """All rows are kept, the load is missed, and the report says so."""
    sparse = write_azure(tmp_path / "sparse.csv", [azure_row(at * 60) for at in range(10)])
    mixed = mix(sparse, ROTATING, CITY7, 0.8, 1)
    assert sum(share.kept_ratio for share in mixed.shares) == pytest.approx(1.0)
    assert all(share.offered_per_s < share.wanted_per_s for share in mixed.shares)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the Azure 2023 trace is not at {REAL}")
def test_the_published_trace_is_read_whole_and_mixed() -> None:
    """Rows and rates are those of its description: conversations feed small text, code feeds large text."""
    assert [trace.count for trace in surveyed_at(REAL)] == [9754, 5100]
    mixed = mix(REAL, ROTATING, CITY7, 0.8, 7)
    assert [(share.file.split("_")[1], share.model) for share in mixed.shares] == [
        ("conv.csv", "small-text"),
        ("code.csv", "large-text"),
    ]
    requests = list(until(mixed.requests, 1700))
    assert sum(d.work_s for d in requests) / 1700 / total_speed(CITY7) == pytest.approx(0.8, rel=0.2)
