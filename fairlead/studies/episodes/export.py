"""A live run becomes an episode: what its database kept, and what its clients wrote down."""

import heapq
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, SlotInput
from fairlead.contracts.episodes import (
    AnswerLine,
    ChoiceLine,
    DecisionLine,
    EpisodeHeader,
    GatewayReportLine,
    NodeReportLine,
    OutcomeLine,
    Recorded,
    RequestLine,
    TimedLine,
)
from fairlead.contracts.errors import InputError
from fairlead.contracts.readings import Choice, GatewayReport, NodeReport, Outcome
from fairlead.policy.measuring import Window
from fairlead.studies.episodes.files import Episode, checked, writing
from fairlead.studies.episodes.imports import network_lines
from fairlead.twin.requests import at_once

SEEN_S = 600.0
"""For how long a request is remembered that went on at another site under its name: as long as it may be held."""


Item = TypeVar("Item")
Line = TypeVar("Line")


class History(Protocol):
    """What a database has kept, each in order of time, from one instant until before another."""

    def arrived(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by when their requests arrived."""

    def outcomes(self, since_s: float, until_s: float) -> AsyncIterator[Outcome]:
        """Yield outcomes by when they ended."""

    def choices(self, since_s: float, until_s: float) -> AsyncIterator[Choice]:
        """Yield the sampled choices."""

    def reports(self, since_s: float, until_s: float) -> AsyncIterator[NodeReport | GatewayReport]:
        """Yield what nodes and gateways reported."""

    def decisions(self, since_s: float, until_s: float) -> AsyncIterator[DecisionRecord]:
        """Yield the journal."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is recorded."""

    name: str
    cluster: Cluster
    recorded: Recorded
    window: Window
    """Domain instants, of which the first is the demand's second 0."""
    since_s: float
    """From when on readings and decisions are taken, at or before the demand's begin."""
    until_s: float
    """Until when; at or after the demand's end."""


async def export(run: Run, history: History, clients: Iterable[RequestLine | AnswerLine] | None, out: Path) -> Episode:
    """Write a run as an episode and return it.

    `clients` are the requests as their clients saw them; without them they are what gateways know, with each model's
    mean work, and those that have not ended are missing.
    """
    begins_s = run.window.start_at_s
    span = (run.since_s, run.until_s)
    streams: list[AsyncIterator[TimedLine]] = [
        _client_lines(clients) if clients is not None else _requests(run, history),
        _lines(history.outcomes(*span), lambda one: OutcomeLine(at_s=one.ended_at_s - begins_s, outcome=one)),
        _lines(history.choices(*span), lambda one: ChoiceLine(at_s=one.at_s - begins_s, choice=one)),
        _lines(history.reports(*span), lambda one: _reported(one, begins_s)),
        _lines(history.decisions(*span), lambda one: DecisionLine(at_s=one.made_at_s - begins_s, record=one)),
    ]
    try:
        with writing(out, _header(run)) as write:
            async for line in _merged(streams):
                write(line)
    finally:
        for one in streams:
            await one.aclose()  # type: ignore[attr-defined]
    return checked(out)


async def recorded_in(
    history: History, since_s: float, until_s: float, speed: float, version: str
) -> tuple[Recorded, Cluster]:
    """Return what the newest slot decision of a stretch says of the run; raises `InputError` where there is none."""
    newest: SlotInput | None = None
    async for record in history.decisions(since_s, until_s):
        if isinstance(record.input, SlotInput):
            newest = record.input
    if newest is None:
        raise InputError(f"no slot decision was made from {since_s:.0f} to {until_s:.0f} s: there is nothing to record")
    said = Recorded(
        policy=newest.policy,
        settings=newest.settings,
        seed=newest.seed,
        static=newest.static,
        speed=speed,
        scenario="",
        load=None,
        clients=False,
        version=version,
    )
    return said, newest.cluster


def _header(run: Run) -> EpisodeHeader:
    distances, payloads = network_lines(run.cluster, at_once(run.cluster))
    return EpisodeHeader(
        name=run.name,
        begins_at_s=run.window.start_at_s,
        window_start_s=0.0,
        window_end_s=run.window.end_at_s - run.window.start_at_s,
        cluster=run.cluster,
        distances=distances,
        payloads=payloads,
        seed=run.recorded.seed,
        recorded=run.recorded,
    )


async def _lines(items: AsyncIterator[Item], line: Callable[[Item], Line]) -> AsyncIterator[Line]:
    async for one in items:
        yield line(one)


async def _client_lines(clients: Iterable[RequestLine | AnswerLine]) -> AsyncIterator[TimedLine]:
    for one in clients:
        yield one


async def _requests(run: Run, history: History) -> AsyncIterator[TimedLine]:
    """Yield the requests that gateways know of; one that went on at another site counts where it came first."""
    work = {model.id: model.work_s for model in run.cluster.models}
    sites = {site.id for site in run.cluster.sites}
    seen: dict[str, float] = {}
    async for one in history.arrived(run.window.start_at_s, run.window.end_at_s):
        while seen and seen[oldest := next(iter(seen))] < one.arrived_at_s - SEEN_S:
            del seen[oldest]
        if one.request not in seen and one.model in work and one.site in sites:
            at_s = one.arrived_at_s - run.window.start_at_s
            yield RequestLine(at_s=at_s, id=one.request, site=one.site, model=one.model, work_s=work[one.model])
        seen.setdefault(one.request, one.arrived_at_s)


def _reported(report: NodeReport | GatewayReport, begins_s: float) -> NodeReportLine | GatewayReportLine:
    at_s = report.observed_at_s - begins_s
    if isinstance(report, NodeReport):
        return NodeReportLine(at_s=at_s, report=report)
    return GatewayReportLine(at_s=at_s, report=report.model_copy(update={"outcomes": (), "samples": ()}))


async def _merged(streams: list[AsyncIterator[TimedLine]]) -> AsyncIterator[TimedLine]:
    """Yield the lines of several streams in order of time; at one instant in the order of the streams."""
    heap: list[tuple[float, int, TimedLine]] = []
    for number, one in enumerate(streams):
        await _next(heap, number, one)
    while heap:
        _, number, line = heap[0]
        yield line
        heapq.heappop(heap)
        await _next(heap, number, streams[number])


async def _next(heap: list[tuple[float, int, TimedLine]], number: int, stream: AsyncIterator[TimedLine]) -> None:
    async for line in stream:
        heapq.heappush(heap, (line.at_s, number, line))
        return
