"""Real traces, row by row: what is read of each kind, and where a bad line is."""

import contextlib
import itertools
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.errors import TraceError
from fairlead.studies.episodes import azure, gentd26, mooncake, own
from fairlead.studies.episodes.servegen import servegen
from fairlead.studies.episodes.traces import FileTrace, Row, found, surveyed
from tests.studies.trace_files import (
    CITY7,
    TRACES,
    azure_row,
    gentd26_row,
    windows,
    write_azure,
    write_gentd26,
    write_servegen,
)

MOONCAKE = '{"timestamp": %d, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'

Rows = Callable[[Path], Iterator[Row]]


def drawn(trace: FileTrace, bounds: tuple[float, ...], from_s: float, for_s: float) -> list[tuple[float, int]]:
    """Return instants and indices of a sample."""
    kept = trace.kept(from_s, for_s, bounds, np.random.Generator(np.random.PCG64(1)))
    return [(row.at_s, chosen) for row, chosen in kept]


def test_rows_have_times_from_the_first_and_sizes(tmp_path: Path) -> None:
    """Tokens that are generated, or seconds of execution; what is not known is None."""
    a = write_azure(tmp_path / "a.csv", [azure_row(at / 2) for at in range(4)])
    assert list(azure.rows(a))[2] == Row(1.0, 100, 10, 10.0)
    b = write_gentd26(tmp_path / "b.csv.gz", [gentd26_row(15, 5), gentd26_row(15, 65, exec_s="", prompt="")])
    assert list(gentd26.rows(b)) == [Row(0.0, 16, None, 20.0), Row(60.0, None, None, None)]
    c = tmp_path / "c.jsonl"
    c.write_text("".join(MOONCAKE % at for at in (1000, 1000, 4500)), "utf-8")
    assert list(mooncake.rows(c)) == [Row(at_s, 6758, 500, 500.0) for at_s in (0.0, 0.0, 3.5)]
    d = tmp_path / "d.csv"
    d.write_text("work_s,at_s\n,7.5\n3,8\n", "utf-8")
    assert list(own.rows(d)) == [Row(0.0, None, None, None), Row(0.5, None, None, 3.0)]


def test_a_file_is_never_held_whole(tmp_path: Path) -> None:
    """A bad line far behind does no harm to the rows before it, which are there without it being read."""
    path = write_azure(tmp_path / "trace.csv", [azure_row(at / 100) for at in range(5000)] + ["nonsense"])
    seen = azure.rows(path)
    assert len(list(itertools.islice(seen, 5000))) == 5000
    with pytest.raises(TraceError, match="line 5002 column"):
        next(seen)


@pytest.mark.parametrize(
    ("bad", "place", "why"),
    [
        ("2023-11-16 18:00:01.0000000,100", 32, "2 fields"),
        ("2023-11-16 18:00:01.0000000,100,10,7", 36, "4 fields"),
        ("16/11/2023 18:00,100,10", 1, "its time is not of the form"),
        ("2023-11-16 18:00:01.0000000,-5,10", 29, "no whole number"),
        ("2023-11-16 18:00:01.0000000,100,nan", 33, "no whole number"),
        ("2023-11-16 18:00:01.0000000,100,1e3", 33, "no whole number"),
        ("2023-11-16 18:00:01.0000000,99999999999999999999,10", 29, "no whole number"),
        ('2023-11-16 18:00:01.0000000,"100",10', 29, "quotes"),
        ("2023-11-16 17:59:59.0000000,100,10", 1, "before that of the line above"),
        ("", 1, "1 fields"),
        ("x" * 100_000, 4097, "line break"),
    ],
)
def test_a_bad_row_is_refused_with_line_and_column(tmp_path: Path, bad: str, place: int, why: str) -> None:
    """As an editor counts them."""
    path = write_azure(tmp_path / "broken.csv", [azure_row(0), azure_row(0.5), bad, azure_row(2)])
    with pytest.raises(TraceError, match=rf"broken\.csv line 4 column {place}: .*{why}") as caught:
        surveyed("azure", path, azure.rows)
    assert len(str(caught.value)) < 512


