"""The Azure 2023 trace as demand for text models: rows are streamed, checked, thinned to a load, never held whole.

Source: AzurePublicDataset, `AzureLLMInferenceTrace_{conv,code}.csv`, CC BY 4.0 (Patel et al., "Splitwise", ISCA
2024). Columns `TIMESTAMP` (wall clock, seven fractional digits), `ContextTokens`, `GeneratedTokens`; lines end in CR
LF. Arrival times and lengths are the trace's own. Its rates far exceed an edge cluster, so rows are kept with a fixed
probability each from a seeded stream, never pressed together in time; a run longer than the trace begins it again.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.errors import TraceError, foreign
from fairlead.twin.demand import Demand, draw
from fairlead.twin.scenarios import RUN_S, Scenario, Span, mean_rates
from fairlead.twin.streams import stream

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
FILES = ("AzureLLMInferenceTrace_conv.csv", "AzureLLMInferenceTrace_code.csv")
"""What a directory of the data set has; the conversations first, for they go to the smaller models."""

LINE_CHARS = 200
"""A longer line is no row of this trace: its rows have at most 40 characters."""

TOKENS_MOST = 1_000_000
"""More than any context window of 2023 held: a larger count is a corrupt one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the trace."""

    at_s: float
    """Seconds since the trace's first row."""
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A file that was read through once and is sound."""

    path: Path
    rows: int
    lasts_s: float
    """From the first row to the last, and one mean gap more: the period with which it is begun again."""

    def rate_per_s(self) -> float:
        """Return the mean rate."""
        return self.rows / self.lasts_s


@dataclass(frozen=True, slots=True)
class Share:
    """How one file feeds one model: recorded, so that somebody else can build the same demand."""

    file: str
    model: str
    trace_per_s: float
    wanted_per_s: float
    kept_ratio: float
    """Probability with which a row becomes a request of this model."""
    offered_per_s: float
    """What comes of it; below `wanted_per_s` only where the trace has too few rows, which are not made up."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A trace mixed into a scenario's demand."""

    shares: tuple[Share, ...]
    requests: Iterator[Demand]


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; raises `TraceError` with file and line number at the first bad line."""
    first: datetime | None = None
    before_s = 0.0
    try:
        with path.open(encoding="ascii", newline="") as file:
            for number in itertools.count(1):
                line = file.readline(LINE_CHARS)
                if not line:
                    return
                if number == 1:
                    _check_header(path, line)
                    continue
                stamp, prompt, output = _fields(path, number, line)
                first = first or stamp
                at_s = (stamp - first).total_seconds()
                if at_s < before_s:
                    raise _bad(path, number, line, "its time is before that of the line above: rows go by time")
                before_s = at_s
                yield Row(at_s, prompt, output)
    except UnicodeDecodeError as error:
        raise TraceError(
            f"{path.name} is no text in ASCII at byte {error.start}: give the CSV file as published"
        ) from error
    except OSError as error:
        raise TraceError(f"trace {path} cannot be read: {foreign(error.strerror)}") from error


def survey(path: Path) -> TraceFile:
    """Read a file through once and return its size; raises `TraceError` at the first bad line."""
    count, last_s = 0, 0.0
    for count, row in enumerate(rows(path), start=1):  # noqa: B007
        last_s = row.at_s
    if count < 2 or last_s <= 0:
        raise TraceError(f"{path.name} has {count} rows over {last_s:g} s: at least two at different times are needed")
    return TraceFile(path, count, last_s * count / (count - 1))


def files(path: Path) -> tuple[Path, ...]:
    """Return the trace's files at `path`: itself, or those of the data set in a directory."""
    if path.is_dir():
        found = tuple(path / name for name in FILES if (path / name).is_file())
        if not found:
            raise TraceError(f"directory {path} has none of {', '.join(FILES)}: give one of them, or where they are")
        return found
    return (path,)


