"""What a run measured: the client's records joined by id with the gateways' outcomes, counts, latency, fairness."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.readings import Outcome
from fairlead.policy.fairness import ModelStats, Readings, readings
from fairlead.twin.clusters import total_speed
from testbed.client_log import ClientRecord, whole_lines

Fate = Literal["finished", "failed", "open", "lost"]
"""`open`: neither side saw an end while both knew of it; `lost`: the client has no end of it, no gateway any line."""


@dataclass(frozen=True, slots=True)
class Fated:
    """One request and what became of it."""

    id: str
    model: str
    sent_at_s: float
    ended_at_s: float | None
    """None unless finished or failed."""
    fate: Fate
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of domain time whose arrivals are measured."""

    start_at_s: float
    end_at_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests of each fate; the four add up to `arrived` because each is counted by itself."""

    arrived: int
    finished: int
    failed: int
    open: int
    lost: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of the domain from the client's side, censored as in CONTROL §1; None without any request."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is said of a run from the client's side."""

    requests: Counts
    failures: tuple[tuple[str, int], ...]
    """How many requests failed for each reason, sorted by reason."""
    latency_s: Latency
    fairness: Readings
    models: tuple[ModelStats, ...]


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """Return the gateways' outcomes by request id, of all `*.jsonl` in `folder`.

    A request that was sent again has one from each site: a finished one counts before any other, then the last. Lines
    that a kill has torn are left out.
    """
    found: dict[str, Outcome] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in whole_lines(path):
            try:
                outcome = Outcome.from_json(line)
            except pydantic.ValidationError:
                continue
            before = found.get(outcome.request)
            if before is None or before.status != "finished":
                found[outcome.request] = outcome
    return found


def join(records: Iterable[ClientRecord], outcomes: Mapping[str, Outcome]) -> tuple[Fated, ...]:
    """Return what became of each request: the client's word where it has one, else the gateways'."""
    return tuple(_fated(record, outcomes.get(record.id)) for record in records)


def count(requests: Sequence[Fated]) -> Counts:
    """Return how many there are of each fate."""
    fates = [one.fate for one in requests]
    return Counts(
        arrived=len(fates),
        finished=fates.count("finished"),
        failed=fates.count("failed"),
        open=fates.count("open"),
        lost=fates.count("lost"),
    )


def latency(request: Fated, window: Window) -> float:
    """Return a request's latency: until its full answer, else its age at the window's end (CONTROL §1)."""
    if finished_by(request, window.end_at_s):
        assert request.ended_at_s is not None
        return request.ended_at_s - request.sent_at_s
    return max(0.0, window.end_at_s - request.sent_at_s)


def finished_by(request: Fated, at_s: float) -> bool:
    """Return whether the full answer had come by then."""
    return request.fate == "finished" and request.ended_at_s is not None and request.ended_at_s <= at_s


def latencies(requests: Sequence[Fated], window: Window) -> Latency:
    """Return mean and percentiles (linear between order statistics) over `requests`."""
    if not requests:
        return Latency(None, None, None, None)
    values = np.array([latency(one, window) for one in requests])
    p50, p95, p99 = (float(one) for one in np.percentile(values, (50, 95, 99)))
    return Latency(float(values.mean()), p50, p95, p99)


def model_stats(requests: Sequence[Fated], cluster: Cluster, window: Window) -> tuple[ModelStats, ...]:
    """Return per model what the four fairness readings need.

    Timely service is judged only for arrivals whose deadline fell inside the window. The unloaded latency is the work
    at the mean speed of the nodes, for a request that finds everything idle may land on any.
    """
    mean_speed = total_speed(cluster) / len(cluster.nodes)
    stats = []
    for model in cluster.models:
        own = [one for one in requests if one.model == model.id]
        judged = [one for one in own if one.sent_at_s + model.deadline_s <= window.end_at_s]
        stats.append(
            ModelStats(
                model=model.id,
                arrived=len(own),
                judged=len(judged),
                timely=sum(finished_by(one, one.sent_at_s + model.deadline_s) for one in judged),
                finished=sum(one.fate == "finished" for one in own),
                unloaded_s=model.work_s / mean_speed,
                latency_sum_s=sum(latency(one, window) for one in own),
            )
        )
    return tuple(stats)


def summarise(
    records: Iterable[ClientRecord], outcomes: Mapping[str, Outcome], cluster: Cluster, window: Window
) -> Summary:
    """Return counts, latency and fairness of the requests that were due inside the window.

    One that was due inside and sent a moment after its end counts too. What finished after the window's end, in the
    grace, counts as finished and, in latency, with its age at the end.
    """
    inside = (one for one in records if window.start_at_s <= one.due_at_s <= window.end_at_s)
    requests = join(inside, outcomes)
    models = model_stats(requests, cluster, window)
    failures = Counter(one.reason for one in requests if one.fate == "failed")
    return Summary(
        count(requests), tuple(sorted(failures.items())), latencies(requests, window), readings(models), models
    )


def _fated(record: ClientRecord, outcome: Outcome | None) -> Fated:
    if record.end in ("finished", "failed"):
        why = outcome.reason if outcome is not None and record.end == "failed" else ""
        return _with(record, record.end, record.ended_at_s, why or record.reason)
    if outcome is None:
        return _with(record, "lost", None, "no-trace")
    match outcome.status:
        case "cancelled":
            return _with(record, "open", None, record.reason)
        case "finished" if record.end == "open":
            return _with(record, "open", None, "ended-as-client-left")
        case "finished":
            return _with(record, "finished", outcome.ended_at_s, "by-gateway")
        case "failed" | "refused":
            return _with(record, "failed", outcome.ended_at_s, outcome.reason)


def _with(record: ClientRecord, fate: Fate, ended_at_s: float | None, reason: str) -> Fated:
    return Fated(record.id, record.model, record.sent_at_s, ended_at_s, fate, reason)