@pytest.mark.parametrize(
    ("rows", "text", "place"),
    [
        (azure.rows, "time,in,out\n", "line 1 column 1: .*header"),
        (azure.rows, "", "line 1 column 1: .*header"),
        (azure.rows, ",".join(azure.HEADER) + "\nx", "line 2 column 2: .*cut off"),
        (
            gentd26.rows,
            ",".join(gentd26.HEADER) + "\n" + gentd26_row(15, 5)[:-2] + "\n",
            "line 2 column 70: .*10 fields",
        ),
        (gentd26.rows, ",".join(gentd26.HEADER) + "\n" + gentd26_row(15, 5, exec_s="-1") + "\n", "line 2 column 39: "),
        (mooncake.rows, MOONCAKE % 5 + MOONCAKE % 4, "line 2 column 15: .*before the line above"),
        (mooncake.rows, MOONCAKE % 5 + "[]\n", "line 2 column 1: a line is an object"),
        (mooncake.rows, '{"timestamp": 1}\n', "line 1 column 1: input_length must be"),
        (mooncake.rows, '{"timestamp": true}\n', "line 1 column 15: timestamp must be"),
        (mooncake.rows, "nonsense\n", "line 1 column 1: this is no JSON"),
        (own.rows, "", "line 1 column 1: the file is empty"),
        (own.rows, "model\nimage\n", "line 1 column 1: .*at_s"),
        (own.rows, "at_s,colour\n", "line 1 column 6: .*a header names"),
        (own.rows, "at_s,at_s\n", "line 1 column 6: .*a header names"),
        (own.rows, "at_s\n2\n1\n", "line 3 column 1: .*before"),
        (own.rows, "at_s\ninf\n", "line 2 column 1: .*no number"),
        (own.rows, "at_s,work_s\n1,0\n", "line 2 column 3: .*above 0"),
    ],
)
def test_each_kind_names_the_place(tmp_path: Path, rows: Rows, text: str, place: str) -> None:
    """Of what is wrong."""
    path = tmp_path / "some"
    path.write_text(text, "utf-8")
    with pytest.raises(TraceError, match=f"some {place}"):
        list(rows(path))


HEADS: dict[Rows, str] = {
    azure.rows: ",".join(azure.HEADER) + "\n",
    gentd26.rows: ",".join(gentd26.HEADER) + "\n",
    mooncake.rows: "",
    own.rows: "at_s,model\n",
}


