"""Episode files: JSON Lines, gzip where the name ends in .gz, written whole or not at all, checked as they are read.

A reader holds one line at a time. It refuses what is no episode, what was cut off, what is out of order, what does
not fit its header or its own digest, each with line and column.
"""

import contextlib
import gzip
import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, get_args

import pydantic

from fairlead.contracts.base import Message
from fairlead.contracts.episodes import (
    FORMAT,
    VERSION,
    EpisodeEnd,
    EpisodeHeader,
    LineCount,
    MishapLine,
    RequestLine,
    TimedLine,
)
from fairlead.contracts.errors import TraceError, foreign
from fairlead.studies.episodes.places import SHOWN_CHARS, column_of, column_of_fault, wrong
from fairlead.studies.episodes.text import decoded, numbered

LINE_BYTES = 1 << 26
"""Longest line that is read. A decision on 1000 × 100 with a dialogue is some 10 MB; what has no line end at all is
not an episode, and is not to fill the memory."""

KINDS: dict[str, type[TimedLine]] = {one.model_fields["kind"].default: one for one in get_args(TimedLine)}
"""The lines between header and end, by kind."""

KIND = re.compile(rb'\{\s*"kind"\s*:\s*"([a-z-]{1,32})"')

Read = TypeVar("Read", bound=Message)

Write = Callable[[TimedLine], None]


@dataclass(frozen=True, slots=True)
class Episode:
    """A file that was read through once and is sound."""

    path: Path
    header: EpisodeHeader
    end: EpisodeEnd

    def count(self, kind: str) -> int:
        """Return how many lines of a kind it has."""
        return sum(one.lines for one in self.end.counts if one.kind == kind)


@dataclass(slots=True)
class _Account:
    """What has been read or written so far."""

    lines: int = 0
    last_s: float = float("-inf")
    counts: Counter[str] = field(default_factory=Counter)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        self.lines += 1
        self.digest.update(data)

    def end(self) -> EpisodeEnd:
        counts = tuple(LineCount(kind=kind, lines=lines) for kind, lines in sorted(self.counts.items()))
        return EpisodeEnd(lines=self.lines, counts=counts, sha256=self.digest.hexdigest())


