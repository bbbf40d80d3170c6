"""Traces of several kinds mixed into one demand on a cluster, at a load, with factors that are written down."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.episodes import RequestLine, Thinned
from fairlead.contracts.errors import InputError
from fairlead.studies.episodes.traces import Row, Trace
from fairlead.twin.courses import Course
from fairlead.twin.streams import stream

FIT = 1e-6
"""Least and most work of a request over the model's mean, 1e-6 to 1e6: beyond, a size is a corrupt one."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A trace and the models whose requests are taken from it."""

    trace: Trace
    models: tuple[str, ...]
    from_s: float
    """Where in the trace the stretch begins."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """What is to come of it."""

    cluster: Cluster
    load: float
    """Offered work over the speed of all nodes, on average over the run."""
    run_s: float
    seed: int
    sized: bool
    """Whether work goes by the size of each request in its trace, else it is the model's mean (CONTROL §5)."""


@dataclass(frozen=True, slots=True)
class _Share:
    """How a feed is thinned."""

    feed: Feed
    thinned: tuple[Thinned, ...]
    layers: int


@dataclass(frozen=True, slots=True)
class Mixed:
    """A demand."""

    shares: tuple[Thinned, ...]
    requests: Iterator[RequestLine]


def mixed(feeds: Sequence[Feed], mixing: Mixing) -> Mixed:
    """Return the demand that traces make together.

    The models that are fed have the proportions of the cluster's mix, scaled so that their work is the load; the others
    are silent. A trace that has too few rows is laid over itself, stretch after stretch; one that has too few even so
    gives what it has. Raises `InputError` where a model is fed twice, or not by anything that comes.
    """
    wanted = _wanted(feeds, mixing)
    shares = [_share(feed, wanted, mixing) for feed in feeds]
    streams = [_layer(share, layer, mixing) for share in shares for layer in range(share.layers)]
    thinned = tuple(sorted((one for share in shares for one in share.thinned), key=lambda one: one.model))
    return Mixed(thinned, heapq.merge(*streams, key=lambda one: one.at_s))


def _wanted(feeds: Sequence[Feed], mixing: Mixing) -> dict[str, float]:
    """Return the rate that each fed model should have."""
    fed = [model for feed in feeds for model in feed.models]
    for model in fed:
        if fed.count(model) > 1:
            raise InputError(f"model {model!r} is fed by two traces: name for each trace the models it is for")
    course = Course(mixing.cluster, mixing.load, mixing.seed)
    mix = zip((one.id for one in mixing.cluster.models), course.mix(), strict=True)
    return dict(course.scaled(tuple(share if model in fed else 0.0 for model, share in mix)))


def _share(feed: Feed, wanted: dict[str, float], mixing: Mixing) -> _Share:
    """Return how many stretches of a trace are taken, and which share of their rows."""
    trace, run_s = feed.trace, mixing.run_s
    needed = sum(wanted[model] for model in feed.models) * run_s
    sums = list(itertools.accumulate(trace.expected(feed.from_s, run_s)))
    layers = next((at for at, rows in enumerate(sums, start=1) if rows >= needed), len(sums))
    rows = sums[layers - 1]
    if rows <= 0:
        raise InputError(f"{trace.file} has no rows in the {run_s:g} s from {feed.from_s:g} s on: begin elsewhere")
    shrink = min(1.0, rows / needed)
    thinned = tuple(
        Thinned(
            trace=trace.kind,
            file=trace.file,
            model=model,
            from_s=feed.from_s,
            lasts_s=trace.lasts_s,
            trace_per_s=rows / run_s,
            layers=layers,
            kept_ratio=min(1.0, wanted[model] * run_s * shrink / rows),
            offered_per_s=wanted[model] * shrink,
            clients=trace.clients,
        )
        for model in feed.models
    )
    return _Share(feed, thinned, layers)


def _layer(share: _Share, layer: int, mixing: Mixing) -> Iterator[RequestLine]:
    """Yield the requests of one stretch of a trace."""
    feed, cluster = share.feed, mixing.cluster
    name = (feed.trace.kind, feed.trace.file, str(layer))
    keep, place = (stream(mixing.seed, purpose, *name) for purpose in ("keep", "site"))
    bounds = tuple(itertools.accumulate(one.kept_ratio for one in share.thinned))
    work = {model.id: model.work_s for model in cluster.models}
    mean_size = feed.trace.mean_size if mixing.sized else None
    for row, chosen in feed.trace.kept(feed.from_s + layer * mixing.run_s, mixing.run_s, bounds, keep):
        model = feed.models[chosen]
        yield RequestLine(
            at_s=row.at_s,
            site=cluster.sites[int(place.integers(len(cluster.sites)))].id,
            model=model,
            work_s=work[model] * _size(row, mean_size),
            prompt_tokens=row.prompt_tokens,
            output_tokens=row.output_tokens,
        )


def _size(row: Row, mean_size: float | None) -> float:
    """Return a request's work over its model's mean."""
    if not mean_size or row.size is None:
        return 1.0
    return min(max(row.size / mean_size, FIT), 1.0 / FIT)