@settings(max_examples=40)
@given(noise=st.binary(max_size=200), rows=st.sampled_from(list(HEADS)))
def test_any_bytes_are_rows_or_a_trace_error(
    noise: bytes, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing else ever comes out of a file."""
    path = tmp_path_factory.mktemp("trace") / "noise"
    path.write_bytes(HEADS[rows].encode() + noise)
    with contextlib.suppress(TraceError):
        assert all(row.at_s >= 0 for row in rows(path))


def test_a_trace_needs_rows_at_two_times_and_files_that_are_there(tmp_path: Path) -> None:
    """One row has no rate; an empty directory has no trace."""
    with pytest.raises(TraceError, match="1 rows"):
        surveyed("azure", write_azure(tmp_path / "a.csv", [azure_row(0)]), azure.rows)
    with pytest.raises(TraceError, match="cannot be read"):
        surveyed("azure", tmp_path / "nowhere.csv", azure.rows)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match="none of AzureLLM"):
        found(tmp_path / "empty", azure.FILES)


def test_a_stretch_begins_and_ends_where_it_should_and_the_trace_begins_again(tmp_path: Path) -> None:
    """Ten rows, one a second: from 8 s on for 5 s there are 8, 9, and then 0, 1, 2 of the next turn."""
    path = write_azure(tmp_path / "a.csv", [azure_row(at) for at in range(10)])
    trace = surveyed("azure", path, azure.rows)
    assert (trace.count, trace.lasts_s, trace.mean_size) == (10, 10.0, 10.0)
    assert drawn(trace, (1.0,), 8.0, 5.0) == [(0.0, 0), (1.0, 0), (2.0, 0), (3.0, 0), (4.0, 0)]
    assert drawn(trace, (1.0,), 28.0, 3.0) == drawn(trace, (1.0,), 8.0, 3.0)
    assert trace.expected(0.0, 5.0) == (5.0, 5.0)
    assert trace.expected(8.0, 3.0) == (3.0, 3.0, 3.0)
    assert trace.expected(0.0, 25.0) == (25.0,)
    chosen = [index for _, index in drawn(trace, (0.25, 0.75), 0.0, 1000.0)]
    assert chosen.count(0) == pytest.approx(250, abs=60)
    assert chosen.count(1) == pytest.approx(500, abs=70)


def test_requests_of_a_service_follow_its_clients_rates(tmp_path: Path) -> None:
    """Rates as published, gamma or Weibull gaps; the same bytes for a seed, others for another."""
    files = {"chunk-0": windows(2.0, 12), "chunk-7": windows(1.0, 12, "Weibull", 0.8), "chunk-9": "0,0,0,,0,0\n"}
    lengths = {"0": {"input_tokens": "{10: 0.5, 30: 0.5}", "output_tokens": "{4: 1.0}", "audio_count": "{}"}}
    path = write_servegen(tmp_path / "x.tar.gz", files, lengths)
    service = servegen(path, 3, 600.0, 6000.0)
    assert service.lasts_s == 7200.0
    assert service.expected(600.0, 6000.0) == (18_000.0,)
    assert service.mean_size == 4.0
    nothing = np.random.Generator(np.random.PCG64(0))
    rows = [row for row, _ in service.kept(600.0, 6000.0, (1.0,), nothing)]
    assert len(rows) == pytest.approx(18_000, rel=0.03)
    assert [row.at_s for row in rows] == sorted(row.at_s for row in rows)
    assert 0.0 <= rows[0].at_s < rows[-1].at_s < 6000.0
    assert {(row.prompt_tokens, row.output_tokens) for row in rows} == {(10, 4), (30, 4)}
    again = servegen(path, 3, 600.0, 6000.0)
    assert [row for row, _ in again.kept(600.0, 6000.0, (1.0,), nothing)] == rows
    other = servegen(path, 4, 600.0, 6000.0)
    assert [row for row, _ in other.kept(600.0, 6000.0, (1.0,), nothing)] != rows
    assert len(list(service.kept(600.0, 6000.0, (0.1,), nothing))) == pytest.approx(1800, rel=0.1)
    few = servegen(path, 3, 600.0, 6000.0, clients=1)
    assert len(few.members) == len(few.clients) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0,1,2,Gamma\n", r"chunk-1-trace\.csv line 1 column 1: .*six"),
        (windows(1.0, 1) + "600,1,2,Normal,1,1\n", "line 2 column 9: .*neither"),
        (windows(1.0, 1) + "600,1,2,Gamma,0,1\n", "line 2 column 15: .*above 0"),
        (windows(1.0, 1) + "300,1,2,Gamma,1,1\n", "line 2 column 1: .*begins 600 s after"),
        ("0,many,2,Gamma,1,1\n", "line 1 column 3: .*no number"),
        ("0,1e9,2,Gamma,1,1\n", "line 1 column 3: .*more than"),
        (windows(1.0, 2), "a stretch from 0 s for 6000 s is not in it"),
    ],
)
def test_a_bad_window_is_refused_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    """In which of the archive's files, line and column."""
    with pytest.raises(TraceError, match=why):
        servegen(write_servegen(tmp_path / "x.tar.gz", {"chunk-1": text}), 0, 0.0, 6000.0)


@pytest.mark.parametrize(
    ("lengths", "why"),
    [
        ({"0": {"output_tokens": "__import__('os')"}}, "no file of distributions"),
        ({"0": {"output_tokens": "{1: -1.0}"}}, "no file of distributions"),
        ({"soon": {}}, "no file of distributions"),
        ([], "no file of distributions"),
    ],
)
def test_bad_distributions_are_refused_and_never_executed(tmp_path: Path, lengths: dict[str, object], why: str) -> None:
    """A string of the archive is data."""
    path = write_servegen(tmp_path / "x.tar.gz", {"chunk-1": windows(1.0, 2)}, lengths)
    with pytest.raises(TraceError, match=rf"chunk-1-dataset\.json line 1 column 1: .*{why}"):
        servegen(path, 0, 0.0, 600.0)


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    """Cut off, of another kind, or not there; a directory of the same files is one too."""
    path = write_servegen(tmp_path / "x.tar.gz", {"chunk-1": windows(1.0, 300)})
    (tmp_path / "cut.tar.gz").write_bytes(path.read_bytes()[:200])
    (tmp_path / "other.tar.gz").write_bytes(b"nonsense")
    for name in ("cut", "other", "nowhere"):
        with pytest.raises(TraceError, match=rf"{name}\.tar\.gz"):
            servegen(tmp_path / f"{name}.tar.gz", 0, 0.0, 600.0)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert servegen(tmp_path / "unpacked", 0, 0.0, 600.0).expected(0.0, 600.0) == (600.0,)


def test_a_table_with_models_is_a_whole_demand(tmp_path: Path) -> None:
    """Its sites and work, or a drawn site and the mean work; unknown names are refused with their place."""
    path = tmp_path / "mine.csv"
    path.write_text("at_s,model,site,work_s,prompt_tokens\n100,image,site-3,30,7\n101.5,small-text,,,\n", "utf-8")
    assert own.names_models(path)
    first, second = own.requests(path, CITY7, 1)
    assert (first.at_s, first.model, first.site, first.work_s, first.prompt_tokens) == (0.0, "image", "site-3", 30.0, 7)
    assert (second.at_s, second.work_s, second.output_tokens) == (1.5, 2.0, None)
    assert second.site in {site.id for site in CITY7.sites}
    for text, place in (
        ("5,dream,,,\n", "line 2 column 3: .*models are"),
        ("5,image,moon,,\n", "line 2 column 9: .*sites are"),
    ):
        path.write_text(f"at_s,model,site,work_s,prompt_tokens\n{text}", "utf-8")
        with pytest.raises(TraceError, match=place):
            list(own.requests(path, CITY7, 1))


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"the real traces are not at {TRACES}")
def test_the_published_files_are_read_whole() -> None:
    """Rows and rates are those of their description."""
    conversations, code = (surveyed("azure", one, azure.rows) for one in found(TRACES / "azure-llm-2023", azure.FILES))
    assert (conversations.count, code.count) == (9754, 5100)
    assert conversations.rate_per_s() * 60 == pytest.approx(334, rel=0.01)
    images = surveyed("gentd26", found(TRACES / "alibaba-gentd26", gentd26.FILES)[0], gentd26.rows)
    assert images.count == 14_279
    assert images.rate_per_s() * 60 == pytest.approx(0.65, rel=0.01)
    service = servegen(TRACES / "servegen" / "multimodal-mm-image.tar.gz", 1, 0.0, 43_200.0)
    assert service.expected(0.0, 43_200.0)[0] / 43_200.0 == pytest.approx(9.2, rel=0.02)
