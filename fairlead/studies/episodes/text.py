"""Lines of a text file, packed by gzip or not, one at a time; what is broken is refused with line and column."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fairlead.contracts.errors import TraceError, foreign
from fairlead.studies.episodes.places import SHOWN_CHARS, wrong

GZIP_MAGIC = b"\x1f\x8b"
"""RFC 1952 §2.3.1."""

ROW_BYTES = 4096
"""Longest row of a table that is read: rows of the public traces have at most 180 characters."""


STAMP_CHARS = 26
"""Of a time that are read: to the microsecond; a seventh fractional digit says nothing here."""


def numbered(path: Path, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line of a file, its line end too.

    Raises `TraceError` where the file cannot be read, a line is longer than `most_bytes`, or the file was cut off.
    """
    number = 1
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw, mode="rb") if packed else contextlib.nullcontext(raw) as file:
                while data := file.readline(most_bytes):
                    if not data.endswith(b"\n"):
                        raise _unended(path.name, number, data, most_bytes)
                    yield number, data
                    number += 1
    except gzip.BadGzipFile as error:
        raise wrong(path.name, number, 1, f"the compressed data is broken: {foreign(error)}") from error
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {foreign(error.strerror)}") from error
    except (EOFError, zlib.error) as error:
        why = "was cut off" if isinstance(error, EOFError) else f"is broken: {foreign(error)}"
        raise wrong(path.name, number, 1, f"the compressed data {why} here") from error


def decoded(file: str, number: int, data: bytes) -> str:
    """Return the text of a line, without its line end; raises `TraceError` where it is none."""
    try:
        return data.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(data[: error.start].decode("utf-8")) + 1
        raise wrong(file, number, column, f"byte 0x{data[error.start]:02x} is no UTF-8: this is no text") from error


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: fields between commas, none of them in quotes."""

    file: str
    number: int
    fields: tuple[str, ...]

    def wrong(self, field: int, why: str) -> TraceError:
        """Return the error for one of its fields; for one that it does not have, at its end."""
        text = ",".join(self.fields)
        column = min(sum(len(one) + 1 for one in self.fields[:field]), len(text)) + 1
        shown = foreign(repr(text))[:SHOWN_CHARS]
        return wrong(self.file, self.number, column, f"{shown}: {why}")

    def whole(self, field: int, most: int) -> int:
        """Return a field that is a whole number from 0 to `most`."""
        text = self.fields[field]
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
            raise self.wrong(field, f"{foreign(text)!r} is no whole number from 0 to {most}")
        return int(text)

    def number_from(self, field: int, least: float) -> float:
        """Return a field that is a finite number, at least `least`."""
        text = self.fields[field]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise self.wrong(field, f"{foreign(text)!r} is no number from {least:g}")
        return value


def table(path: Path) -> Iterator[Line]:
    """Yield the rows of a table, its header first; raises `TraceError` where a row has not the header's fields."""
    width: int | None = None
    for number, data in numbered(path, ROW_BYTES):
        text = decoded(path.name, number, data)
        line = Line(path.name, number, tuple(text.split(",")))
        if '"' in text:
            raise wrong(path.name, number, text.index('"') + 1, "fields in quotes are not read: write them without")
        if width is not None and len(line.fields) != width:
            raise line.wrong(min(width, len(line.fields)), f"it has {len(line.fields)} fields, the header {width}")
        width = len(line.fields)
        yield line


def headed(path: Path, header: Sequence[str]) -> Iterator[Line]:
    """Yield the rows below a header that must be this one."""
    lines = table(path)
    first = next(lines, None)
    if first is None or first.fields != tuple(header):
        line = first or Line(path.name, 1, ("",))
        raise line.wrong(0, f"the file must begin with the header {','.join(header)}")
    yield from lines


def timed(lines: Iterator[Line], example: str) -> Iterator[tuple[Line, float]]:
    """Yield rows with the seconds since the first, read off their first field, which must not go back.

    Times are of the form of `example`, a date and a clock in ISO 8601 with a space between.
    """
    first: datetime | None = None
    before_s = 0.0
    for line in lines:
        text = line.fields[0]
        try:
            stamp = datetime.fromisoformat(text[:STAMP_CHARS])
        except ValueError as error:
            raise line.wrong(0, f"its time is not of the form {example}") from error
        if len(text) != len(example) or text[10] != " ":
            raise line.wrong(0, f"its time is not of the form {example}")
        first = first or stamp
        at_s = (stamp - first).total_seconds()
        if at_s < before_s:
            raise line.wrong(0, "its time is before that of the line above: rows go by time")
        before_s = at_s
        yield line, at_s


def _unended(file: str, number: int, data: bytes, most_bytes: int) -> TraceError:
    column = len(data.decode("utf-8", "replace")) + 1
    if len(data) >= most_bytes:
        return wrong(file, number, column, f"there is no line break within {most_bytes} bytes: this is no such file")
    return wrong(file, number, column, "the last line does not end in a line break: the file was cut off here")
