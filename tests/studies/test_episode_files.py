"""Episode files: what is written is read again; what was cut off, reordered or changed is refused, with its place."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.episodes import MishapLine, RequestLine
from fairlead.contracts.errors import TraceError
from fairlead.studies.episodes.files import checked, header_of, lines
from fairlead.studies.episodes.places import column_of
from tests.studies.trace_files import header, request, write_episode

PLACE = r"line \d+ column \d+: "

REQUESTS = st.builds(
    request,
    at_s=st.floats(0.0, 99.0),
    model=st.sampled_from(("small-text", "large-text", "image", "vision-language")),
    site=st.sampled_from(("site-1", "site-3", "site-5")),
    work_s=st.floats(1e-6, 1e6),
)


def some(path: Path) -> Path:
    """Write a small episode of five requests and a mishap."""
    there = [request(float(at)) for at in range(5)]
    return write_episode(path, [*there, MishapLine(at_s=5.0, what="node-lost", node="node-2")])


def rewritten(path: Path, change: dict[int, bytes | None]) -> Path:
    """Change lines of a file by their number, from 1; None leaves one out."""
    rows = path.read_bytes().splitlines(keepends=True)
    kept = [change.get(number, row) for number, row in enumerate(rows, start=1)]
    path.write_bytes(b"".join(row for row in kept if row is not None))
    return path


def interrupted() -> Iterator[RequestLine]:
    """Yield a request, and then somebody's Ctrl-C."""
    yield request(1.0)
    raise KeyboardInterrupt