def mix(path: Path, scenario: Scenario, cluster: Cluster, load: float, seed: int) -> Mixed:
    """Return the scenario's demand with its text requests taken from the trace at `path`.

    Text models keep the mean rates that they have in a scoreboard run of the scenario; when requests come, and how
    long they are, is the trace's. With two files the first feeds the smaller text models and the second the larger
    ones; one file feeds all. The other kinds are drawn as they are without a trace.
    """
    surveyed = tuple(survey(one) for one in files(path))
    text = {model.id for model in cluster.models if model.kind == "text"}
    means = mean_rates(scenario.spans(cluster, load, seed), RUN_S)
    wanted = {model: rate for model, rate in means.items() if model in text and rate > 0}
    if not wanted:
        raise TraceError(f"trace {path.name} holds text requests, but no text model of this cluster has any demand")
    others = (_without(one, text) for one in scenario.spans(cluster, load, seed))
    plans = tuple(_plan(file, models, wanted) for file, models in _assigned(surveyed, cluster, wanted))
    streams = [_requests(file, shares, cluster, seed) for file, shares in plans]
    merged = heapq.merge(*streams, draw(others, cluster, seed), key=lambda one: one.at_s)
    return Mixed(tuple(share for _, shares in plans for share in shares), merged)


def _without(span: Span, models: set[str]) -> Span:
    return Span(span.start_s, span.end_s, tuple((m, 0.0 if m in models else rate) for m, rate in span.rates))


def _assigned(
    surveyed: tuple[TraceFile, ...], cluster: Cluster, wanted: dict[str, float]
) -> Iterator[tuple[TraceFile, tuple[ModelSpec, ...]]]:
    models = sorted((m for m in cluster.models if m.id in wanted), key=lambda m: (m.work_s, m.id))
    size = math.ceil(len(models) / len(surveyed))
    for at, file in enumerate(surveyed):
        own = tuple(models[at * size : (at + 1) * size])
        if own:
            yield file, own


def _plan(
    file: TraceFile, models: tuple[ModelSpec, ...], wanted: dict[str, float]
) -> tuple[TraceFile, tuple[Share, ...]]:
    rate = file.rate_per_s()
    shrink = min(1.0, rate / sum(wanted[model.id] for model in models))
    shares = tuple(
        Share(
            file=file.path.name,
            model=model.id,
            trace_per_s=rate,
            wanted_per_s=wanted[model.id],
            kept_ratio=wanted[model.id] * shrink / rate,
            offered_per_s=wanted[model.id] * shrink,
        )
        for model in models
    )
    return file, shares


def _requests(file: TraceFile, shares: tuple[Share, ...], cluster: Cluster, seed: int) -> Iterator[Demand]:
    keep = stream(seed, "azure", file.path.name)
    place = stream(seed, "azure-site", file.path.name)
    work = {model.id: model.work_s for model in cluster.models}
    bounds = tuple(itertools.accumulate(share.kept_ratio for share in shares))
    for turn in itertools.count():
        for row in rows(file.path):
            drawn = keep.random()
            if drawn >= bounds[-1]:
                continue
            model = next(share.model for share, bound in zip(shares, bounds, strict=True) if drawn < bound)
            yield Demand(
                at_s=turn * file.lasts_s + row.at_s,
                site=cluster.sites[int(place.integers(len(cluster.sites)))].id,
                model=model,
                work_s=work[model],
                prompt_tokens=row.prompt_tokens,
                output_tokens=row.output_tokens,
            )


def _check_header(path: Path, line: str) -> None:
    if line.rstrip("\r\n") != HEADER:
        raise _bad(path, 1, line, f"it must be the header {HEADER}")


def _fields(path: Path, number: int, line: str) -> tuple[datetime, int, int]:
    if not line.endswith("\n"):
        raise _bad(path, number, line, "it does not end in a line break: the file was cut off here")
    parts = line.rstrip("\r\n").split(",")
    if len(parts) != 3:
        raise _bad(path, number, line, f"it has {len(parts)} fields, {HEADER} are three")
    try:
        stamp = datetime.strptime(parts[0][:26], "%Y-%m-%d %H:%M:%S.%f")
    except ValueError as error:
        raise _bad(path, number, line, "its time is not of the form 2023-11-16 18:15:46.6805900") from error
    return stamp, _tokens(path, number, line, parts[1]), _tokens(path, number, line, parts[2])


def _tokens(path: Path, number: int, line: str, field: str) -> int:
    if not (field.isdecimal() and len(field) <= 9 and int(field) <= TOKENS_MOST):
        raise _bad(path, number, line, f"a token count is a whole number from 0 to {TOKENS_MOST}")
    return int(field)


def _bad(path: Path, number: int, line: str, why: str) -> TraceError:
    return TraceError(f"{path.name} line {number}: {foreign(repr(line.rstrip()))[:80]}: {why}")
