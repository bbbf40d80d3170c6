"""ServeGen: published statistics of the clients of production services, from which requests are drawn.

Source: Xiang et al., "ServeGen", arXiv 2505.09999; archives with two files for each client. `chunk-N-trace.csv`, no
header: begin of a window of 600 s, requests per second, CV of inter-arrival times, `Gamma` or `Weibull` (empty where
idle), shape, scale. `chunk-N-dataset.json`: begin of a window of 21 600 s, field, a Python dict of value and
probability as a string. Fields are drawn independently: what they have to do with one another is not published.

Arrivals of a client are a renewal process in its own time, in which its rate is 1 (as in `fairlead.twin.demand`); the
gap that reaches beyond a window goes on in the next.
"""

import ast
import contextlib
import heapq
import io
import json
import math
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.errors import TraceError, foreign
from fairlead.studies.episodes.places import wrong
from fairlead.studies.episodes.text import ROW_BYTES, Line, decoded
from fairlead.studies.episodes.traces import Row
from fairlead.twin.streams import stream

WINDOW_S = 600.0
"""Length of a window of rates (README of the data set)."""

MEMBER = re.compile(r"(?:.*/)?chunk-(\d{1,6})-(trace\.csv|dataset\.json)")

MEMBER_BYTES = 1 << 26
"""Largest file of distributions that is read; the published ones have up to 0.8 MB."""

RATE_MOST = 1e6
"""Requests a second of one client: more is a corrupt row."""

BLOCK = 64
"""Gaps that are drawn at once beyond those expected in a window."""

Draws = np.random.Generator
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """Ten minutes of a client."""

    start_s: float
    rate: float
    pattern: str
    shape: float


@dataclass(frozen=True, slots=True)
class Lengths:
    """A published distribution of whole numbers."""

    values: Floats
    chances: Floats

    def mean(self) -> float:
        """Return its mean."""
        return float(self.values @ self.chances)

    def draw(self, count: int, draws: Draws) -> Floats:
        """Return so many values."""
        return draws.choice(self.values, size=count, p=self.chances)


Fields = Mapping[str, Lengths]


@dataclass(frozen=True, slots=True)
class Client:
    """What is known of a client around the stretch that is drawn."""

    name: str
    windows: tuple[Window, ...]
    fields: Fields
    """Of the window of distributions in which the stretch begins, or the nearest before or after; may be empty."""

    def expected(self, from_s: float, until_s: float) -> float:
        """Return how many requests it is expected to make."""
        return sum(
            one.rate * max(0.0, min(until_s, one.start_s + WINDOW_S) - max(from_s, one.start_s)) for one in self.windows
        )


@dataclass(frozen=True, slots=True)
class ServeGen:
    """A service's clients, and requests drawn from their statistics."""

    file: str
    lasts_s: float
    seed: int
    members: tuple[Client, ...]
    clients: tuple[str, ...]
    """Names of those that were chosen; empty where all were taken."""
    kind: str = "servegen"

    @property
    def mean_size(self) -> float | None:
        """Mean of the tokens that are generated, over the clients whose lengths are known, by rate."""
        known = [one for one in self.members if "output_tokens" in one.fields]
        weights = [sum(window.rate for window in one.windows) for one in known]
        if not sum(weights):
            return None
        means = (one.fields["output_tokens"].mean() for one in known)
        return sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / sum(weights)

    def expected(self, from_s: float, for_s: float) -> tuple[float, ...]:
        """Return how many requests a stretch is expected to have; a service has more than enough in one."""
        return (sum(one.expected(from_s, from_s + for_s) for one in self.members),)

    def kept(self, from_s: float, for_s: float, bounds: Sequence[float], draws: Draws) -> Iterator[tuple[Row, int]]:
        """Yield a sample of the requests of a stretch; each client has streams of its own."""
        del draws  # whom a client loses is not to depend on the others
        each = [self._kept(one, from_s, for_s, np.asarray(bounds)) for one in self.members]
        yield from heapq.merge(*each, key=lambda one: one[0].at_s)

    def _kept(self, client: Client, from_s: float, for_s: float, bounds: Floats) -> Iterator[tuple[Row, int]]:
        keep, lengths = (stream(self.seed, purpose, self.file, client.name) for purpose in ("keep", "lengths"))
        for times in _arrivals(client, from_s + for_s, stream(self.seed, "gaps", self.file, client.name)):
            chosen = np.searchsorted(bounds, keep.random(len(times)), side="right")
            mask = (chosen < len(bounds)) & (times >= from_s)
            yield from _rows(client.fields, times[mask] - from_s, chosen[mask], lengths)