@contextlib.contextmanager
def writing(path: Path, header: EpisodeHeader) -> Iterator[Write]:
    """Give what appends a line; the file is there once all of it is, and not at all where the body raises.

    Raises `TraceError` where the place cannot be written, `ValueError` for a line that does not follow the one before.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise TraceError(f"episode {path} cannot be written: {foreign(error.strerror)}") from error
    try:
        with open(descriptor, "wb") as raw:
            with _packed(raw, path) as file:
                account, known = _Account(), _Known.of(header)

                def put(message: Message) -> None:
                    data = message.to_json().encode() + b"\n"
                    account.add(data)
                    file.write(data)

                def write(line: TimedLine) -> None:
                    refused = known.refusal(line, account.last_s)
                    if refused is not None:
                        raise ValueError(f"line {account.lines + 1} of {path.name}: {refused[1]}")
                    account.last_s = line.at_s
                    account.counts[line.kind] += 1
                    put(line)

                put(header)
                yield write
                file.write(account.end().to_json().encode() + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise TraceError(f"episode {path} cannot be written: {foreign(error.strerror)}") from error
        raise


def checked(path: Path) -> Episode:
    """Read a file through and return what it is; raises `TraceError` at the first thing that is wrong."""
    header: EpisodeHeader | None = None
    for line in _walk(path, None):
        if isinstance(line, EpisodeHeader):
            header = line
        elif isinstance(line, EpisodeEnd):
            assert header is not None
            return Episode(path, header, line)
    raise AssertionError("a walk ends with the end")


def header_of(path: Path) -> EpisodeHeader:
    """Return the first line of an episode, without looking further; raises `TraceError` where it is none."""
    first = next(_walk(path, frozenset()))
    assert isinstance(first, EpisodeHeader)
    return first


def lines(path: Path, kinds: frozenset[str] | None = None) -> Iterator[TimedLine]:
    """Yield the lines of these kinds, of all without; raises `TraceError` where the file is wrong.

    Lines of other kinds are only counted and digested: what is in them is seen by `checked`.
    """
    for line in _walk(path, kinds):
        if not isinstance(line, EpisodeHeader | EpisodeEnd):
            yield line


@dataclass(frozen=True, slots=True)
class _Known:
    """What lines may name, and until when."""

    models: frozenset[str]
    sites: frozenset[str]
    nodes: frozenset[str]
    end_s: float

    @classmethod
    def of(cls, header: EpisodeHeader) -> "_Known":
        cluster = header.cluster
        return cls(
            frozenset(m.id for m in cluster.models),
            frozenset(s.id for s in cluster.sites),
            frozenset(n.id for n in cluster.nodes),
            header.window_end_s,
        )

    def refusal(self, line: TimedLine, last_s: float) -> tuple[str, str] | None:
        """Return the field of a line that does not fit, and why; None where all do."""
        if line.at_s < last_s:
            return "at_s", f"{line.at_s!r} is before the line above, {last_s!r}: lines go by time"
        match line:
            case RequestLine():
                if line.model not in self.models:
                    return "model", f"the header's cluster has no model {line.model!r}"
                if line.site not in self.sites:
                    return "site", f"the header's cluster has no site {line.site!r}"
                if line.at_s >= self.end_s:
                    return "at_s", f"a request at {line.at_s!r} is not before the window's end, {self.end_s!r}"
            case MishapLine() if line.node not in self.nodes:
                return "node", f"the header's cluster has no node {line.node!r}"
            case _:
                pass
        return None


def _walk(path: Path, kinds: frozenset[str] | None) -> Iterator[EpisodeHeader | TimedLine | EpisodeEnd]:
    """Yield header, lines of the kinds and end, checking all on the way."""
    account = _Account()
    known: _Known | None = None
    following = numbered(path, LINE_BYTES)
    for number, data in following:
        text = decoded(path.name, number, data)
        if known is None:
            header = _header(path, text)
            account.add(data)
            known = _Known.of(header)
            yield header
            continue
        kind = _kind(path, number, data, text)
        if kind == "end":
            end = _end(path, number, text, account)
            if next(following, None) is not None:
                raise wrong(path.name, number + 1, 1, "there are lines after the closing line")
            yield end
            return
        account.add(data)
        account.counts[kind] += 1
        if kinds is None or kind in kinds:
            line = _message(path, number, text, KINDS[kind])
            refused = known.refusal(line, account.last_s)
            if refused is not None:
                raise wrong(path.name, number, column_of(text, [refused[0]]), refused[1])
            account.last_s = line.at_s
            yield line
    if known is None:
        raise wrong(path.name, 1, 1, f"the file is empty: an episode begins with a header of format {FORMAT!r}")
    raise wrong(path.name, account.lines + 1, 1, 'the closing line of kind "end" is missing: the file was cut off here')


def _header(path: Path, text: str) -> EpisodeHeader:
    """Return the header; a file of another kind, or of another version, is refused in words of its own."""
    found = re.match(r'\{\s*"kind"\s*:\s*"header"\s*,\s*"format"\s*:\s*"([^"]*)"\s*,\s*"version"\s*:\s*(\d+)', text)
    if found is None or found[1] != FORMAT:
        shown = foreign(repr(text[:SHOWN_CHARS]))
        why = f'this is no episode: its first line must begin {{"kind":"header","format":"{FORMAT}",…, it is {shown}'
        raise wrong(path.name, 1, 1, why)
    if int(found[2]) != VERSION:
        why = f"the episode has version {found[2]} of the format, this Fairlead reads version {VERSION}"
        raise wrong(path.name, 1, found.start(2) + 1, why)
    return _message(path, 1, text, EpisodeHeader)


def _kind(path: Path, number: int, data: bytes, text: str) -> str:
    """Return the kind of a line; it must be its first field, so that lines can be told apart unread."""
    found = KIND.match(data)
    kind = found[1].decode() if found is not None else ""
    if kind in KINDS or kind == "end":
        return kind
    fault = column_of_fault(text)
    if fault is not None:
        raise wrong(path.name, number, fault[0], f"this is no JSON: {fault[1]}")
    column = found.start(1) if found is not None else 1
    raise wrong(path.name, number, column, f'a line begins {{"kind": and one of {", ".join((*KINDS, "end"))}')


def _end(path: Path, number: int, text: str, account: _Account) -> EpisodeEnd:
    """Return the closing line; raises `TraceError` unless it says what has been read."""
    said, found = _message(path, number, text, EpisodeEnd), account.end()
    for name in ("lines", "counts", "sha256"):
        if getattr(said, name) != getattr(found, name):
            why = f"{name} is not what the lines above have: they were changed, or lines are missing or out of place"
            raise wrong(path.name, number, column_of(text, [name]), why)
    return said


def _message(path: Path, number: int, text: str, message: type[Read]) -> Read:
    try:
        return message.from_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        fault = column_of_fault(text)
        if fault is not None:
            raise wrong(path.name, number, fault[0], f"this is no JSON: {fault[1]}") from error
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {foreign(first['msg'])}" if where else foreign(first["msg"])
        raise wrong(path.name, number, column_of(text, first["loc"]), why) from error


def _packed(raw: IO[bytes], path: Path) -> "contextlib.AbstractContextManager[IO[bytes] | gzip.GzipFile]":
    """Return what a file's bytes are written to; the same bytes for the same lines, at whatever time."""
    if path.suffix == ".gz":
        return gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0)
    return contextlib.nullcontext(raw)