@settings(max_examples=20)
@given(there=st.lists(REQUESTS, max_size=30), packed=st.booleans())
def test_what_is_written_is_read_again(
    there: list[RequestLine], packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same lines, counts of them, and the same bytes for the same lines."""
    folder = tmp_path_factory.mktemp("episode")
    there.sort(key=lambda one: one.at_s)
    path, twin = (write_episode(folder / f"{name}.jsonl{'.gz' if packed else ''}", there) for name in ("a", "b"))
    assert path.read_bytes() == twin.read_bytes()
    assert list(lines(path)) == there
    assert checked(path).count("request") == len(there)
    assert checked(path).end.lines == len(there) + 1
    assert header_of(path) == header()


def test_only_lines_of_the_wanted_kinds_are_given(tmp_path: Path) -> None:
    """In their order; the others are passed over."""
    path = some(tmp_path / "a.jsonl")
    assert [line.kind for line in lines(path, frozenset({"mishap"}))] == ["mishap"]
    assert [line.kind for line in lines(path, frozenset({"request"}))] == ["request"] * 5


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """Packed or not, with line and column."""
    for name in ("a.jsonl", "a.jsonl.gz"):
        whole = some(tmp_path / name).read_bytes()
        step = 5 if name.endswith("gz") else 61
        for length in range(0, len(whole) - 1, step):
            cut = tmp_path / f"cut-{name}"
            cut.write_bytes(whole[:length])
            with pytest.raises(TraceError, match=PLACE):
                checked(cut)


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        ({3: None}, "line 7 column", "lines is not what"),
        ({3: None, 4: None}, "line 6 column", "lines is not what"),
        ({1: None}, "line 1 column 1", "this is no episode"),
        ({8: None}, "line 8 column 1", "closing line"),
        ({2: b'{"kind":"request","at_s":0.5,"site":"site-1","model":"x","work_s":1}\n'}, "line 2 column 54", "'x'"),
        ({2: b'{"kind":"request","at_s":0.5,"site":"z","model":"image","work_s":1}\n'}, "line 2 column 37", "'z'"),
        ({2: b'{"kind":"request","at_s":"soon"}\n'}, "line 2 column 26", "at_s: "),
        ({2: b'{"kind":"request","at_s":0.5}\n'}, "line 2 column 1", "site: Field required"),
        ({2: b'{"kind":"request","at_s":NaN}\n'}, "line 2 column 26", "at_s"),
        ({2: b'{"kind":"request","at_s":0.5,}\n'}, "line 2 column 30", "no JSON"),
        ({3: b'{"kind":"request","at_s":0.5 "site"}\n'}, "line 3 column 30", "no JSON"),
        ({3: b"nonsense\n"}, "line 3 column 1", "no JSON"),
        ({3: b'{"kind":"wish"}\n'}, "line 3 column 9", "a line begins"),
        ({3: b'{"at_s":1.0,"kind":"request"}\n'}, "line 3 column 1", "a line begins"),
        ({3: b'{"kind":"request","at_s":1,"site":"\xff"}\n'}, "line 3 column 36", "0xff is no UTF-8"),
        (
            {2: b'{"kind":"request","at_s":100.0,"site":"site-1","model":"image","work_s":1}\n'},
            "line 2",
            "window's end",
        ),
        ({7: b'{"kind":"mishap","at_s":9,"what":"node-lost","node":"x"}\n'}, "line 7 column 53", "no node 'x'"),
        ({7: b'{"kind":"mishap","at_s":9,"what":"speed-turned","node":"node-1"}\n'}, "line 7 column 1", "speed"),
        ({8: b'{"kind":"end","lines":7,"counts":[],"sha256":""}\n'}, "line 8 column", "sha256"),
    ],
)
def test_a_file_that_was_changed_is_refused_with_line_and_column(
    tmp_path: Path, change: dict[int, bytes | None], place: str, why: str
) -> None:
    """Whatever was done to it."""
    path = rewritten(some(tmp_path / "a.jsonl"), change)
    with pytest.raises(TraceError, match=rf"a\.jsonl {place}.*{why}") as caught:
        checked(path)
    assert len(str(caught.value)) < 768


def test_lines_out_of_order_are_refused_where_the_first_one_is(tmp_path: Path) -> None:
    """Two requests in each other's place: the second of them came before."""
    path = some(tmp_path / "a.jsonl")
    rows = path.read_bytes().splitlines(keepends=True)
    rewritten(path, {3: rows[3], 4: rows[2]})
    with pytest.raises(TraceError, match=r"line 4 column 26: 1\.0 is before the line above, 2\.0"):
        checked(path)


def test_a_change_that_leaves_every_line_sound_is_seen_by_the_digest(tmp_path: Path) -> None:
    """Lines of the same instant in another order; one more digit in a number."""
    path = write_episode(tmp_path / "a.jsonl", [request(1.0, work_s=2.0), request(1.0, work_s=3.0)])
    rows = path.read_bytes().splitlines(keepends=True)
    rewritten(path, {2: rows[2], 3: rows[1]})
    with pytest.raises(TraceError, match=r"line 4 column \d+: sha256 is not"):
        checked(path)


def test_nothing_may_follow_the_closing_line(tmp_path: Path) -> None:
    """Two episodes in one file are none."""
    path = some(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(TraceError, match="line 9 column 1: there are lines after"):
        checked(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1 column 1: the file is empty"),
        (b"TIMESTAMP,ContextTokens\r\n1,2\r\n", "line 1 column 1: this is no episode"),
        (b'{"timestamp": 0, "input_length": 1}\n', "line 1 column 1: this is no episode"),
        (b'{"kind":"header","format":"other","version":1}\n', "line 1 column 1: this is no episode"),
        (b'{"kind":"header","format":"fairlead-episode","version":2}\n', "line 1 column 56: .*version 2"),
        (b'{"kind":"header","format":"fairlead-episode","version":1}\n', "line 1 column 1: name: Field required"),
        (b"\x1f\x8b\x08\x00nonsense", "line 1 column 1: the compressed data"),
        (b"\x1f\x8bxxxxxxxxxxxx", "line 1 column 1: the compressed data is broken"),
        (b"\x00\xff\xfe\n", "line 1 column 2: byte 0xff"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """With what it is taken for, and where."""
    path = tmp_path / "foreign.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=why):
        checked(path)
    with pytest.raises(TraceError, match="cannot be read"):
        checked(tmp_path / "nowhere.jsonl")


def test_a_header_must_fit_together(tmp_path: Path) -> None:
    """A network that leaves a node out, a window that ends before it begins."""
    document = header().to_document()
    for name, value, why in (
        ("distances", [], "each pair"),
        ("payloads", [], "each model"),
        ("window_end_s", 5.0, "before"),
    ):
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps(document | {name: value}, separators=(",", ":")) + "\n", "utf-8")
        with pytest.raises(TraceError, match=f"line 1 column 1: .*{why}"):
            checked(path)


def test_nothing_is_there_where_writing_fails(tmp_path: Path) -> None:
    """No episode, no half of one, no temporary file; what was there before stays."""
    path = some(tmp_path / "a.jsonl.gz")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"line 3 of a\.jsonl\.gz: 0\.5 is before"):
        write_episode(path, [request(1.0), request(0.5)])
    with pytest.raises(KeyboardInterrupt):
        write_episode(tmp_path / "b.jsonl", interrupted())
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl.gz"]
    assert path.read_bytes() == before
    for nowhere in (path / "inside.jsonl", tmp_path):
        with pytest.raises(TraceError, match="cannot be written"):
            write_episode(nowhere, [request(1.0)])
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))


def test_the_file_can_be_read_without_fairlead(tmp_path: Path) -> None:
    """A line is a JSON object that says of what kind it is first; the digest is of all bytes before the last line."""
    path = some(tmp_path / "a.jsonl.gz")
    rows = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    documents = [json.loads(row) for row in rows]
    assert [one["kind"] for one in documents] == ["header", *["request"] * 5, "mishap", "end"]
    assert documents[-1]["sha256"] == hashlib.sha256(b"".join(rows[:-1])).hexdigest()
    assert documents[1] == {
        "kind": "request", "at_s": 0.0, "id": None, "site": "site-1", "model": "small-text", "work_s": 2.0,
        "prompt_tokens": None, "output_tokens": None,
    }  # fmt: skip


def test_a_column_is_that_of_the_value(tmp_path: Path) -> None:
    """Inside objects and arrays, past strings that look like JSON; the innermost thing there is if it is missing."""
    text = '{ "a": [1, {"b": "}],\\"", "c" : 7}], "d": null}'
    assert text[column_of(text, ["a", 1, "c"]) - 1] == "7"
    assert text[column_of(text, ["d"]) - 1 :].startswith("null")
    assert text[column_of(text, ["a", 1, "nothing"]) - 1 :].startswith('{"b"')
    assert text[column_of(text, ["a", 5]) - 1 :].startswith("[1")
    assert text[column_of(text, ["d", "deeper"]) - 1 :].startswith("null")
