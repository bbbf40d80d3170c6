"""The Azure trace: streamed, checked line by line, thinned to the load with a fixed seed."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.errors import TraceError
from fairlead.twin.clusters import cluster, default_ports, total_speed
from fairlead.twin.demand import until
from fairlead.twin.scenarios import RUN_S, mean_rates, scenario
from testbed.azure import HEADER, files, mix, rows, survey

CITY7 = cluster("city7", default_ports("city7"))
ROTATING = scenario("city7-rotating")
REAL = Path(__file__).parents[2].parent / "shared" / "traces" / "azure-llm-2023"


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    """Write a trace with the line ends of the published one."""
    path.write_bytes("".join(f"{line}\r\n" for line in (header, *lines)).encode())
    return path


def line(at_s: float, prompt: int = 100, output: int = 10) -> str:
    """Return a row `at_s` seconds after 18:00."""
    minutes, seconds = divmod(at_s, 60)
    return f"2023-11-16 18:{int(minutes):02d}:{seconds:09.6f}0,{prompt},{output}"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace of two requests a second for ten minutes."""
    return write(tmp_path / "trace.csv", [line(at / 2) for at in range(1200)])


def test_rows_are_read_one_by_one_with_times_from_the_first(trace: Path) -> None:
    """Times in seconds since the first row, counts as they stand."""
    first = list(itertools.islice(rows(trace), 3))
    assert [(row.at_s, row.prompt_tokens, row.output_tokens) for row in first] == [
        (0.0, 100, 10),
        (0.5, 100, 10),
        (1.0, 100, 10),
    ]


def test_a_file_larger_than_what_is_read_is_never_held_whole(tmp_path: Path) -> None:
    """A bad line far behind does no harm to the rows before it, which are there without it being read."""
    path = write(tmp_path / "trace.csv", [line(at / 100) for at in range(5000)] + ["nonsense"])
    seen: Iterator[object] = rows(path)
    assert len(list(itertools.islice(seen, 5000))) == 5000
    with pytest.raises(TraceError, match="line 5002"):
        next(seen)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("2023-11-16 18:00:01.0000000,100", "2 fields"),
        ("2023-11-16 18:00:01.0000000,100,10,7", "4 fields"),
        ("16/11/2023 18:00,100,10", "its time is not of the form"),
        ("2023-11-16 18:00:01.0000000,-5,10", "token count"),
        ("2023-11-16 18:00:01.0000000,nan,10", "token count"),
        ("2023-11-16 18:00:01.0000000,1e3,10", "token count"),
        ("2023-11-16 18:00:01.0000000,99999999999999999999,10", "token count"),
        ("2023-11-16 17:59:59.0000000,100,10", "before that of the line above"),
        ("", "1 fields"),
        ("x" * 100_000, "line break"),
    ],
)
def test_a_corrupt_line_is_refused_with_file_and_line_number(tmp_path: Path, bad: str, why: str) -> None:
    """Nothing is played from such a trace: it is read through once before."""
    path = write(tmp_path / "broken.csv", [line(0), line(0.5), bad, line(2)])
    with pytest.raises(TraceError, match=f"broken.csv line 4: .*{why}") as caught:
        mix(path, ROTATING, CITY7, 0.8, 1)
    assert len(str(caught.value)) < 512


def test_a_file_that_is_no_such_trace_is_refused(tmp_path: Path) -> None:
    """Another header, bytes that are no text, one row only, a cut last line, no file, an empty directory."""
    with pytest.raises(TraceError, match=r"line 1: .*header"):
        survey(write(tmp_path / "a.csv", [line(0)], header="time,in,out"))
    (tmp_path / "b.csv").write_bytes(HEADER.encode() + b"\r\n\xff\xfe\x00")
    with pytest.raises(TraceError, match=r"b\.csv is no text"):
        survey(tmp_path / "b.csv")
    with pytest.raises(TraceError, match="1 rows"):
        survey(write(tmp_path / "c.csv", [line(0)]))
    (tmp_path / "d.csv").write_bytes(f"{HEADER}\r\n{line(0)}\r\n{line(1)[:-3]}".encode())
    with pytest.raises(TraceError, match=r"line 3: .*cut off"):
        survey(tmp_path / "d.csv")
    with pytest.raises(TraceError, match="cannot be read"):
        survey(tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match="none of AzureLLM"):
        files(tmp_path / "empty")


@settings(max_examples=30)
@given(noise=st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_trace_error(noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing else ever comes out of a file."""
    path = tmp_path_factory.mktemp("trace") / "noise.csv"
    path.write_bytes(f"{HEADER}\r\n{line(0)}\r\n".encode() + noise)
    try:
        count = sum(1 for _ in rows(path))
    except TraceError as error:
        message = str(error)
        count = message.count("noise.csv")
    assert count >= 1


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
    sparse = write(tmp_path / "sparse.csv", [line(at * 60) for at in range(10)])
    mixed = mix(sparse, ROTATING, CITY7, 0.8, 1)
    assert sum(share.kept_ratio for share in mixed.shares) == pytest.approx(1.0)
    assert all(share.offered_per_s < share.wanted_per_s for share in mixed.shares)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the Azure 2023 trace is not at {REAL}")
def test_the_published_trace_is_read_whole_and_mixed() -> None:
    """Rows and rates are those of its description: conversations feed small text, code feeds large text."""
    conversations, code = (survey(path) for path in files(REAL))
    assert (conversations.rows, code.rows) == (9754, 5100)
    assert conversations.rate_per_s() * 60 == pytest.approx(334, rel=0.01)
    mixed = mix(REAL, ROTATING, CITY7, 0.8, 7)
    assert [(share.file.split("_")[1], share.model) for share in mixed.shares] == [
        ("conv.csv", "small-text"),
        ("code.csv", "large-text"),
    ]
    requests = list(until(mixed.requests, 1700))
    assert sum(d.work_s for d in requests) / 1700 / total_speed(CITY7) == pytest.approx(0.8, rel=0.2)
