"""The Azure 2023 trace as live demand for text models; the other kinds are drawn as the scenario has them.

Arrival times and lengths are the trace's own (`fairlead.studies.episodes.azure`). Its rates far exceed an edge
cluster, so rows are kept with a fixed probability each from a seeded stream, never pressed together in time; a run
longer than the trace begins it again.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.errors import TraceError
from fairlead.studies.episodes import azure
from fairlead.studies.episodes.traces import FileTrace, found, surveyed
from fairlead.twin.courses import Span
from fairlead.twin.demand import Demand, draw
from fairlead.twin.scenarios import RUN_S, Scenario, mean_rates
from fairlead.twin.streams import stream


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


def surveyed_at(path: Path) -> tuple[FileTrace, ...]:
    """Return the trace's files at `path`, each read through once; raises `TraceError` at the first bad line."""
    return tuple(surveyed("azure", one, azure.rows) for one in found(path, azure.FILES))


def mix(path: Path, scenario: Scenario, cluster: Cluster, load: float, seed: int) -> Mixed:
    """Return the scenario's demand with its text requests taken from the trace at `path`.

    Text models keep the mean rates that they have in a scoreboard run of the scenario; when requests come, and how
    long they are, is the trace's. With two files the first feeds the smaller text models and the second the larger
    ones; one file feeds all. The other kinds are drawn as they are without a trace.
    """
    traces = surveyed_at(path)
    text = {model.id for model in cluster.models if model.kind == "text"}
    means = mean_rates(scenario.spans(cluster, load, seed), RUN_S)
    wanted = {model: rate for model, rate in means.items() if model in text and rate > 0}
    if not wanted:
        raise TraceError(f"trace {path.name} holds text requests, but no text model of this cluster has any demand")
    others = (_without(one, text) for one in scenario.spans(cluster, load, seed))
    plans = tuple(_plan(file, models, wanted) for file, models in _assigned(traces, cluster, wanted))
    streams = [_requests(file, shares, cluster, seed) for file, shares in plans]
    merged = heapq.merge(*streams, draw(others, cluster, seed), key=lambda one: one.at_s)
    return Mixed(tuple(share for _, shares in plans for share in shares), merged)


def _without(span: Span, models: set[str]) -> Span:
    return Span(span.start_s, span.end_s, tuple((m, 0.0 if m in models else rate) for m, rate in span.rates))


def _assigned(
    traces: tuple[FileTrace, ...], cluster: Cluster, wanted: dict[str, float]
) -> Iterator[tuple[FileTrace, tuple[ModelSpec, ...]]]:
    models = sorted((m for m in cluster.models if m.id in wanted), key=lambda m: (m.work_s, m.id))
    size = math.ceil(len(models) / len(traces))
    for at, file in enumerate(traces):
        own = tuple(models[at * size : (at + 1) * size])
        if own:
            yield file, own


def _plan(
    file: FileTrace, models: tuple[ModelSpec, ...], wanted: dict[str, float]
) -> tuple[FileTrace, tuple[Share, ...]]:
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


def _requests(file: FileTrace, shares: tuple[Share, ...], cluster: Cluster, seed: int) -> Iterator[Demand]:
    keep = stream(seed, "azure", file.path.name)
    place = stream(seed, "azure-site", file.path.name)
    work = {model.id: model.work_s for model in cluster.models}
    bounds = tuple(itertools.accumulate(share.kept_ratio for share in shares))
    for row, chosen in file.kept(0.0, math.inf, bounds, keep):
        model = shares[chosen].model
        assert row.prompt_tokens is not None
        assert row.output_tokens is not None
        yield Demand(
            at_s=row.at_s,
            site=cluster.sites[int(place.integers(len(cluster.sites)))].id,
            model=model,
            work_s=work[model],
            prompt_tokens=row.prompt_tokens,
            output_tokens=row.output_tokens,
        )