def servegen(path: Path, seed: int, from_s: float, for_s: float, clients: int | None = None) -> ServeGen:
    """Read an archive, or a directory of its files, and return what is needed to draw a stretch of it.

    `clients` is how many are chosen at random of those that ask for anything in it; None takes all. Raises
    `TraceError` where a file is wrong or the trace does not have the stretch.
    """
    reading = _Reading(from_s, for_s)
    with _whole(path):
        for name, file in _members(path):
            reading.take(name, file)
    members = reading.clients()
    if not members or reading.lasts_s < from_s + for_s:
        raise TraceError(
            f"{path.name} has {len(members)} clients who ask for something, and lasts {reading.lasts_s:g} s: a stretch "
            f"from {from_s:g} s for {for_s:g} s is not in it"
        )
    chosen = members
    if clients is not None and clients < len(members):
        order = stream(seed, "clients", path.name).permutation(len(members))[:clients]
        chosen = tuple(members[at] for at in sorted(order))
    names = tuple(one.name for one in chosen) if len(chosen) < len(members) else ()
    return ServeGen(path.name, reading.lasts_s, seed, chosen, names)


class _Reading:
    """What has been read of the files of a service's clients."""

    def __init__(self, from_s: float, for_s: float) -> None:
        self._begin_s = math.floor(from_s / WINDOW_S) * WINDOW_S - WINDOW_S
        """One window earlier, so that the stretch does not begin with everybody's first gap."""
        self._from_s, self._end_s = from_s, from_s + for_s
        self._windows: dict[int, tuple[Window, ...]] = {}
        self._fields: dict[int, Fields] = {}
        self.lasts_s = 0.0

    def take(self, name: str, file: IO[bytes]) -> None:
        """Read a file, if it is one of a client's."""
        found = MEMBER.fullmatch(name)
        if found is None:
            return
        if found[2] == "trace.csv":
            self._windows[int(found[1])] = tuple(self._needed(name, file))
        else:
            self._fields[int(found[1])] = self._distributions(name, file)

    def clients(self) -> tuple[Client, ...]:
        """Return the clients who ask for something, in order of their number."""
        every = (Client(f"chunk-{n}", self._windows[n], self._fields.get(n, {})) for n in sorted(self._windows))
        return tuple(one for one in every if one.expected(self._from_s, self._end_s) > 0)

    def _needed(self, name: str, file: IO[bytes]) -> Iterator[Window]:
        short = name.rpartition("/")[2]
        before_s = -WINDOW_S
        for number, data in enumerate(iter(lambda: file.readline(ROW_BYTES), b""), start=1):
            line = Line(short, number, tuple(decoded(short, number, data).split(",")))
            if len(line.fields) != 6:
                raise line.wrong(0, f"it has {len(line.fields)} fields, a window has six")
            window = _window(line)
            if window.start_s < before_s + WINDOW_S:
                raise line.wrong(0, f"a window begins {WINDOW_S:g} s after the one above")
            before_s = window.start_s
            self.lasts_s = max(self.lasts_s, window.start_s + WINDOW_S)
            if window.rate > 0 and self._begin_s <= window.start_s < self._end_s:
                yield window

    def _distributions(self, name: str, file: IO[bytes]) -> Fields:
        short = name.rpartition("/")[2]
        data = file.read(MEMBER_BYTES)
        try:
            document: dict[str, dict[str, str]] = json.loads(data)
            starts = sorted(document, key=lambda text: abs(float(text) - self._from_s) + (float(text) > self._from_s))
            fields = document[starts[0]]
            return {field: lengths for field, text in fields.items() if (lengths := _lengths(text)) is not None}
        except json.JSONDecodeError as error:
            raise wrong(short, error.lineno, error.colno, f"this is no JSON: {error.msg}") from error
        except (ValueError, TypeError, AttributeError, LookupError, SyntaxError, RecursionError, MemoryError) as error:
            raise wrong(short, 1, 1, f"this is no file of distributions: {foreign(error)}") from error


def _window(line: Line) -> Window:
    start_s, rate = line.number_from(0, 0.0), line.number_from(1, 0.0)
    if rate > RATE_MOST:
        raise line.wrong(1, f"a rate of more than {RATE_MOST:g} requests a second is none")
    if rate == 0.0:
        return Window(start_s, 0.0, "", 0.0)
    if line.fields[3] not in ("Gamma", "Weibull"):
        raise line.wrong(3, "the pattern is neither Gamma nor Weibull")
    shape = line.number_from(4, 0.0)
    if shape <= 0:
        raise line.wrong(4, "a shape is above 0")
    return Window(start_s, rate, line.fields[3], shape)


def _lengths(text: Any) -> Lengths | None:
    """Return the distribution of a string as published; None where it is empty."""
    found = ast.literal_eval(text)
    if not found:
        return None
    values = np.array([float(value) for value in found])
    chances = np.array([float(chance) for chance in found.values()])
    if not (
        np.isfinite(values).all() and (values >= 0).all() and (chances >= 0).all() and 0 < chances.sum() < math.inf
    ):
        raise ValueError("a distribution has values and probabilities from 0 on")
    return Lengths(values, chances / chances.sum())


def _gaps(window: Window, draws: Draws) -> Callable[[int], Floats]:
    """Return a draw of inter-arrival times of mean 1 (Gamma: shape k; Weibull: Γ(1 + 1/k) is the mean)."""
    if window.pattern == "Gamma":
        return lambda count: draws.standard_gamma(window.shape, count) / window.shape
    mean = math.gamma(1.0 + 1.0 / window.shape)
    return lambda count: draws.weibull(window.shape, count) / mean


def _arrivals(client: Client, until_s: float, draws: Draws) -> Iterator[Floats]:
    """Yield the instants of a client's requests, some at a time, in order."""
    left: float | None = None
    for window in client.windows:
        gaps = _gaps(window, draws)
        end_s = min(until_s, window.start_s + WINDOW_S)
        next_s = window.start_s + (float(gaps(1)[0]) if left is None else left) / window.rate
        while next_s < end_s:
            count = int((end_s - next_s) * window.rate) + BLOCK
            times = next_s + np.concatenate(([0.0], np.cumsum(gaps(count)) / window.rate))
            inside = int(np.searchsorted(times, end_s))
            yield times[: min(inside, count)]
            next_s = float(times[min(inside, count)])
        left = (next_s - end_s) * window.rate


def _rows(fields: Fields, times: Floats, chosen: NDArray[np.int64], draws: Draws) -> Iterator[tuple[Row, int]]:
    """Yield rows at these instants, with lengths where they are published; images count with their own tokens."""
    count = len(times)
    prompts = [fields[name].draw(count, draws) for name in ("input_tokens", "text_tokens") if name in fields]
    if "image_tokens" in fields and "image_count" in fields:
        prompts.append(fields["image_tokens"].draw(count, draws) * fields["image_count"].draw(count, draws))
    outputs = fields["output_tokens"].draw(count, draws) if "output_tokens" in fields else None
    for at in range(count):
        prompt = int(sum(one[at] for one in prompts)) if prompts else None
        output = None if outputs is None else int(outputs[at])
        yield Row(float(times[at]), prompt, output, None if output is None else float(output)), int(chosen[at])


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and bytes of each file of an archive or a directory, one at a time."""
    if path.is_dir():
        for one in sorted(path.rglob("chunk-*")):
            with one.open("rb") as file:
                yield one.name, file
        return
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member) or io.BytesIO()


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what reading an archive may raise into `TraceError`."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise TraceError(f"{path.name} is no whole tar.gz archive: {foreign(error)}") from error
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {foreign(error.strerror or error)}") from error
